package callgraph

import (
	"fmt"
	"slices"

	"syspart/internal/link"
	"syspart/internal/summary"
)

// Place is a place in reached code that the results must mention.
type Place struct {
	Func int32
	Site uint64
	Why  string
}

// eachReached calls visit for every reached function once, in address order.
func (r *Reach) eachReached(visit func(f int32, m *link.Module, fn *summary.Func)) {
	for _, m := range r.G.P.Modules {
		for i := range m.Funcs {
			if f := int32(m.Base) + int32(i); r.Has(f) {
				visit(f, m, &m.Funcs[i])
			}
		}
	}
}

// Foreign returns the reached system-call instructions of the 32-bit table.
func (r *Reach) Foreign() []Place {
	var out []Place
	r.eachReached(func(f int32, m *link.Module, fn *summary.Func) {
		for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
			s := &m.Sys[k]
			if s.Kind == summary.Syscall64 || !r.hasBlock(f, s.Block) {
				continue
			}
			why := "int 0x80"
			if s.Kind == summary.Sysenter {
				why = "sysenter"
			}
			out = append(out, Place{f, s.Site, why})
		}
	})
	return out
}

// EdgeCount returns the number of places of a function that are not resolved, their targets, and its other edges.
func (g *Graph) EdgeCount(f int32) (sites, targets, edges int) {
	g.edges(f, nil, func(e Edge) {
		switch {
		case e.To >= 0:
			edges++
		case e.Kind != LazyBinding:
			sites++
			targets += len(g.Targets(e.Set))
		}
	})
	return sites, targets, edges
}

// Site is an indirect call site and what it can call.
type Site struct {
	Module  int
	Addr    uint64
	Targets []int32 // global numbers
	Rule    string
}

// IndirectSites calls visit for every indirect call site and jump of live functions, module by module in address order.
// Targets may be shared between calls and must not be changed.
func (g *Graph) IndirectSites(visit func(Site) error) error {
	return g.indirect(func(s Site, set Set) error {
		if set >= 0 {
			s.Targets = g.withSet(s.Targets, set)
		}
		return visit(s)
	})
}

// IndirectCount returns how many sites IndirectSites has, and how many targets all of them together.
func (g *Graph) IndirectCount() (sites, targets int) {
	err := g.indirect(func(s Site, set Set) error {
		sites++
		targets += len(s.Targets)
		if set >= 0 {
			targets += len(g.Targets(set))
			for _, t := range s.Targets {
				if g.accepts(&g.sets[set].key, t) {
					targets-- // counted twice
				}
			}
		}
		return nil
	})
	if err != nil {
		panic("an error that nobody returns: " + err.Error())
	}
	return sites, targets
}

// indirect calls visit for what IndirectSites does; the functions of set, if it is not negative, are further targets.
func (g *Graph) indirect(visit func(s Site, set Set) error) error {
	for mi, m := range g.P.Modules {
		for i := range m.Funcs {
			f := int32(m.Base) + int32(i)
			fn := &m.Funcs[i]
			if !g.live.has(f) || fn.Flags&summary.Stub != 0 {
				continue
			}
			for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
				c := &m.Calls[k]
				s, set := Site{Module: mi, Addr: c.Site}, Set(-1)
				switch {
				case c.Kind == summary.BySym:
					s.Targets, s.Rule = g.symTargets(mi, c.Sym), "symbol bound by the loader"
				case c.Kind == summary.Indirect:
					if l, ok := g.constTargets(mi, m, c); ok {
						s.Targets, s.Rule = l, "constant pointers"
					} else {
						s.Targets, set, s.Rule = g.site(f, k, m, fn, c)
					}
				case c.Value != 0: // a call through a pointer that is one constant
					if t := g.P.Func(mi, c.Target); t >= 0 {
						s.Targets, s.Rule = []int32{int32(t)}, "constant pointer"
					}
				default:
					continue
				}
				if err := visit(s, set); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// site returns the followed targets of an indirect call that no constant resolves, the set of further ones (-1: none), and
// the rule by which they are.
func (g *Graph) site(f int32, k uint32, m *link.Module, fn *summary.Func, c *summary.Call) ([]int32, Set, string) {
	ref := CallRef{f, k}
	l := g.followed[g.number(ref)]
	if !g.unresolved(ref) {
		return l, -1, "level " + g.Level.String() + ": followed pointers alone"
	}
	s := g.setOf(f, m, fn, c)
	rule := "level " + g.Level.String() + ": " + g.Rule(s)
	if len(l) > 0 {
		rule += ", and pointers followed here"
	}
	return l, s, rule
}

// withSet returns followed targets and the other functions of a set.
func (g *Graph) withSet(l []int32, s Set) []int32 {
	all := g.Targets(s)
	if len(l) == 0 {
		return all
	}
	out := slices.Clone(l)
	for _, t := range all {
		if !slices.Contains(l, t) {
			out = append(out, t)
		}
	}
	return out
}

// Rule says in words what the functions of a set are.
func (g *Graph) Rule(s Set) string {
	k := &g.sets[s].key
	r := "address-taken functions"
	switch {
	case k.args < maxArgs && k.result:
		r += fmt.Sprintf(" that take at most %d arguments and return a result", k.args)
	case k.args < maxArgs:
		r += fmt.Sprintf(" that take at most %d arguments", k.args)
	case k.result:
		r += " that return a result"
	}
	for _, x := range [...]struct {
		c    class
		name string
	}{{classInit, "constructors"}, {classFini, "destructors"}, {classVDSO, "the vDSO's functions"}, {classNSS, "functions of the name service"}} {
		if k.mask&x.c != 0 {
			r += ", " + x.name
		}
	}
	return r
}

// System reports whether a module is libc or the loader.
func (g *Graph) System(module int) bool { return g.mods[module].libc || module == g.P.VDSO }
