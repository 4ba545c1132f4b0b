package observe

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"syspart/internal/proc"
	"syspart/internal/unwind"
)

// tornRetries is how often Snapshot looks again at a thread that moved while it was looked at.
const tornRetries = 5

// Tree returns the processes of the server that pid belongs to as its root: pid and all its living descendants that run
// the same executable, parents first.
func Tree(pid int) ([]int, error) {
	all, err := proc.Children(pid)
	if err != nil {
		return nil, err
	}
	exe, _, err := proc.Exe(pid)
	if err != nil {
		return nil, err
	}
	tree := all[:1]
	for _, p := range all[1:] {
		if e, _, err := proc.Exe(p); err == nil && e == exe {
			tree = append(tree, p)
		}
	}
	return tree, nil
}

// Snapshot returns every thread of a process with one stack, the one it has now. Threads that are blocked are not
// disturbed; others are stopped for a moment, for which the process must have no tracer. Threads that end meanwhile are
// left out; Thread.Stacks is empty for one that cannot be stopped.
func Snapshot(pid int) ([]Thread, error) {
	p, err := OpenProcess(pid, nil)
	if err != nil {
		return nil, err
	}
	st, err := proc.ReadStat(pid)
	if err != nil {
		return nil, err
	}
	exe, _, err := proc.Exe(pid)
	if err != nil {
		return nil, err
	}
	tids, err := proc.Tasks(pid)
	if err != nil {
		return nil, err
	}
	var tr *proc.Tracer
	defer func() {
		if tr != nil {
			tr.Close()
		}
	}()
	var threads []Thread
	for _, tid := range tids {
		comm, err := proc.Comm(tid)
		if err != nil {
			continue
		}
		th := Thread{PID: pid, TID: tid, Comm: comm, Leader: tid == pid, ParentPID: st.PPID, Program: exe, First: true}
		stack, out, err := p.Blocked(tid)
		for n := 0; n < tornRetries && err == nil && out == Torn; n++ {
			th.Discarded++
			stack, out, err = p.Blocked(tid)
		}
		if err == nil && out != Asleep {
			if tr == nil {
				tr = proc.NewTracer(nil)
			}
			stack, err = p.interrupted(tr, tid)
		}
		switch {
		case errors.Is(err, proc.ErrGone):
			continue
		case err == nil:
			stack.Count, th.Samples = 1, 1
			th.Stacks = []Stack{stack}
		case !errors.Is(err, proc.ErrBusy):
			return nil, err
		}
		threads = append(threads, th)
	}
	if len(threads) == 0 {
		return nil, fmt.Errorf("process %d: %w", pid, proc.ErrGone)
	}
	return threads, nil
}

// interrupted stops a thread, seizing it for that if need be, and returns its stack.
func (p *Process) interrupted(tr *proc.Tracer, tid int) (Stack, error) {
	var c stopped
	err := tr.Do(func(conn *proc.Conn) error {
		if err := conn.Seize(tid, 0); err != nil {
			return err
		}
		var err error
		c, err = copyStopped(conn, p.PID, tid)
		return err
	})
	if err != nil {
		return Stack{}, err
	}
	return p.unwindCopy(&c), nil
}

// stackBytes is how much of a stopped thread's stack is copied.
const stackBytes = 64 << 10

// stopped is a thread's state, copied while it was stopped.
type stopped struct {
	regs  unix.PtraceRegs
	stack stackCopy
}

// copyStopped stops a seized thread, copies its registers and stack, and lets it go on.
func copyStopped(conn *proc.Conn, pid, tid int) (stopped, error) {
	var c stopped
	if err := conn.Stop(tid); err != nil {
		return c, err
	}
	err := c.copy(conn, pid, tid)
	if e := conn.Resume(tid); err == nil {
		err = e
	}
	return c, err
}

// copy copies the state of a thread that is stopped.
func (c *stopped) copy(conn *proc.Conn, pid, tid int) error {
	regs, err := conn.GetRegs(tid)
	if err != nil {
		return err
	}
	c.regs = *regs
	c.stack.base = regs.Rsp
	buf := make([]byte, stackBytes)
	n, err := proc.Memory(pid).ReadAt(buf, int64(regs.Rsp)) // short at the end of the stack
	c.stack.data = buf[:n]
	if n > 0 {
		err = nil
	}
	return err
}

// unwindCopy unwinds a copied thread.
func (p *Process) unwindCopy(c *stopped) Stack {
	res := p.walk(unwind.Stopped(&c.regs), &c.stack)
	st := toStack(&res)
	st.Running = int64(c.regs.Orig_rax) < 0
	return st
}
