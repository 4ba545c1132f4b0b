package attach

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/observe"
	"syspart/internal/proc"
	jump "syspart/internal/stub"
)

// Stubs can go into a process before it serves. Its threads then install their filters themselves, at the very edge into
// their loops, and need not be stopped later: a call that waits with a limit, as epoll_wait does, is begun anew with its full
// limit when a stop has interrupted it.

// plantableNow reports whether all that the stubs need is mapped in a process: the modules with loops and with the frames
// below them, and those that must not be unloaded. A thread that cannot be stopped now (in vfork, or reading a disk) is a no.
func (a *agent) plantableNow(pid int) bool {
	p, err := a.process(pid)
	if err != nil {
		return false
	}
	for i := range a.plan.Kinds {
		k := &a.plan.Kinds[i]
		if len(k.Points) == 0 {
			continue
		}
		if _, ok := p.stacks.Bias(k.Module); !ok {
			return false
		}
		for _, fr := range k.Stack {
			if _, ok := p.stacks.Bias(fr.Module); !ok {
				return false
			}
		}
	}
	points, why := a.pinned(a.plantable(p), p)
	if len(points) == 0 || why != "" {
		return false
	}
	tids, err := proc.Tasks(pid)
	return err == nil && !slices.ContainsFunc(tids, func(tid int) bool {
		st, err := proc.ReadStatus(tid)
		return err != nil || st.State == 'D'
	})
}

// early reports whether a thread that is in a loop has passed a jump if there is one: all were written when no thread was in
// a loop.
func (a *agent) early() bool { return a.stubbed && !a.late }

// execution tells what a process executes now from what it has executed before: the bytes at AT_RANDOM, which the kernel draws
// anew for each execve and which children inherit. It is zero if the process is gone.
type execution [16]byte

func executionOf(pid int) (x execution) {
	if aux, err := proc.ReadAuxv(pid); err == nil {
		_, _ = proc.Memory(pid).ReadAt(x[:], int64(aux[proc.AuxRandom])) // gone
	}
	return x
}

// jumps reports whether a process has a jump at every point of the plan, whose modules are all mapped.
func (a *agent) jumps(pid int) bool {
	p, err := a.process(pid)
	return err == nil && !slices.ContainsFunc(a.plan.Kinds, func(k enforce.Kind) bool { return len(k.Points) > 0 && !p.jumped(&k) })
}

// jumped reports whether there are jumps at all points of a kind, and there are points: a thread of it that came into the
// loop by one has installed its filter.
func (p *process) jumped(k *enforce.Kind) bool {
	for i := range k.Points {
		pt := &k.Points[i]
		bias, ok := p.stacks.Bias(pt.Module)
		if !ok || !jumpAt(p.pid, pt, bias) {
			return false
		}
	}
	return len(k.Points) > 0
}

// jumpAt reports whether a point's code is replaced by a jump.
func jumpAt(pid int, pt *jump.Point, bias uint64) bool {
	got := make([]byte, len(pt.Old))
	_, err := proc.Memory(pid).ReadAt(got, int64(pt.Addr+bias))
	return err == nil && got[0] == 0xe9 && !bytes.Equal(got, pt.Old)
}

// uproot takes the jumps out of a process again; stubs stay, for a thread may be in one. No thread is inside the bytes of a jump
// but at its beginning.
func (a *agent) uproot(pid int) error {
	p, err := a.process(pid)
	if err != nil {
		return err
	}
	points, _ := a.pinned(a.plantable(p), p)
	delete(a.prepared, pid)
	return a.tracer.Do(func(c *proc.Conn) error {
		held, err := freeze(c, pid)
		defer thaw(c, pid)
		if err != nil {
			return err
		}
		for i := range points {
			pt := points[i].point
			if !jumpAt(pid, pt, points[i].bias) {
				continue
			}
			if err := write(c, pid, held[0], pt.Addr+points[i].bias, pt.Old); err != nil {
				return err
			}
		}
		return nil
	})
}

// passed reports whether a thread that is blocked in its loop has come there by a jump, and so carries its filter. The
// modules of its process are verified.
func (a *agent) passed(th *Thread) bool {
	if !a.early() {
		return false
	}
	p, err := a.process(th.PID)
	if err != nil {
		return false
	}
	stack, out, err := p.stacks.Blocked(th.TID)
	if err != nil || out != observe.Asleep {
		return false
	}
	kind, at := a.plan.Match(stack.Frames)
	if kind == nil || len(kind.Points) == 0 || !a.jumps(th.PID) {
		return false
	}
	st, err := proc.ReadStatus(th.TID)
	if err != nil || st.Seccomp != unix.SECCOMP_MODE_FILTER || st.SeccompFilters <= a.inherited { // old kernels do not count
		return false
	}
	if a.verifier.Verify(th.PID) != nil {
		return false // installing says it
	}
	th.Status, th.Kind, th.Frame = Already, kind.Name, at
	th.Comm, _ = proc.Comm(th.TID) // vanished: the rest tells
	return true
}
