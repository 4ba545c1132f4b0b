// Package attach installs filters into running processes: it stops a thread, looks at its stack, and if the thread is
// inside the serving loop that the plan names has it install its own filter and go on.
//
//	Attach(ctx, pid, plan, opts) (*Result, error)             once, every thread of the process tree
//	Watch(ctx, pid, plan, opts) (*Result, error)              until the tree has ended, new threads and children too
//	Run(ctx, argv, env, plan, opts) (status int, err error)   start a command and watch it
//	Inject(pid, tid, nr, args...) (ret int64, err error)      have a thread make one system call
//	ReadFilters(pid, tid) ([]filter.Program, error)           what the kernel holds
//	Inspect(pid, plan) ([]State, error)                       what every thread carries
//	Denials(ctx, pid, plan, report) error                     calls that filters deny, as they happen
//
// # How a thread is made to call
//
// 36 bytes of code (stub.go) are written once per process into the zero bytes between the end of an executable segment
// and the end of its last page. The code pops system calls and their arguments from the stack and performs them, then
// pops all registers and returns to where the thread was. What it pops is written below the red zone of the thread's
// stack before its registers are touched; a single change of the registers then points the thread there. The filters lie
// in a read-only mapping that the first thread makes in the same way. Nothing is ever made executable, and neither
// mprotect nor seccomp() is called, which hardened units forbid.
//
// The tracer follows the calls (syscall stops) and at the end puts the registers back itself, inside a ptrace stop, so
// that the kernel restarts an interrupted call as if nothing had happened. A signal that arrives meanwhile is delivered
// with the thread's own registers, and the installation starts again.
//
// # What holds if the tracer dies
//
// The kernel then lets the thread run on from whatever state it is in: untouched, or in the code, which ends by itself
// where the thread was. An interrupted call is started again. One thing is weaker then: a signal whose handler runs in
// these microseconds does not make the call fail with EINTR, as it may have without us.
//
// # Stubs
//
// With Options.Stubs, jumps on the edges into the loops and code of package internal/stub are written into the memory of
// the server's processes once a thread of it serves, while all threads of a process are stopped and none of them is in the
// bytes that a jump replaces. From then on threads and children that come later install their filters themselves, and
// Watch, Run and Guard end their watch when nothing else is left to be covered. A module that is loaded after that is not
// compared with the plan any more; a program that the server executes, itself included, has the filter of its maker and no
// stubs. A thread that comes to a loop by a stack of no kind gets no filter, as with Attach, and nobody says so.
//
// # Limits
//
// A call that fails with EINTR when stopped (epoll_wait, semop) is restarted with its whole time limit, and, as with every
// restart by the kernel, a signal that arrives between the end of the stop and the call's new start runs its handler
// without ending the wait; programs that rely on that have the same gap before each call. Threads whose
// stack has less than 400 bytes below the red zone (Go's goroutines may) would have other memory overwritten: such
// programs are not for this installer. Threads in 32-bit mode, with a shadow stack, or inside a restartable sequence are
// left alone and reported. Of a process whose first thread has ended the kernel does not say what it runs: it is left alone.
// Threads and processes are found by looking again and again (Watch), so one that has just
// entered its loop serves for some milliseconds without its filter.
package attach
