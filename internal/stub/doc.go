// Package stub makes the code by which a thread installs its own filter when it enters its main loop.
//
//	Find(code, start, end, header) (Point, error)       where a jump to the stub fits on an edge into a loop
//	(*Point).Patch(bias, at) []byte                     the jump
//	(*Point).Code(bias, at, installs) ([]byte, error)   the stub
//
// A stub runs the instructions that the jump has replaced, compares the return addresses below the loop with those of
// each kind of threads, and has the kind's filter installed by prctl(PR_SET_NO_NEW_PRIVS) and prctl(PR_SET_SECCOMP); a
// thread of no kind goes on without. All registers, the flags and the red zone are as before; vector registers and the
// x87 are not touched. If a filter cannot be installed and the thread has none, the process ends with status 125 and a
// line on standard error: it would serve unprotected.
//
// A point is refused rather than guessed: only whole instructions of the block before the loop are moved, none of them a
// call (the unwinder would not know the stub's frame), none that changes the stack pointer, so that the table of the loop's
// first instruction tells where the return address lies.
package stub
