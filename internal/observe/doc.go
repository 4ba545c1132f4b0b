// Package observe runs a server, or looks at a running one, and reports what that shows: where each thread waits or works
// (its stacks), which files are mapped as code, which programs are executed. See Observation.
//
//	Observe(ctx, Options) (*Observation, error)   follow a process tree for a while
//	Snapshot(pid) ([]Thread, error)               one stack of each thread of one process, now
//	Tree(pid) ([]int, error)                      the processes of a server
//	OpenProcess(pid, files) (*Process, error)     stacks of single threads, for those who stop threads themselves
//
// # How threads are sampled
//
// Of a thread that is blocked, the kernel tells the stack pointer and program counter (/proc/PID/task/TID/syscall); its
// stack is read from memory while it sleeps, and unwound. The same line, and the count of its time slices, are read before
// and after: if they differ the sample is torn and counted in Thread.Discarded. Such a thread is not stopped and notices
// nothing. A thread that runs is stopped for some microseconds (registers, a copy of the stack) and unwound later.
//
// A caller's frame may hang on a register that only a stop can tell (a frame pointer that no inner frame has saved). Then
// the thread is stopped once per distinct call, in such a way that its system call restarts (proc.Conn.Stop), and what was
// learned serves the following samples of the same call as long as they unwind to the bottom with it.
//
// # What is asked for
//
// In servers that we start and end, breakpoints on the functions of libc that load, look up and execute tell what these are
// given, and by whom (arguments.go).
//
// # Soundness
//
// An observation under-approximates: it holds what happened, not what can happen. It may say where a phase begins and
// what further code to analyse, never what is allowed. A stack marked Complete reached the bottom of its thread by
// call-frame information alone. Samples are taken at a pace that costs at most about two hundredths of one processor.
//
// Limits: at most maxStacks distinct stacks are kept for a thread; further ones count in Thread.Samples only. Code that no
// mapped file holds (just-in-time compilers) ends a stack.
package observe
