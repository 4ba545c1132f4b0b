package proc

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is a program to be started.
type Command struct {
	Path    string     // file to execute, as execve takes it
	Args    []string   // argument vector, from argv[0] on
	Env     []string   // environment; nil: ours
	Dir     string     // working directory; "": ours
	Files   []*os.File // descriptors 0, 1, 2...; nil: our standard streams
	Options int        // Follow, KillOnExit...
}

// Start starts a program as a child of ours and seizes it. It is left stopped before its first instruction (the dynamic
// loader's); Resume lets it go. The error is the kernel's of execve, in an *os.PathError.
//
// Between fork and exec nothing of ours can run, so the child asks to be traced (PTRACE_TRACEME), stops itself by executing
// the program, and is handed over: detached into a SIGSTOP, seized, continued; it sees neither signal.
func (c *Conn) Start(cmd *Command) (pid int, err error) {
	env, files := cmd.Env, cmd.Files
	if env == nil {
		env = os.Environ()
	}
	if files == nil {
		files = []*os.File{os.Stdin, os.Stdout, os.Stderr}
	}
	fds := make([]uintptr, len(files))
	for i, f := range files {
		fds[i] = f.Fd()
	}
	pid, _, err = syscall.StartProcess(cmd.Path, cmd.Args, &syscall.ProcAttr{
		Dir: cmd.Dir, Env: env, Files: fds, Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return 0, &os.PathError{Op: "exec", Path: cmd.Path, Err: err}
	}
	defer func() {
		if err != nil {
			delete(c.tracees, pid)
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, wallFlags, nil)
			err = fmt.Errorf("start %s: %w", cmd.Path, err)
			pid = 0
		}
	}()
	await := func(step string, ok func(ws unix.WaitStatus) bool) error {
		for {
			var ws unix.WaitStatus
			switch _, err := unix.Wait4(pid, &ws, wallFlags|unix.WUNTRACED, nil); {
			case err == unix.EINTR:
			case err != nil:
				return wrap(pid, step, err)
			case ws.Exited() || ws.Signaled():
				return fmt.Errorf("%s: ended with status %#x", step, int(ws))
			case ok(ws):
				return nil
			default:
				return fmt.Errorf("%s: unexpected stop %#x", step, int(ws))
			}
		}
	}
	event := func(ws unix.WaitStatus) int { return int(ws) >> 16 }
	if err = await("exec", func(ws unix.WaitStatus) bool { return ws.StopSignal() == syscall.SIGTRAP }); err != nil {
		return pid, err
	}
	if err = detach(pid, int(unix.SIGSTOP)); err != nil {
		return pid, wrap(pid, "detach", err)
	}
	if err = await("stop", func(ws unix.WaitStatus) bool { return ws.StopSignal() == syscall.SIGSTOP }); err != nil {
		return pid, err
	}
	if err = seize(pid, cmd.Options); err != nil {
		return pid, wrap(pid, "seize", err)
	}
	if err = await("seize", func(ws unix.WaitStatus) bool { return event(ws) == unix.PTRACE_EVENT_STOP }); err != nil {
		return pid, err
	}
	if err = unix.Kill(pid, unix.SIGCONT); err != nil {
		return pid, wrap(pid, "continue", err)
	}
	if err = unix.PtraceCont(pid, 0); err != nil {
		return pid, wrap(pid, "continue", err)
	}
	// The end of the group stop is reported, then the signal itself, which is dropped.
	for seen := false; !seen; {
		err = await("continue", func(ws unix.WaitStatus) bool {
			seen = event(ws) == 0 && ws.StopSignal() == syscall.SIGCONT
			return seen || event(ws) == unix.PTRACE_EVENT_STOP
		})
		if err != nil {
			return pid, err
		}
		if !seen {
			if err = unix.PtraceCont(pid, 0); err != nil {
				return pid, wrap(pid, "continue", err)
			}
		}
	}
	c.tracees[pid] = &tracee{pid: pid, tid: pid, options: cmd.Options, stopped: true}
	return pid, nil
}

// LaunchStatus is the exit status by which shells report that a command could not be started: 127 not found, 126 found but
// not executable, 125 anything else.
func LaunchStatus(err error) int {
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return 127
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOEXEC) || errors.Is(err, unix.EISDIR):
		return 126
	}
	return 125
}
