package link

import (
	"cmp"
	"os"
	"slices"
	"sync"

	"syspart/internal/image"
	"syspart/internal/summary"
)

// A file's summary takes long, and what it needs stands in its headers. So these are read before, by themselves, and all
// summaries are started at once: whoever waits for one finds the others under way. What is found out ahead decides nothing
// else: names are looked up again in the loader's order when the summaries are there.

// turns lets some of those who ask go on at a time, of those who wait the one with the most to do first: nobody is left to
// work alone at the end.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting []turn
}

type turn struct {
	size int64
	come chan struct{}
}

// ask asks for a turn, which has come when the channel is closed. Whoever asks first comes first as long as turns are free.
func (t *turns) ask(size int64) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	come := make(chan struct{})
	if t.free > 0 {
		t.free--
		close(come)
	} else {
		t.waiting = append(t.waiting, turn{size, come})
	}
	return come
}

// give passes a turn on.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.free++
		return
	}
	most := 0
	for i := range t.waiting {
		if t.waiting[i].size > t.waiting[most].size {
			most = i
		}
	}
	close(t.waiting[most].come)
	t.waiting = slices.Delete(t.waiting, most, most+1)
}

// headers makes a module of what a file's headers say of other files; nil if they cannot be read. Of the executable also what
// is guessed from its imports is needed.
func (l *loader) headers(f found, by *Module) *Module {
	fd, err := os.Open(f.host)
	if err != nil {
		return nil
	}
	defer fd.Close()
	file, err := image.Heads(f.name, fd, f.id.size, by == nil && l.opt.Guess != nil)
	if err != nil {
		return nil
	}
	sum := summary.Module{Interp: file.Interp, Dyn: file.Dyn}
	if len(sum.Dyn.Symbols) > 0 {
		var names []string
		for i := range sum.Dyn.Symbols {
			if s := &sum.Dyn.Symbols[i]; s.Undefined {
				names = append(names, s.Name)
			}
		}
		sum.Dyn.Needed = append(sum.Dyn.Needed, l.opt.Guess(names)...)
	}
	m := &Module{Module: &sum, Path: f.name, Real: f.inside, name: f.name, loader: by}
	if l.fs.dir == "" {
		if real, err := l.fs.view.EvalSymlinks(f.host); err == nil {
			m.Real = real
		}
	}
	return m
}

// programAhead starts the summaries of a program and of what it needs.
func (l *loader) programAhead(f found) {
	l.fetch(f)
	m := l.headers(f, nil)
	if m == nil || m.Interp == "" {
		return
	}
	s := newSearcher(l.fs, m, m.Interp, thisCPU(), func(string, error) {})
	if s.musl { // whose loader is most of what its programs need
		return
	}
	s.setEnv(l.opt.LibraryPath)
	var files []found
	if inside, host, id, err := l.fs.stat(l.fs.abs(m.Interp)); err == nil {
		files = append(files, found{m.Interp, inside, host, id})
	}
	l.ahead(s, []*Module{m}, files)
}

// extrasAhead starts the summaries of modules that are loaded later and of what they need.
func (l *loader) extrasAhead(list []Extra) {
	var level []*Module
	var files []found
	for _, e := range list {
		if e.Summary != nil || l.prog.known(e.Path) != nil || l.tried[e.Path] {
			continue
		}
		l.tried[e.Path] = true
		if f, err := l.locate(e.Path, l.prog.Modules[0]); err == nil {
			files = append(files, f)
			if m := l.headers(f, l.prog.Modules[0]); m != nil {
				level = append(level, m)
			}
		}
	}
	l.ahead(l.prog.search, level, files)
}

// ahead starts the summaries of files, of what modules need, and of what these need in turn, each name once.
func (l *loader) ahead(s *searcher, level []*Module, files []found) {
	for len(level) > 0 && len(l.tried) < maxModules {
		var next []*Module
		for _, m := range level {
			for _, name := range m.Dyn.Needed {
				if l.tried[name] || l.prog.known(name) != nil {
					continue
				}
				l.tried[name] = true
				if f, err := s.find(name, m); err == nil {
					files = append(files, f)
					if n := l.headers(f, m); n != nil {
						next = append(next, n)
					}
				}
			}
		}
		level = next
	}
	slices.SortStableFunc(files, func(a, b found) int { return cmp.Compare(b.id.size, a.id.size) })
	for _, f := range files {
		l.fetch(f)
	}
}
