package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"syspart/internal/callgraph"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/phase"
	"syspart/internal/store"
	"syspart/internal/summary"
	"syspart/internal/view"
	"syspart/profile"
)

// Options are what all stages share.
type Options struct {
	Root     string          // file system that the binary lives in; "" for the running system
	Level    callgraph.Level // zero value: the best there is
	CacheDir string          // "" for the user's cache directory
	NoCache  bool
	Modules  []string // files loaded later, given by the user
	Exec     []string // programs executed, given by the user
	// Plugins counts as loaded all libraries in the directories that a module has compiled in which loads some by names that
	// are not known: plug-ins of SASL, engines and providers of OpenSSL.
	Plugins bool
	// ExecPolicy says what a place means that executes a program whose name is not known.
	ExecPolicy ExecPolicy
	Progress   func(stage string, done, total int)
}

// ExecPolicy is what a profile does about executed programs.
type ExecPolicy uint8

const (
	// ExecKnown allows for programs that were proven, observed or given; where others may be executed, execve stays open and
	// the place is listed.
	ExecKnown ExecPolicy = iota
	ExecAny              // opens every call to threads that may execute a program that is not known
	ExecNone             // closes execve and execveat
)

func (o *Options) progress(stage string, done, total int) {
	if o.Progress != nil {
		o.Progress(stage, done, total)
	}
}

// maxFile bounds the files that are read: no server's module is larger.
const maxFile = 1 << 30

// loader summarises files through the cache.
type loader struct {
	opt   *Options
	cache *store.Store // nil: none
	done  atomic.Int32
	// debugs: there is a directory of debug files.
	debugs bool
	gconv  map[string][]string // by directory: modules of gconv that are not plain
	// gconvDirs are the directories of these modules, by the file of libc.
	gconvDirs map[string]string
	asked     map[string][]string // by path of a module: names that a run has shown it to look up
	walked    *callgraph.Reach    // see entered
	view      *view.View          // what is asked of the file system, nil if nobody wants to know
	memo      sync.Map            // path to *summary.Module: a program is linked again when more modules are found
	made      sync.Map            // key of the cache to *summary.Module: files have more than one path, and the vDSO none
}

func newLoader(opt *Options) *loader {
	l := &loader{opt: opt}
	if !opt.NoCache {
		// A cache that cannot be used is as good as none.
		if s, err := store.Open(opt.CacheDir); err == nil {
			l.cache, l.view = s, view.New()
		}
	}
	if fi, err := l.view.Stat(filepath.Join("/", opt.Root, filepath.Dir(filepath.Dir(image.DebugFile("0000"))))); err == nil {
		l.debugs = fi.IsDir()
	}
	return l
}

func (l *loader) close() {
	if l.cache != nil {
		l.cache.Close()
	}
}

// summarize returns the summary of a file or, if data is not nil, of an image in memory.
func (l *loader) summarize(path string, data []byte) (*summary.Module, error) {
	if data == nil {
		if m, ok := l.memo.Load(path); ok {
			return m.(*summary.Module), nil
		}
		m, err := l.read(path)
		if err == nil {
			l.memo.Store(path, m)
		}
		return m, err
	}
	return l.analyse(path, data, sha256.Sum256(data))
}

// read returns the summary of a file.
func (l *loader) read(path string) (*summary.Module, error) {
	data, sum, err := l.contents(path)
	if err != nil {
		return nil, err
	}
	return l.analyse(path, data, sum)
}

// contents returns a regular file's contents and their SHA-256.
func (l *loader) contents(path string) (data []byte, sum [32]byte, err error) {
	fi, err := l.view.Stat(path)
	if err != nil {
		return nil, sum, err
	}
	if !fi.Mode().IsRegular() {
		return nil, sum, fmt.Errorf("%s: not a regular file: %w", path, image.ErrNotELF)
	}
	if fi.Size() > maxFile {
		return nil, sum, fmt.Errorf("%s: larger than %d bytes: %w", path, maxFile, image.ErrFormat)
	}
	return l.view.ReadFileSum(path)
}

