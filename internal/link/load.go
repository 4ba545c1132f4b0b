package link

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"syspart/internal/summary"
	"syspart/profile"
)

// maxModules bounds the number of modules of one program.
const maxModules = 1024

// Load loads a program: the executable exe, a path inside opt.Root, and everything that it needs. The result depends on
// the files, opt and the processor only. A library that is nowhere to be found is a *MissingError.
func Load(ctx context.Context, exe string, opt Options) (*Program, error) {
	root, err := newRoot(opt.Root, opt.View)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &loader{
		ctx: ctx, opt: opt, fs: root,
		prog:  &Program{Root: root.dir, Interp: -1, VDSO: -1, names: map[string]*Module{}},
		turns: turns{free: runtime.GOMAXPROCS(0)},
		files: map[fileID]*future{}, byID: map[fileID]*Module{}, memo: map[query]answer{}, tried: map[string]bool{},
	}
	// After an error summaries may still be under way: nothing of ours runs on when Load has returned.
	defer l.running.Wait()
	defer cancel()
	if err := l.load(exe); err != nil {
		return nil, err
	}
	p := l.prog
	for i, m := range p.Modules {
		m.Index = i
		m.Base = p.funcs
		p.funcs += uint32(len(m.Funcs))
	}
	p.owner = make([]uint16, 0, p.funcs)
	for i, m := range p.Modules {
		for range m.Funcs {
			p.owner = append(p.owner, uint16(i))
		}
	}
	l.link()
	p.bindings = make([]binding, len(p.Modules))
	return p, nil
}

// loader is the state of one Load.
type loader struct {
	ctx   context.Context
	opt   Options
	fs    rootFS
	prog  *Program
	turns turns              // at summaries
	files map[fileID]*future // summaries under way or done
	tried map[string]bool    // names that were looked for ahead
	byID  map[fileID]*Module
	memo  map[query]answer
	needs map[*Module][]*Module
	roots []*Module // of the modules loaded later

	filters map[*Module][]*Module // DT_FILTER and DT_AUXILIARY

	running sync.WaitGroup
}

type query struct {
	name string
	from *Module
}

type answer struct {
	found
	err error
}

// future is a summary under way.
type future struct {
	done chan struct{}
	sum  *summary.Module
	err  error
}

// fetch starts to summarise a file, once.
func (l *loader) fetch(f found) *future {
	fut := l.files[f.id]
	if fut == nil {
		fut = &future{done: make(chan struct{})}
		l.files[f.id] = fut
		turn := l.turns.ask(f.id.size)
		l.running.Go(func() {
			defer close(fut.done)
			<-turn
			defer l.turns.give()
			if fut.err = l.ctx.Err(); fut.err == nil {
				fut.sum, fut.err = l.opt.Summarize(f.host, nil)
			}
		})
	}
	return fut
}

// module waits for a file's summary and makes a module of it, which is not yet part of the program.
func (l *loader) module(f found, how string, by *Module) (*Module, error) {
	fut := l.fetch(f)
	select {
	case <-fut.done:
	case <-l.ctx.Done():
		return nil, l.ctx.Err()
	}
	if fut.err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, fut.err)
	}
	m := &Module{Module: fut.sum, Path: f.name, Real: f.inside, File: f.host, Found: how, name: f.name, loader: by}
	if l.fs.dir == "" {
		if real, err := l.fs.view.EvalSymlinks(f.host); err == nil {
			m.Real, m.File = real, real
		}
	}
	if clean := path.Clean(f.name); clean != f.name {
		if _, _, id, err := l.fs.stat(clean); err == nil && id == f.id {
			m.Path = clean
		}
	}
	l.byID[f.id] = m
	return m, nil
}

// call gives a module a name; the first module of a name keeps it.
func (l *loader) call(m *Module, names ...string) {
	for _, n := range names {
		if _, ok := l.prog.names[n]; !ok && n != "" {
			l.prog.names[n] = m
		}
	}
}

// load does the work of Load up to the order of modules.
func (l *loader) load(exe string) error {
	p := l.prog
	name := l.fs.abs(exe)
	inside, host, id, err := l.fs.stat(name)
	if err != nil {
		return err
	}
	file := found{name, inside, host, id}
	l.programAhead(file)
	main, err := l.module(file, profile.FoundGiven, nil)
	if err != nil {
		return err
	}
	main.Global = true
	l.call(main, main.Dyn.Soname)
	p.Modules = []*Module{main}
	if isDynamic(main.Module) {
		if err := l.loadDynamic(main); err != nil {
			return err
		}
	} else {
		p.search = newSearcher(l.fs, main, "", thisCPU(), l.warn)
	}
	if err := l.loadVDSO(); err != nil {
		return err
	}
	p.start = len(p.Modules)
	return l.loadExtras(l.opt.Modules)
}

