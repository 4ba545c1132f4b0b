package callgraph

import (
	"path/filepath"
	"strings"

	"syspart/internal/link"
	"syspart/internal/summary"
)

// class says which unresolved call sites a function is a target of. From level c on a pointer whose way is known from the
// interface it is handed over by does not make its function a target of every site.
type class uint8

const (
	classPlain   class = 1 << iota // any
	classInit                      // constructors: sites of the loader, and of libc's start code
	classFini                      // destructors: the same, and libc's exit code
	classVDSO                      // sites of libc and the loader, which look the vDSO's functions up
	classNSS                       // name-service functions: libc's sites behind a look-up in the name service
	classPrivate                   // what only a name-service module's own code has: its own sites
)

// Set is a number of a set of targets that an unresolved call has; see Graph.Targets.
type Set int32

// setKey describes a set: functions of any of the classes in mask (of classPrivate those of module mod) that take at most
// args arguments, and if result is set may return something.
type setKey struct {
	mask   class
	mod    int32 // -1: no module's private functions
	args   uint8
	result bool
	name   string // classNSS: only functions that look up by this name, or one of several separated by spaces; "": all
	getres bool   // classVDSO: clock_getres, too, which libc's function of that name alone calls
}

const maxArgs = 6

// targetSet is a set and, once it is asked for, its members.
type targetSet struct {
	key     setKey
	active  bool // a live site has it
	first   Edge
	members []int32
	listed  int // functions of Graph.list that members covers
}

// nameService reports whether a module is a plug-in of libc's name service (nss/nsswitch.c: libnss_NAME.so.2).
func nameService(m *link.Module) bool { return strings.HasPrefix(filepath.Base(m.Path), "libnss_") }

// classOf is the class of a function whose address is taken.
func (g *Graph) classOf(f int32, e *Evidence) class {
	if g.Level < LevelC {
		return classPlain
	}
	switch e.Kind {
	case TakenInit:
		return classInit
	case TakenFini:
		return classFini
	case TakenVDSO:
		return classVDSO
	}
	m, fn := g.fn(f)
	if !g.nss {
		return classPlain
	}
	if fn.Name.Len > 0 && (g.mods[m.Index].service || g.mods[m.Index].libc) && strings.HasPrefix(m.String(fn.Name), "_nss_") {
		return classNSS
	}
	if g.mods[m.Index].service && e.Func >= 0 && !e.Given {
		if by, _ := g.fn(e.Func); by == m {
			return classPrivate
		}
	}
	return classPlain
}

// accepts reports whether a function, address-taken in a class, is a member of a set.
func (g *Graph) accepts(k *setKey, f int32) bool {
	c := g.class[f] & k.mask
	if c == 0 {
		return false
	}
	m, fn := g.fn(f)
	if c == classPrivate && int32(m.Index) != k.mod {
		return false
	}
	if c == classNSS && k.name != "" {
		name, ok := m.String(fn.Name), false
		for n := range strings.FieldsSeq(k.name) {
			ok = ok || strings.HasSuffix(name, "_"+n)
		}
		if !ok {
			return false
		}
	}
	if c == classVDSO && !k.getres && g.vdsoGetres(m, fn) {
		return false
	}
	if k.args < maxArgs && fn.Args > k.args {
		return false
	}
	return !k.result || fn.Flags&summary.Void == 0
}

// setOf is the set of an unresolved call of function f; c is nil for code that is not known.
func (g *Graph) setOf(f int32, m *link.Module, fn *summary.Func, c *summary.Call) Set {
	k := setKey{mask: classPlain, mod: -1, args: maxArgs}
	if g.Level >= LevelC {
		st := &g.mods[m.Index]
		if st.service { // no other module has functions of its own: sets that are alike are one
			k.mask |= classPrivate
			k.mod = int32(m.Index)
		}
		if st.libc || g.P.Interp < 0 {
			k.mask |= classVDSO
			k.getres = g.P.Interp < 0 || g.callsGetres(m, fn)
			if m.Index == g.P.Interp || g.P.Interp < 0 || st.start.has(f-int32(m.Base)) {
				k.mask |= classInit | classFini
			}
		}
		if n, ok := g.nssCaller(m, fn, f); ok {
			k.mask |= classNSS
			k.name = n
		}
	}
	if g.Level >= LevelE && c != nil {
		k.args, k.result = c.Prepared, c.UsesResult
		if c.Kind != summary.Indirect {
			k.args = maxArgs
		}
	}
	return g.intern(k)
}

func (g *Graph) intern(k setKey) Set {
	if s, ok := g.setIndex[k]; ok {
		return s
	}
	s := Set(len(g.sets))
	g.sets = append(g.sets, targetSet{key: k})
	g.setIndex[k] = s
	return s
}

