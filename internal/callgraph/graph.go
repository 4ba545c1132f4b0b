package callgraph

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/value"
)

// Level says how indirect calls are resolved, from coarse to fine.
type Level uint8

const (
	Best   Level = iota // the finest there is
	LevelA              // all address-taken functions
	LevelB              // address-taken by live code or by data that live code refers to
	LevelC              // those of them whose pointers are not all followed to their ends
	LevelD              // a call whose target is nothing but followed pointers goes to these alone
	LevelE              // what is left goes to functions that take no more arguments than it prepares, and return what it uses
)

// ParseLevel reads a level's letter; the empty string is the best there is.
func ParseLevel(s string) (Level, error) {
	switch strings.ToLower(s) {
	case "":
		return Best, nil
	case "a":
		return LevelA, nil
	case "b":
		return LevelB, nil
	case "c":
		return LevelC, nil
	case "d":
		return LevelD, nil
	case "e":
		return LevelE, nil
	}
	return 0, fmt.Errorf("level %q: not known; the levels are a to e", s)
}

// String returns the level's letter.
func (l Level) String() string {
	return [...]string{"best", "a", "b", "c", "d", "e"}[l]
}

// EdgeKind is the kind of an edge.
type EdgeKind uint8

const (
	Root        EdgeKind = iota // where a walk starts
	DirectCall                  // call or tail jump to an address of the module
	SymbolCall                  // through the PLT or the GOT, bound by the loader
	IFuncCall                   // the same to one of the functions that an IFUNC resolver returns
	ConstCall                   // indirect, but the pointers are constants
	TakenCall                   // indirect: to an address-taken function
	UnknownCode                 // from code whose control flow is not fully known
	Signal                      // the kernel calls a handler
	LazyBinding                 // first call through a lazily bound PLT slot
	FlowCall                    // indirect: a pointer was followed here
	SpawnCall                   // pthread_create: the new thread calls its start routine
)

var kindNames = [...]string{"start", "call", "symbol", "ifunc", "constant pointer", "indirect", "unknown code", "signal", "lazy binding", "followed pointer", "new thread"}

// String returns the kind's name.
func (k EdgeKind) String() string { return kindNames[k] }

// Edge is an edge of the graph: function From (a global number, -1 for a walk's start) at address Site of its module
// calls To, or, if To is -1 and Kind is not LazyBinding, the functions of Set. An edge to one of these keeps Set.
type Edge struct {
	Site     uint64
	From, To int32
	Set      Set
	Kind     EdgeKind
}

// Evidence says why a function counts as address-taken: the first place found, in words by Graph.Why.
type Evidence struct {
	Module int32  // module with the place
	Func   int32  // live function (global number) that makes or refers to it, -1 if the loader or libc does by itself
	Place  uint64 // instruction, or the data slot with the pointer
	Kind   TakenKind
	Given  bool // to code that may be another module's
}

// TakenKind is a way in which a function's address is taken.
type TakenKind uint8

const (
	NotTaken     TakenKind = iota
	TakenCode              // by an instruction
	TakenData              // by a pointer in data
	TakenStart             // a personality routine, or an entry: the runtime calls it
	TakenInit              // by the arrays of constructors, or an IFUNC resolver: the loader calls it
	TakenFini              // by the arrays of destructors
	TakenName              // by its name, looked up at run time
	TakenIFunc             // returned by an IFUNC resolver whose symbol's address is taken
	TakenVDSO              // the vDSO's functions, which the loader and libc look up
	TakenAnyName           // exported by a module while a name is unknown
	TakenSeen              // by its name, which a run has shown the module to look up
)

var takenNames = [...]string{"", "address made by an instruction", "pointer in data", "called by the runtime", "called at start", "called at exit", "looked up by name",
	"returned by an ifunc resolver", "vDSO function looked up by libc", "may be looked up by an unknown name",
	"looked up by name in a run"}

// String returns the kind in words.
func (k TakenKind) String() string { return takenNames[k] }