// warn records what the loader passes over.
func (l *loader) warn(what string, err error) {
	l.prog.Skipped = append(l.prog.Skipped, Skip{what, err})
}

// loadDynamic loads interpreter, preloads and what is needed, breadth-first.
func (l *loader) loadDynamic(main *Module) error {
	p := l.prog
	p.search = newSearcher(l.fs, main, main.Interp, thisCPU(), l.warn)
	p.Musl = p.search.musl
	p.search.setEnv(l.opt.LibraryPath)

	if !p.Musl {
		l.prefetch([]*Module{main}) // beside the interpreter
	}
	var interp *Module
	if main.Interp != "" {
		file := l.fs.abs(main.Interp)
		inside, host, id, err := l.fs.stat(file)
		if err != nil {
			return &MissingError{Library: main.Interp, NeededBy: main.Path, Searched: []string{file}}
		}
		if interp, err = l.module(found{main.Interp, inside, host, id}, foundInterp, nil); err != nil {
			return err
		}
		l.call(interp, main.Interp, interp.Dyn.Soname)
		if p.Musl {
			for _, lib := range muslLibs {
				l.call(interp, lib)
			}
		}
	}
	preload, err := l.preloads()
	if err != nil {
		return err
	}
	for _, pre := range preload {
		m, err := l.need(pre.name, main, pre.how)
		switch {
		case errors.Is(err, ErrMissing):
			l.warn("preload "+pre.name, err)
		case err != nil:
			return err
		default:
			l.attach(m)
			m.Global = true
		}
	}
	if err := l.breadthFirst(0, false); err != nil {
		return err
	}
	l.filtersFirst(p.Modules[1:])
	if interp != nil {
		// Outside the breadth-first order the interpreter is in the link map, but in nobody's scope.
		global := len(p.Modules)
		l.attach(interp)
		interp.Global = len(p.Modules) == global
		for i, m := range p.Modules {
			if m == interp {
				p.Interp = i
			}
		}
	}
	return nil
}

// muslLibs are the libraries that musl's libc is (ldso/dynlink.c: load_library): "libm.so.6" and the like mean it, too.
var muslLibs = []string{"c", "pthread", "rt", "m", "dl", "util", "xnet"}

// known returns the loaded module that a name means, nil if there is none.
func (p *Program) known(name string) *Module {
	if m := p.names[name]; m != nil {
		return m
	}
	if p.Musl && strings.HasPrefix(name, "lib") && !strings.Contains(name, "/") {
		short, _, dot := strings.Cut(name[3:], ".")
		for _, lib := range muslLibs {
			if dot && short == lib {
				return p.names[lib]
			}
		}
	}
	return nil
}

type preload struct{ name, how string }

// preloads returns LD_PRELOAD and what /etc/ld.so.preload lists, which musl does not read.
func (l *loader) preloads() ([]preload, error) {
	var list []preload
	for _, entry := range l.opt.Preload {
		for _, name := range strings.FieldsFunc(entry, func(r rune) bool { return r == ':' || r == ' ' }) {
			list = append(list, preload{name, profile.FoundGiven})
		}
	}
	if l.prog.Musl {
		return list, nil
	}
	text, err := l.fs.readText("/etc/ld.so.preload")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, name := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n:", r) }) {
			list = append(list, preload{name, profile.FoundNeeded})
		}
	}
	return list, nil
}

// attach puts a module at the end of the program's list if it is not in it.
func (l *loader) attach(m *Module) {
	for _, old := range l.prog.Modules {
		if old == m {
			return
		}
	}
	l.prog.Modules = append(l.prog.Modules, m)
}

// locate searches for a library once per asking module.
func (l *loader) locate(name string, from *Module) (found, error) {
	q := query{name, from}
	a, ok := l.memo[q]
	if !ok {
		a.found, a.err = l.prog.search.find(name, from)
		l.memo[q] = a
	}
	return a.found, a.err
}

