package callgraph

import (
	"slices"

	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/value"
)

// From level c on, pointers are followed forward, together with what is live, to one least fixed point: a function becomes
// live when a live call reaches it, a pointer in it is followed into parameters, results, calls and read-only tables, and
// where it is lost sight of it escapes: the function that it points to is address-taken, or what the object that it points
// into holds escapes as well. A function none of whose pointers escapes is no target of unresolved calls: the sites that its
// pointers come to are its callers.
//
// Beside the pointers, each value knows whether it may be something else that has escaped. Level c takes this to be so at
// every call that no constant resolves. From level d on it is computed: through parameters of functions all of whose
// callers are known, their results, and memory whose address has not escaped; a call whose target is nothing but followed
// pointers goes to these alone.

// solver is the state of the fixed point.
type solver struct {
	g          *Graph
	mem        []memory
	params     []*pointers // by function and parameter, eight each; nil: none
	anyParam   []uint8     // by function: bit k: parameter k may be anything that has escaped
	results    []pointers
	readers    [][]int32         // by function: who reads its result, some more than once
	reading    map[[2]int32]bool // who reads what by calls through pointers
	called     bitset            // functions that sites may call which do not know it
	special    map[int32]*specialFunc
	isSpecial  bitset  // the keys of special
	compared   []uint8 // by function: arguments that are only compared, see opaque
	self       []int32 // every function's number: a piece of it is a list of one
	noted      bitset  // calls of one function that are among its readers already, by call
	changes    int     // how often something has escaped that had not
	looked     bool    // a call of the function under way looks a name up
	bounds     []uint8 // by function: register arguments that it has at most
	variadic   bitset
	direct     []int32 // by call: the function that it goes to alone, -1 if that is a matter of its own
	queue      []int32
	queued     bitset
	tables     map[token][]token // see dataIn
	handlers   []int32           // handlers of signals
	anyHandler bool              // there may be others
	held       [][]token
	anyHeld    []bool
	starters   []int32 // functions that new threads begin with, if they make calls through pointers
	starts     []token // start routines
	entered    bitset  // functions whose calls have been noted
	first      bool    // those of the function under way have not been before
}

// specialFunc is a function whose interface says more than its code.
type specialFunc struct {
	main      []CallRef // libc's __libc_start_main: where main is called
	clones    []CallRef // calls of the child's side in a function that makes a new thread
	create    bool      // pthread_create: argument 2 is called in the new thread
	sigaction bool      // sigaction, or libc's own part of it
}

// solve finds live and address-taken functions, and what calls through pointers reach, from level c on.
func (g *Graph) solve() {
	n := g.P.Funcs()
	w := &solver{g: g, mem: make([]memory, len(g.P.Modules)), params: make([]*pointers, 8*n), anyParam: make([]uint8, n), results: make([]pointers, n),
		readers: make([][]int32, n), reading: map[[2]int32]bool{}, called: newBitset(n), special: map[int32]*specialFunc{}, queued: newBitset(n), entered: newBitset(n), tables: map[token][]token{}, isSpecial: newBitset(n),
		noted: newBitset(len(g.followed)), self: make([]int32, n), compared: make([]uint8, n)}
	for f := range w.self {
		w.self[f] = int32(f)
	}
	g.solver = w
	for mi, m := range g.P.Modules {
		st := &g.mods[mi]
		a := areas{coarse: st.regions, got: m.Got, direct: st.direct, sized: make(map[uint64]bool, len(m.Objs))}
		for i := range m.Objs {
			a.sized[m.Objs[i].Start] = true
		}
		a.fine = a.coarse
		if g.Level >= LevelD {
			a.fine = fineAreas(m, a.coarse)
		}
		w.mem[mi] = memory{areas: a, escaped: newBitset(len(a.fine) + 1), cells: map[int32][]cell{}, readers: map[int32][]int32{},
			targets: make([][]target, len(m.Ptrs)), known: make([]bool, len(m.Ptrs))}
		for i := range m.Ptrs {
			if m.Ptrs[i].Kind == summary.PtrDistance {
				w.mem[mi].apart = append(w.mem[mi].apart, m.Ptrs[i].Slot)
			}
		}
	}
	w.bound()
	w.findSpecial()
	for mi, m := range g.P.Modules {
		w.openData(mi, m)
	}
	for _, c := range g.P.Copies() {
		w.mem[c.Module].copies = append(w.mem[c.Module].copies, c)
		w.escape(token{fn: -1, mod: int16(c.Source), addr: c.Value})
		w.escape(token{fn: -1, mod: int16(c.Module), addr: c.Addr})
	}
	for mi := range g.P.Modules {
		g.roots(mi)
	}
	for _, t := range g.P.LoaderFuncs() {
		if f := g.P.Func(t.Module, t.Value); f >= 0 && !t.IFunc {
			g.take(int32(f), Evidence{Module: int32(g.P.Interp), Func: -1, Place: t.Value, Kind: TakenName})
		}
	}
	for _, mi := range g.openedByName() {
		g.exported(mi)
	}
	g.systemNames()
	for i := 0; i < len(w.queue); i++ {
		f := w.queue[i]
		w.queued[f>>6] &^= 1 << (uint(f) & 63)
		w.function(f)
	}
}

