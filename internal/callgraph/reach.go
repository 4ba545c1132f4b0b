package callgraph

import (
	"slices"

	"syspart/internal/summary"
	"syspart/internal/syscalls"
)

// Start is where a walk begins: a whole function, or some of its blocks.
type Start struct {
	Func   int32
	Blocks []uint32 // nil: all; else the blocks of the function's module that can still run
	Why    string   // in words: "main loop", "after the loop returns", ...
	Site   uint64   // address in the function
}

// Reach is the result of a walk.
type Reach struct {
	G      *Graph
	Starts []Start

	whole  bitset // functions of which everything can run
	parent []Edge
	order  []int32 // functions in the order in which they were reached
	first  bitset  // functions that were reached from a start of which only a part had been reached: there a path begins
	partly map[int32]bitset
	// starts of partly reached functions, by function: index into Starts, for explanations
	startOf map[int32]int
	sets    []bool             // target sets that are reached
	seen    func(Edge) []int32 // see WalkSeen

	// Calls are the system calls that can be made.
	Calls syscalls.Set
	// Sites says for each number where it is made: the first site found.
	Sites map[int]SysEvidence
	// Unknown are the sites whose number is not known; each opens every call.
	Unknown []SysEvidence
}

// SysEvidence is a system-call site.
type SysEvidence struct {
	Func   int32
	Site   uint64
	Via    []CallRef // for a number that is an argument: the call sites that pass it, innermost first
	Number int
	Why    string // Unknown: why the number is not known
}

// Walk finds everything reachable from the starts.
func (g *Graph) Walk(starts []Start) *Reach { return g.walk(starts, nil) }

// WalkSeen is Walk with other targets for calls through pointers that no constant resolves: those that seen says of a call's edge,
// which are some of those that it has. It tells what a more precise graph could leave open at the least.
func (g *Graph) WalkSeen(starts []Start, seen func(Edge) []int32) *Reach { return g.walk(starts, seen) }

func (g *Graph) walk(starts []Start, seen func(Edge) []int32) *Reach {
	n := g.P.Funcs()
	r := &Reach{G: g, Starts: starts, seen: seen, whole: newBitset(n), parent: make([]Edge, n), first: newBitset(n), partly: map[int32]bitset{}, startOf: map[int32]int{},
		Sites: map[int]SysEvidence{}}
	for i, s := range starts {
		if s.Blocks == nil {
			r.reach(Edge{Site: s.Site, From: -1, To: s.Func, Kind: Root}, false)
			if _, ok := r.startOf[s.Func]; !ok {
				r.startOf[s.Func] = i
			}
			continue
		}
		b, ok := r.partly[s.Func]
		_, fn := g.fn(s.Func)
		if !ok {
			b = newBitset(int(fn.Blocks[1] - fn.Blocks[0]))
			r.partly[s.Func] = b
			r.startOf[s.Func] = i
			r.order = append(r.order, s.Func)
		}
		for _, x := range s.Blocks {
			b.set(int32(x - fn.Blocks[0]))
		}
	}
	for i := 0; i < len(r.order); i++ {
		r.visit(r.order[i])
	}
	r.syscalls()
	return r
}

// Has reports whether function f is reached, wholly or in part.
func (r *Reach) Has(f int32) bool {
	_, ok := r.partly[f]
	return ok || r.whole.has(f)
}

// hasBlock reports whether block b (an index into the module's table) of function f is reached.
func (r *Reach) hasBlock(f int32, b uint32) bool {
	if r.whole.has(f) {
		return true
	}
	p, ok := r.partly[f]
	if !ok {
		return false
	}
	_, fn := r.G.fn(f)
	return p.has(int32(b - fn.Blocks[0]))
}

// Functions returns the number of functions reached.
func (r *Reach) Functions() int {
	n := r.whole.count()
	for f := range r.partly {
		if !r.whole.has(f) {
			n++
		}
	}
	return n
}

func (r *Reach) reach(e Edge, first bool) {
	if r.whole.set(e.To) {
		r.parent[e.To] = e
		if first {
			r.first.set(e.To)
		}
		r.order = append(r.order, e.To)
	}
}

// part says which blocks of a reached function can run; nil: all.
func (r *Reach) part(f int32) func(uint32) bool {
	if r.whole.has(f) {
		return nil
	}
	p := r.partly[f]
	_, fn := r.G.fn(f)
	b0 := fn.Blocks[0]
	return func(b uint32) bool { return p.has(int32(b - b0)) }
}

