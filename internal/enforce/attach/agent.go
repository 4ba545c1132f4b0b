package attach

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/observe"
	"syspart/internal/proc"
	"syspart/internal/syscalls"
)

// agent installs the filters of one plan. It is used by one goroutine.
type agent struct {
	plan     *enforce.Plan
	verifier *enforce.Verifier
	tracer   *proc.Tracer
	tables   *observe.Files
	procs    map[int]*process
	blobLen  int
	prepared map[int]*prepared // by process, until the jumps are written
	// ours: whatever filters a process of the tree carries beside the inherited ones were installed by us, since we started it
	// with these alone. They are those of a container or unit that we are in, too, and probe has shown that they let a filter be
	// installed. It matters only where filters cannot be read back.
	ours      bool
	inherited int
	// installed are the threads in which we have installed a filter, where that cannot be read back.
	installed map[int]string
	// owed are threads that were in their loops when jumps were written, and have not passed one.
	owed map[int]bool
	// stubbed: jumps have been written; late: once when a thread was in a loop, or may have been.
	stubbed, late bool
	// ended is told of tracees that end; set by Run for its child.
	ended func(tid int, ws unix.WaitStatus)
}

// process is one process that runs the plan's program.
type process struct {
	pid    int
	stacks *observe.Process
}

// newAgent checks the plan against the kernel and starts a tracer.
func newAgent(p *enforce.Plan, opts *Options) (*agent, error) {
	k, err := enforce.ThisKernel()
	if err != nil {
		return nil, err
	}
	if err := enforce.Check(p, k); err != nil {
		return nil, err
	}
	b, _ := blob(p, 0)
	v := enforce.NewVerifier(p)
	v.Anonymous = opts.AnonymousCode
	v.Own = ownStubs
	v.Admit = opts.Admit
	return &agent{
		plan: p, verifier: v, tracer: proc.NewTracer(nil),
		tables: observe.NewTables(), procs: make(map[int]*process), blobLen: len(b), prepared: make(map[int]*prepared), installed: make(map[int]string), owed: make(map[int]bool),
	}, nil
}

func (a *agent) close() { a.tracer.Close() }

// runsProgram reports whether a process runs the plan's program; false for one that is gone or a zombie.
func (a *agent) runsProgram(pid int) bool {
	exe, _, err := proc.Exe(pid)
	return err == nil && exe == a.plan.Program
}

// process returns what is kept of a process, with its mappings as they are now.
func (a *agent) process(pid int) (*process, error) {
	p := a.procs[pid]
	if p == nil {
		stacks, err := observe.OpenProcess(pid, a.tables)
		if err != nil {
			return nil, err
		}
		p = &process{pid, stacks}
		a.procs[pid] = p
		return p, nil
	}
	if err := p.stacks.Refresh(); err != nil {
		delete(a.procs, pid)
		return nil, err
	}
	return p, nil
}

// install looks at a thread, and if it is inside its loop has it install its filter. The thread is stopped for that, and
// runs untraced again when install returns.
func (a *agent) install(pid, tid int) Thread {
	th := Thread{PID: pid, TID: tid}
	th.Comm, _ = proc.Comm(tid) // vanished: the rest tells
	for tries := 0; ; tries++ {
		err := a.attempt(&th)
		if errors.Is(err, errAgain) && tries < maxTries {
			time.Sleep(time.Millisecond)
			continue
		}
		switch {
		case errors.Is(err, proc.ErrGone):
			th.Status, th.Err = Gone, nil
		case errors.Is(err, errAgain):
			th.Status, th.Err = Outside, err // it is busy with signals; Watch comes back
		case err != nil:
			th.Status, th.Err = Failed, err
		}
		return th
	}
}

// maxTries is how often a thread is tried that signals disturb.
const maxTries = 20

