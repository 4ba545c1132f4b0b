package attach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/proc"
)

// forwarded are the signals that Run passes on to the server.
var forwarded = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGALRM}

// Run starts a command and watches it: the threads of the plan's program in its process tree get their filters as soon as
// they are inside their serving loops, as with Watch. The command has our standard streams, directory, and, if env is nil,
// environment; argv[0] is looked up in PATH. Signals that we receive are passed on to it. If ctx ends it gets SIGTERM.
//
// Run returns when the command and every other process of it that runs the program have ended; a server that puts itself
// into the background is watched on. The status is the command's exit status, 128+n if signal n ended it. If it could not
// be started, the status is 127, 126 or 125 as shells have it, and the error says why. ErrNeverInside, with the command's
// status, says that it ended without one thread having got its filter; *enforce.ModuleError that the server runs, without
// filters, other code than the plan was made for.
func Run(ctx context.Context, argv, env []string, plan *enforce.Plan, opts Options) (status int, err error) {
	a, err := newAgent(plan, &opts)
	if err != nil {
		return launchFailed, err
	}
	defer a.close()
	st, err := proc.ReadStatus(os.Getpid())
	if err != nil {
		return launchFailed, err
	}
	if err := a.inherit(st); err != nil {
		return launchFailed, err
	}

	a.warm()

	// Processes that lose their parent become our children instead of init's, so that they stay in the tree. They are reaped
	// below. It is a courtesy: a kernel that refuses loses us processes of daemons, no more.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()

	// Caught before the start, so that none is missed.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, unix.SIGCHLD)
	defer signal.Stop(changes)

	foreign := make(map[int]bool)
	for _, pid := range ourChildren() {
		foreign[pid] = true
	}
	// The kernel reports stops of a tracee to every thread of ours that waits for it as its parent, unless each thread waits
	// for its own only. So the child belongs to this thread, tracees belong to the tracer's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child, err := start(argv, env)
	if err != nil {
		return proc.LaunchStatus(err), err
	}
	r := &runner{child: child, foreign: foreign, w: newWatcher(a, child, &opts), ended: make(chan unix.WaitStatus, 1)}
	// A child that ends while one of us traces it is reported to the tracer alone.
	a.ended = func(tid int, ws unix.WaitStatus) {
		if tid == child && len(r.ended) == 0 {
			r.ended <- ws
		}
	}
	err = a.tracer.Do(func(c *proc.Conn) error {
		c.SetHandler(func(_ *proc.Conn, ev proc.Event) proc.Verdict {
			if ev.Gone() {
				a.ended(ev.TID, waitStatus(&ev))
			}
			return proc.Resume
		})
		return nil
	})
	if err != nil {
		return launchFailed, err
	}
	return r.loop(ctx, signals, changes)
}

// waitStatus is the wait status that an event of an ended tracee was made from.
func waitStatus(ev *proc.Event) unix.WaitStatus {
	if ev.Kind == proc.EventSignaled {
		return unix.WaitStatus(ev.Signal)
	}
	return unix.WaitStatus(ev.Code << 8)
}

// launchFailed is the exit status for a command that was not started for reasons of ours.
const launchFailed = 125

// start starts the command and returns its process id.
func start(argv, env []string) (int, error) {
	if len(argv) == 0 {
		return 0, &os.PathError{Op: "exec", Path: "", Err: unix.ENOENT}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		if errors.Is(err, exec.ErrNotFound) {
			err = unix.ENOENT
		}
		var e unix.Errno
		if !errors.As(err, &e) {
			e = unix.EACCES
		}
		return 0, &os.PathError{Op: "exec", Path: argv[0], Err: e}
	}
	if env == nil {
		env = os.Environ()
	}
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 0, &os.PathError{Op: "exec", Path: path, Err: err}
	}
	return pid, nil
}