// Targets returns the functions of a set. The slice is shared and must not be changed.
func (g *Graph) Targets(s Set) []int32 {
	t := &g.sets[s]
	for ; t.listed < len(g.list); t.listed++ {
		if f := g.list[t.listed]; g.accepts(&t.key, f) {
			t.members = append(t.members, f)
		}
	}
	return t.members
}

// startCode marks the functions of a libc that call constructors and destructors: __libc_start_main and what it calls
// within its module (csu/libc-start.c of glibc: call_init; src/env/__libc_start_main.c of musl).
func (g *Graph) startCode(m *link.Module) bitset {
	b := newBitset(len(m.Funcs))
	var visit func(i, depth int)
	visit = func(i, depth int) {
		if !b.set(int32(i)) || depth == 0 {
			return
		}
		fn := &m.Funcs[i]
		for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
			if j := m.Callee(&m.Calls[k]); j >= 0 {
				visit(j, depth-1)
			}
		}
	}
	for i := range m.Dyn.Symbols {
		switch s := &m.Dyn.Symbols[i]; s.Name {
		case "__libc_start_main", "exit", "_exit", "quick_exit":
			if !s.Undefined {
				if f := m.At(s.Value); f >= 0 {
					visit(f, 2)
				}
			}
		}
	}
	return b
}

// nssLookups are libc's functions that look up a function of the name service (nss/nsswitch.h, GLIBC_PRIVATE).
var nssLookups = map[string]bool{"__nss_lookup": true, "__nss_lookup_function": true, "__nss_next2": true, "__nss_passwd_lookup2": true,
	"__nss_group_lookup2": true, "__nss_hosts_lookup2": true, "__nss_services_lookup2": true}

// findNSS notes which functions of libc and of name-service modules look functions of the name service up, and so can call
// them. Without a libc that does, there is no such class.
func (g *Graph) findNSS() {
	g.nssCalls = map[int32]string{}
	for mi, m := range g.P.Modules {
		if !g.mods[mi].libc && !nameService(m) {
			continue
		}
		depth := make([]int8, len(m.Funcs)) // how far above a look-up, +1
		for i := range m.Funcs {
			fn := &m.Funcs[i]
			name := ""
			if fn.Name.Len > 0 {
				name = m.String(fn.Name)
			} else if fn.Flags&summary.Stub != 0 && fn.Sym != 0 {
				name = m.Dyn.Symbols[fn.Sym].Name
			}
			if nssLookups[name] {
				depth[i] = 1
				g.nss = g.nss || g.mods[mi].libc && fn.Flags&summary.Stub == 0
			}
		}
		// A function that calls such a one and makes no call through a pointer only passes on what it finds.
		for d := int8(2); d <= 4; d++ {
			for i := range m.Funcs {
				fn := &m.Funcs[i]
				for k := fn.Calls[0]; depth[i] == 0 && k < fn.Calls[1]; k++ {
					if j := m.Callee(&m.Calls[k]); j >= 0 && depth[j] == d-1 && (d == 2 || !callsPointers(m, &m.Funcs[j])) {
						depth[i] = d
					}
				}
			}
		}
		for i := range m.Funcs {
			if depth[i] > 1 && callsPointers(m, &m.Funcs[i]) {
				g.nssCalls[int32(m.Base)+int32(i)] = g.nssNames(m, &m.Funcs[i])
			}
		}
	}
}

func callsPointers(m *link.Module, fn *summary.Func) bool {
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		if m.Calls[k].Kind == summary.Indirect {
			return true
		}
	}
	return false
}

// nssNames are the names among a function's strings by which it looks up: "gethostbyname4_r gethostbyname3_r". A function
// that is given its name by its caller has none.
func (g *Graph) nssNames(m *link.Module, fn *summary.Func) string {
	var names []string
	for k := fn.Refs[0]; k < fn.Refs[1]; k++ {
		r := &m.Refs[k]
		if r.Size != 0 {
			continue
		}
		if s, ok := m.StringAt(r.Addr); ok && (strings.HasPrefix(s, "get") || strings.HasPrefix(s, "set") || strings.HasPrefix(s, "end") || strings.HasPrefix(s, "init")) {
			names = append(names, s)
		}
	}
	return strings.Join(names, " ")
}

// nssCaller reports whether a function can call functions of the name service, and by which names it looks them up.
func (g *Graph) nssCaller(m *link.Module, fn *summary.Func, f int32) (string, bool) {
	if !g.nss {
		return "", false
	}
	n, ok := g.nssCalls[f]
	return n, ok
}