// analyse returns the summary of an image with the SHA-256 sum, from the cache if it is there.
func (l *loader) analyse(path string, data []byte, sum [32]byte) (*summary.Module, error) {
	parts := []string{"summary", summary.Version, hex.EncodeToString(sum[:])}
	debug, debugSum := l.debug(data)
	if debug != nil {
		parts = append(parts, hex.EncodeToString(debugSum[:]))
	}
	key := store.Key(parts...)
	if m, ok := l.made.Load(key); ok {
		return m.(*summary.Module), nil
	}
	if m := l.cached(key); m != nil && m.SHA256 == sum {
		l.made.Store(key, m)
		l.opt.progress("analysed", int(l.done.Add(1)), 0)
		return m, nil
	}
	f, err := image.ParseDebug(path, data, sum, debug)
	if err != nil {
		return nil, err
	}
	m, err := summary.Build(f)
	if err != nil {
		return nil, err
	}
	if l.cache != nil {
		// A full disk costs time, not the result.
		_ = l.cache.Put(key, m.Encode())
	}
	l.made.Store(key, m)
	l.opt.progress("analysed", int(l.done.Add(1)), 0)
	return m, nil
}

// cached returns a summary that was stored, nil if there is none.
func (l *loader) cached(key string) *summary.Module {
	if l.cache == nil {
		return nil
	}
	b, ok := l.cache.Get(key)
	if !ok {
		return nil
	}
	m, err := summary.Decode(b)
	if err != nil {
		return nil
	}
	return m
}

// debug returns the installed debug file of an image, nil if there is none: its symbols bound functions and data, and name
// them.
func (l *loader) debug(data []byte) (b []byte, sum [32]byte) {
	if !l.debugs {
		return nil, sum
	}
	file := image.DebugFile(image.BuildID(data))
	if file == "" {
		return nil, sum
	}
	file = filepath.Join("/", l.opt.Root, file)
	if fi, err := l.view.Stat(file); err != nil || !fi.Mode().IsRegular() || fi.Size() > maxFile {
		return nil, sum
	}
	b, sum, err := l.view.ReadFileSum(file)
	if err != nil {
		return nil, sum
	}
	return b, sum
}

// load links the program of a binary with modules loaded later: those asked for, and those that its code and its
// system's configuration name.
func (l *loader) load(ctx context.Context, binary string, extra []link.Extra) (*link.Program, error) {
	for _, m := range l.opt.Modules {
		files, err := l.libraries(m)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			extra = append(extra, link.Extra{Path: f, Found: profile.FoundGiven, Opened: true})
		}
	}
	for {
		p, err := link.Load(ctx, binary, link.Options{Root: l.opt.Root, Modules: extra, Summarize: l.summarize, Guess: l.guess, View: l.view})
		if err != nil {
			return nil, err
		}
		more := l.later(p, extra)
		if len(more) == 0 {
			return p, nil
		}
		extra = append(extra, more...)
	}
}

// bare links a program as the loader starts it, without anything that is loaded later.
func (l *loader) bare(ctx context.Context, binary string) (*link.Program, error) {
	return link.Load(ctx, binary, link.Options{Root: l.opt.Root, Summarize: l.summarize, View: l.view})
}

