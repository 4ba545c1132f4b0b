package callgraph

import (
	"strings"

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
