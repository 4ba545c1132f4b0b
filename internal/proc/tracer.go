package proc

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options of Seize (ptrace(2), PTRACE_SETOPTIONS).
const (
	// Follow attaches to every thread and process that a tracee makes, and reports execs and exits.
	Follow = unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
		unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACEEXIT
	// KillOnExit has the kernel kill the tracee when we die. For processes that we started ourselves only.
	KillOnExit = unix.PTRACE_O_EXITKILL
)

// stopTimeout is how long Stop waits for a thread. A thread that is not in uninterruptible sleep stops in microseconds, on
// a machine that is not overloaded.
const stopTimeout = 500 * time.Millisecond

// pollInterval is how often the tracer looks for events even if no SIGCHLD told it to.
const pollInterval = 20 * time.Millisecond

// orphanTimeout is how long a new task waits for the event of its maker, which the kernel reports at the same time.
const orphanTimeout = 100 * time.Millisecond

// wallFlags: tasks of every kind, and only the children and tracees of the calling thread, so that children that other
// parts of this program started are left to them.
const wallFlags = unix.WALL | unix.WNOTHREAD

// Tracer owns the thread that makes all ptrace requests. Its methods may be called from any goroutine, but not from its own
// thread (a Handler or a function given to Do): those have the Conn.
type Tracer struct {
	calls chan func()
	quit  chan struct{} // closed by Close
	done  chan struct{} // closed when the thread has ended
	once  sync.Once
	conn  Conn
	tid   int
}

// NewTracer starts a tracer. h sees all events; nil resumes everything.
func NewTracer(h Handler) *Tracer {
	t := &Tracer{calls: make(chan func()), quit: make(chan struct{}), done: make(chan struct{})}
	t.conn = Conn{handler: h, tracees: make(map[int]*tracee)}
	ready := make(chan struct{})
	go t.run(ready)
	<-ready
	return t
}

// run is the thread. It must not be the process's first thread: the runtime parks that one instead of ending it, and then
// the kernel would not release the tracees.
func (t *Tracer) run(ready chan struct{}) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		go t.run(ready) // while this thread is held here the other gets another one
		<-ready
		runtime.UnlockOSThread()
		return
	}
	// Never unlocked: the thread ends with the goroutine.
	t.tid = unix.Gettid()
	wake := make(chan os.Signal, 1)
	signal.Notify(wake, unix.SIGCHLD)
	defer signal.Stop(wake)
	close(ready)
	defer close(t.done)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		t.conn.Poll()
		select {
		case f := <-t.calls:
			f()
		case <-wake:
		case <-tick.C:
			t.conn.sweep()
		case <-t.quit:
			t.conn.release()
			return
		}
	}
}

// Do runs f on the tracer's thread and returns its error; ErrClosed if the tracer is closed.
func (t *Tracer) Do(f func(c *Conn) error) error {
	res := make(chan error, 1)
	select {
	case t.calls <- func() { res <- f(&t.conn) }:
		return <-res
	case <-t.done:
		return ErrClosed
	case <-t.quit:
		return ErrClosed
	}
}

// Close releases all tracees, running, and ends the thread. Threads that are blocked in a system call notice nothing,
// unless they were seized with KillOnExit: then each is stopped once to take that back.
func (t *Tracer) Close() {
	t.once.Do(func() { close(t.quit) })
	<-t.done
	// The kernel detaches what is left when the thread ends, which is shortly after its goroutine.
	path := fmt.Sprintf("/proc/self/task/%d", t.tid)
	for wait := 10 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		if _, err := os.Stat(path); err != nil {
			return
		}
		time.Sleep(wait)
	}
}

// tracee is what is known of one traced thread.
type tracee struct {
	pid, tid    int
	options     int
	stopped     bool        // in a ptrace stop that we know of
	group       bool        // that stop is a group stop: to be resumed by PTRACE_LISTEN
	sig         unix.Signal // signal to deliver when resumed
	interrupted bool        // PTRACE_INTERRUPT was asked for and its stop not seen yet
	fresh       bool        // attached by the kernel, first stop not seen yet
	announced   bool        // the event of the thread that made it was seen; always so for those that were seized
	early       time.Time   // when its first stop was seen, if that was before its maker's event and is kept back
	shared      bool        // a child of this process that is waited for elsewhere too
}

// Conn makes ptrace requests. It is handed to functions that run on the tracer's thread and must not be used elsewhere.
type Conn struct {
	handler Handler
	tracees map[int]*tracee
}