// need returns the module that a name means to a module, loaded already or not. A new one is not yet in the list.
func (l *loader) need(name string, from *Module, how string) (*Module, error) {
	if m := l.prog.known(name); m != nil {
		return m, nil
	}
	f, err := l.locate(name, from)
	if err != nil {
		return nil, err
	}
	m := l.byID[f.id]
	if m == nil {
		if m, err = l.module(f, how, from); err != nil {
			return nil, err
		}
		if len(l.byID) > maxModules {
			return nil, fmt.Errorf("%s: more than %d modules: %w", l.prog.Modules[0].Path, maxModules, ErrLimit)
		}
		if l.prog.Musl {
			l.call(m, m.name) // musl knows libraries by the name they were found under, not by DT_SONAME
		} else {
			l.call(m, m.name, m.Dyn.Soname)
		}
	}
	l.call(m, name)
	return m, nil
}

// prefetch starts the summaries of what modules need. It errs on the side of too many: one that turns out to be another
// name of a loaded module is not used.
func (l *loader) prefetch(level []*Module) {
	for _, m := range level {
		for _, name := range m.Dyn.Needed {
			if l.prog.known(name) == nil {
				if f, err := l.locate(name, m); err == nil {
					l.fetch(f)
				}
			}
		}
	}
}

// breadthFirst appends what the modules from index first on need, and what those need in turn. Summaries of one level
// are made in parallel.
func (l *loader) breadthFirst(first int, later bool) error {
	p := l.prog
	for lo := first; lo < len(p.Modules); {
		level := p.Modules[lo:len(p.Modules):len(p.Modules)]
		l.prefetch(level)
		for _, m := range level {
			how := profile.FoundNeeded
			if m.Later {
				how = m.Found
			}
			if _, done := l.needs[m]; done {
				continue
			}
			needs := make([]*Module, 0, len(m.Dyn.Needed))
			take := func(n *Module) {
				needs = append(needs, n)
				before := len(p.Modules)
				l.attach(n)
				if len(p.Modules) > before {
					n.Later = later
					n.Global = !later
				}
			}
			for _, name := range m.Dyn.Filters {
				n, err := l.need(name, m, how)
				if errors.Is(err, ErrMissing) {
					l.warn("filter "+name, err)
					continue
				} else if err != nil {
					return err
				}
				take(n)
				if l.filters == nil {
					l.filters = map[*Module][]*Module{}
				}
				l.filters[m] = append(l.filters[m], n)
			}
			for _, name := range m.Dyn.Needed {
				n, err := l.need(name, m, how)
				if err != nil {
					return err
				}
				take(n)
			}
			for _, name := range m.Dyn.Audit {
				l.warn("audit library "+name+" of "+m.Path, errors.ErrUnsupported)
			}
			if l.needs == nil {
				l.needs = map[*Module][]*Module{}
			}
			l.needs[m] = needs
		}
		lo += len(level)
	}
	return nil
}

// loadVDSO adds the vDSO.
func (l *loader) loadVDSO() error {
	data := l.opt.VDSO
	if l.opt.NoVDSO {
		return nil
	}
	if data == nil {
		var err error
		if data, err = ReadVDSO(); errors.Is(err, ErrNoVDSO) {
			l.warn("vdso", err)
			return nil
		} else if err != nil {
			return err
		}
	}
	sum, err := l.opt.Summarize("[vdso]", data)
	if err != nil {
		return fmt.Errorf("vdso: %w", err)
	}
	m := &Module{Module: sum, Path: "[vdso]", Real: "[vdso]", name: "linux-vdso.so.1", Found: foundVDSO, loader: l.prog.Modules[0]}
	l.prog.VDSO = len(l.prog.Modules)
	l.prog.Modules = append(l.prog.Modules, m)
	l.call(m, m.name, m.Path)
	return nil
}

// loadExtras adds the modules that are loaded later. In what order a program loads them is not known: one that needs a library
// which is nowhere to be found is tried again when others are there, of which one may have that library's name.
func (l *loader) loadExtras(list []Extra) error {
	l.extrasAhead(list)
	for {
		var failed []Extra
		var errs []error
		for _, e := range list {
			if err := l.loadExtra(e); errors.Is(err, ErrMissing) {
				failed, errs = append(failed, e), append(errs, err)
			} else if err != nil {
				return err
			}
		}
		if len(failed) == len(list) {
			for i, e := range failed {
				if !e.Optional {
					return errs[i]
				}
				l.warn(e.Path, errs[i])
			}
			return nil
		}
		list = failed
	}
}

