package observe

import (
	"cmp"
	"errors"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"syspart/internal/proc"
	"syspart/internal/unwind"
)

// Limits and paces of the sampler.
const (
	maxStacks    = 4096                   // distinct stacks kept for a thread
	keepOpen     = 256                    // threads whose files stay open
	mapsInterval = 100 * time.Millisecond // how often mappings are read again
	costFactor   = 50                     // time between two efforts, as a multiple of what the first took
	maxStopCost  = 100 * time.Microsecond // what stopping a thread and copying its stack takes at most
	maxTorn      = 3                      // looks at a thread in one round
	nameInterval = 64                     // samples between two readings of a thread's name
)

// member is a process of the tree.
type member struct {
	pid, parent int
	exe         string
	root        bool
	forked      bool     // made by fork from a process that ran the same executable, and has executed nothing since
	lineage     []string // executables that it and the processes that it stems from have run, the latest last
	born        *forkRecord
	proc        *Process // nil: not read yet, or gone
	threads     map[int]*sampled
	lastMaps    time.Time
	gone        bool
}

// enter adds an executable to the lineage.
func (m *member) enter(exe string) {
	if !slices.Contains(m.lineage, exe) {
		m.lineage = append(slices.Clone(m.lineage), exe)
	}
}

// execution is a program executed by a process of that lineage.
type execution struct {
	Exec
	lineage string
}

// sampled is a thread of a server process, while it runs one program.
type sampled struct {
	Thread
	files   *threadFiles
	last    moment // when last seen asleep, and the stack it had then
	lastRef int    // index into Stacks, -1 if none
	index   map[uint64][]int
	running int       // rounds in a row in which it was running
	next    time.Time // not to be stopped before
	learned map[uint64]unwind.Regs
}

// sampler owns the tables of the tree; it runs on one goroutine.
type sampler struct {
	opt     *Options
	tr      *proc.Tracer
	journal *journal
	files   *Files
	start   time.Time
	root    int
	members map[int]*member
	order   []int // ids of members, sorted
	images  map[string]bool
	modules map[string]map[string]*code // by executable, then by path
	done    []*sampled                  // threads that have ended or execute another program
	execs   map[execution]bool          // those in list, without ByPID
	list    []execution
	given   map[argument]bool
	open    int // threads whose files are open
	samples int
	ended   bool // the root process has ended
	status  int
	seed    maphash.Seed
	last    bool         // this is the last round: every thread should have a sample
	nextHot time.Time    // no thread is stopped before
	main    atomic.Int64 // process that stands for the server; read by other goroutines
}

func newSampler(opt *Options, tr *proc.Tracer, j *journal) *sampler {
	return &sampler{opt: opt, tr: tr, journal: j, files: NewFiles(), start: time.Now(), members: make(map[int]*member),
		images: make(map[string]bool), modules: make(map[string]map[string]*code), execs: make(map[execution]bool), given: make(map[argument]bool), seed: maphash.MakeSeed()}
}

