// Package proc reads processes: the files of /proc, memory, and, through one tracing thread, registers and events.
//
// Nothing here decides anything: it reports what the kernel says at one moment, which may be over when the caller looks at
// it. A process that vanished is ErrGone, never a panic or an empty answer that looks like a fact; what cannot be parsed is
// an error naming the file.
//
// Kernel files (proc(5), Documentation/filesystems/proc.rst):
//
//	Tasks, Processes, Children, ReadMaps, ReadStatus, ReadStat, ReadSyscall, ReadAuxv, Exe, Cwd, ExecFile
//	Memory: an io.ReaderAt and io.WriterAt over the memory of a process
//
// # Tracing
//
// The kernel takes ptrace requests from one thread only, the one that attached, so a Tracer is one goroutine locked to an
// operating-system thread of its own. Whoever wants something of a tracee sends a function to it with Tracer.Do, which gets
// the Conn that holds all requests. What tracees report arrives at the Handler, on the same thread.
//
// Tracees are seized (PTRACE_SEIZE), never attached the old way, so attaching stops nobody, stop signals keep their meaning
// (PTRACE_LISTEN), and signals pass through unchanged. Stopping a thread that is blocked in a system call would turn calls
// such as epoll_wait into EINTR; Conn.Stop has the kernel restart them instead (see there).
//
// A tracee never stays stopped: Close resumes and releases everything, and ends the thread, upon which the kernel detaches
// what is left; it does the same when this process dies in whatever way. Only what was started with KillOnExit dies with us.
//
// A child of this process that is started otherwise than by Conn.Start and seized should not be waited for at the same time
// (exec.Cmd.Wait): the kernel reports its stops to either wait. The tracer finds such stops by looking, but the other wait
// returns at the first stop and takes it for the child's end.
//
// Limits: x86-64 Linux, native (64-bit) tracees. Threads in uninterruptible sleep cannot be stopped (ErrBusy).
package proc
