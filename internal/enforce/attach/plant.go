package attach

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

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

// prepared are the stubs of a process that lie in its memory, and the jumps to them. Nothing leads there until these are
// written.
type prepared struct {
	points []planted
	jumps  []patch
	bare   bool // a point of a module that may be unloaded has had no jump
}

// patch is a jump in place of the code of a point.
type patch struct {
	*planted
	code []byte
	at   uint64 // of the stub
	stub []byte
}

// plant puts the stubs into a process that runs the plan's program. First one thread is stopped and made to map memory for
// them; then all are, for as long as the jumps are written. Those that are in their loops then get their filters as by install;
// before anything serves (early) that one may be is errAgain.
// loose says why modules with stubs may be unloaded, if they may; frozen is how long the process stood still.
func (a *agent) plant(pid int, early bool, report func(Thread)) (loose string, frozen time.Duration, err error) {
	p, err := a.process(pid)
	if err != nil {
		return "", 0, err
	}
	if err := a.verifier.Verify(pid); err != nil {
		return "", 0, err
	}
	s := session{a: a, p: p, th: &Thread{PID: pid}}
	maps, err := proc.ReadMaps(pid)
	if err != nil {
		return "", 0, err
	}
	if s.code, s.ready, err = findCode(pid, maps, a.tables); err != nil {
		return "", 0, err
	}
	s.programs = findBlob(pid, maps, a.plan)
	if err := s.prepare(); err != nil {
		return "", 0, err
	}
	var inside []int
	err = a.tracer.Do(func(c *proc.Conn) error {
		s.c = c
		start := time.Now()
		defer func() { frozen = time.Since(start) }()
		held, err := freeze(c, pid)
		defer thaw(c, pid)
		if err != nil {
			return err
		}
		loose, inside, err = s.jumps(held, early)
		return err
	})
	if err != nil {
		return loose, frozen, err
	}
	for _, tid := range inside {
		switch th := a.install(pid, tid); {
		case th.Status == Outside && th.Err != nil:
			return loose, frozen, errAgain
		case th.Status == Installed || th.Status == Failed:
			report(th)
		}
	}
	if loose == "" { // else for the next time
		delete(a.prepared, pid)
	}
	return loose, frozen, nil
}

// freeze stops all threads of a process and returns them, at least one; thaw is due whatever the error says.
func freeze(c *proc.Conn, pid int) (held []int, err error) {
	if err := c.SeizeProcess(pid, seizeOptions); err != nil {
		return nil, err
	}
	for _, tid := range c.Tracees(pid) { // all at once, not each when the one before it stands still
		_ = c.Interrupt(tid) // it is gone
	}
	for _, tid := range c.Tracees(pid) {
		switch err := c.Stop(tid); {
		case errors.Is(err, proc.ErrGone):
		case err != nil:
			return nil, err
		default:
			held = append(held, tid)
		}
	}
	if len(held) == 0 {
		return nil, fmt.Errorf("process %d: %w", pid, proc.ErrGone)
	}
	if now, err := proc.Tasks(pid); err != nil || !subset(now, c.Tracees(pid)) {
		return nil, errAgain // a thread was made meanwhile
	}
	return held, nil
}

// thaw lets all threads of a process run, untraced.
func thaw(c *proc.Conn, pid int) {
	for _, tid := range c.Tracees(pid) {
		_ = c.Detach(tid) // gone, or released by the tracer's end
	}
}