// loadExtra adds a module that is loaded later, with what it needs. If something is missing, nothing is added.
func (l *loader) loadExtra(e Extra) error {
	p := l.prog
	if err := l.ctx.Err(); err != nil {
		return err
	}
	before := len(p.Modules)
	m, err := l.extra(e)
	if err == nil {
		l.attach(m)
		m.Later = m.Later || len(p.Modules) > before
		m.Opened = m.Opened || e.Opened
		err = l.breadthFirst(before, true)
	}
	if err != nil {
		missing := errors.Is(err, ErrMissing)
		if !missing && !e.Optional || l.ctx.Err() != nil {
			return err
		}
		l.forget(before)
		if missing {
			return err
		}
		l.warn(e.Path, err)
		return nil
	}
	for _, n := range p.Modules[before:] {
		n.local = true
	}
	if m.Later {
		l.roots = append(l.roots, m)
	}
	if !e.Local {
		for _, n := range reach(m, func(m *Module) []*Module { return l.needs[m] }) {
			n.local = false
		}
	}
	return nil
}

// extra returns the module that is to be loaded later. Several that are gone may have had one path.
func (l *loader) extra(e Extra) (*Module, error) {
	exe := l.prog.Modules[0]
	if e.Summary == nil {
		return l.need(e.Path, exe, e.Found)
	}
	for _, old := range l.prog.Modules {
		if old.SHA256 == e.Summary.SHA256 {
			return old, nil
		}
	}
	m := &Module{Module: e.Summary, Path: e.Path, Real: e.Path, Found: e.Found, name: e.Path, loader: exe}
	l.call(m, e.Path)
	if !l.prog.Musl {
		l.call(m, m.Dyn.Soname)
	}
	return m, nil
}

// forget takes back the modules from index first on, and all that was known of them.
func (l *loader) forget(first int) {
	p := l.prog
	keep := map[*Module]bool{}
	for _, m := range p.Modules[:first] {
		keep[m] = true
	}
	p.Modules = p.Modules[:first]
	for n, m := range p.names {
		if !keep[m] {
			delete(p.names, n)
		}
	}
	for id, m := range l.byID {
		if !keep[m] {
			delete(l.byID, id)
		}
	}
	for m := range l.needs {
		if !keep[m] {
			delete(l.needs, m)
		}
	}
	for q := range l.memo {
		if !keep[q.from] {
			delete(l.memo, q)
		}
	}
}

// filtersFirst moves the modules that another one names as its filters right before it, where lookups find them first.
func (l *loader) filtersFirst(list []*Module) {
	if len(l.filters) == 0 {
		return
	}
	for _, m := range slices.Clone(list) {
		for _, n := range l.filters[m] {
			if at, from := slices.Index(list, m), slices.Index(list, n); from > at {
				copy(list[at+1:from+1], list[at:from])
				list[at] = n
			}
		}
	}
}

// reach returns a module and what it needs, breadth-first.
func reach(m *Module, needs func(*Module) []*Module) []*Module {
	list, seen := []*Module{m}, map[*Module]bool{m: true}
	for i := 0; i < len(list); i++ {
		for _, n := range needs(list[i]) {
			if !seen[n] {
				seen[n] = true
				list = append(list, n)
			}
		}
	}
	return list
}

// link turns what is needed into indices and makes the scopes of the modules loaded later.
func (l *loader) link() {
	p := l.prog
	for _, m := range p.Modules {
		for _, n := range l.needs[m] {
			m.Needed = append(m.Needed, n.Index)
		}
	}
	for _, root := range l.roots {
		g := int32(len(p.groups))
		var group []int32
		list := reach(root, func(m *Module) []*Module { return l.needs[m] })
		l.filtersFirst(list)
		for _, m := range list {
			group = append(group, int32(m.Index))
			if m.Later {
				m.groups = append(m.groups, g)
			}
		}
		p.groups = append(p.groups, group)
	}
}

// Resolve finds the file that dlopen(name), called in module from, would load: a path inside Root, fit for Extra.Path.
// A library that is part of the program already is not searched for. It returns a *MissingError if there is no such file.
func (p *Program) Resolve(name string, from int) (file string, err error) {
	if m := p.known(name); m != nil {
		return m.Path, nil
	}
	f, err := p.search.find(name, p.Modules[from])
	if err != nil {
		return "", err
	}
	return f.name, nil
}