// bound finds how many register arguments functions have at most: no more than any call by name prepares. A variadic one
// may be given fewer than it takes. What lies in the other argument registers is left over from before.
func (w *solver) bound() {
	g := w.g
	w.bounds, w.variadic, w.direct = make([]uint8, g.P.Funcs()), newBitset(g.P.Funcs()), make([]int32, len(g.followed))
	for f := range w.bounds {
		w.bounds[f] = maxArgs
	}
	for mi, m := range g.P.Modules {
		for i := range m.Funcs {
			if m.Funcs[i].Flags&summary.Variadic != 0 {
				w.variadic.set(int32(m.Base) + int32(i))
			}
		}
		for k := range m.Calls {
			c := &m.Calls[k]
			w.direct[int(g.firstCall[mi])+k] = -1
			if i := m.Callee(c); c.Kind == summary.Direct && i >= 0 && m.Funcs[i].Flags&summary.Stub == 0 {
				w.direct[int(g.firstCall[mi])+k] = int32(m.Base) + int32(i)
			}
			if c.Kind == summary.Indirect || c.Prepared >= maxArgs {
				continue
			}
			g.callTargets(mi, m, c, func(f int32) {
				if _, fn := g.fn(f); fn.Flags&summary.Variadic == 0 {
					w.bounds[f] = min(w.bounds[f], max(c.Prepared, fn.Args))
				}
			})
		}
	}
}

func (w *solver) push(f int32) {
	if w.g.live.has(f) && w.queued.set(f) {
		w.queue = append(w.queue, f)
	}
}

// open notes that sites that are not known may call f: its parameters and what it returns are then anything.
func (w *solver) open(f int32) {
	if !w.called.set(f) {
		return
	}
	w.anyParam[f] = 0xff
	w.push(f)
}

func (w *solver) anyArgument(f int32, k int) {
	if w.anyParam[f]>>k&1 == 0 {
		w.anyParam[f] |= 1 << k
		w.push(f)
	}
}

// argument hands a value to parameter k of function h.
func (w *solver) argument(by int32, c CallRef, h int32, k int, v *pointers) {
	if k < maxArgs && k >= int(w.bounds[h]) {
		return
	}
	var sp *specialFunc
	if w.isSpecial.has(h) {
		sp = w.special[h]
	}
	compared := w.compared[h]>>k&1 != 0
	p := w.params[8*int(h)+k]
	for _, t := range v.list {
		if sp != nil && t.fn >= 0 {
			switch {
			case sp.main != nil && k == 0:
				for _, s := range sp.main {
					w.attach(s, t.fn)
				}
				continue
			case sp.clones != nil:
				for _, s := range sp.clones {
					w.attach(s, t.fn)
				}
				w.starter(t.fn)
				continue
			case sp.create && k == 2:
				w.spawn(c, t)
				continue
			}
		}
		if t.fn < 0 && compared || t.fn >= 0 && k == 2 && w.caller(c) {
			continue
		}
		if p == nil {
			p = &pointers{}
			w.params[8*int(h)+k] = p
		}
		added, full := p.put(t)
		if full {
			_, fn := w.g.fn(by)
			w.give(t, by, fn.Entry)
			w.anyArgument(h, k)
		}
		if added {
			w.push(h)
		}
	}
	if v.any {
		w.anyArgument(h, k)
	}
}