// libraries returns a library that was given or, of a directory, those in it.
func (l *loader) libraries(path string) ([]string, error) {
	host := filepath.Join("/", l.opt.Root, path)
	if l.opt.Root == "" {
		host = path
	}
	if fi, err := l.view.Stat(host); err != nil || !fi.IsDir() {
		return []string{path}, nil // if it is missing, the link says so
	}
	entries, err := l.view.ReadDir(host)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range entries {
		if strings.HasSuffix(n, ".so") || strings.Contains(n, ".so.") {
			out = append(out, filepath.Join(path, n))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no library in this directory (*.so): %w", path, image.ErrNotELF)
	}
	return out, nil
}

// graph loads a binary and builds its call graph. Libraries that live code names to dlopen, in whatever way, join the
// program, until there are no others.
func (l *loader) graph(ctx context.Context, binary string, extra []link.Extra) (*callgraph.Graph, error) {
	hugeHeap()
	asked := map[string]bool{}
	var last *callgraph.Graph
	for {
		p, err := l.load(ctx, binary, extra)
		if err != nil {
			return nil, err
		}
		if last != nil && nothingNew(last, p) {
			return last, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l.opt.progress("call graph", 0, 0)
		g := callgraph.New(p, l.opt.Level, l.askedOf(p)...)
		more := l.opened(g, asked)
		if len(more) == 0 {
			return g, nil
		}
		extra, last = append(slices.Clone(extra), more...), g
	}
}

// nothingNew reports whether a program that was linked again with more modules is what it was: none of them is there, and what is
// known of the others makes no difference.
func nothingNew(last *callgraph.Graph, p *link.Program) bool {
	return len(p.Modules) == len(last.P.Modules) && !slices.ContainsFunc(p.Modules, func(m *link.Module) bool {
		was := moduleOf(last.P, modulePath(m))
		return m.Opened && (was < 0 || !last.P.Modules[was].Opened && last.Opening(was))
	})
}

// entered returns what can be reached from a program's entry. The walk of the last graph is kept.
func (l *loader) entered(g *callgraph.Graph) *callgraph.Reach {
	if l.walked == nil || l.walked.G != g {
		l.walked = g.WalkSignals(phase.NewFinder(g).Entry())
	}
	return l.walked
}

// opened returns the libraries that live code names to dlopen and that are not in the program; asked are the names that
// were looked for before.
func (l *loader) opened(g *callgraph.Graph, asked map[string]bool) []link.Extra {
	opens := false
	for i, m := range g.P.Modules {
		opens = opens || i != g.P.Interp && m.Imports("dlopen", "dlmopen", "iconv_open")
	}
	if !opens {
		return nil
	}
	var out []link.Extra
	r := l.entered(g)
	for _, e := range l.plugins(g, r) {
		if !asked[e.Path] {
			asked[e.Path] = true
			out = append(out, e)
		}
	}
	for _, path := range l.charsets(g.P, r) {
		if !asked[path] {
			asked[path] = true
			out = append(out, link.Extra{Path: path, Found: profile.FoundStatic, Local: true, Optional: true})
		}
	}
	for _, s := range r.Given() {
		if !isOpen(&s) {
			continue
		}
		for _, name := range s.Texts {
			if asked[name] {
				continue
			}
			known := slices.IndexFunc(g.P.Modules, func(m *link.Module) bool {
				return m.Path == name || m.Dyn.Soname == name || filepath.Base(m.Path) == name
			})
			by, _ := g.Func(s.Func)
			opened := !isLibc(by.Dyn.Soname) // which knows what it looks up
			if known < 0 {
				asked[name] = true
				out = append(out, link.Extra{Path: name, Found: profile.FoundStatic, Opened: opened, Optional: true})
			} else if m := g.P.Modules[known]; opened && g.Opening(known) {
				out = append(out, link.Extra{Path: m.Path, Found: m.Found, Local: true, Opened: true, Optional: true})
			}
		}
	}
	return out
}

// modules lists a program's modules as a profile does.
func modules(p *link.Program) []profile.Module {
	out := make([]profile.Module, 0, len(p.Modules))
	for i, m := range p.Modules {
		found := m.Found
		if i == 0 {
			continue // the program itself has its own place
		}
		out = append(out, profile.Module{Path: modulePath(m), SHA256: hex.EncodeToString(m.SHA256[:]), BuildID: m.BuildID, Found: found,
			Removed: m.File == "" && i != p.VDSO})
	}
	return out
}

// modulePath is a module's path as the kernel shows it in /proc/PID/maps.
func modulePath(m *link.Module) string {
	if m.Real != "" {
		return m.Real
	}
	return m.Path
}