func procFile(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

func (s *sampler) seconds() float64 { return time.Since(s.start).Seconds() }

// update takes over what the tracer has noted.
func (s *sampler) update() {
	for _, c := range s.journal.take() {
		switch c.kind {
		case addedProcess:
			s.addProcess(&c)
		case addedThread:
			if m := s.members[c.pid]; m != nil {
				s.addThread(m, c.tid)
			}
		case executed:
			s.execute(&c)
		case exiting, mapped:
			if m := s.members[c.pid]; m != nil && s.serves(m) {
				if !s.ensure(m) { // gone already
					m.proc = newProcess(m.pid, s.files)
				}
				_ = m.proc.setMaps(c.maps) // text of the kernel's; what it names may be gone
				s.noteModules(m)
			}
		case named:
			if m := s.members[c.pid]; m != nil && s.serves(m) {
				s.name(m, &c)
			}
		case ended:
			s.end(&c)
		}
	}
}

func (s *sampler) addProcess(c *change) {
	m := s.members[c.pid]
	if m == nil {
		m = &member{pid: c.pid, parent: c.parent, exe: c.exe, root: c.pid == s.root, threads: make(map[int]*sampled)}
	} // else it was found before its maker reported it
	if parent := s.members[c.parent]; parent != nil {
		if m.exe == "" {
			m.exe = parent.exe
		}
		m.lineage = parent.lineage
		m.forked = m.exe == parent.exe && !m.root
		if c.fork != nil && s.serves(m) {
			m.born = s.birth(parent, m, c)
		}
	}
	if m.root {
		s.images[m.exe] = true
	}
	m.enter(m.exe)
	s.members[c.pid] = m
	if i, found := slices.BinarySearch(s.order, c.pid); !found {
		s.order = slices.Insert(s.order, i, c.pid)
	}
	s.addThread(m, c.tid)
}

// birth unwinds the stack with which a child was born, by the mappings of whichever of the two still has any.
func (s *sampler) birth(parent, child *member, c *change) *forkRecord {
	for _, m := range []*member{parent, child} {
		if s.ensure(m) {
			st := m.proc.walk(unwind.Stopped(&c.fork.regs), &c.fork.stack)
			if st.Complete {
				return newForkRecord(&st)
			}
		}
	}
	return nil
}

func (s *sampler) addThread(m *member, tid int) {
	if m.threads[tid] != nil {
		return
	}
	m.threads[tid] = &sampled{
		Thread: Thread{PID: m.pid, TID: tid, Leader: tid == m.pid, ParentPID: m.parent, First: m.root, Forked: m.forked, Program: m.exe},
		index:  make(map[uint64][]int), lastRef: -1, learned: make(map[uint64]unwind.Regs),
	}
}

func (s *sampler) execute(c *change) {
	m := s.members[c.pid]
	if m == nil {
		return
	}
	e := execution{Exec: Exec{Path: c.exe, Script: c.script, Forked: !m.root}, lineage: strings.Join(m.lineage, "\x00")}
	if !s.execs[e] {
		s.execs[e] = true
		e.ByPID = c.pid
		s.list = append(s.list, e)
	}
	for tid, th := range m.threads {
		s.finish(th)
		delete(m.threads, tid)
	}
	m.exe, m.forked, m.born, m.proc = c.exe, false, nil, nil
	m.enter(m.exe)
	if m.root {
		s.images[m.exe] = true
	}
	s.addThread(m, c.pid)
}

func (s *sampler) end(c *change) {
	m := s.members[c.pid]
	if m == nil {
		return
	}
	if th := m.threads[c.tid]; th != nil {
		s.finish(th)
		delete(m.threads, c.tid)
	}
	if c.tid == c.pid {
		if m.root {
			s.ended, s.status = true, c.status
		}
		s.retire(m)
	}
}

// argument is one of a process of that executable.
type argument struct {
	exe string
	Argument
}

// name enters what a function of libc was given.
func (s *sampler) name(m *member, c *change) {
	a := argument{m.exe, Argument{What: c.what, Name: c.name}}
	ok := false
	if c.fork != nil {
		a.Module, a.PC, ok = s.caller(m, c)
	} else if s.ensure(m) {
		a.Module, a.PC, ok = m.proc.Locate(c.ret)
		if !ok && m.proc.Refresh() == nil {
			a.Module, a.PC, ok = m.proc.Locate(c.ret)
		}
	}
	if ok && len(s.given) < maxArguments {
		s.given[a] = true
	}
}

// caller returns where the innermost function outside of the module on top of a stack, libc, goes on; for a child on a stack
// of its own (posix_spawn, system) that of the thread that has made it.
func (s *sampler) caller(m *member, c *change) (module string, pc uint64, ok bool) {
	p := newProcess(m.pid, s.files)
	if p.setMaps(c.maps) != nil {
		return "", 0, false
	}
	res := p.space.Unwind(unwind.Stopped(&c.fork.regs), &c.fork.stack, maxFrames)
	frames := toStack(&res).Frames
	if len(frames) == 0 {
		return "", 0, false
	}
	libc := frames[0].Module
	outside := func(f Frame) bool { return f.Module != libc }
	i := slices.IndexFunc(frames, outside)
	if i < 0 && m.born != nil {
		frames = m.born.frames
		i = slices.IndexFunc(frames, outside)
	}
	if i < 0 {
		return "", 0, false
	}
	return frames[i].Module, frames[i].PC, true
}

// arguments returns those of a program.
func (s *sampler) arguments(program string) []Argument {
	var list []Argument
	for a := range s.given {
		if a.exe == program {
			list = append(list, a.Argument)
		}
	}
	slices.SortFunc(list, func(a, b Argument) int {
		return cmp.Or(cmp.Compare(a.Module, b.Module), cmp.Compare(a.PC, b.PC), cmp.Compare(a.What, b.What), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// retire drops a process from the tables, keeping what its threads have shown.
func (s *sampler) retire(m *member) {
	for _, th := range m.threads {
		s.finish(th)
	}
	m.gone = true
	delete(s.members, m.pid)
	if i, found := slices.BinarySearch(s.order, m.pid); found {
		s.order = slices.Delete(s.order, i, i+1)
	}
}

// finish closes a thread's record.
func (s *sampler) finish(th *sampled) {
	if th.files != nil {
		if th.files.fds[0] >= 0 {
			s.open--
		}
		th.files.close()
		th.files = nil
	}
	if th.Samples > 0 || th.Discarded > 0 {
		s.done = append(s.done, th)
	}
}

// serves reports whether a process runs (what may be) the server's program.
func (s *sampler) serves(m *member) bool {
	if s.opt.Program != "" {
		return m.exe == s.opt.Program
	}
	return s.images[m.exe]
}

// serving reports whether any process of the server is left.
func (s *sampler) serving() bool {
	for _, m := range s.members {
		if m.root || s.serves(m) {
			return true
		}
	}
	return false
}

// ensure opens a process's mappings and reports whether they are there.
func (s *sampler) ensure(m *member) bool {
	if m.proc != nil {
		return true
	}
	p, err := OpenProcess(m.pid, s.files)
	if err != nil {
		return false
	}
	m.proc, m.lastMaps = p, time.Now()
	if m.same() {
		s.noteModules(m)
	}
	return true
}

// same reports whether a process, whose mappings have just been read, still runs the executable that we know of: if it has
// executed another one, the mappings may be that one's.
func (m *member) same() bool {
	exe, _, err := proc.Exe(m.pid)
	return err == nil && exe == m.exe
}

// noteModules enters the files that a process has mapped.
func (s *sampler) noteModules(m *member) {
	all := s.modules[m.exe]
	if all == nil {
		all = make(map[string]*code)
		s.modules[m.exe] = all
	}
	for path, c := range m.proc.codes {
		all[path] = c
	}
}

// round samples every thread once.
func (s *sampler) round() {
	now := time.Now()
	for _, pid := range s.order {
		m := s.members[pid]
		if !s.serves(m) || !s.ensure(m) {
			continue
		}
		if now.Sub(m.lastMaps) >= mapsInterval {
			m.lastMaps = now
			if m.proc.Refresh() != nil {
				continue
			}
			if m.same() {
				s.noteModules(m)
			}
		}
		for _, th := range m.threads {
			s.sample(m, th)
		}
	}
}

// sample looks at one thread.
func (s *sampler) sample(m *member, th *sampled) {
	if th.files == nil {
		th.files = watchThread(m.pid, th.TID, s.open < keepOpen)
		if th.files.fds[0] >= 0 {
			s.open++
		}
	}
	if th.Samples%nameInterval == 0 {
		if name, err := proc.Comm(th.TID); err == nil {
			th.Comm = name
		}
	}
	for range maxTorn {
		if th.lastRef >= 0 {
			if at, err := th.files.moment(); err == nil && at == th.last && at.slices != "" {
				s.repeat(th) // it has not run since
				return
			}
		}
		res, at, out, err := m.proc.asleep(th.files, func(at moment) *unwind.Regs {
			if r, ok := th.learned[s.lineKey(at.line)]; ok {
				return &r
			}
			return nil
		})
		if err != nil {
			return // ended; the tracer will say so
		}
		switch out {
		case Running:
			th.running++
			if th.running >= 2 && s.mayStop(th) {
				s.stop(m, th, nil)
			}
			return
		case Torn:
			th.running = 0
			th.Discarded++
			continue
		case Unsure:
			th.running = 0
			if s.mayStop(th) && !s.stop(m, th, &at) {
				s.record(m, th, toStack(&res), moment{})
			}
			return
		case Asleep:
			th.running = 0
			s.record(m, th, toStack(&res), at)
			return
		}
	}
}

// mayStop reports whether a thread may be stopped now, or the last such effort was too recent.
func (s *sampler) mayStop(th *sampled) bool {
	if s.last && th.Samples == 0 {
		return true
	}
	now := time.Now()
	return !now.Before(th.next) && !now.Before(s.nextHot)
}

// stop stops a thread for its stack and reports whether it could. at is where the thread sleeps, nil if it runs.
func (s *sampler) stop(m *member, th *sampled, at *moment) bool {
	now := time.Now()
	var c stopped
	err := s.tr.Do(func(conn *proc.Conn) (err error) {
		c, err = copyStopped(conn, m.pid, th.TID)
		return err
	})
	// Most of a long stop is waiting for the processor, which costs nobody anything.
	s.nextHot = time.Now().Add(min(time.Since(now), maxStopCost) * costFactor)
	th.next = time.Now().Add(2 * s.opt.Interval)
	if err != nil {
		if errors.Is(err, proc.ErrBusy) {
			th.next = time.Now().Add(time.Second)
		}
		return false
	}
	st := m.proc.unwindCopy(&c)
	if at != nil && !st.Running {
		// What the stop has shown serves the next samples of the same call: those registers that calls preserve.
		key := s.lineKey(at.line)
		if _, known := th.learned[key]; known {
			// A thread that is always in one call must not be kept from its time limit by being stopped again and again.
			th.next = time.Now().Add(time.Second)
		}
		sys, err := proc.ParseSyscall(at.line)
		if err == nil && sys.SP == c.regs.Rsp && sys.PC == c.regs.Rip {
			if len(th.learned) >= maxStacks {
				clear(th.learned)
			}
			th.learned[key] = unwind.Stopped(&c.regs)
		}
	}
	s.record(m, th, st, moment{})
	return true
}

// lineKey identifies where a thread is blocked: call, stack and instruction pointer.
func (s *sampler) lineKey(line string) uint64 {
	sys, err := proc.ParseSyscall(line)
	if err != nil {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(s.seed)
	maphash.WriteComparable(&h, [3]uint64{uint64(sys.Nr), sys.SP, sys.PC})
	return h.Sum64()
}

// record counts a stack.
func (s *sampler) record(m *member, th *sampled, st Stack, at moment) {
	if th.Leader {
		m.born.mark(&st)
	}
	th.Samples++
	s.samples++
	now := s.seconds()
	var h maphash.Hash
	h.SetSeed(s.seed)
	for i := range st.Frames {
		maphash.WriteComparable(&h, st.Frames[i])
	}
	key := h.Sum64()
	th.last, th.lastRef = at, -1
	for _, i := range th.index[key] {
		old := &th.Stacks[i]
		if old.Running == st.Running && old.Complete == st.Complete && old.Inherited == st.Inherited && slices.Equal(old.Frames, st.Frames) {
			old.Count++
			old.LastSeen = now
			th.lastRef = i
			return
		}
	}
	if len(th.Stacks) == maxStacks {
		return
	}
	st.Count, st.FirstSeen, st.LastSeen = 1, now, now
	th.lastRef = len(th.Stacks)
	th.index[key] = append(th.index[key], th.lastRef)
	th.Stacks = append(th.Stacks, st)
}

// repeat counts the stack that a thread had last.
func (s *sampler) repeat(th *sampled) {
	th.Samples++
	s.samples++
	st := &th.Stacks[th.lastRef]
	st.Count++
	st.LastSeen = s.seconds()
}

// result puts the observation together.
func (s *sampler) result() *Observation {
	for _, m := range s.members {
		for _, th := range m.threads {
			s.finish(th)
		}
	}
	o := &Observation{Program: s.program(), Seconds: s.seconds(), ExitStatus: s.status, Exited: s.ended}
	o.Execs = s.executions(o.Program)
	o.Arguments = s.arguments(o.Program)
	for _, th := range s.done {
		if th.Program == o.Program {
			o.Threads = append(o.Threads, th.Thread)
		}
	}
	slices.SortStableFunc(o.Threads, func(a, b Thread) int {
		if a.First != b.First {
			if a.First {
				return -1
			}
			return 1
		}
		if a.PID != b.PID {
			return a.PID - b.PID
		}
		return a.TID - b.TID
	})
	for path, c := range s.modules[o.Program] {
		o.Modules = append(o.Modules, c.as(path))
	}
	slices.SortFunc(o.Modules, func(a, b Module) int {
		if (a.Path == o.Program) != (b.Path == o.Program) {
			if a.Path == o.Program {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Path, b.Path)
	})
	return o
}

// executions returns what the program's processes, and what stems from them, have executed; what a wrapper did before it
// became the server is left out.
func (s *sampler) executions(program string) []Exec {
	var list []Exec
	seen := make(map[Exec]bool)
	for _, e := range s.list {
		if !slices.Contains(strings.Split(e.lineage, "\x00"), program) {
			continue
		}
		key := e.Exec
		key.ByPID = 0
		if !seen[key] {
			seen[key] = true
			list = append(list, e.Exec)
		}
	}
	return list
}

// program is the executable of the server: the one that was asked for, or of those that the first process has run the one
// with most samples.
func (s *sampler) program() string {
	if s.opt.Program != "" {
		return s.opt.Program
	}
	count := make(map[string]int)
	for _, th := range s.done {
		count[th.Program] += th.Samples
	}
	best := ""
	for exe := range s.images {
		if best == "" || count[exe] > count[best] || count[exe] == count[best] && exe < best {
			best = exe
		}
	}
	return best
}
