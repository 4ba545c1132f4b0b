package callgraph

import (
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/value"
)

// lookups follows what a live function looks up in the program itself (RTLD_DEFAULT, RTLD_NEXT) by a name that is not
// known there: then everything that the executable and its libraries export is taken, except what libc and the loader do,
// which nobody is assumed to look up by a name put together at run time.
//
// A handle that dlopen returned leads into a module loaded later, all of whose exports are taken anyway (openedByName), or,
// if it was dlopen(NULL), into the program: what is looked up so counts by the names that the module has as strings
// (Graph.lookup), and the results list the site as unresolved.
func (g *Graph) lookups(mi int, m *link.Module, fn *summary.Func) {
	if g.lookAll || !g.mods[mi].dlsym {
		return
	}
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		c := &m.Calls[k]
		switch g.callee(m, c) {
		case "dlsym", "dlvsym":
			if isNull(m, c.Args[0]) && !g.constantName(mi, m, c.Args[1]) {
				g.lookInProgram()
			}
		}
	}
}

// systemNames takes what libc and the loader look up by themselves in other modules: functions of the libraries whose names
// they have as strings (libgcc_s, libidn2). musl and static programs have one module with everything in it, and any name.
func (g *Graph) systemNames() {
	for mi, m := range g.P.Modules {
		if !g.mods[mi].libc && (mi != 0 || g.P.Interp >= 0) {
			continue
		}
		if g.P.Musl || g.P.Interp < 0 {
			for k := range m.Strs {
				g.lookup(mi, k, -1)
			}
			continue
		}
		g.lookupIn(mi, g.opens(mi))
	}
}

// opens are the modules whose file names are among the strings of module mi.
func (g *Graph) opens(mi int) []int {
	m := g.P.Modules[mi]
	names := map[string]bool{}
	for k := range m.Strs {
		if s := m.String(m.Strs[k].Text); strings.Contains(s, ".so") {
			names[s] = true
		}
	}
	var out []int
	for i, o := range g.P.Modules {
		if i != mi && (names[o.Dyn.Soname] || names[filepath.Base(o.Path)]) {
			out = append(out, i)
		}
	}
	return out
}

// lookupIn takes the functions of some modules whose names are among the strings of module mi.
func (g *Graph) lookupIn(mi int, in []int) {
	if len(in) == 0 {
		return
	}
	m := g.P.Modules[mi]
	for k := range m.Strs {
		for _, t := range g.lookupName(mi, k) {
			if slices.Contains(in, t.Module) {
				g.foundByName(t, Evidence{Module: int32(mi), Func: -1, Place: m.Strs[k].Addr, Kind: TakenName})
			}
		}
	}
}

// lookupUnknown notes that live code of module mi looks up a name that is not known. What a module loaded later exports is
// taken anyway (openedByName), or now (openedToo). In what is there from the start it finds, in the libraries whose file names
// mi has as strings, what else is among mi's strings; and if it opens the program itself (dlopen(NULL)), that in any module but
// libc and the loader. So do, in those libraries and their own, the strings of the modules that look up through mi. A library is
// assumed not to look its own functions up so.
func (g *Graph) lookupUnknown(mi int) {
	st := &g.mods[mi]
	if st.lookedUp {
		return
	}
	st.lookedUp = true
	if !g.lookedLater {
		g.lookedLater = true
		for _, j := range g.openedToo() {
			g.exported(j)
		}
	}
	g.lookAsked(mi)
	opened := g.opens(mi)
	in := slices.Clone(opened)
	m := g.P.Modules[mi]
	for i := range m.Calls {
		c := &m.Calls[i]
		own := false
		switch g.callee(m, c) {
		case "dlopen":
			own = c.Args[0] == 0 || isNull(m, c.Args[0])
		case "dlsym", "dlvsym":
			own = isNull(m, c.Args[0])
		}
		if !own {
			continue
		}
		for j := range g.P.Modules {
			if !g.mods[j].libc && j != g.P.VDSO && (j != mi || mi == 0) {
				in = append(in, j)
			}
		}
		break
	}
	g.lookupIn(mi, in)
	for k, o := range g.P.Modules { // those that look up through it
		if k != mi && slices.Contains(o.Needed, mi) {
			g.lookupIn(k, append(g.opens(k), opened...))
		}
	}
}

// Asked are names that a run has shown a module to look up.
type Asked struct {
	Module int
	Names  []string
}

// lookAsked takes what the names mean that a run has shown module mi to look up, where it looks up names that are not known.
func (g *Graph) lookAsked(mi int) {
	for _, a := range g.asked {
		if a.Module != mi {
			continue
		}
		for _, name := range a.Names {
			for _, t := range g.P.LookupName(name, "", link.ScopeAny) {
				g.foundByName(t, Evidence{Module: int32(mi), Func: -1, Kind: TakenSeen})
			}
		}
	}
}