// jumps writes the jumps to what is prepared; all threads of the process are stopped, and nothing is loaded or unloaded any
// more. It says why modules may be unloaded, if they may, and which threads are in loops already. If it is early, none may be.
func (s *session) jumps(held []int, early bool) (loose string, inside []int, err error) {
	p, pid := s.p, s.th.PID
	if err := p.stacks.Refresh(); err != nil {
		return "", nil, err
	}
	ready := s.a.prepared[pid]
	points, loose := s.a.pinned(s.a.plantable(p), p)
	if !slices.EqualFunc(points, ready.points, same) {
		delete(s.a.prepared, pid)
		return "", nil, errAgain
	}
	late := false
	for _, tid := range held {
		regs, err := s.c.GetRegs(tid)
		if err != nil {
			return "", nil, err
		}
		stack := p.stacks.Stopped(regs)
		kind, _ := s.a.plan.Match(stack.Frames)
		late = late || kind != nil || !stack.Complete
		if late && early || !clear(points, stack.Frames) {
			return "", nil, errAgain // it is in a loop or may be, or is where a jump goes
		}
		if kind != nil {
			inside = append(inside, tid)
			if len(ready.jumps) > 0 {
				s.a.owed[tid] = true
			}
		}
		if loose == "" && s.a.closing(&stack) {
			loose = "a thread may be unloading a module"
		}
	}
	old := false // a pin is there from before
	for i := range points {
		old = old || points[i].pin() && !slices.ContainsFunc(ready.jumps, func(j patch) bool { return j.pin() && same(*j.planted, points[i]) })
	}
	if loose == "" && old && ready.bare {
		loose = "a module was loaded after others had been pinned"
	}
	for i := range ready.jumps {
		j := &ready.jumps[i]
		if j.pin() && loose != "" {
			continue
		}
		// It may be another process with that id, or it has executed its program anew.
		there, got := make([]byte, len(j.stub)), make([]byte, len(j.code))
		if s.c.ReadMem(pid, j.at, there) != nil || !bytes.Equal(there, j.stub) {
			delete(s.a.prepared, pid)
			return "", nil, errAgain
		}
		if err := s.c.ReadMem(pid, j.point.Addr+j.bias, got); err != nil {
			return "", nil, err
		}
		if !bytes.Equal(got, j.point.Old) { // an earlier jump
			continue
		}
		s.a.stubbed, s.a.late = true, s.a.late || late
		if err := write(s.c, pid, held[0], j.point.Addr+j.bias, j.code); err != nil {
			return "", nil, err
		}
	}
	return loose, inside, nil
}

