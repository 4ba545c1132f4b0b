package callgraph

import (
	"slices"
	"sort"

	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/value"
)

// Level c follows pointers forward. A token is a pointer to a function, or the address of a data object; flow finds out
// into which parameters, loads and calls it goes. A token that some function loses sight of (stores it, returns it, hands
// it to code that is not known) escapes. A function all of whose pointers are followed to their ends is not
// address-taken: the call sites that it comes to are its callers, and there are no others.
//
// An object's address does not escape if it is only dereferenced and passed on; then what it holds is read only where
// loads from it are seen, and the pointers in it are followed from there. Other pointers may be stored into it: these
// have escaped by being stored, so that every indirect call still reaches the address-taken ones.

// token is a code pointer (Fn) or the address of something in a data region.
type token struct {
	fn     int32  // function, -1 for data
	mod    int32  // data: module
	region int32  // data: region of the module
	addr   uint64 // data: the exact address; 0 if it is not known
}

// maxTokens bounds the pointers that one parameter or expression is followed for; more escape.
const maxTokens = 24

type paramKey struct {
	fn int32
	k  uint8
}

// flow is the state of the forward analysis.
type flow struct {
	g       *Graph
	live    bitset // functions of level b: a superset of what runs
	in      map[paramKey][]token
	escaped map[token]bool // fn tokens, and data tokens by region (addr 0)
	sites   map[CallRef][]int32
	queue   []int32
	queued  bitset
}

// follow computes what level b's address-taken functions lose by level c.
func (g *Graph) follow() *flow {
	w := &flow{g: g, live: g.live, in: map[paramKey][]token{}, escaped: map[token]bool{}, sites: map[CallRef][]int32{}, queued: newBitset(g.P.Funcs())}
	for mi, m := range g.P.Modules {
		w.exportedRegions(mi, m)
		for i := range m.Funcs {
			if f := int32(m.Base) + int32(i); w.live.has(f) {
				w.push(f)
			}
		}
	}
	for _, f := range g.list {
		if g.pinned.has(f) {
			w.escape(token{fn: f})
		}
	}
	for len(w.queue) > 0 {
		f := w.queue[len(w.queue)-1]
		w.queue = w.queue[:len(w.queue)-1]
		w.queued[f>>6] &^= 1 << (uint(f) & 63)
		w.function(f)
	}
	return w
}

// contained returns the address-taken functions none of whose pointers escapes.
func (w *flow) contained() bitset {
	b := newBitset(w.g.P.Funcs())
	for _, f := range w.g.list {
		if !w.escaped[token{fn: f}] {
			b.set(f)
		}
	}
	return b
}

func (w *flow) push(f int32) {
	if w.queued.set(f) {
		w.queue = append(w.queue, f)
	}
}

// exportedRegions makes the regions escape that others can have the address of without passing it: those with a dynamic
// symbol, thread-local images, and whatever the loader copies or fills.
func (w *flow) exportedRegions(mi int, m *link.Module) {
	st := &w.g.mods[mi]
	at := func(va uint64) {
		if r := st.region(va); r >= 0 {
			w.escape(token{fn: -1, mod: int32(mi), region: int32(r)})
		}
	}
	for i := range m.Dyn.Symbols {
		if s := &m.Dyn.Symbols[i]; !s.Undefined && !s.TLS && !s.Abs && s.Type != sttFunc && s.Type != sttIFunc && s.Value != 0 {
			at(s.Value)
		}
	}
	if m.TLS.End > m.TLS.Start {
		at(m.TLS.Start)
	}
	if len(m.Dyn.Needed) == 0 { // the loader writes its own data while it starts; static programs likewise
		for r := range st.regions {
			w.escape(token{fn: -1, mod: int32(mi), region: int32(r)})
		}
	}
}