// SetHandler replaces the handler.
func (c *Conn) SetHandler(h Handler) { c.handler = h }

// Tracees returns the ids of all traced threads of process pid, of every process if pid is 0, sorted.
func (c *Conn) Tracees(pid int) []int {
	var tids []int
	for tid, th := range c.tracees {
		if pid == 0 || th.pid == pid {
			tids = append(tids, tid)
		}
	}
	slices.Sort(tids)
	return tids
}

// Traced reports whether the thread is a tracee of this tracer.
func (c *Conn) Traced(tid int) bool { return c.tracees[tid] != nil }

// Stopped reports whether the thread is a tracee in a stop that the tracer knows of.
func (c *Conn) Stopped(tid int) bool {
	th := c.tracees[tid]
	return th != nil && th.stopped
}

// Seize attaches to one thread without stopping it. Errors: ErrGone, *TracedError, ErrPermission. A thread that is traced
// by this tracer already is left as it is.
func (c *Conn) Seize(tid, options int) error {
	if c.tracees[tid] != nil {
		return nil
	}
	st, err := ReadStatus(tid)
	if err != nil {
		return err
	}
	if st.State == 'Z' || st.State == 'X' {
		return fmt.Errorf("process %d: seize: %w", tid, ErrGone)
	}
	if err := seize(tid, options); err != nil {
		again, e := ReadStatus(tid)
		switch {
		case e != nil || again.State == 'Z' || again.State == 'X':
			err = unix.ESRCH
		case again.TracerPID == unix.Gettid(): // a tracee has made it meanwhile; its first stop is still to come
			c.tracees[tid] = &tracee{pid: again.TGID, tid: tid, options: options, fresh: true}
			return nil
		}
		return wrap(tid, "seize", err)
	}
	c.tracees[tid] = &tracee{pid: st.TGID, tid: tid, options: options, announced: true, shared: st.PPID == unix.Getpid() && st.TGID == tid}
	return nil
}

// SeizeProcess attaches to all threads of a process, until it has no further ones. Threads that end meanwhile are no error
// unless none is left.
func (c *Conn) SeizeProcess(pid, options int) error {
	for n := -1; n != 0; {
		tids, err := Tasks(pid)
		if err != nil {
			return err
		}
		n = 0
		for _, tid := range tids {
			if c.tracees[tid] != nil {
				continue
			}
			switch err := c.Seize(tid, options); {
			case err == nil:
				n++
			case !errors.Is(err, ErrGone):
				return err
			}
		}
	}
	if len(c.Tracees(pid)) == 0 {
		return fmt.Errorf("process %d: seize: %w", pid, ErrGone)
	}
	return nil
}

// Interrupt asks a running thread to stop; it reports EventStop. Nothing happens if it is stopped.
func (c *Conn) Interrupt(tid int) error {
	th := c.tracees[tid]
	if th == nil {
		return fmt.Errorf("thread %d: interrupt: %w", tid, ErrNotTraced)
	}
	if th.stopped || th.interrupted {
		return nil
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return wrap(tid, "interrupt", err)
	}
	th.interrupted = true
	return nil
}

// Stop stops a thread and waits until it is stopped. Events that it reports before go to the handler as usual, and are
// resumed unless the handler holds the thread, which then is stopped too. Events of other threads wait.
//
// If the thread was blocked in a call that fails with EINTR when interrupted (epoll_wait, sigtimedwait, a receive with a
// time limit), its result is replaced by ERESTARTNOHAND: the kernel then restarts the call when the thread goes on, or has
// it fail with EINTR if a signal handler runs first, which is what would have happened without us (kernel:
// arch_do_signal_or_restart in arch/x86/kernel/signal.c). A relative time limit starts anew.
//
// Errors: ErrGone, ErrNotTraced, ErrBusy.
func (c *Conn) Stop(tid int) error {
	if err := c.Interrupt(tid); err != nil {
		return err
	}
	var deadline time.Time
	for spins := 0; ; spins++ {
		th := c.tracees[tid]
		if th == nil {
			return fmt.Errorf("thread %d: stop: %w", tid, ErrGone)
		}
		if th.stopped {
			return nil
		}
		var ws unix.WaitStatus
		got, err := unix.Wait4(tid, &ws, wallFlags|unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			delete(c.tracees, tid)
			return wrap(tid, "stop", unix.ESRCH)
		case got == tid:
			ev := c.note(tid, ws)
			if ev.Kind == EventStop && !ev.New || ev.Kind == EventGroupStop {
				return nil
			}
			c.settle(ev)
			if ev.New { // its first stop has used up the request
				if err := c.Interrupt(tid); err != nil {
					return err
				}
			}
			continue
		}
		if spins%64 == 63 {
			if ws, ok := trapped(tid); ok { // its report went elsewhere
				if ev := c.note(tid, ws); ev.Kind == EventStop && !ev.New || ev.Kind == EventGroupStop {
					return nil
				} else {
					c.settle(ev)
				}
				continue
			}
		}
		if deadline.IsZero() { // the clock is read only for threads that have not stopped yet
			deadline = time.Now().Add(stopTimeout)
		} else if time.Now().After(deadline) {
			return fmt.Errorf("thread %d: %w", tid, ErrBusy)
		}
		if spins < 20 {
			runtime.Gosched()
		} else {
			time.Sleep(20 * time.Microsecond)
		}
	}
}