// Graph is the call graph of a program at a level.
type Graph struct {
	P     *link.Program
	Level Level

	mods         []modState
	taken        []Evidence // by global function number
	class        []class    // by global function number: which unresolved sites it is a target of
	list         []int32    // address-taken functions in the order in which they were found
	live         bitset     // functions that can run at all
	parent       []Edge     // by global function number: the edge by which it became live
	sets         []targetSet
	setIndex     map[setKey]Set
	followed     [][]int32           // where followed pointers are called, by call
	spawned      map[CallRef][]int32 // start routines that a call of pthread_create is given
	signals      []int32             // handlers of signals, if signalsKnown
	signalsKnown bool
	generic      bitset             // from level d on: calls that followed pointers do not resolve, by call
	gates        gates              // what runs only if something else is live
	nss          bool               // the program has a name service
	nssCalls     map[int32]string   // functions that can call what they look up there, and by which names
	solver       *solver            // from level c on
	asked        []Asked            // what a run has shown to be looked up
	firstCall    []int32            // by module: the number of its first call among those of all modules
	through      [][]int32          // by function: what a PLT stub leads to; nil until it is asked for
	callers      []CallRef          // callers of all functions, one function after another
	callersAt    []int32            // those of function f: callers[callersAt[f]:callersAt[f+1]]; nil until they are asked for
	resolverOf   map[uint64][]int32 // module<<48|resolver address
	queue        []int32
	binders      []int32 // see lazy; nil until it is asked for
	lookAll      bool
	lookedLater  bool // see lookupUnknown
}

// modState is what the fixed point knows of a module.
type modState struct {
	m         *link.Module
	ptrLive   bitset // Ptrs that live code can read
	regions   []uint64
	direct    map[uint64]bool // addresses that code reads or writes directly
	regLive   bitset
	symFuncs  map[uint32][]int32 // dynamic symbol to functions it can call
	strs      map[uint64]int
	lazyStubs bool
	lookedUp  bool   // from level c on: a live look-up's name is not known
	libc      bool   // loader or libc: looks names of other modules up by itself
	service   bool   // a plug-in of libc's name service
	start     bitset // of its functions, those of libc's start and exit code
	dlsym     bool   // imports dlsym
	lookups   bitset // of its calls, if it does: those of dlsym
	// Functions exported as clock_getres; see callsGetres.
	getres                     []int
	getresKnown, exportsGetres bool
}

// named reports whether a string that a name may be looked up by is at va.
func (st *modState) named(va uint64) bool {
	_, ok := st.strs[va]
	return ok
}

// CallRef is a call site: call number Call of function Func's module.
type CallRef struct {
	Func int32
	Call uint32
}

type bitset []uint64

func newBitset(n int) bitset      { return make(bitset, (n+63)/64) }
func (b bitset) has(i int32) bool { return b[i>>6]>>(uint(i)&63)&1 != 0 }
func (b bitset) set(i int32) bool {
	w, m := i>>6, uint64(1)<<(uint(i)&63)
	if b[w]&m != 0 {
		return false
	}
	b[w] |= m
	return true
}
func (b bitset) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// New computes the whole program's live functions and address-taken functions.
func New(p *link.Program, level Level, asked ...Asked) *Graph {
	if level == Best {
		level = LevelE
	}
	n := p.Funcs()
	g := &Graph{P: p, Level: level, taken: make([]Evidence, n), class: make([]class, n), live: newBitset(n), parent: make([]Edge, n),
		setIndex: map[setKey]Set{}, spawned: map[CallRef][]int32{}, resolverOf: map[uint64][]int32{}, asked: asked}
	g.firstCall = make([]int32, len(p.Modules)+1)
	for i, m := range p.Modules {
		g.firstCall[i+1] = g.firstCall[i] + int32(len(m.Calls))
	}
	g.followed = make([][]int32, g.firstCall[len(p.Modules)])
	g.generic = newBitset(len(g.followed))
	g.through = make([][]int32, n)
	g.prepare()
	if level < LevelC {
		g.fixpoint()
	} else {
		g.findNSS()
		g.findGates()
		g.solve()
		if !g.solver.anyHandler {
			g.signals = g.solver.handlers
			slices.Sort(g.signals)
			g.signalsKnown = true
		}
		g.solver = nil
	}
	return g
}

// fn returns module and function of a global number.
func (g *Graph) fn(f int32) (*link.Module, *summary.Func) {
	mi, i := g.P.Where(int(f))
	m := g.P.Modules[mi]
	return m, &m.Funcs[i]
}

// Func returns module and function of a global number.
func (g *Graph) Func(f int32) (*link.Module, *summary.Func) { return g.fn(f) }

// Taken returns the address-taken functions, in the order in which they were found.
func (g *Graph) Taken() []int32 { return g.list }

// Evidence says why f is address-taken.
func (g *Graph) Evidence(f int32) Evidence { return g.taken[f] }

// Live reports whether f can run at all, from the program's entry on.
func (g *Graph) Live(f int32) bool { return g.live.has(f) }

// Parent returns the edge by which f became live.
func (g *Graph) Parent(f int32) Edge { return g.parent[f] }

// LiveCount returns the number of live functions.
func (g *Graph) LiveCount() int { return g.live.count() }

