package attach

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/proc"
)

// seizeOptions: syscall stops are told from traps.
const seizeOptions = unix.PTRACE_O_TRACESYSGOOD

// callTimeout is how long a call made by a thread may take before it is interrupted.
const callTimeout = 5 * time.Second

// pollPause is the pause between two looks at a thread that is expected to stop within microseconds.
const pollPause = 20 * time.Microsecond

// target is a thread to make calls, in a process that has the code at address code.
type target struct {
	c        *proc.Conn
	pid, tid int
	code     uint64
	// ended, if not nil, is told if the thread ends. The kernel tells that only once, and for a child of ours it is its end
	// as a child, too.
	ended func(tid int, ws unix.WaitStatus)
}

// perform has a thread, which is in a stop of proc's Conn.Stop, make calls, and leaves it
// stopped with the registers that it had, as if nothing had happened. It returns the results of the calls that were made,
// also together with an error. Errors: errAgain (disturbed by a signal, which has been delivered: the thread runs),
// ErrThread, *KilledError, proc.ErrGone, proc.ErrBusy.
//
// It waits for the thread itself instead of through the Conn, which knows no syscall stops; for the Conn the thread is
// stopped all the while.
func (t *target) perform(calls ...call) ([]int64, error) {
	orig, err := t.send(calls...)
	if err != nil {
		return nil, err
	}
	run := follower{target: *t, orig: orig, calls: calls}
	return run.follow()
}

// send makes a stopped thread go into the code when it is resumed, and returns the registers that it had. From here on the
// thread comes through by itself, whatever happens to us.
func (t *target) send(calls ...call) (*unix.PtraceRegs, error) {
	c, pid, tid, code := t.c, t.pid, t.tid, t.code
	if len(calls) > maxCalls {
		panic(fmt.Sprintf("attach: %d calls", len(calls)))
	}
	orig, err := c.GetRegs(tid)
	if err != nil {
		return nil, err
	}
	if err := checkThread(pid, tid, code, orig); err != nil {
		return nil, err
	}
	var entry [2]byte
	if int64(orig.Orig_rax) >= 0 {
		if err := c.ReadMem(pid, orig.Rip-2, entry[:]); err != nil {
			return nil, err
		}
	}
	rip, rax, err := selfResume(orig, entry)
	if err != nil {
		return nil, err
	}
	// First all that the thread will need, then the one change that sends it there.
	b := frame(orig, rip, rax, calls)
	base := orig.Rsp - redZone - uint64(len(b))
	if err := c.WriteMem(pid, base, b); err != nil {
		return nil, fmt.Errorf("thread %d: no room on its stack: %w", tid, err)
	}
	in := enter(orig, code, base)
	return orig, c.SetRegs(tid, &in)
}

// follower goes with a thread through the code.
type follower struct {
	target
	orig    *unix.PtraceRegs
	calls   []call
	rets    []int64
	inCall  bool // between the entry and the exit of calls[len(rets)]
	leaving bool // all calls are made: the next stop is the last one
}

func (f *follower) follow() ([]int64, error) {
	for {
		var err error
		if f.leaving {
			// The thread is stopped behind the last call, where the kernel would not restart an interrupted one. It has to stop
			// once more, where it looks for signals.
			if err = unix.PtraceInterrupt(f.tid); err == nil {
				err = unix.PtraceCont(f.tid, 0)
			}
		} else {
			err = unix.PtraceSyscall(f.tid, 0)
		}
		if err != nil && err != unix.ESRCH { // ESRCH: killed; wait tells how
			return f.rets, fmt.Errorf("thread %d: resume: %w", f.tid, err)
		}
		ws, err := f.wait()
		if err != nil {
			return f.rets, err
		}
		done, err := f.stop(ws)
		if done || err != nil {
			return f.rets, err
		}
	}
}

// wait waits for the next stop. A call that takes too long is interrupted once.
func (f *follower) wait() (unix.WaitStatus, error) {
	deadline := time.Now().Add(callTimeout)
	interrupted := false
	for spins := 0; ; spins++ {
		var ws unix.WaitStatus
		got, err := unix.Wait4(f.tid, &ws, unix.WALL|unix.WNOTHREAD|unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("thread %d: %w", f.tid, proc.ErrGone)
		case got == f.tid:
			return ws, nil
		case time.Now().After(deadline):
			if interrupted {
				// It is in the code and will come back from there by itself.
				return 0, fmt.Errorf("thread %d: in a call: %w", f.tid, proc.ErrBusy)
			}
			if err := unix.PtraceInterrupt(f.tid); err != nil && err != unix.ESRCH {
				return 0, fmt.Errorf("thread %d: interrupt: %w", f.tid, err)
			}
			interrupted, deadline = true, time.Now().Add(time.Second)
		}
		if spins > 20 {
			time.Sleep(pollPause)
		}
	}
}