// lookupName returns the definitions of string k of module mi.
func (g *Graph) lookupName(mi, k int) []link.Target {
	m := g.P.Modules[mi]
	return g.P.LookupName(m.String(m.Strs[k].Text), "", link.ScopeAny)
}

// foundByName takes a definition that a name has found, on the evidence of that.
func (g *Graph) foundByName(t link.Target, ev Evidence) {
	switch {
	case t.IFunc:
		for _, f := range g.resolved(t.Module, t.Value) {
			g.take(f, ev)
		}
	case t.Type == sttFunc:
		if f := g.P.Func(t.Module, t.Value); f >= 0 {
			g.take(int32(f), ev)
		}
	default:
		g.shown(t.Module, t.Value, ev.Func)
	}
}

// callee is the name of the symbol that a call goes to, without leading underscores; "" if it goes to none.
func (g *Graph) callee(m *link.Module, c *summary.Call) string {
	return strings.TrimLeft(m.SymbolOf(c), "_")
}

// isNull reports whether a value can be seen to be 0, or RTLD_NEXT (-1).
func isNull(m *link.Module, v value.Val) bool {
	found := false
	m.Each(v, func(_ int32, e value.Expr) { found = found || e.Kind == value.Const && (e.Off == 0 || e.Off == -1) })
	return found
}

// constantName reports whether a value is a set of addresses of known names.
func (g *Graph) constantName(mi int, m *link.Module, v value.Val) bool {
	known := true
	m.Each(v, func(_ int32, e value.Expr) {
		_, ok := g.mods[mi].strs[uint64(e.Off)]
		known = known && ok && !e.Any && (e.Kind == value.Addr || e.Kind == value.Const)
	})
	return known
}

// lookInProgram takes what the program's modules export.
func (g *Graph) lookInProgram() {
	if g.lookAll {
		return
	}
	g.lookAll = true
	for mi, m := range g.P.Modules {
		if !g.mods[mi].libc && !m.Later && mi != g.P.VDSO {
			g.exported(mi)
		}
	}
}

// found is what dlsym returns where it is known which names are looked up; false if call k is no such look-up.
func (w *solver) found(f int32, mi int, m *link.Module, k uint32, out *pointers, last bool, spill func(token)) bool {
	g := w.g
	c := &m.Calls[k]
	if !g.mods[mi].dlsym || !g.mods[mi].lookups.has(int32(k)) {
		return false
	}
	w.looked = true
	names, known := w.names(mi, m, f, c)
	if !known {
		out.any = true
		if last {
			g.lookupUnknown(mi)
			if isNull(m, c.Args[0]) {
				g.lookInProgram()
			}
		}
	}
	for _, s := range names {
		for _, t := range g.lookupName(mi, s) {
			switch {
			case t.IFunc:
				for _, r := range g.resolved(t.Module, t.Value) {
					if _, full := out.put(token{fn: r}); full {
						spill(token{fn: r})
					}
				}
			default:
				x := token{fn: int32(g.P.Func(t.Module, t.Value))}
				if x.fn < 0 {
					var ok, lost bool
					x, ok, lost = w.data(t.Module, t.Value, false)
					if out.any = out.any || lost; !ok {
						continue
					}
				}
				if _, full := out.put(x); full {
					spill(x)
				}
			}
		}
	}
	return true
}

// names are the strings of module mi by which a call of dlsym looks up; false if there may be others.
func (w *solver) names(mi int, m *link.Module, f int32, c *summary.Call) ([]int, bool) {
	fn := &m.Funcs[f-int32(m.Base)]
	base := fn.Exprs[0]
	var out []int
	known := c.Args[1] != 0
	m.Each(c.Args[1], func(x int32, e value.Expr) {
		switch e.Kind {
		case value.Const: // in a file with a fixed address also the address of a name
			s, ok := w.g.mods[mi].strs[uint64(e.Off)]
			if ok && m.Kind == image.KindExec {
				out = append(out, s)
			}
			known = known && (ok || e.Off == 0)
			return
		case value.Param, value.Result: // some may come from modules whose strings are not listed
			known = false
		}
		if uint32(x) < base || uint32(x) >= fn.Exprs[1] || w.anyHeld[uint32(x)-base] {
			known = false
			return
		}
		for _, t := range w.held[uint32(x)-base] {
			if t.entry && int(t.mod) == mi { // a table of names
				w.contents(mi, w.mem[mi].span(t), func(x token, _ uint64, _ bool) {
					if s, ok := w.g.mods[mi].strs[x.addr]; ok && x.fn < 0 && !x.wide && int(x.mod) == mi {
						out = append(out, s)
					}
				})
				continue
			}
			s, ok := w.g.mods[mi].strs[t.addr]
			if t.fn >= 0 || int(t.mod) != mi || t.wide || !ok {
				known = false
				continue
			}
			out = append(out, s)
		}
		if e.Kind == value.Addr && len(w.held[uint32(x)-base]) == 0 {
			known = known && !e.Any && !writable(m, uint64(e.Off)) // a string that is no identifier finds nothing
		}
	})
	return out, known
}