// Name returns a readable name of a function: its symbol, or fn_0x and its address.
func (g *Graph) Name(f int32) string {
	m, fn := g.fn(f)
	if fn.Name.Len > 0 {
		return m.String(fn.Name)
	}
	if fn.Flags&summary.Stub != 0 && fn.Sym != 0 {
		return m.Dyn.Symbols[fn.Sym].Name + "@plt"
	}
	return fmt.Sprintf("fn_%#x", fn.Entry)
}

// symTargets returns the functions that a call of dynamic symbol sym of module mi can reach.
func (g *Graph) symTargets(mi int, sym uint32) []int32 {
	st := &g.mods[mi]
	if l, ok := st.symFuncs[sym]; ok {
		return l
	}
	var l []int32
	for _, t := range g.P.LookupClass(mi, sym, link.ClassPLT) {
		if t.IFunc {
			l = append(l, g.resolved(t.Module, t.Value)...)
			continue
		}
		if f := g.P.Func(t.Module, t.Value); f >= 0 {
			l = append(l, int32(f))
		}
	}
	if s := &g.P.Modules[mi].Dyn.Symbols[sym]; mi == g.P.Interp && !s.Undefined {
		// The loader is bound to itself first, and again once the others are there.
		if f := int32(g.P.Func(mi, s.Value)); f >= 0 && !slices.Contains(l, f) {
			l = append(l, f)
		}
	}
	st.symFuncs[sym] = l
	return l
}

// isIFunc reports whether sym is bound to an IFUNC.
func (g *Graph) isIFunc(mi int, sym uint32) bool {
	for _, t := range g.P.LookupClass(mi, sym, link.ClassPLT) {
		if t.IFunc {
			return true
		}
	}
	return false
}

// resolved returns the functions that an IFUNC resolver can return: those whose address it, or a function that it calls
// within its module, makes; and the vDSO's, where what it returns is not one of these for certain.
func (g *Graph) resolved(mi int, resolver uint64) []int32 {
	key := uint64(mi)<<48 | resolver
	if l, ok := g.resolverOf[key]; ok {
		return l
	}
	m := g.P.Modules[mi]
	var out []int32
	seen := map[int32]bool{}
	certain := true
	var visit func(i, depth int)
	visit = func(i, depth int) {
		f := &m.Funcs[i]
		for _, t := range m.Takes[f.Takes[0]:f.Takes[1]] {
			if x := g.P.Func(mi, t.Target); x >= 0 && !seen[int32(x)] {
				seen[int32(x)] = true
				out = append(out, int32(x))
			}
		}
		if depth == 0 {
			for _, r := range m.Rets[f.Rets[0]:f.Rets[1]] {
				m.Each(r.Value, func(_ int32, e value.Expr) {
					if e.Kind != value.Addr || e.Any || m.At(uint64(e.Off)) < 0 {
						certain = false
					}
				})
			}
		}
		if depth < 3 {
			for _, c := range m.Calls[f.Calls[0]:f.Calls[1]] {
				if c.Kind == summary.Direct {
					if j := m.Callee(&c); j >= 0 {
						visit(j, depth+1)
					}
				}
			}
		}
	}
	if i := m.At(resolver); i >= 0 {
		visit(i, 0)
	}
	if !certain {
		for _, t := range g.vdsoFor(m, resolver) {
			if x := g.P.Func(t.Module, t.Value); x >= 0 && !seen[int32(x)] {
				seen[int32(x)] = true
				out = append(out, int32(x))
			}
		}
	}
	g.resolverOf[key] = out
	return out
}

// constTargets returns the functions of an indirect call whose target is a set of constant pointers; false if it is not.
func (g *Graph) constTargets(mi int, m *link.Module, c *summary.Call) ([]int32, bool) {
	if c.Value == 0 {
		return nil, false
	}
	ok := true
	var out []int32
	m.Each(c.Value, func(_ int32, e value.Expr) {
		switch {
		case e.Any:
			ok = false
		case e.Kind == value.Addr:
			if f := g.P.Func(mi, uint64(e.Off)); f >= 0 {
				out = append(out, int32(f))
			} else {
				ok = false
			}
		case e.Kind == value.Sym && e.Off == 0:
			out = append(out, g.symTargets(mi, uint32(e.A))...)
		case e.Kind == value.Const && e.Off == 0: // a call of a null pointer faults
		default:
			ok = false
		}
	})
	return out, ok
}

