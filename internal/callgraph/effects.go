package callgraph

import (
	"slices"

	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/value"
)

// effects lets go what a function lets go, and hands on what it hands on.
func (w *solver) effects(f int32, mi int, m *link.Module, fn *summary.Func) {
	g := w.g
	base := fn.Exprs[0]
	sp := w.special[f]
	var p, many pointers
	spill := func(t token) { w.escapeBy(t, f, fn.Entry, TakenCode) }
	// eval returns what a value can hold, until the next call.
	eval := func(v value.Val) *pointers {
		if v >= 0 {
			if x := uint32(v); x >= base && x < fn.Exprs[1] {
				h := w.held[x-base]
				p.list, p.any = h[:len(h):len(h)], v == 0 || w.anyHeld[x-base]
			} else {
				p.list, p.any = nil, v == 0 || m.Exprs[v].Kind != value.Const
			}
			return &p
		}
		p := &many
		p.list, p.any = p.list[:0], false
		m.Each(v, func(x int32, e value.Expr) {
			if uint32(x) < base || uint32(x) >= fn.Exprs[1] {
				p.any = p.any || e.Kind != value.Const
				return
			}
			p.any = p.any || w.anyHeld[uint32(x)-base]
			for _, t := range w.held[uint32(x)-base] {
				if _, full := p.put(t); full {
					spill(t)
				}
			}
		})
		return p
	}
	lose := func(site uint64, list []token) {
		for _, t := range list {
			if t.fn >= 0 && sp != nil && sp.clones != nil {
				continue // called by the new thread, here
			}
			w.escapeBy(t, f, site, TakenCode)
		}
	}
	give := func(site uint64, list []token) {
		for _, t := range list {
			if t.fn < 0 || sp == nil || sp.clones == nil {
				w.give(t, f, site)
			}
		}
	}
	if fn.Flags&summary.Incomplete != 0 && !g.mods[mi].libc { // libc's are those that switch contexts
		w.openModule(mi)
	}
	// Whatever an unknown piece of code has is lost, whether or not an expression says so.
	if fn.Flags&summary.Incomplete != 0 || m.Kind == image.KindExec {
		main := w.startsMain(mi, fn, f)
		for _, t := range m.Takes[fn.Takes[0]:fn.Takes[1]] {
			if (mi == g.P.Interp || mi == 0) && t.Target == m.Entry {
				continue // see values
			}
			for _, x := range g.made(mi, m, f, t.Target) {
				if x != main {
					w.escapeBy(token{fn: x}, f, t.Site, TakenCode)
				}
			}
		}
		for k := fn.Refs[0]; k < fn.Refs[1]; k++ {
			r := &m.Refs[k]
			w.escapeBy(token{fn: -1, mod: int16(mi), addr: r.Addr, wide: true}, f, r.Site, TakenCode)
		}
		for k := uint8(0); k < 8; k++ {
			if q := w.params[8*int(f)+int(k)]; q != nil {
				lose(fn.Entry, q.list)
			}
		}
	}
	for k := fn.Losts[0]; k < fn.Losts[1]; k++ {
		lose(fn.Entry, w.held[uint32(m.Losts[k])-base])
	}
	for k := uint8(0); k < 8; k++ {
		if fn.LostParams>>k&1 != 0 {
			if q := w.params[8*int(f)+int(k)]; q != nil {
				lose(fn.Entry, q.list)
			}
		}
	}
	for k := fn.Stores[0]; k < fn.Stores[1]; k++ {
		w.stored(f, m, fn, &m.Stores[k], eval, lose)
	}
	r := &w.results[f]
	grown := false
	result := func(v *pointers) {
		if g.Level < LevelD || w.called.has(f) {
			lose(fn.Entry, v.list)
			grown = grown || !r.any
			r.any = true
			return
		}
		if v.any && !r.any {
			r.any, grown = true, true
		}
		for _, t := range v.list {
			added, full := r.put(t)
			if full {
				spill(t)
			}
			grown = grown || added
		}
	}
	for k := fn.Rets[0]; k < fn.Rets[1]; k++ {
		result(eval(m.Rets[k].Value))
	}
	if fn.Flags&summary.Incomplete != 0 && !r.any {
		r.any, grown = true, true
	}
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		c := &m.Calls[k]
		ref := CallRef{f, k}
		if c.Kind == summary.Indirect {
			if _, ok := g.constTargets(mi, m, c); !ok {
				v := eval(c.Value)
				m.Each(c.Value, func(_ int32, e value.Expr) {
					// Something was computed from an address.
					v.any = v.any || e.Any || e.Off != 0 && e.Kind != value.Addr && e.Kind != value.Const || e.Kind == value.Addr && !m.Exec(uint64(e.Off))
				})
				for _, t := range v.list {
					if t.fn < 0 && !t.entry {
						v.any = true // an address of data is no function: something was computed from it
					}
					w.functions(t, func(x int32) { w.attach(ref, x) })
				}
				for _, s := range w.starters {
					if s == f {
						w.attachStarts(ref)
					}
				}
				if v.any || g.Level < LevelD {
					w.generic(f, m, fn, c, ref)
				}
			}
		}
		known := w.callees(mi, m, c, f, k)
		if c.Tail {
			var q pointers
			q.any = !known.ok
			w.reads(f, mi, c, k, known.list)
			for _, h := range known.list {
				q.any = q.any || w.results[h].any
				for _, t := range w.results[h].list {
					if _, full := q.put(t); full {
						spill(t)
					}
				}
			}
			result(&q)
		}
		for a := 0; a < 8; a++ {
			x := argument(c, a)
			if x == 0 && !w.first && c.Kind != summary.Indirect {
				continue // handed on before, to the same ones
			}
			v := eval(x)
			if len(v.list) == 0 && !v.any {
				continue
			}
			if !known.ok {
				give(c.Site, v.list)
			}
			for _, h := range known.list {
				if a >= maxArgs && w.variadic.has(h) { // it finds them by their address
					give(c.Site, v.list)
				}
				w.argument(f, ref, h, a, v)
			}
		}
		for _, h := range known.list {
			if w.isSpecial.has(h) && w.special[h].sigaction {
				w.action(f, m, fn, k, eval)
			}
		}
	}
	for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
		if !plainData(m, &m.Sys[k]) {
			for a := range m.Sys[k].Args {
				// The kernel calls functions whose addresses it finds in memory; one in a register is left over from before
				// (the address of libc's syscall itself, where compilers keep it in a register that has no argument).
				lose(m.Sys[k].Site, slices.DeleteFunc(slices.Clone(eval(m.Sys[k].Args[a]).list), func(t token) bool { return t.fn >= 0 }))
			}
		}
		m.Each(m.Sys[k].Number, func(_ int32, e value.Expr) {
			if e.Kind == value.Const && e.Off == sysSigaction && !g.mods[mi].libc || e.Kind != value.Const && mi == 0 && g.P.Interp < 0 {
				w.anyHandler = true
			}
		})
	}
	if grown {
		for _, x := range w.readers[f] {
			w.push(x)
		}
	}
}

// stored follows a value into memory.
func (w *solver) stored(f int32, m *link.Module, fn *summary.Func, s *summary.Store, eval func(value.Val) *pointers, lose func(uint64, []token)) {
	if w.g.Level < LevelD || s.Addr == 0 {
		if s.Value != 0 {
			lose(s.Site, eval(s.Value).list)
		}
		return
	}
	a := eval(s.Addr)
	if len(a.list) == 0 && s.Value == 0 {
		return
	}
	at, any := slices.Clone(a.list), a.any
	v := eval(s.Value)
	if any {
		lose(s.Site, v.list)
	}
	for _, t := range at {
		if t.fn < 0 && !t.entry {
			w.store(f, t, s.Size, v, s.Site)
		} else if t.entry {
			lose(s.Site, v.list)
		}
	}
}

// generic notes that a call may go to whatever has escaped.
func (w *solver) generic(f int32, m *link.Module, fn *summary.Func, c *summary.Call, ref CallRef) {
	g := w.g
	if !g.generic.set(g.number(ref)) {
		return
	}
	w.push(f) // its arguments and its result are open now
	g.activate(Edge{Site: c.Site, From: f, To: -1, Kind: TakenCall, Set: g.setOf(f, m, fn, c)})
}