// same reports whether two points are one, in the same place.
func same(x, y planted) bool {
	return x.point == y.point && x.bias == y.bias && slices.Equal(x.handles, y.handles)
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

// prepare writes the stubs of all points that have no jump yet, unless that has been done. One thread is stopped for it.
func (s *session) prepare() error {
	pid := s.th.PID
	points, _ := s.a.pinned(s.a.plantable(s.p), s.p)
	if have := s.a.prepared[pid]; have != nil && s.programs != nil && slices.EqualFunc(points, have.points, same) {
		return nil
	}
	out := &prepared{points: points}
	var missing []*planted
	for i := range points {
		p := &points[i]
		got := make([]byte, len(p.point.Old))
		if _, err := proc.Memory(pid).ReadAt(got, int64(p.point.Addr+p.bias)); err != nil {
			return err
		}
		switch {
		case bytes.Equal(got, p.point.Old):
			missing = append(missing, p)
			out.bare = out.bare || slices.ContainsFunc(p.kinds, func(k *enforce.Kind) bool { return !k.Stays })
		case got[0] != 0xe9:
			return fmt.Errorf("process %d: %s is changed in memory at %#x; harden its files instead: %w", pid, p.point.Module, p.point.Addr, ErrThread)
		}
	}
	if len(missing) > 0 {
		tid, err := able(pid)
		if err != nil {
			return err
		}
		s.th.TID = tid
		err = s.a.tracer.Do(func(c *proc.Conn) error {
			s.c = c
			if err := c.Seize(tid, seizeOptions); err != nil {
				return err
			}
			err := c.Stop(tid)
			if err == nil {
				err = s.stubs(missing, out)
			}
			if c.Traced(tid) {
				_ = c.Detach(tid) // gone, or released by the tracer's end
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	s.a.prepared[pid] = out
	return nil
}

// able returns a thread of a process that can be made to call: one without filter, if there is one.
func able(pid int) (int, error) {
	tids, err := proc.Tasks(pid)
	if err != nil {
		return 0, err
	}
	for _, tid := range tids {
		if st, err := proc.ReadStatus(tid); err == nil && st.Seccomp == unix.SECCOMP_MODE_DISABLED && st.State != 'Z' {
			return tid, nil
		}
	}
	return tids[0], nil
}

// stubs writes stubs, module by module; the thread is stopped.
func (s *session) stubs(missing []*planted, out *prepared) error {
	existing, _, err := s.existing(&s.a.plan.Kinds[0])
	if err != nil {
		return err
	}
	if err := s.place(existing); err != nil {
		return err
	}
	for len(missing) > 0 {
		module := missing[0].point.Module
		var mine, others []*planted
		for _, p := range missing {
			if p.point.Module == module {
				mine = append(mine, p)
			} else {
				others = append(others, p)
			}
		}
		jumps, err := s.module(mine, existing)
		if err != nil {
			return fmt.Errorf("thread %d: %w", s.th.TID, err)
		}
		out.jumps = append(out.jumps, jumps...)
		missing = others
	}
	return nil
}

// module writes the stubs of one module, and returns the jumps to them.
func (s *session) module(points []*planted, existing []filter.Program) ([]patch, error) {
	pid, tid := s.th.PID, s.th.TID
	// Lay out once at any address to know the size, for it does not depend on it.
	size := uint64(len(stubMagic))
	for _, p := range points {
		b, err := s.code1(p, p.point.Addr+p.bias)
		if err != nil {
			return nil, err
		}
		size += uint64(len(b)+15) &^ 15
	}
	size = (size + pageSize - 1) &^ (pageSize - 1)
	base, err := s.room(points[0].point.Addr+points[0].bias, size, existing)
	if err != nil {
		return nil, err
	}
	if err := write(s.c, pid, tid, base, []byte(stubMagic)); err != nil {
		return nil, err
	}
	at := base + uint64(len(stubMagic))
	var jumps []patch
	for _, p := range points {
		b, err := s.code1(p, at)
		if err != nil {
			return nil, err
		}
		code, err := p.point.Patch(p.bias, at)
		if err != nil {
			return nil, err
		}
		if err := write(s.c, pid, tid, at, b); err != nil {
			return nil, err
		}
		jumps = append(jumps, patch{p, code, at, b})
		at += uint64(len(b)+15) &^ 15
	}
	return jumps, nil
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

// gaps returns addresses where size bytes are free, a page apart from their neighbours: those below an address first, nearest
// first. The maps are in the order of their addresses.
func gaps(maps []proc.Mapping, near, size uint64) []uint64 {
	const most = 8
	// hole is what lies free in front of mapping i, or behind the last one: the addresses that size bytes may begin at.
	hole := func(i int) (first, last uint64) {
		last = 1 << 47
		if i > 0 {
			first = maps[i-1].End + pageSize
		}
		if i < len(maps) {
			last = maps[i].Start
		}
		return max(first, gapStep), last - min(last, size+pageSize)
	}
	here, _ := slices.BinarySearchFunc(maps, near, func(m proc.Mapping, va uint64) int { return cmp.Compare(m.Start, va) })
	var out []uint64
	for i := here; i >= 0 && len(out) < most; i-- {
		first, last := hole(i)
		for at := min(last, near) &^ (gapStep - 1); at >= first && at+reach > near && len(out) < most; at -= gapStep {
			out = append(out, at)
		}
	}
	for i := here; i <= len(maps) && len(out) < 2*most; i++ {
		first, last := hole(i)
		for at := (max(first, near+1) + gapStep - 1) &^ (gapStep - 1); at <= last && at < near+reach && len(out) < 2*most; at += gapStep {
			out = append(out, at)
		}
	}
	return out
}