// attempt is one try of install.
func (a *agent) attempt(th *Thread) error {
	p, err := a.process(th.PID)
	if err != nil {
		return err
	}
	if err := a.verifier.Verify(th.PID); err != nil {
		return err
	}
	// Whatever can be found out without stopping the thread.
	maps, err := proc.ReadMaps(th.PID)
	if err != nil {
		return err
	}
	code, ready, err := findCode(th.PID, maps, a.tables)
	if err != nil {
		return err
	}
	programs := findBlob(th.PID, maps, a.plan)
	return a.tracer.Do(func(c *proc.Conn) error {
		if err := c.Seize(th.TID, seizeOptions); err != nil {
			return err
		}
		start := time.Now()
		err := c.Stop(th.TID)
		if err == nil {
			s := session{a, c, p, th, code, ready, programs}
			err = s.run()
		}
		if c.Traced(th.TID) {
			// It fails if the thread is gone, or cannot be stopped: the tracer's end releases it then.
			if e := c.Detach(th.TID); err == nil && errors.Is(e, proc.ErrGone) {
				err = e
			}
		}
		th.Stopped += time.Since(start)
		return err
	})
}

// session is one thread, stopped.
type session struct {
	a        *agent
	c        *proc.Conn
	p        *process
	th       *Thread
	code     uint64 // where the code is, or can be put
	ready    bool
	programs []uint64 // struct sock_fprog of the kinds, nil if they are not there
}

func (s *session) run() error {
	pid, tid := s.th.PID, s.th.TID
	if !s.a.runsProgram(pid) { // executed another one since we looked
		s.th.Status, s.th.Err = Outside, nil
		return nil
	}
	regs, err := s.c.GetRegs(tid)
	if err != nil {
		return err
	}
	stack := s.p.stacks.Stopped(regs)
	kind, at := s.a.plan.Match(stack.Frames)
	if kind == nil {
		s.th.Status, s.th.Kind, s.th.Stack = Outside, "", stack.Frames
		return nil
	}
	s.th.Kind, s.th.Frame = kind.Name, at
	existing, already, err := s.existing(kind)
	if err != nil {
		return err
	}
	if already {
		s.th.Status = Already
		return nil
	}
	if err := s.place(existing); err != nil {
		return err
	}
	install := installCalls(s.programs[s.index(kind)])
	if err := permitted(existing, s.code, install); err != nil {
		return err
	}
	rets, err := s.target().perform(install...)
	if err != nil {
		return err
	}
	for i, what := range []string{"prctl(PR_SET_NO_NEW_PRIVS)", "prctl(PR_SET_SECCOMP)"} {
		if rets[i] != 0 {
			return fmt.Errorf("thread %d: %s: %w", tid, what, unix.Errno(-rets[i]))
		}
	}
	if err := s.verify(kind, len(existing)); err != nil {
		return err
	}
	s.th.Status = Installed
	s.a.installed[tid] = kind.Name
	delete(s.a.owed, tid)
	return nil
}

func (s *session) target() *target {
	return &target{c: s.c, pid: s.th.PID, tid: s.th.TID, code: s.code, ended: s.a.ended}
}

func (s *session) index(k *enforce.Kind) int {
	for i := range s.a.plan.Kinds {
		if &s.a.plan.Kinds[i] == k {
			return i
		}
	}
	panic("attach: kind of another plan")
}

// installCalls are the two calls that install a filter. Both are prctl: services are often forbidden seccomp().
func installCalls(program uint64) []call {
	return []call{
		{unix.SYS_PRCTL, [6]uint64{unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0}},
		{unix.SYS_PRCTL, [6]uint64{unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, program, 0, 0}},
	}
}

