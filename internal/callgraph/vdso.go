package callgraph

import (
	"slices"
	"strings"

	"syspart/internal/link"
	"syspart/internal/summary"
)

// libc and the loader look the vDSO's functions up by constant names when they start, and keep the pointers to themselves
// (sysdeps/unix/sysv/linux/dl-vdso-setup.h of glibc, src/internal/vdso.c of musl).

// vdsoNames returns the names that the vDSO exports for an address.
func (g *Graph) vdsoNames(va uint64) []string {
	var out []string
	m := g.P.Modules[g.P.VDSO]
	for i := range m.Dyn.Symbols {
		if s := &m.Dyn.Symbols[i]; !s.Undefined && s.Value == va {
			out = append(out, s.Name)
		}
	}
	return out
}

// vdsoAsked reports whether anybody asks for the vDSO's function at an address. A name that no module has is not asked
// for. Below level c, and where modules have no such names at all (statically linked programs may keep theirs in other
// forms), every function counts.
func (g *Graph) vdsoAsked(va uint64) bool {
	if g.Level < LevelC {
		return true
	}
	names := g.vdsoNames(va)
	some := false
	for mi, m := range g.P.Modules {
		if mi == g.P.VDSO {
			continue
		}
		for i := range m.Strs {
			name := m.String(m.Strs[i].Text)
			if !strings.HasPrefix(name, "__vdso_") {
				continue
			}
			some = true
			if slices.Contains(names, name) {
				return true
			}
		}
	}
	return !some
}

// vdsoFor returns the vDSO's functions that an IFUNC resolver may return: that of the resolver's own name, as glibc's do
// for time and gettimeofday (sysdeps/unix/sysv/linux/time.c), else any.
func (g *Graph) vdsoFor(m *link.Module, resolver uint64) []link.Target {
	all := g.P.VDSOFuncs()
	var out []link.Target
	for _, t := range all {
		names := g.vdsoNames(t.Value)
		for i := range m.Dyn.Symbols {
			if s := &m.Dyn.Symbols[i]; !s.Undefined && s.Value == resolver && slices.Contains(names, "__vdso_"+strings.TrimLeft(s.Name, "_")) {
				out = append(out, t)
				break
			}
		}
	}
	if len(out) == 0 {
		return all
	}
	return out
}

// vdsoGetres reports whether a function is the vDSO's clock_getres.
func (g *Graph) vdsoGetres(m *link.Module, fn *summary.Func) bool {
	return m.Index == g.P.VDSO && slices.Contains(g.vdsoNames(fn.Entry), "__vdso_clock_getres")
}

// callsGetres reports whether a function of libc or the loader may call the vDSO's clock_getres: glibc's clock_getres does
// (sysdeps/unix/sysv/linux/clock_getres.c), or one that is not told apart since its module exports no such function.
func (g *Graph) callsGetres(m *link.Module, fn *summary.Func) bool {
	if g.P.Musl {
		return true
	}
	st := &g.mods[m.Index]
	if !st.getresKnown {
		st.getres, st.exportsGetres = exports(m, "clock_getres")
		st.getresKnown = true
	}
	for _, f := range st.getres {
		if &m.Funcs[f] == fn {
			return true
		}
	}
	return !st.exportsGetres && m.Index != g.P.Interp
}