func (r *Reach) visit(f int32) {
	in := r.part(f)
	r.G.edges(f, in, func(e Edge) {
		switch {
		case r.seen != nil && (e.Kind == FlowCall || e.Kind == TakenCall || e.Kind == UnknownCode):
			for _, t := range r.seen(e) {
				r.reach(Edge{Site: e.Site, From: e.From, To: t, Kind: e.Kind}, in != nil)
			}
		case e.To >= 0:
			r.reach(e, in != nil)
		case e.Kind == LazyBinding:
			r.G.lazy(e, func(e Edge) { r.reach(e, in != nil) })
		case r.newSet(e.Set):
			for _, t := range r.G.Targets(e.Set) {
				r.reach(Edge{Site: e.Site, From: e.From, To: t, Kind: e.Kind, Set: e.Set}, in != nil)
			}
		}
	})
}

func (r *Reach) newSet(s Set) bool {
	for int(s) >= len(r.sets) {
		r.sets = append(r.sets, false)
	}
	was := r.sets[s]
	r.sets[s] = true
	return !was
}

// Signals reports whether the program can install signal handlers: any address-taken function may then be one.
func (g *Graph) Signals() bool { return g.sigaction() }

// sigaction reports whether live code can make rt_sigaction (13).
func (g *Graph) sigaction() bool {
	for _, m := range g.P.Modules {
		for i := range m.Funcs {
			fn := &m.Funcs[i]
			if fn.Sys[0] == fn.Sys[1] || !g.live.has(int32(m.Base)+int32(i)) {
				continue
			}
			for _, s := range m.Sys[fn.Sys[0]:fn.Sys[1]] {
				found := s.Number == 0
				m.Each(s.Number, func(_ int32, e valueExpr) { found = found || e.Kind != kindConst || uint32(e.Off) == 13 })
				if found {
					return true
				}
			}
		}
	}
	return false
}

// WalkSignals is Walk with all functions that may be handlers of signals as further starts, if the program can install any.
func (g *Graph) WalkSignals(starts []Start) *Reach {
	if !g.Signals() {
		return g.Walk(starts)
	}
	all := slices.Clone(starts)
	for _, f := range g.Handlers() {
		_, fn := g.fn(f)
		all = append(all, Start{Func: f, Why: "may be a signal handler installed before", Site: fn.Entry})
	}
	return g.Walk(all)
}

// Handlers are the functions that the kernel may call when a signal arrives: those that live code is seen to install or, if
// that cannot be told, whatever is address-taken and takes up to three arguments (sigaction(2)).
func (g *Graph) Handlers() []int32 {
	if g.signalsKnown {
		return g.signals
	}
	k := setKey{mask: classPlain, mod: -1, args: maxArgs}
	if g.Level >= LevelE {
		k.args = 3
	}
	return g.Targets(g.intern(k))
}

// Path returns the edges from a start to function f, in that order. It is empty for a start.
func (r *Reach) Path(f int32) []Edge {
	var rev []Edge
	for r.whole.has(f) && r.parent[f].From >= 0 {
		rev = append(rev, r.parent[f])
		if r.first.has(f) {
			break
		}
		f = r.parent[f].From // reached wholly before f was
	}
	slices.Reverse(rev)
	return rev
}

// StartOf returns the start by which f was reached, if f is one.
func (r *Reach) StartOf(f int32) (Start, bool) {
	i, ok := r.startOf[f]
	if !ok {
		return Start{}, false
	}
	return r.Starts[i], true
}

// IncompleteFuncs returns the reached functions whose control flow is not fully known.
func (r *Reach) IncompleteFuncs() []int32 {
	var out []int32
	for _, f := range r.order {
		if _, fn := r.G.fn(f); fn.Flags&summary.Incomplete != 0 {
			out = append(out, f)
		}
	}
	return out
}

// Started returns what runs at start without being called by code that names it: constructors, destructors, resolvers.
func (g *Graph) Started() []Start {
	var out []Start
	for f := range g.parent {
		if g.live.has(int32(f)) && g.parent[f].From == -1 && g.parent[f].Kind == Root {
			_, fn := g.fn(int32(f))
			out = append(out, Start{Func: int32(f), Why: "run by the loader or libc", Site: fn.Entry})
		}
	}
	return out
}

// Callees calls visit for the functions that a call of module mi reaches without a guess, through PLT stubs.
func (g *Graph) Callees(mi int, c *summary.Call, visit func(int32)) {
	g.callTargets(mi, g.P.Modules[mi], c, visit)
}