// escape notes that a token can be anywhere; so can what its object holds.
func (w *flow) escape(t token) {
	if t.fn < 0 {
		t.addr = 0
	}
	if w.escaped[t] {
		return
	}
	w.escaped[t] = true
	if t.fn >= 0 {
		return
	}
	st := &w.g.mods[t.mod]
	if int(t.region)+1 >= len(st.regions) {
		return
	}
	w.contents(int(t.mod), image.Range{Start: st.regions[t.region], End: st.regions[t.region+1]}, w.escape)
}

// contents calls visit for the tokens of the pointers in a range of a module's data.
func (w *flow) contents(mi int, r image.Range, visit func(token)) {
	g := w.g
	m := g.P.Modules[mi]
	for i := sort.Search(len(m.Ptrs), func(i int) bool { return m.Ptrs[i].Slot+8 > r.Start }); i < len(m.Ptrs) && m.Ptrs[i].Slot < r.End; i++ {
		q := &m.Ptrs[i]
		switch q.Kind {
		case summary.PtrPLT, summary.PtrTLS, summary.PtrCopy:
			continue
		}
		fs := g.pointees(mi, q)
		for _, f := range fs {
			visit(token{fn: f})
		}
		if len(fs) > 0 {
			continue
		}
		switch q.Kind {
		case summary.PtrRelative, summary.PtrWord:
			w.address(mi, q.Target, false, visit)
		case summary.PtrSym:
			if q.Sym != 0 {
				for _, t := range g.P.Lookup(mi, q.Sym) {
					w.address(t.Module, t.Value+uint64(q.Addend), false, visit)
				}
			}
		}
	}
}

// address calls visit for the regions that an address may be meant for, as Graph.address does.
func (w *flow) address(mi int, va uint64, code bool, visit func(token)) {
	st := &w.g.mods[mi]
	in := st.region(va)
	st.near(va, code, func(r int) {
		t := token{fn: -1, mod: int32(mi), region: int32(r)}
		if r == in {
			t.addr = va
		}
		visit(t)
	})
}

func (w *flow) isEscaped(t token) bool {
	if t.fn < 0 {
		t.addr = 0
	}
	return w.escaped[t]
}

// add adds a token to a list unless it is there or has escaped; a list that grows too long escapes.
func (w *flow) add(l []token, t token) ([]token, bool) {
	if w.isEscaped(t) {
		return l, false
	}
	for _, x := range l {
		if x == t {
			return l, false
		}
	}
	if len(l) >= maxTokens {
		w.escape(t)
		return l, false
	}
	return append(l, t), true
}