// Resume lets a stopped thread go on: its pending signal is delivered, a group stop stays one. Nothing happens if it runs.
func (c *Conn) Resume(tid int) error {
	th := c.tracees[tid]
	if th == nil {
		return fmt.Errorf("thread %d: resume: %w", tid, ErrNotTraced)
	}
	if !th.stopped {
		return nil
	}
	var err error
	if th.group {
		err = listen(tid)
	} else {
		err = unix.PtraceCont(tid, int(th.sig))
	}
	th.stopped, th.group, th.sig, th.early = false, false, 0, time.Time{}
	return wrap(tid, "resume", err)
}

// ResumeWith is Resume that delivers sig (0: none) instead of the pending signal, and ends a group stop for the thread.
func (c *Conn) ResumeWith(tid int, sig unix.Signal) error {
	th := c.tracees[tid]
	if th == nil || !th.stopped {
		return c.Resume(tid)
	}
	th.group, th.sig = false, sig
	return c.Resume(tid)
}

// Detach releases a thread, stopping it first if it runs; a signal that it is about to get is delivered.
func (c *Conn) Detach(tid int) error {
	if err := c.Stop(tid); err != nil {
		return err
	}
	th := c.tracees[tid]
	delete(c.tracees, tid)
	return wrap(tid, "detach", detach(tid, int(th.sig)))
}

// GetRegs reads the registers of a stopped thread.
func (c *Conn) GetRegs(tid int) (*unix.PtraceRegs, error) {
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &r); err != nil {
		return nil, wrap(tid, "registers", err)
	}
	return &r, nil
}

// SetRegs writes the registers of a stopped thread.
func (c *Conn) SetRegs(tid int, r *unix.PtraceRegs) error {
	return wrap(tid, "registers", unix.PtraceSetRegs(tid, r))
}

// ReadMem reads exactly len(b) bytes of a process's memory.
func (c *Conn) ReadMem(pid int, addr uint64, b []byte) error {
	n, err := Memory(pid).ReadAt(b, int64(addr))
	if n == len(b) {
		return nil
	}
	return err
}

// WriteMem writes memory of a process, read-only mappings too: they get private copies of the pages.
func (c *Conn) WriteMem(pid int, addr uint64, b []byte) error {
	_, err := Memory(pid).WriteAt(b, int64(addr))
	return err
}

// Filters returns the seccomp filters of a stopped thread, the oldest first. The kernel requires CAP_SYS_ADMIN.
func (c *Conn) Filters(tid int) ([][]unix.SockFilter, error) {
	var all [][]unix.SockFilter
	for i := 0; ; i++ {
		f, err := seccompFilter(tid, i)
		if err == unix.ENOENT || err == unix.EINVAL && i == 0 { // EINVAL: not in filter mode
			return all, nil
		}
		if err != nil {
			return nil, wrap(tid, "seccomp filter", err)
		}
		all = append(all, f)
	}
}

// Poll handles all events that are there. The tracer does so by itself; functions that run long on its thread call it.
func (c *Conn) Poll() {
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, wallFlags|unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || tid <= 0 {
			return
		}
		c.settle(c.note(tid, ws))
	}
}