// exitStatus is the status that a shell reports.
func exitStatus(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// runner is the state of Run.
type runner struct {
	child   int
	foreign map[int]bool // children of ours that are not of this run
	w       *watcher
	ended   chan unix.WaitStatus // from the tracer
	exited  bool
	covered bool      // stubs do the rest
	when    time.Time // of the command's end
	status  int
}

// loop looks at the threads again and again. signals are to be passed on; changes say that a child or a tracee may have
// changed its state.
func (r *runner) loop(ctx context.Context, signals, changes <-chan os.Signal) (int, error) {
	canceled := ctx.Done()
	for {
		switch {
		case r.w.fatal == nil && !r.covered:
			// Before the command executes the program, or between two programs of a script, there may be no match: only the end of
			// all processes ends this.
			r.w.round(context.Background())
			r.covered = r.w.covered()
		default:
			r.w.known = descendants(r.w.known)
		}
		r.reap() // before its children are looked for: they are ours once it is a zombie
		r.adopt()
		if r.exited && !r.serving() {
			return r.finish()
		}
		for timer, waiting := time.NewTimer(r.w.pause), true; waiting; {
			select {
			case s := <-signals:
				r.forward(s.(syscall.Signal))
			case <-changes:
				// Looking at threads makes such changes itself: do not look again because of them.
				waiting = !r.reap()
			case <-canceled:
				canceled = nil
				r.forward(unix.SIGTERM)
			case <-timer.C:
				waiting = false
			}
			if !waiting {
				timer.Stop()
			}
		}
		r.w.longer()
	}
}

// reap reports whether the command has just ended, and notes its status.
func (r *runner) reap() bool {
	if r.exited {
		return false
	}
	var ws unix.WaitStatus
	pid, err := unix.Wait4(r.child, &ws, unix.WNOHANG|unix.WNOTHREAD, nil)
	if pid != r.child {
		select {
		case ws = <-r.ended:
		default:
			if err != unix.ECHILD {
				return false
			}
			// Nobody waits for our child but the tracer, and what that has seen is in the channel.
			ws = launchFailed << 8
		}
	}
	r.exited, r.status, r.when = true, exitStatus(ws), time.Now()
	r.w.pause = minPause
	return true
}

// finish returns the outcome after the end of all processes.
func (r *runner) finish() (int, error) {
	if r.w.fatal != nil {
		return r.status, r.w.fatal
	}
	res := r.w.result()
	if res.Count(Installed) > 0 || res.Count(Already) > 0 {
		return r.status, nil
	}
	for i := range res.Threads {
		if th := &res.Threads[i]; th.Status == Failed {
			return r.status, fmt.Errorf("thread %d of process %d: %w", th.TID, th.PID, th.Err)
		}
	}
	return r.status, neverInside(r.w)
}

// backgroundGrace is how long processes that the command left behind have for executing the program.
const backgroundGrace = 2 * time.Second

// serving reports whether a process of the tree, besides the command's first one, runs the program or may be about to
// execute it.
func (r *runner) serving() bool {
	if len(r.w.known) > 0 && time.Since(r.when) < backgroundGrace && !slices.Equal(r.w.known, []int{r.child}) {
		return true
	}
	return slices.ContainsFunc(r.w.known, func(pid int) bool { return pid != r.child && r.w.a.runsProgram(pid) })
}

// adopt adds processes that have become our children to the tree, and reaps those that have ended.
func (r *runner) adopt() {
	for _, pid := range ourChildren() {
		if pid == r.child && r.exited || r.foreign[pid] {
			continue
		}
		st, err := proc.ReadStat(pid)
		switch {
		case err != nil:
		case st.Ended():
			if pid != r.child {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // nobody else waits for it
			}
		case !slices.Contains(r.w.known, pid):
			r.w.known = append(r.w.known, pid)
		}
	}
}

// ourChildren returns the children of this process, ended ones that nobody has waited for included.
func ourChildren() []int {
	tids, err := proc.Tasks(os.Getpid())
	if err != nil {
		return nil
	}
	var pids []int
	for _, tid := range tids {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", tid)); err == nil {
			pids = append(pids, numbers(string(text))...)
		}
	}
	return pids
}

// forward passes a signal on: to the command, or if that has ended to the outermost processes left of it.
func (r *runner) forward(s syscall.Signal) {
	if !r.exited {
		if !fromTerminal(s) {
			_ = unix.Kill(r.child, s) // ended meanwhile: it shows next
		}
		return
	}
	for _, pid := range r.w.known {
		if st, err := proc.ReadStat(pid); err == nil && !slices.Contains(r.w.known, st.PPID) {
			_ = unix.Kill(pid, s)
		}
	}
}

// fromTerminal reports whether a signal will have come from the terminal, which sends it to the server as well: a second
// one would be one too many (redis-server exits at once on a second SIGINT).
func fromTerminal(s syscall.Signal) bool {
	if s != unix.SIGINT && s != unix.SIGQUIT && s != unix.SIGWINCH {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
