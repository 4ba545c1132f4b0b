package callgraph

import (
	"cmp"
	"slices"

	"syspart/internal/summary"
)

// Route is a way from where a walk starts to a place that makes a system call.
type Route struct {
	Start Start // where it begins: in the function of the first edge or, if there is none, in the one that makes the call
	Edges []Edge
	Maker SysEvidence
}

// length is in steps: calls of functions, and calls that pass the number on.
func (r *Route) length() int { return len(r.Edges) + len(r.Maker.Via) }

// Makers returns the reached places that can make a call, those whose number is not known among them.
func (r *Reach) Makers(nr int) []SysEvidence {
	var out []SysEvidence
	r.eachCall(func(ev SysEvidence) {
		if ev.Number == nr || ev.Why != "" {
			out = append(out, ev)
		}
	})
	return out
}

// Routes returns up to n ways to a system call, shortest first. Two differ in the place that makes it or in the function that
// calls the place's, by itself or through a stub of the PLT; each is the shortest of its kind, so the first is the shortest of all.
func (r *Reach) Routes(nr, n int) []Route {
	makers := r.Makers(nr)
	into := map[int32][]Edge{} // functions that a route ends in, with the calls of them
	for i := range makers {
		into[r.end(&makers[i])] = nil
	}
	r.callsOf(into)
	stubs := map[int32][]Edge{}
	for _, list := range into {
		for _, e := range list {
			if r.stub(e.From) {
				stubs[e.From] = nil
			}
		}
	}
	r.callsOf(stubs)
	var out []Route
	for i := range makers {
		ev := &makers[i]
		f := r.end(ev)
		if s, ok := r.starts(f, r.block(ev)); ok {
			out = append(out, Route{Start: s, Maker: *ev})
		}
		seen := map[int32]bool{f: true}
		add := func(edges ...Edge) {
			if route, ok := r.route(edges, ev); ok && !seen[edges[0].From] {
				seen[edges[0].From] = true
				out = append(out, route)
			}
		}
		for _, e := range into[f] {
			if !r.stub(e.From) {
				add(e)
				continue
			}
			for _, before := range stubs[e.From] {
				add(before, e)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Route) int { return cmp.Compare(a.length(), b.length()) })
	return out[:min(n, len(out))]
}

// end is the function that a route to a maker ends in: the maker's, or the one that gives the number out of its hands first.
func (r *Reach) end(ev *SysEvidence) int32 {
	if n := len(ev.Via); n > 0 {
		return ev.Via[n-1].Func
	}
	return ev.Func
}

// block is the block of that function where the number is given on, or the call is made.
func (r *Reach) block(ev *SysEvidence) uint32 {
	if n := len(ev.Via); n > 0 {
		m, _ := r.G.fn(ev.Via[n-1].Func)
		return m.Calls[ev.Via[n-1].Call].Block
	}
	m, fn := r.G.fn(ev.Func)
	for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
		if m.Sys[k].Site == ev.Site {
			return m.Sys[k].Block
		}
	}
	panic("callgraph: a system call's site is not in its function")
}

// starts returns the start that has block b of function f, if there is one.
func (r *Reach) starts(f int32, b uint32) (Start, bool) {
	_, fn := r.G.fn(f)
	p, part := r.partly[f]
	if part && p.has(int32(b-fn.Blocks[0])) || !part && r.parent[f].From < 0 {
		return r.StartOf(f)
	}
	return Start{}, false
}

// route returns the shortest way that ends with edges; false if there is none that does not go in a circle.
func (r *Reach) route(end []Edge, ev *SysEvidence) (Route, bool) {
	var edges []Edge
	if !r.fromPart(end[0]) {
		edges = r.Path(end[0].From)
	}
	for _, e := range end {
		if slices.ContainsFunc(edges, func(x Edge) bool { return x.From == e.To || x.To == e.To }) {
			return Route{}, false
		}
	}
	edges = append(edges, end...)
	s, ok := r.StartOf(edges[0].From)
	return Route{Start: s, Edges: edges, Maker: *ev}, ok
}

// stub reports whether a function is one of the PLT.
func (r *Reach) stub(f int32) bool {
	_, fn := r.G.fn(f)
	return fn.Flags&summary.Stub != 0
}

// fromPart reports whether an edge is one of a function that is a start in part, from that part.
func (r *Reach) fromPart(e Edge) bool {
	p, ok := r.partly[e.From]
	if !ok {
		return false
	}
	m, fn := r.G.fn(e.From)
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		if m.Calls[k].Site == e.Site && p.has(int32(m.Calls[k].Block-fn.Blocks[0])) {
			return true
		}
	}
	return !r.whole.has(e.From)
}

// callsOf adds the reached calls of each function that is a key of into, in the order in which the callers were reached.
func (r *Reach) callsOf(into map[int32][]Edge) {
	done := newBitset(r.G.P.Funcs())
	add := func(e Edge) {
		if l, ok := into[e.To]; ok {
			into[e.To] = append(l, e)
		}
	}
	for _, f := range r.order {
		if !done.set(f) {
			continue
		}
		var in func(uint32) bool
		if !r.whole.has(f) {
			in = func(b uint32) bool { return r.hasBlock(f, b) }
		}
		r.G.edges(f, in, func(e Edge) {
			switch {
			case e.To >= 0:
				add(e)
			case e.Kind == LazyBinding:
				r.G.lazy(e, add)
			default:
				for t := range into {
					if r.G.accepts(&r.G.sets[e.Set].key, t) {
						add(Edge{Site: e.Site, From: e.From, To: t, Kind: e.Kind, Set: e.Set})
					}
				}
			}
		})
	}
}
