// Package stub makes the code by which a thread installs its own filter when it enters its main loop.
//
//	(*Room).Edge(to) (Point, error)     where a jump to the stub fits on an edge into a loop
//	(*Room).Head() (Point, error)       where it fits at a block, passed on every round of the loop
//	(*Point).Patch(bias, at) []byte     the jump
//	(*Point).Code(bias, at, installs, failure) ([]byte, error)   the stub
//
// # What a stub does
//
// It compares the return addresses below the loop with those of each kind of threads; a thread of no kind goes on without.
// At the first kind that fits it asks whether the thread carries the kind's filter (package filter, "marked filters"), and
// if not it sets no_new_privs and installs the filter by prctl(PR_SET_SECCOMP). So a thread installs each filter once,
// whatever was forked, vforked or entered twice, and no memory is written but the thread's own stack: the kernel keeps the
// answer where the filter itself is. If the kernel refuses, a line goes to standard error and the process ends with status
// FailStatus, whatever other filters the thread has: it would serve unprotected. (Failure Serves goes on instead.)
//
// All general-purpose registers and flags are restored; x87, SSE and AVX state is touched neither by the stub nor by the
// calls. The red zone is stepped over. A signal handler may run at any point, on the thread's stack: the stack pointer never
// lies above what is still needed. A thread needs about 250 bytes of stack below its red zone.
//
// # What can be moved
//
// Everything whose meaning does not depend on where it lies, and of the rest operands relative to the instruction pointer,
// jumps, conditional jumps, jrcxz and loop. Calls are refused, for their return addresses would lie in the stub, as are
// system calls, traps, transactions and what the decoder knows by its length only. That nothing jumps to any of the replaced
// bytes but the first is for the caller to know.
//
// # Limits
//
// While a thread is in a stub a profiler, or asynchronous cancellation, finds no unwind entry for it. Faults of displaced
// instructions have addresses in the stub.
package stub
