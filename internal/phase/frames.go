package phase

import (
	"slices"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/cfg"
	"syspart/internal/link"
	"syspart/internal/observe"
	"syspart/internal/summary"
)

// place is a position in the program: a block of a function.
type place struct {
	fn    int32  // global number, -1 if not known
	block uint32 // index into the module's Blocks
}

// Finder finds kinds; it remembers the loops of functions.
type Finder struct {
	g       *callgraph.Graph
	p       *link.Program
	byPath  map[string]int
	loops   map[int32][]cfg.Loop
	forks   map[int32]bool
	setjmps map[int32][]uint32
	pads    []callgraph.Start // see resumed

	// Dark are the threads that Kinds found in no loop, for their stacks could not be read.
	Dark []Dark
}

// NewFinder returns a finder for the program of a graph.
func NewFinder(g *callgraph.Graph) *Finder {
	f := NewLocator(g.P)
	f.g = g
	return f
}

// NewLocator returns a finder that knows loops but no call graph: enough to rebuild the kinds of a profile.
func NewLocator(p *link.Program) *Finder {
	f := &Finder{p: p, byPath: map[string]int{}, loops: map[int32][]cfg.Loop{}, forks: map[int32]bool{}, setjmps: map[int32][]uint32{}}
	for i, m := range p.Modules {
		for _, name := range []string{m.Path, m.Real} {
			if _, ok := f.byPath[name]; !ok {
				f.byPath[name] = i
			}
		}
	}
	return f
}

// fn returns module and function of a global number.
func (f *Finder) fn(n int32) (*link.Module, *summary.Func) {
	mi, i := f.p.Where(int(n))
	m := f.p.Modules[mi]
	return m, &m.Funcs[i]
}

// locate finds the function and block that contain an address: of several functions that share it, the one that starts
// first, for the others are entries into its middle.
func (f *Finder) locate(module string, va uint64) place {
	mi, ok := f.byPath[module]
	if !ok {
		return place{fn: -1}
	}
	m := f.p.Modules[mi]
	best := -1
	for _, i := range m.Containing(va) {
		fn := &m.Funcs[i]
		if best < 0 || fn.Entry < m.Funcs[best].Entry && va >= fn.Entry && va < fn.End {
			best = i
		}
	}
	if best < 0 {
		return place{fn: -1}
	}
	return place{int32(m.Base) + int32(best), uint32(m.BlockOf(best, va))}
}

// at finds where a frame is: the innermost and interrupted ones at their program counter, others at their call.
func (f *Finder) at(fr *observe.Frame, innermost bool) place {
	if !innermost && !fr.Signal {
		if p := f.locate(fr.Module, fr.PC-1); p.fn >= 0 {
			return p
		} // nothing was called there: a signal handler returns to where a function begins
	}
	return f.locate(fr.Module, fr.PC)
}

// graph returns a function's successor lists with block numbers from 0, and its roots.
func graph(m *link.Module, fn *summary.Func) (succs [][]int32, roots []int32) {
	n := fn.Blocks[1] - fn.Blocks[0]
	succs = make([][]int32, n)
	roots = append(roots, int32(fn.Start-fn.Blocks[0]))
	for i := range succs {
		b := &m.Blocks[fn.Blocks[0]+uint32(i)]
		for _, s := range m.Succs[b.Succs[0]:b.Succs[1]] {
			succs[i] = append(succs[i], s-int32(fn.Blocks[0]))
		}
		if b.Flags&summary.BlockPad != 0 && uint32(i) != fn.Start-fn.Blocks[0] {
			roots = append(roots, int32(i))
		}
	}
	return succs, roots
}

// Loops returns the loops of a function; blocks are numbered from the function's first.
func (f *Finder) Loops(fn int32) []cfg.Loop {
	l, ok := f.loops[fn]
	if !ok {
		m, x := f.fn(fn)
		l = cfg.FindLoops(graph(m, x))
		f.loops[fn] = l
	}
	return l
}