// function follows all tokens through one function.
func (w *flow) function(f int32) {
	g := w.g
	mi, i := g.P.Where(int(f))
	m := g.P.Modules[mi]
	fn := &m.Funcs[i]
	if fn.Flags&summary.Stub != 0 {
		return
	}
	blind := fn.Flags&summary.Incomplete != 0 || m.Kind == image.KindExec
	// Whatever an unknown piece of code has is lost, whether or not an expression says so.
	if blind {
		main := w.startsMain(mi, fn, f)
		for _, t := range m.Takes[fn.Takes[0]:fn.Takes[1]] {
			if x := g.P.Func(mi, t.Target); x >= 0 && int32(x) != main {
				w.escape(token{fn: int32(x)})
			}
		}
		for k := fn.Refs[0]; k < fn.Refs[1]; k++ {
			w.address(mi, m.Refs[k].Addr, true, w.escape)
		}
		for k := uint8(0); k < 8; k++ {
			for _, t := range w.in[paramKey{f, k}] {
				w.escape(t)
			}
		}
	}
	base := fn.Exprs[0]
	held := make([][]token, fn.Exprs[1]-base)
	tm := g.registersClones(mi, m, fn)
	for e := base; e < fn.Exprs[1]; e++ {
		x := &m.Exprs[e]
		h := &held[e-base]
		put := func(t token) { *h, _ = w.add(*h, t) }
		switch x.Kind {
		case value.Param:
			if x.A > 7 {
				continue
			}
			for _, t := range w.in[paramKey{f, uint8(x.A)}] {
				if t.fn < 0 && t.addr != 0 {
					t.addr += uint64(x.Off)
					if x.Any {
						t.addr = 0
					}
				}
				put(t)
			}
		case value.Addr:
			va := uint64(x.Off)
			if c := g.P.Func(mi, va); c >= 0 && m.Exec(va) {
				put(token{fn: int32(c)})
			} else if !tm {
				w.address(mi, va, true, func(t token) {
					if x.Any {
						t.addr = 0
					}
					put(t)
				})
			}
		case value.Sym:
			for _, t := range g.P.Lookup(mi, uint32(x.A)) {
				if t.IFunc {
					for _, r := range g.resolved(t.Module, t.Value) {
						put(token{fn: r})
					}
				} else if c := g.P.Func(t.Module, t.Value); c >= 0 {
					put(token{fn: int32(c)})
				} else {
					w.address(t.Module, t.Value+uint64(x.Off), true, put)
				}
			}
		case value.Load:
			if uint32(x.A) < base || uint32(x.A) >= fn.Exprs[1] || x.Size&^value.SignBit < 8 {
				continue // no pointer is that short
			}
			for _, t := range held[uint32(x.A)-base] {
				if t.fn >= 0 {
					continue // code is read
				}
				st := &g.mods[t.mod]
				r := image.Range{Start: t.addr, End: t.addr + 8}
				if t.addr == 0 || st.region(t.addr) != int(t.region) {
					if int(t.region)+1 >= len(st.regions) {
						continue
					}
					r = image.Range{Start: st.regions[t.region], End: st.regions[t.region+1]}
				}
				w.contents(int(t.mod), r, put)
			}
		}
	}
	each := func(v value.Val, visit func(token)) {
		m.Each(v, func(x int32, _ value.Expr) {
			if uint32(x) >= base && uint32(x) < fn.Exprs[1] {
				for _, t := range held[uint32(x)-base] {
					visit(t)
				}
			}
		})
	}
	for k := fn.Losts[0]; k < fn.Losts[1]; k++ {
		x := m.Losts[k]
		for _, t := range held[uint32(x)-base] {
			w.escape(t)
		}
	}
	for k := uint8(0); k < 8; k++ {
		if fn.LostParams>>k&1 != 0 {
			for _, t := range w.in[paramKey{f, k}] {
				w.escape(t)
			}
		}
	}
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		c := &m.Calls[k]
		if c.Kind == summary.Indirect {
			each(c.Value, func(t token) {
				if t.fn >= 0 {
					w.attach(CallRef{f, k}, t.fn)
				}
			})
		}
		known := w.callees(mi, m, c, f, k)
		for a := 0; a < 8; a++ {
			v := argument(c, a)
			if v == 0 {
				continue
			}
			each(v, func(t token) {
				if w.isEscaped(t) {
					return
				}
				if !known.ok {
					w.escape(t)
					return
				}
				for _, h := range known.list {
					w.pass(h, a, t)
				}
			})
		}
	}
}

// callees are the functions that a call reaches, if all of them are known.
type callees struct {
	list []int32
	ok   bool
}

func (w *flow) callees(mi int, m *link.Module, c *summary.Call, f int32, k uint32) callees {
	r := callees{ok: c.Kind != summary.Indirect}
	if c.Kind == summary.Indirect {
		if _, ok := w.g.constTargets(mi, m, c); ok {
			r.ok = true
		}
	}
	if c.Kind == summary.Direct && m.Callee(c) < 0 {
		r.ok = false
	}
	w.g.callTargets(mi, m, c, func(t int32) {
		if _, fn := w.g.fn(t); fn.Flags&summary.Stub != 0 { // a stub through a slot that no symbol fills
			r.ok = false
		}
		r.list = append(r.list, t)
	})
	return r
}

// opaque says which arguments of libc's functions are only compared: the handle of the module that registers a handler.
func (w *flow) opaque(h int32, a int) bool {
	m, fn := w.g.fn(h)
	if fn.Name.Len == 0 || !w.g.mods[m.Index].libc {
		return false
	}
	switch m.String(fn.Name) {
	case "__cxa_finalize":
		return a == 0
	case "__cxa_atexit", "__cxa_thread_atexit_impl":
		return a == 2
	case "__register_atfork":
		return a == 3
	}
	return false
}