// sweep looks for stops whose report went elsewhere: a thread of ours that waits for a child which we trace (os/exec does)
// is told of its stops too, though it has asked for its end only (kernel: wait_consider_task in kernel/exit.c).
//
// It also lets those go whose maker's event never comes, because it was killed.
func (c *Conn) sweep() {
	for _, tid := range c.Tracees(0) {
		th := c.tracees[tid]
		if th == nil {
			continue
		}
		if !th.early.IsZero() && time.Since(th.early) > orphanTimeout {
			c.show(th.first())
			continue
		}
		if th.shared && !th.stopped {
			if ws, ok := trapped(tid); ok {
				c.settle(c.note(tid, ws))
			}
		}
	}
}

// note enters what a wait status says into the tables and returns it as an event.
func (c *Conn) note(tid int, ws unix.WaitStatus) Event {
	ev := decode(tid, ws)
	th := c.tracees[tid]
	if ev.Gone() {
		ev.PID = tid
		if th != nil {
			ev.PID = th.pid
			delete(c.tracees, tid)
		}
		return ev
	}
	if th == nil { // attached by the kernel; its maker's event may come later
		th = &tracee{pid: tid, tid: tid, fresh: true}
		if st, err := ReadStatus(tid); err == nil {
			th.pid = st.TGID
		}
		c.tracees[tid] = th
	}
	ev.PID = th.pid
	th.stopped, th.group, th.sig = true, false, 0
	switch ev.Kind {
	case EventStop:
		ev.New = th.fresh
		if !th.fresh && th.interrupted {
			restart(tid)
		}
		th.fresh, th.interrupted = false, false
	case EventGroupStop:
		th.group = true
		th.fresh, th.interrupted = false, false
	case EventSignal:
		th.sig = ev.Signal
	case EventFork, EventVfork, EventClone:
		if ev.Child != 0 {
			if c.tracees[ev.Child] == nil {
				child := &tracee{pid: ev.Child, tid: ev.Child, fresh: true}
				if st, err := ReadStatus(ev.Child); err == nil {
					child.pid = st.TGID
				}
				c.tracees[ev.Child] = child
			}
			c.tracees[ev.Child].options = th.options
			c.tracees[ev.Child].announced = true
		}
	case EventExec:
		th.pid, th.tid = tid, tid
		if ev.OldTID != 0 && ev.OldTID != tid {
			delete(c.tracees, ev.OldTID)
		}
		ev.PID = tid
	}
	return ev
}

// settle shows an event to the handler and does as it says. What makes a task is shown before the task's own first stop,
// whichever the kernel reports first.
func (c *Conn) settle(ev Event) {
	if th := c.tracees[ev.TID]; th != nil && ev.New && !th.announced {
		th.early = time.Now()
		return
	}
	c.show(ev)
	if child := c.tracees[ev.Child]; ev.Child != 0 && child != nil && !child.early.IsZero() {
		c.show(child.first())
	}
}

// first returns the event of a tracee's first stop, which was kept back.
func (th *tracee) first() Event {
	th.early, th.announced = time.Time{}, true
	return Event{PID: th.pid, TID: th.tid, Kind: EventStop, New: true}
}

func (c *Conn) show(ev Event) {
	v := Resume
	if c.handler != nil {
		v = c.handler(c, ev)
	}
	if ev.Gone() || v == Hold {
		return
	}
	th := c.tracees[ev.TID]
	if th == nil || !th.stopped { // the handler resumed or detached it
		return
	}
	if v == Suppress && ev.Kind == EventSignal {
		th.sig = 0
	}
	_ = c.Resume(ev.TID) // fails only if it was killed, which is reported next
}

// restart has the kernel restart the call that a stop interrupted; see Stop.
func restart(tid int) {
	var r unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &r) != nil {
		return
	}
	const erestartnohand = 514 // include/linux/errno.h
	if int64(r.Orig_rax) >= 0 && int64(r.Rax) == -int64(unix.EINTR) {
		r.Rax = ^uint64(erestartnohand) + 1
		_ = unix.PtraceSetRegs(tid, &r)
	}
}

// release lets every tracee go.
func (c *Conn) release() {
	c.Poll()
	c.handler = nil
	for _, tid := range c.Tracees(0) { // from lower ids on: makers mostly come before what they made
		th := c.tracees[tid]
		if th == nil {
			continue
		}
		if th.options&KillOnExit != 0 {
			_ = c.Detach(tid)
		} else if th.stopped {
			delete(c.tracees, tid)
			_ = detach(tid, int(th.sig))
		}
	}
	// What forked while it was being stopped has left further tracees.
	for _, tid := range c.Tracees(0) {
		if c.tracees[tid].options&KillOnExit != 0 {
			_ = c.Detach(tid)
		}
	}
}