// stop looks at one stop of the thread.
func (f *follower) stop(ws unix.WaitStatus) (done bool, err error) {
	const syscallStop = unix.SIGTRAP | 0x80
	switch {
	case ws.Signaled() || ws.Exited():
		if f.ended != nil {
			f.ended(f.tid, ws)
		}
		if ws.Signaled() && ws.Signal() == unix.SIGSYS {
			return true, f.killed()
		}
		return true, fmt.Errorf("thread %d: %w", f.tid, proc.ErrGone)
	case ws.StopSignal() == syscallStop:
		return false, f.syscall()
	case int(ws)>>16 == unix.PTRACE_EVENT_STOP && f.leaving:
		if err := f.restore(); err != nil {
			return true, err
		}
		// A filter's answer by a signal, which the kernel has not got round to.
		st, err := proc.ReadStatus(f.tid)
		if err == nil && st.SigPending>>(unix.SIGSYS-1)&1 != 0 {
			err = f.killed()
		}
		return true, err
	case int(ws)>>16 != 0:
		// The beginning or the end of a group stop, or a stop that was asked for earlier. If a stop signal has stopped the
		// process, the thread runs nevertheless until it is done, and is stopped again when it is detached.
		return false, nil
	}
	// A signal is about to be delivered. Give the thread its registers back: the kernel then does with an interrupted call
	// what it would have done without us.
	sig := unix.Signal(ws.StopSignal())
	own := f.ownFault(sig)
	if err := f.restore(); err != nil {
		return true, err
	}
	if sig == unix.SIGSYS && own {
		if err := f.c.ResumeWith(f.tid, sig); err != nil {
			return true, err
		}
		return true, f.killed()
	}
	if own {
		return true, fmt.Errorf("thread %d: %s in the code: %w", f.tid, unix.SignalName(sig), ErrThread)
	}
	if err := f.c.ResumeWith(f.tid, sig); err != nil {
		return true, err
	}
	return true, f.disturbed()
}

// disturbed is the outcome when the thread had to go before the end: success if all calls were made.
func (f *follower) disturbed() error {
	if len(f.rets) == len(f.calls) {
		return nil
	}
	return fmt.Errorf("thread %d: %w", f.tid, errAgain)
}

// syscall handles the entry or the exit of a call.
func (f *follower) syscall() error {
	r, err := f.c.GetRegs(f.tid)
	if err != nil {
		return err
	}
	if r.Rip != f.code+stubSyscallEnd || f.leaving {
		return nil
	}
	if !f.inCall {
		f.inCall = true
		return nil
	}
	f.inCall = false
	f.rets = append(f.rets, int64(r.Rax))
	f.leaving = len(f.rets) == len(f.calls)
	return nil
}

func (f *follower) restore() error { return f.c.SetRegs(f.tid, f.orig) }

// killed is the outcome when a filter answered a call by a signal: the call that is being made, or that the kernel has
// skipped for it.
func (f *follower) killed() error {
	i := len(f.rets)
	if !f.inCall {
		i--
	}
	return &KilledError{f.tid, f.calls[max(i, 0)].nr, unix.SIGSYS}
}

// ownFault reports whether a signal was raised by the code itself, and not sent by a process. But for SIGSYS, the answer
// of a filter, that is a fault of ours and not to be delivered.
func (f *follower) ownFault(sig unix.Signal) bool {
	if sig != unix.SIGSEGV && sig != unix.SIGBUS && sig != unix.SIGILL && sig != unix.SIGTRAP && sig != unix.SIGSYS {
		return false
	}
	code, err := signalCode(f.tid)
	if err != nil || code <= 0 { // sent by a process
		return false
	}
	r, err := f.c.GetRegs(f.tid)
	return err == nil && r.Rip >= f.code && r.Rip < f.code+uint64(len(stub))
}

// checkThread refuses threads that the code cannot serve.
func checkThread(pid, tid int, code uint64, r *unix.PtraceRegs) error {
	const userCode64 = 0x33
	switch {
	case r.Cs != userCode64:
		return fmt.Errorf("thread %d: not in 64-bit mode: %w", tid, ErrThread)
	case r.Rip >= code && r.Rip < code+uint64(len(stub)):
		return fmt.Errorf("thread %d: still in the code of an earlier attempt: %w", tid, errAgain)
	}
	if on, err := shadowStack(pid, tid); err != nil || on {
		if err == nil {
			err = ErrThread
		}
		return fmt.Errorf("thread %d: shadow stack: %w", tid, err)
	}
	if in, err := inRestartable(pid, tid, r.Rip); err != nil || in {
		if err == nil {
			err = errAgain
		}
		return fmt.Errorf("thread %d: restartable sequence: %w", tid, err)
	}
	return nil
}
