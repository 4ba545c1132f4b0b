package attach

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/observe"
	"syspart/internal/proc"
	jump "syspart/internal/stub"
)

// Stubs in the memory of a process cover the threads and children that it makes later, without us: a jump on each edge into
// a loop leads to code that has the thread install its filter (package internal/stub). The code lies in mappings of its own near the
// loops' modules, readable and executable; the jumps are written into private pages of the files' text. The file itself is
// untouched, children made by fork inherit everything, and what another program's execve replaces is gone.

// reach is how far from a module its stubs may lie: a jump reaches 2 GiB, and the module has some extent.
const reach = 1 << 30

// stubMagic starts a mapping with stubs.
const stubMagic = "syspart stubs\x00\x0f\x0b" // and what stops who comes here

// ownStubs reports whether a mapping holds our stubs.
func ownStubs(pid int, m *proc.Mapping) bool {
	got := make([]byte, len(stubMagic))
	_, err := proc.Memory(pid).ReadAt(got, int64(m.Start))
	return err == nil && string(got) == stubMagic && m.Inode == 0 && !m.Write
}

// gapStep is the distance between addresses that are tried.
const gapStep = 1 << 16

// planted is a point with its stub.
type planted struct {
	point *jump.Point
	kinds []*enforce.Kind
	bias  uint64
	// handles are those that a pin answers for; none at the points of kinds.
	handles []uint64
}

// pin reports whether this is a pin, not a kind's point.
func (p *planted) pin() bool { return len(p.kinds) == 0 }

// plantable returns the points whose modules are mapped in a process, with the kinds that enter their loops there.
func (a *agent) plantable(p *process) []planted {
	var out []planted
	for i := range a.plan.Kinds {
		k := &a.plan.Kinds[i]
		for n := range k.Points {
			pt := &k.Points[n]
			same := slices.IndexFunc(out, func(o planted) bool { return o.point.Module == pt.Module && o.point.Addr == pt.Addr })
			if same >= 0 {
				out[same].kinds = append(out[same].kinds, k)
				continue
			}
			if bias, ok := p.stacks.Bias(pt.Module); ok {
				out = append(out, planted{point: pt, kinds: []*enforce.Kind{k}, bias: bias})
			}
		}
	}
	return out
}

// plant puts the stubs into a process that runs the plan's program. All its threads are stopped for that, and those that are
// in their loops get their filters as by install. loose says why modules with stubs may be unloaded, if they may.
func (a *agent) plant(pid int, report func(Thread)) (loose string, err error) {
	p, err := a.process(pid)
	if err != nil {
		return "", err
	}
	if err := a.verifier.Verify(pid); err != nil {
		return "", err
	}
	maps, err := proc.ReadMaps(pid)
	if err != nil {
		return "", err
	}
	code, ready, err := findCode(pid, maps, a.files)
	if err != nil {
		return "", err
	}
	programs := findBlob(pid, maps, a.plan)
	err = a.tracer.Do(func(c *proc.Conn) error {
		if err := c.SeizeProcess(pid, seizeOptions); err != nil {
			return err
		}
		tids := c.Tracees(pid)
		defer func() {
			for _, tid := range c.Tracees(pid) {
				_ = c.Detach(tid) // gone, or released by the tracer's end
			}
		}()
		var held []int
		for _, tid := range tids {
			switch err := c.Stop(tid); {
			case errors.Is(err, proc.ErrGone):
			case err != nil:
				return err
			default:
				held = append(held, tid)
			}
		}
		if len(held) == 0 {
			return fmt.Errorf("process %d: %w", pid, proc.ErrGone)
		}
		if now, err := proc.Tasks(pid); err != nil || !subset(now, c.Tracees(pid)) {
			return errAgain // a thread was made meanwhile
		}
		// Nothing is loaded or unloaded any more.
		if err := p.stacks.Refresh(); err != nil {
			return err
		}
		by := held[0]
		stacks := make([]observe.Stack, len(held))
		for i, tid := range held {
			regs, err := c.GetRegs(tid)
			if err != nil {
				return err
			}
			stacks[i] = p.stacks.Stopped(regs)
			if st, err := proc.ReadStatus(tid); err == nil && st.Seccomp == unix.SECCOMP_MODE_DISABLED {
				by = tid // can make any call
			}
		}
		points, why := a.pinned(a.plantable(p), p, stacks)
		loose = why
		for i := range stacks {
			if !clear(points, stacks[i].Frames) {
				return errAgain // it is where a jump goes
			}
		}
		s := session{a, c, p, &Thread{PID: pid, TID: by}, code, ready, programs}
		if err := s.stubs(points, &loose); err != nil {
			return err
		}
		code, ready, programs = s.code, s.ready, s.programs
		// Those that are in their loops already.
		for _, tid := range held {
			th := Thread{PID: pid, TID: tid}
			th.Comm, _ = proc.Comm(tid)
			s := session{a, c, p, &th, code, ready, programs}
			if err := s.run(); err != nil {
				return err
			}
			code, ready, programs = s.code, s.ready, s.programs
			if th.Status == Installed && report != nil {
				report(th)
			}
		}
		return nil
	})
	return loose, err
}