// outermost returns the outermost loop of p's function that contains p and none of the blocks in without, or -1.
func (f *Finder) outermost(p place, without ...uint32) int {
	m, fn := f.fn(p.fn)
	loops := f.Loops(p.fn)
	b := int32(p.block - fn.Blocks[0])
	best := -1
	for i := range loops {
		if !has(loops[i].Blocks, b) {
			continue
		}
		inherited := false
		for _, w := range without {
			inherited = inherited || has(loops[i].Blocks, int32(w-fn.Blocks[0]))
		}
		if inherited {
			continue
		}
		if best < 0 || len(loops[i].Blocks) > len(loops[best].Blocks) {
			best = i
		}
	}
	hub := func(b int32) bool { return m.Blocks[fn.Blocks[0]+uint32(b)].Flags&summary.BlockHub != 0 }
	if best >= 0 && (slices.ContainsFunc(loops[best].Entries, hub) || slices.ContainsFunc(loops[best].Enter, func(e [2]int32) bool { return hub(e[0]) })) {
		return -1 // an interpreter's: there is no place that every round passes, or that every entry does
	}
	return best
}

func has(sorted []int32, x int32) bool {
	lo, hi := 0, len(sorted)
	for lo < hi {
		mid := (lo + hi) / 2
		if sorted[mid] < x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(sorted) && sorted[lo] == x
}

// Symbol returns the name of the dynamic symbol that a call goes to, also through a PLT stub, or the called function's
// own name.
func (f *Finder) Symbol(mi int, c *summary.Call) string {
	m := f.p.Modules[mi]
	switch c.Kind {
	case summary.BySym:
		return m.Dyn.Symbols[c.Sym].Name
	case summary.Direct:
		if i := m.At(c.Target); i >= 0 {
			fn := &m.Funcs[i]
			if fn.Flags&summary.Stub != 0 && fn.Sym != 0 {
				return m.Dyn.Symbols[fn.Sym].Name
			}
			return m.String(fn.Name)
		}
	}
	return ""
}

func isFork(name string) bool {
	switch strings.TrimLeft(name, "_") {
	case "fork", "Fork", "vfork", "libc_fork", "libc_vfork", "clone", "clone3", "forkpty", "daemon":
		return true
	}
	return false
}

// forkSites returns the blocks of fn in which it calls fork, itself or up to three calls deep.
func (f *Finder) forkSites(fn int32) []uint32 {
	var out []uint32
	mi, i := f.p.Where(int(fn))
	m := f.p.Modules[mi]
	for k := m.Funcs[i].Calls[0]; k < m.Funcs[i].Calls[1]; k++ {
		if c := &m.Calls[k]; f.callForks(mi, c, 3) {
			out = append(out, c.Block)
		}
	}
	return out
}

func (f *Finder) callForks(mi int, c *summary.Call, depth int) bool {
	if isFork(f.Symbol(mi, c)) {
		return true
	}
	if depth == 0 {
		return false
	}
	found := false
	f.g.Callees(mi, c, func(t int32) {
		if !found {
			found = f.funcForks(t, depth-1)
		}
	})
	return found
}

func (f *Finder) funcForks(fn int32, depth int) bool {
	key := fn*4 + int32(depth)
	if r, ok := f.forks[key]; ok {
		return r
	}
	f.forks[key] = false
	mi, i := f.p.Where(int(fn))
	m := f.p.Modules[mi]
	for k := m.Funcs[i].Calls[0]; k < m.Funcs[i].Calls[1]; k++ {
		if f.callForks(mi, &m.Calls[k], depth) {
			f.forks[key] = true
			return true
		}
	}
	return false
}

// setjmpSites returns the blocks of fn that run when a call of setjmp in it returns a second time.
func (f *Finder) setjmpSites(fn int32) []uint32 {
	if l, ok := f.setjmps[fn]; ok {
		return l
	}
	var out []uint32
	mi, i := f.p.Where(int(fn))
	m := f.p.Modules[mi]
	for k := m.Funcs[i].Calls[0]; k < m.Funcs[i].Calls[1]; k++ {
		c := &m.Calls[k]
		name := strings.TrimLeft(f.Symbol(mi, c), "_")
		nonZero := name == "setjmp" || name == "sigsetjmp" // what the second return returns; a context's returns 0 again
		if !nonZero && name != "getcontext" && name != "swapcontext" {
			continue
		}
		b := &m.Blocks[c.Block]
		for _, s := range m.Succs[b.Succs[0]:b.Succs[1]] {
			x := &m.Blocks[s]
			switch {
			case nonZero && x.Flags&summary.BlockTakenNonZero != 0:
				s = m.Succs[x.Succs[0]]
			case nonZero && x.Flags&summary.BlockFallNonZero != 0:
				s = m.Succs[x.Succs[0]+1]
			}
			out = append(out, uint32(s))
		}
	}
	f.setjmps[fn] = out
	return out
}