// existing returns the filters that the thread carries, oldest first, and whether the kind's is among them. Where filters
// cannot be read and all are ours, it returns those of all kinds: what each of them permits is permitted.
func (s *session) existing(kind *enforce.Kind) (filters []filter.Program, already bool, err error) {
	st, err := proc.ReadStatus(s.th.TID)
	if err != nil {
		return nil, false, err
	}
	switch st.Seccomp {
	case unix.SECCOMP_MODE_DISABLED:
		return nil, false, nil
	case unix.SECCOMP_MODE_STRICT:
		return nil, false, fmt.Errorf("thread %d: seccomp strict mode: %w", s.th.TID, ErrForeignFilter)
	}
	filters, err = readFilters(s.c, s.th.TID)
	if errors.Is(err, proc.ErrPermission) {
		if !s.a.ours {
			return nil, false, fmt.Errorf("thread %d: %w, which only root can read, outside of every filter; start the server by run", s.th.TID, ErrForeignFilter)
		}
		if st.SeccompFilters == s.a.inherited {
			return nil, false, nil
		}
		for i := range s.a.plan.Kinds {
			filters = append(filters, s.a.plan.Kinds[i].Filter)
		}
		return filters, s.a.installed[s.th.TID] == kind.Name || !s.a.owed[s.th.TID] && s.p.jumped(kind), nil
	}
	if err != nil {
		return nil, false, err
	}
	for _, f := range filters {
		already = already || f.Equal(kind.Filter)
	}
	return filters, already, nil
}

// readFilters reads the filters of a stopped thread, oldest first.
func readFilters(c *proc.Conn, tid int) ([]filter.Program, error) {
	raw, err := c.Filters(tid)
	if err != nil {
		return nil, err
	}
	filters := make([]filter.Program, len(raw))
	for i, insts := range raw {
		p := make(filter.Program, len(insts))
		for j, in := range insts {
			p[j] = filter.Inst{Code: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}
		}
		if err := p.Validate(); err != nil {
			return nil, fmt.Errorf("thread %d: filter %d: %w", tid, i, err)
		}
		filters[i] = p
	}
	return filters, nil
}

// permitted reports whether the filters let the calls pass; else making them would end the thread, or fail.
func permitted(filters []filter.Program, code uint64, calls []call) error {
	for _, c := range calls {
		v, err := filter.Effective(filters, filter.Data{Nr: int32(c.nr), Arch: filter.ArchX86_64, IP: code + stubSyscallEnd, Args: c.args})
		if err != nil {
			return err
		}
		if action := v & filter.RetAction; action != filter.RetAllow && action != filter.RetLog {
			return fmt.Errorf("%w, which answers %s with %s; let its creator's kind allow it", ErrForeignFilter,
				syscalls.Name(c.nr), filter.VerdictName(v))
		}
	}
	return nil
}

// place makes sure that code and filters are in the process. What was found before the thread was stopped is checked: the
// process may have executed its program anew.
func (s *session) place(existing []filter.Program) error {
	pid, tid := s.th.PID, s.th.TID
	got := make([]byte, len(stub))
	if s.ready && (s.c.ReadMem(pid, s.code, got) != nil || !bytes.Equal(got, stub)) {
		return fmt.Errorf("thread %d: code is gone: %w", tid, errAgain)
	}
	if !s.ready {
		maps, err := proc.ReadMaps(pid)
		if err != nil {
			return err
		}
		if s.code, err = putCode(s.c, pid, tid, maps, s.a.tables); err != nil {
			return err
		}
		s.ready = true
	}
	if s.programs != nil {
		want, programs := blob(s.a.plan, s.programs[0]-uint64(len(blobMagic)))
		got := make([]byte, len(want))
		if s.c.ReadMem(pid, s.programs[0]-uint64(len(blobMagic)), got) != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("thread %d: filters are gone: %w", tid, errAgain)
		}
		s.programs = programs
		return nil
	}
	if err := permitted(existing, s.code, []call{mapBlob(s.a.blobLen)}); err != nil {
		return err
	}
	var err error
	s.programs, err = s.target().putBlob(s.a.plan)
	return err
}

// verify checks with the kernel that the thread carries the kind's filter now; before is the number of filters it had.
func (s *session) verify(kind *enforce.Kind, before int) error {
	st, err := proc.ReadStatus(s.th.TID)
	if err != nil {
		return err
	}
	filters, err := readFilters(s.c, s.th.TID)
	switch {
	case errors.Is(err, proc.ErrPermission):
		if st.Seccomp == unix.SECCOMP_MODE_FILTER {
			return nil
		}
	case err != nil:
		return err
	case len(filters) == before+1 && filters[before].Equal(kind.Filter):
		return nil
	}
	return fmt.Errorf("thread %d: the kernel shows another filter than was installed: %w", s.th.TID, ErrThread)
}
