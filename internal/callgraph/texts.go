package callgraph

import (
	"slices"
	"strings"

	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/value"
)

// Given is a reached call that brings further code into the process, or executes a program (summary.Takers).
type Given struct {
	Func   int32
	Site   uint64
	Callee string // name of the function called, without leading underscores
	// Texts are the names that it can be given, sorted, each once.
	Texts []string
	Null  bool // it may be given a null pointer: for dlopen the program itself
	// Unknown says in words why there may be others; "" if there are none.
	Unknown string
}

// Given returns the reached calls of summary.Takers outside libc and the loader, in the order of their addresses, with what
// backward value flow says of the name that each is given: through parameters of functions all of whose callers are known,
// and variables and tables of constant data.
func (r *Reach) Given() []Given {
	return r.given(func(name string) (int, bool) {
		k, ok := summary.Takers[name]
		return k, ok
	})
}

// given returns the reached calls of functions of libc's interface; which says which of their arguments is a name.
func (r *Reach) given(which func(name string) (arg int, ok bool)) []Given {
	var out []Given
	r.eachReached(func(f int32, m *link.Module, fn *summary.Func) {
		if r.G.mods[m.Index].libc || fn.Flags&summary.Stub != 0 {
			return
		}
		for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
			c := &m.Calls[k]
			if !r.hasBlock(f, c.Block) {
				continue
			}
			name := r.G.calledName(m, c)
			arg, ok := which(name)
			if !ok {
				continue
			}
			t := texts{evaluator: evaluator{r: r}}
			t.site, t.sited = CallRef{f, k}, true
			t.value(f, m, c.Args[arg], 0, nil)
			slices.Sort(t.found)
			out = append(out, Given{Func: f, Site: c.Site, Callee: name, Texts: slices.Compact(t.found), Null: t.null, Unknown: t.unknown})
		}
	})
	return out
}

// Lookups returns the reached calls of dlsym and dlvsym outside libc and the loader, with the names that are looked up.
func (r *Reach) Lookups() []Given {
	return r.given(func(name string) (int, bool) { return 1, name == "dlsym" || name == "dlvsym" })
}

// Charsets returns the reached calls of iconv_open outside libc, with the charsets that each converts to and from.
func (r *Reach) Charsets() []Given {
	var out []Given
	for arg := range 2 {
		out = append(out, r.given(func(name string) (int, bool) { return arg, name == "iconv_open" })...)
	}
	return out
}

// calledName is the name of the function that a call goes to, without leading underscores: of the symbol, or in a program
// that is linked statically of the function itself.
func (g *Graph) calledName(m *link.Module, c *summary.Call) string {
	if s := g.callee(m, c); s != "" {
		return s
	}
	if c.Kind == summary.Direct && g.P.Interp < 0 {
		if i := m.Callee(c); i >= 0 && m.Funcs[i].Name.Len > 0 {
			return strings.TrimLeft(m.String(m.Funcs[i].Name), "_")
		}
	}
	return ""
}

// texts follows one name backwards through the reached code.
type texts struct {
	evaluator
	site  CallRef // the call of the function looked at that is given the name
	sited bool
	found []string
	null  bool
}

func (t *texts) value(f int32, m *link.Module, v value.Val, depth int, via []CallRef) {
	if v == 0 {
		t.fail("not known in its function", via)
		return
	}
	m.Each(v, func(_ int32, x value.Expr) { t.expr(f, m, x, depth, via) })
}

func (t *texts) expr(f int32, m *link.Module, x value.Expr, depth int, via []CallRef) {
	if t.again(visitKey{f: f, e: x}) {
		return
	}
	switch {
	case depth > maxDepth:
		t.fail("passes through too many functions", via)
	case x.Kind == value.Const && x.Off == 0 && !x.Any:
		t.null = true
	case x.Any:
		t.fail("computed", via)
	case x.Kind == value.Addr || x.Kind == value.Const:
		t.at(m, uint64(x.Off), via)
	case x.Kind == value.Param && x.Off == 0:
		t.callers(f, int(x.A), depth, via, func(cf int32, cm *link.Module, call uint32, v value.Val, via []CallRef) {
			was := t.site
			t.site, t.sited = CallRef{cf, call}, true
			t.value(cf, cm, v, depth+1, via)
			t.site = was
		})
	case x.Kind == value.Load && x.Off == 0 && x.Size == 8 && m.Exprs[x.A].Kind == value.Addr:
		t.variable(m, m.Exprs[x.A], depth, via)
	case x.Kind == value.Result:
		t.fail("result of a call", via)
	case x.Kind == value.Stack && t.sited && t.site.Func == f:
		t.built(f, m, x.Off, t.site.Call, depth, via)
	case x.Kind == value.Stack:
		t.fail("put together at run time", via)
	default:
		t.fail("read from memory that is not followed", via)
	}
}

// at adds the string at an address of a module's data.
func (t *texts) at(m *link.Module, va uint64, via []CallRef) {
	s, ok := m.StringAt(va)
	switch {
	case ok:
		t.found = append(t.found, s)
	case writable(m, va):
		t.fail("put together at run time", via)
	default:
		t.fail("no name of a file", via)
	}
}

// variable adds what a pointer in data points to: in constant data what is there from the start, of a table all of it; in
// a variable also what live code stores there, if nothing takes its address.
func (t *texts) variable(m *link.Module, at value.Expr, depth int, via []CallRef) {
	g := t.r.G
	va := uint64(at.Off)
	constant := !writable(m, va) || m.Relro.Contains(va)
	lo, hi := va, va+8
	if at.Any {
		if !constant {
			t.fail("read from a table that can change", via)
			return
		}
		l := g.mods[m.Index].regions
		i := bound(l, va)
		if i < 0 || i+1 >= len(l) {
			t.fail("read from a table", via)
			return
		}
		lo, hi = l[i], l[i+1]
	}
	for k := range m.Ptrs {
		if q := &m.Ptrs[k]; q.Slot >= lo && q.Slot < hi {
			if q.Kind != summary.PtrRelative && q.Kind != summary.PtrWord {
				t.fail("a pointer that another module fills", via)
				continue
			}
			t.at(m, q.Target, via)
		}
	}
	if constant {
		return
	}
	for i := range m.Dyn.Symbols {
		if s := &m.Dyn.Symbols[i]; !s.Undefined && !s.TLS && s.Value <= va && va < s.Value+s.Size {
			t.fail("a variable that other modules can set", via)
			return
		}
	}
	for i := range m.Funcs {
		fn := &m.Funcs[i]
		gf := int32(m.Base) + int32(i)
		if !g.live.has(gf) {
			continue
		}
		written := 0
		for k := fn.Refs[0]; k < fn.Refs[1]; k++ {
			q := &m.Refs[k]
			if q.Addr == va && q.Size != 8 {
				t.fail("a variable whose address is taken", via)
				return
			}
			if q.Write && q.Addr < va+8 && va < q.Addr+uint64(q.Size) {
				written++
			}
		}
		for k := fn.Stores[0]; k < fn.Stores[1]; k++ {
			s := &m.Stores[k]
			if x, one := m.Exprs[max(s.Addr, 0)], s.Addr > 0; one && x.Kind == value.Addr && !x.Any && uint64(x.Off) == va {
				written--
				t.value(gf, m, s.Value, depth+1, via)
			}
		}
		if written > 0 {
			t.fail("a variable that is set to something that is not known", via)
		}
	}
}