func subset(a, b []int) bool {
	return !slices.ContainsFunc(a, func(x int) bool { return !slices.Contains(b, x) })
}

// clear reports whether no frame is inside the bytes that jumps replace.
func clear(points []planted, frames []observe.Frame) bool {
	for i := range frames {
		for k := range points {
			if points[k].point.Module == frames[i].Module && points[k].point.Range(frames[i].PC) {
				return false
			}
		}
	}
	return true
}

// stubs writes stubs and jumps; all threads of the process are stopped. If pins are there from before that do not know a
// module which has no jumps yet, loose says so.
func (s *session) stubs(points []planted, loose *string) error {
	pid, tid := s.th.PID, s.th.TID
	existing, _, err := s.existing(&s.a.plan.Kinds[0])
	if err != nil {
		return err
	}
	var missing []planted
	held, bare := false, false // pins from before; a module that may be unloaded has had none
	for _, p := range points {
		got := make([]byte, len(p.point.Old))
		if err := s.c.ReadMem(pid, p.point.Addr+p.bias, got); err != nil {
			return err
		}
		switch {
		case bytes.Equal(got, p.point.Old):
			missing = append(missing, p)
			bare = bare || slices.ContainsFunc(p.kinds, func(k *enforce.Kind) bool { return !k.Stays })
		case got[0] != 0xe9:
			return fmt.Errorf("process %d: %s is changed in memory at %#x; harden its files instead: %w", pid, p.point.Module, p.point.Addr, ErrThread)
		case p.pin():
			held = true
		}
	}
	if held && bare {
		*loose = "a module was loaded after others had been pinned"
	}
	if len(missing) == 0 {
		return nil
	}
	if err := s.place(existing); err != nil {
		return err
	}
	for len(missing) > 0 {
		module := missing[0].point.Module
		var mine, others []planted
		for _, p := range missing {
			if p.point.Module == module {
				mine = append(mine, p)
			} else {
				others = append(others, p)
			}
		}
		if err := s.module(mine, existing); err != nil {
			return fmt.Errorf("thread %d: %w", tid, err)
		}
		missing = others
	}
	return nil
}