// attach notes that a followed pointer is called at a site.
func (w *solver) attach(c CallRef, f int32) {
	g := w.g
	n := g.number(c)
	if slices.Contains(g.followed[n], f) {
		return
	}
	g.followed[n] = append(g.followed[n], f)
	m, _ := g.fn(c.Func)
	if g.live.has(c.Func) {
		g.enliven(Edge{Site: m.Calls[c.Call].Site, From: c.Func, To: f, Kind: FlowCall})
		w.push(c.Func) // arguments go there
	}
}

// function follows all pointers through one live function.
func (w *solver) function(f int32) {
	g := w.g
	mi, i := g.P.Where(int(f))
	m := g.P.Modules[mi]
	fn := &m.Funcs[i]
	stub := fn.Flags&summary.Stub != 0
	if w.first = w.entered.set(f); w.first {
		g.edges(f, nil, func(e Edge) {
			switch {
			case e.To >= 0:
				g.enliven(e)
			case e.Kind == LazyBinding:
				g.lazy(e, func(e Edge) { g.enliven(e) })
			case e.Kind == UnknownCode || stub:
				g.activate(e)
			}
		})
	}
	if stub {
		return
	}
	for x := fn.Exprs[0]; x < fn.Exprs[1]; x++ {
		w.clear(x - fn.Exprs[0])
	}
	if g.mods[mi].dlsym { // a result may be made of what is known of a name only later in the table
		before := w.changes
		w.looked = false
		w.values(f, mi, m, fn, false)
		if w.looked || w.changes != before {
			w.values(f, mi, m, fn, true)
		}
	} else {
		w.values(f, mi, m, fn, true)
	}
	w.effects(f, mi, m, fn)
}

// clear forgets what was known of expression i of another function.
func (w *solver) clear(i uint32) {
	for int(i) >= len(w.held) {
		w.held, w.anyHeld = append(w.held, nil), append(w.anyHeld, false)
	}
	w.held[i], w.anyHeld[i] = w.held[i][:0], false
}

// values computes what each expression of a function can hold; last says that all operands are known by now.
func (w *solver) values(f int32, mi int, m *link.Module, fn *summary.Func, last bool) {
	g := w.g
	base := fn.Exprs[0]
	tm := g.registersClones(mi, m, fn)
	var p pointers
	spill := func(t token) { w.escapeBy(t, f, fn.Entry, TakenCode) }
	put := func(t token) {
		if _, full := p.put(t); full {
			spill(t)
		}
	}
	putData := func(mi int, va uint64, wide bool) {
		t, ok, lost := w.data(mi, va, wide)
		if ok {
			put(t)
		}
		p.any = p.any || lost
	}
	// shifted adds t, moved as x says.
	shifted := func(t token, x *value.Expr) {
		if t.fn >= 0 || x.Off == 0 && !x.Any {
			put(t)
			p.any = p.any || x.Off != 0 || x.Any // a function's address that is moved
			return
		}
		if t.entry { // each of them moved
			l, ok := w.dataIn(t)
			if !ok {
				spill(t)
				p.any = true
				return
			}
			for _, y := range l {
				putData(int(y.mod), y.addr+uint64(x.Off), y.wide || x.Any)
			}
			return
		}
		putData(int(t.mod), t.addr+uint64(x.Off), t.wide || x.Any)
	}
	for e := base; e < fn.Exprs[1]; e++ {
		x := &m.Exprs[e]
		p.list, p.any = w.held[e-base][:0], false
		switch x.Kind {
		case value.Param:
			if x.A > 7 {
				p.any = true
				break
			}
			p.any = w.anyParam[f]>>x.A&1 != 0 && (x.A >= maxArgs || x.A < int32(w.bounds[f]))
			if q := w.params[8*int(f)+int(x.A)]; q != nil {
				for _, t := range q.list {
					shifted(t, x)
				}
			}
		case value.Const:
			if m.Kind == image.KindExec && x.Off >= 4096 && m.Mapped(uint64(x.Off)) {
				p.any = true // an address of a fixed file, which has escaped already
			}
		case value.Addr:
			va := uint64(x.Off)
			if m.Exec(va) {
				p.any = x.Any // computed from an address of code
				for _, c := range g.inside(m, f, va) {
					w.escapeBy(token{fn: c}, f, fn.Entry, TakenCode)
				}
				if c := g.P.Func(mi, va); c >= 0 {
					if (mi == g.P.Interp || mi == 0) && va == m.Entry {
						break // compared, to see whether the loader is run as a command (elf/rtld.c), or a bound for profiling
					}
					put(token{fn: int32(c)})
				} else {
					p.any = true
					putData(mi, va, x.Any)
				}
			} else if !tm {
				putData(mi, va, x.Any)
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
					putData(t.Module, t.Value+uint64(x.Off), x.Any)
				}
			}
		case value.Result:
			if uint32(x.A) >= fn.Calls[0] && uint32(x.A) < fn.Calls[1] {
				w.result(f, mi, m, uint32(x.A), &p, last, spill)
			} else {
				p.any = true
			}
		case value.Load:
			if uint32(x.A) < base || uint32(x.A) >= fn.Exprs[1] {
				p.any = true
				break
			}
			a := uint32(x.A) - base
			if x.Size&^value.SignBit < 8 {
				p.any = true
				for _, t := range w.held[a] {
					w.distances(f, t)
				}
				break
			}
			p.any = w.anyHeld[a]
			for _, t := range w.held[a] {
				w.load(f, t, &p, spill)
			}
			if (x.Off != 0 || x.Any) && len(p.list) > 0 {
				l := slices.Clone(p.list)
				p.list = p.list[:0]
				for _, t := range l {
					shifted(t, x)
				}
			}
		default: // Stack, TLSBase: memory that is not followed
			p.any = true
		}
		w.held[e-base], w.anyHeld[e-base] = p.list, p.any
	}
}