// edges calls visit for each edge from function f through its calls (those in blocks that in accepts; nil: all). An
// indirect call that no constant resolves is reported as one edge to -1; so is code that is not fully known.
func (g *Graph) edges(f int32, in func(block uint32) bool, visit func(Edge)) {
	mi, i := g.P.Where(int(f))
	m := g.P.Modules[mi]
	fn := &m.Funcs[i]
	if fn.Flags&summary.Stub != 0 {
		g.stub(mi, m, fn, f, visit)
		return
	}
	gated := g.gates.funcs != nil && g.gates.funcs.has(f)
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		c := &m.Calls[k]
		if in != nil && !in(c.Block) || gated && g.behind(CallRef{f, k}) {
			continue
		}
		switch c.Kind {
		case summary.Direct:
			if t := g.callee1(m, c); t >= 0 {
				visit(Edge{Site: c.Site, From: f, To: int32(t), Kind: DirectCall})
			} else {
				visit(Edge{Site: c.Site, From: f, To: -1, Kind: UnknownCode, Set: g.setOf(f, m, fn, nil)})
			}
		case summary.BySym:
			kind := SymbolCall
			l := g.symTargets(mi, c.Sym)
			if len(l) > 1 && g.isIFunc(mi, c.Sym) {
				kind = IFuncCall
			}
			for _, t := range l {
				visit(Edge{Site: c.Site, From: f, To: t, Kind: kind})
			}
		default:
			if l, ok := g.constTargets(mi, m, c); ok {
				for _, t := range l {
					visit(Edge{Site: c.Site, From: f, To: t, Kind: ConstCall})
				}
			} else {
				ref := CallRef{f, k}
				for _, t := range g.followed[g.number(ref)] {
					visit(Edge{Site: c.Site, From: f, To: t, Kind: FlowCall})
				}
				if g.unresolved(ref) {
					visit(Edge{Site: c.Site, From: f, To: -1, Kind: TakenCall, Set: g.setOf(f, m, fn, c)})
				}
			}
			continue
		}
		if len(g.spawned) > 0 {
			for _, t := range g.spawned[CallRef{f, k}] {
				visit(Edge{Site: c.Site, From: f, To: t, Kind: SpawnCall})
			}
		}
	}
	if fn.Flags&summary.Incomplete != 0 {
		visit(Edge{Site: fn.Entry, From: f, To: -1, Kind: UnknownCode, Set: g.setOf(f, m, fn, nil)})
	}
}

func (g *Graph) stub(mi int, m *link.Module, fn *summary.Func, f int32, visit func(Edge)) {
	if fn.Sym != 0 {
		kind := SymbolCall
		l := g.symTargets(mi, fn.Sym)
		if len(l) > 1 && g.isIFunc(mi, fn.Sym) {
			kind = IFuncCall
		}
		for _, t := range l {
			visit(Edge{Site: fn.Entry, From: f, To: t, Kind: kind})
		}
		if g.mods[mi].lazyStubs && g.P.Interp >= 0 {
			visit(Edge{Site: fn.Entry, From: f, To: -1, Kind: LazyBinding})
		}
		return
	}
	p, ok := m.PtrAt(fn.Slot)
	switch {
	case ok && p.Kind == summary.PtrIFunc:
		for _, t := range g.resolved(mi, p.Target) {
			visit(Edge{Site: fn.Entry, From: f, To: t, Kind: IFuncCall})
		}
	case ok && (p.Kind == summary.PtrRelative || p.Kind == summary.PtrWord):
		if t := g.P.Func(mi, p.Target); t >= 0 {
			visit(Edge{Site: fn.Entry, From: f, To: int32(t), Kind: ConstCall})
			return
		}
		fallthrough
	default:
		visit(Edge{Site: fn.Entry, From: f, To: -1, Kind: TakenCall, Set: g.setOf(f, m, fn, &summary.Call{})})
	}
}

// number is a call's number among those of all modules.
func (g *Graph) number(c CallRef) int32 {
	mi, _ := g.P.Where(int(c.Func))
	return g.firstCall[mi] + int32(c.Call)
}

// unresolved reports whether an indirect call that no constant resolves may go beyond followed pointers. Nothing has been
// followed through functions that are not live.
func (g *Graph) unresolved(c CallRef) bool {
	return g.Level < LevelD || g.generic.has(g.number(c)) || !g.live.has(c.Func)
}

// Edges calls visit for each edge from f. A call through a pointer that is not resolved, and code that is not
// fully known, is an edge to -1.
func (g *Graph) Edges(f int32, visit func(Edge)) { g.edges(f, nil, visit) }

// callee1 returns the function that a direct call goes to, -1 if it is none that is known.
func (g *Graph) callee1(m *link.Module, c *summary.Call) int {
	if i := m.Callee(c); i >= 0 {
		return int(m.Base) + i
	}
	return -1
}