// module writes the stubs and jumps of one module.
func (s *session) module(points []planted, existing []filter.Program) error {
	pid, tid := s.th.PID, s.th.TID
	// Lay out once at any address to know the size, for it does not depend on it.
	size := uint64(len(stubMagic))
	for i := range points {
		b, err := s.code1(&points[i], points[i].point.Addr+points[i].bias)
		if err != nil {
			return err
		}
		size += uint64(len(b)+15) &^ 15
	}
	size = (size + pageSize - 1) &^ (pageSize - 1)
	base, err := s.room(points[0].point.Addr+points[0].bias, size, existing)
	if err != nil {
		return err
	}
	if err := write(s.c, pid, tid, base, []byte(stubMagic)); err != nil {
		return err
	}
	at := base + uint64(len(stubMagic))
	jumps := make([][]byte, len(points))
	for i := range points {
		p := &points[i]
		b, err := s.code1(p, at)
		if err != nil {
			return err
		}
		if jumps[i], err = p.point.Patch(p.bias, at); err != nil {
			return err
		}
		if err := write(s.c, pid, tid, at, b); err != nil {
			return err
		}
		at += uint64(len(b)+15) &^ 15
	}
	for i := range points {
		if err := write(s.c, pid, tid, points[i].point.Addr+points[i].bias, jumps[i]); err != nil {
			return err
		}
	}
	return nil
}

// code1 is the stub of a point: of kinds that enter the same loop, those with more frames are tried first.
func (s *session) code1(p *planted, at uint64) ([]byte, error) {
	if p.pin() {
		return p.point.Answer(p.bias, at, p.handles)
	}
	kinds := slices.Clone(p.kinds)
	slices.SortStableFunc(kinds, func(a, b *enforce.Kind) int { return len(b.Stack) - len(a.Stack) })
	var list []jump.Install
	for _, k := range kinds {
		in := jump.Install{Name: k.Name, Mark: k.Mark, Program: s.programs[s.index(k)]}
		for i, fr := range k.Stack {
			bias, ok := s.p.stacks.Bias(fr.Module)
			if !ok {
				return nil, fmt.Errorf("%s is not mapped: %w", fr.Module, ErrThread)
			}
			r := &k.Rows[i]
			in.Frames = append(in.Frames, jump.Frame{Return: fr.PC + bias, RBP: r.FromRBP, Off: r.Off, Saved: r.Saved, At: r.At})
		}
		list = append(list, in)
	}
	return p.point.Code(p.bias, at, list, s.a.plan.Failure)
}

// room maps memory for code within reach of an address.
func (s *session) room(near, size uint64, existing []filter.Program) (uint64, error) {
	maps, err := proc.ReadMaps(s.th.PID)
	if err != nil {
		return 0, err
	}
	for _, at := range gaps(maps, near, size) {
		fd := -1
		m := call{unix.SYS_MMAP, [6]uint64{at, size, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE, uint64(fd), 0}}
		if err := permitted(existing, s.code, []call{m}); err != nil {
			return 0, err
		}
		rets, err := s.target().perform(m)
		if err != nil {
			return 0, err
		}
		switch got := rets[0]; {
		case got == int64(at):
			return at, nil
		case got < 0 && got > -pageSize && unix.Errno(-got) != unix.EEXIST:
			return 0, fmt.Errorf("mmap of executable memory: %w; harden its files instead", unix.Errno(-got))
		}
	}
	return 0, fmt.Errorf("%w within reach of %#x; harden its files instead", ErrNoRoom, near)
}

// gaps returns addresses where size bytes are free, those below an address first, nearest first.
func gaps(maps []proc.Mapping, near, size uint64) []uint64 {
	const most = 8
	var out []uint64
	for at := near &^ (gapStep - 1); at > near-reach && at > gapStep && len(out) < most; at -= gapStep {
		if free(maps, at, size) {
			out = append(out, at)
		}
	}
	for at := near&^(gapStep-1) + gapStep; at < near+reach && len(out) < 2*most; at += gapStep {
		if free(maps, at, size) {
			out = append(out, at)
		}
	}
	return out
}

func free(maps []proc.Mapping, at, size uint64) bool {
	// A page apart from its neighbours.
	return !slices.ContainsFunc(maps, func(m proc.Mapping) bool { return m.Start < at+size+pageSize && at < m.End+pageSize })
}