func (w *flow) pass(h int32, a int, t token) {
	if t.fn < 0 && w.opaque(h, a) {
		return
	}
	if t.fn >= 0 && a == 0 {
		if sites := w.callsMain(h, false); len(sites) > 0 {
			for _, c := range sites {
				w.attach(c, t.fn)
			}
			return
		}
	}
	key := paramKey{h, uint8(a)}
	l, grown := w.add(w.in[key], t)
	if grown {
		w.in[key] = l
		w.push(h)
	}
}

// callsMain returns the sites at which main is called if h is libc's __libc_start_main, which keeps the pointer in a frame
// whose address it passes on, to setjmp alone, where we would lose sight of it. It calls main itself or through a function
// that it hands main to, and nowhere else (csu/libc-start.c and sysdeps/nptl/libc_start_call_main.h of glibc).
//
// In a static program, where functions may have lost their names, it is the function that the entry calls (entered).
func (w *flow) callsMain(h int32, entered bool) []CallRef {
	m, fn := w.g.fn(h)
	if !entered && (fn.Name.Len == 0 || !w.g.mods[m.Index].libc || m.String(fn.Name) != "__libc_start_main") {
		return nil
	}
	var out []CallRef
	unknown := func(f int32) {
		_, x := w.g.fn(f)
		for k := x.Calls[0]; k < x.Calls[1]; k++ {
			if c := &m.Calls[k]; c.Kind == summary.Indirect && c.Value == 0 {
				out = append(out, CallRef{f, k})
			}
		}
	}
	handed := []int32{}
	certain := false // main is seen to be handed on
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		c := &m.Calls[k]
		t := int32(w.g.P.Func(m.Index, c.Target))
		if c.Kind != summary.Direct || t < 0 || c.Args[0] < 0 {
			continue
		}
		x := m.Exprs[c.Args[0]]
		switch is := c.Args[0] > 0 && x.Kind == value.Param && x.A == 0 && !x.Any; {
		case is && !certain:
			handed, certain = []int32{t}, true
		case is || c.Args[0] == 0 && !certain:
			handed = append(handed, t)
		}
	}
	if !certain {
		handed = append(handed, h)
	}
	slices.Sort(handed)
	for _, f := range slices.Compact(handed) {
		unknown(f)
	}
	if certain && len(out) == 0 {
		unknown(h)
	}
	return out
}

// startsMain returns the main function if f is the entry of a fixed-address program, whose only call hands main to
// __libc_start_main (sysdeps/x86_64/start.S of glibc), and notes where it is called; else -1.
func (w *flow) startsMain(mi int, fn *summary.Func, f int32) int32 {
	m := w.g.P.Modules[mi]
	if mi != 0 || fn.Entry != m.Entry || fn.Flags&summary.Incomplete != 0 || fn.Calls[1]-fn.Calls[0] != 1 || m.Calls[fn.Calls[0]].Args[0] <= 0 {
		return -1
	}
	c := &m.Calls[fn.Calls[0]]
	x := m.Exprs[c.Args[0]]
	if x.Kind != value.Addr && x.Kind != value.Const || x.Any {
		return -1
	}
	main := int32(w.g.P.Func(mi, uint64(x.Off)))
	known := w.callees(mi, m, c, f, fn.Calls[0])
	if main < 0 || !known.ok {
		return -1
	}
	for _, h := range known.list {
		sites := w.callsMain(h, w.g.P.Interp < 0 && c.Kind == summary.Direct)
		if len(sites) == 0 {
			return -1
		}
		for _, c := range sites {
			w.attach(c, main)
		}
	}
	return main
}

func (w *flow) attach(c CallRef, f int32) {
	for _, x := range w.sites[c] {
		if x == f {
			return
		}
	}
	w.sites[c] = append(w.sites[c], f)
}