// result adds what call k of function f returns.
func (w *solver) result(f int32, mi int, m *link.Module, k uint32, out *pointers, last bool, spill func(token)) {
	g := w.g
	c := &m.Calls[k]
	if w.found(f, mi, m, k, out, last, spill) {
		return
	}
	if g.Level < LevelD {
		out.any = true
		return
	}
	known := w.callees(mi, m, c, f, k)
	out.any = out.any || !known.ok
	w.reads(f, mi, c, k, known.list)
	for _, h := range known.list {
		r := &w.results[h]
		out.any = out.any || r.any
		for _, t := range r.list {
			if _, full := out.put(t); full {
				spill(t)
			}
		}
	}
}

// reads notes that function f makes use of what call k of it returns, which goes to the functions of list.
func (w *solver) reads(f int32, mi int, c *summary.Call, k uint32, list []int32) {
	if c.Kind != summary.Indirect && !w.noted.set(w.g.firstCall[mi]+int32(k)) {
		return // it always goes to the same ones
	}
	for _, h := range list {
		l := w.readers[h]
		if len(l) > 0 && l[len(l)-1] == f {
			continue
		}
		if c.Kind == summary.Indirect { // passed again and again; others come here once
			k := [2]int32{h, f}
			if w.reading[k] {
				continue
			}
			w.reading[k] = true
		}
		w.readers[h] = append(l, f)
	}
}

// callees are the functions that a call reaches; ok if there are no others. The list is not the caller's to change.
type callees struct {
	list []int32
	ok   bool
}

func (w *solver) callees(mi int, m *link.Module, c *summary.Call, f int32, k uint32) callees {
	g := w.g
	if t := w.direct[g.firstCall[mi]+int32(k)]; t >= 0 {
		return callees{list: w.self[t : t+1 : t+1], ok: true}
	}
	r := callees{ok: true}
	if c.Kind == summary.Direct {
		i := m.Callee(c)
		if i < 0 {
			return callees{}
		}
		r.list = g.throughStub(int32(m.Base) + int32(i))
		for _, x := range r.list {
			if _, fn := g.fn(x); fn.Flags&summary.Stub != 0 { // see below
				r.ok = false
			}
		}
		return r
	}
	if c.Kind == summary.Indirect {
		if _, ok := g.constTargets(mi, m, c); !ok {
			ref := CallRef{f, k}
			r.ok = !g.unresolved(ref)
			r.list = append(r.list, g.followed[g.number(ref)]...)
		}
	}
	g.callTargets(mi, m, c, func(t int32) {
		if _, fn := g.fn(t); fn.Flags&summary.Stub != 0 { // a stub through a slot that no symbol fills
			r.ok = false
		}
		r.list = append(r.list, t)
	})
	return r
}
