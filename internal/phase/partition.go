package phase

import (
	"slices"

	"syspart/internal/callgraph"
	"syspart/internal/link"
	"syspart/internal/observe"
	"syspart/internal/summary"
	"syspart/profile"
)

// reachable returns the blocks of fn that the given blocks reach, with its landing pads and second returns of setjmp.
func (f *Finder) reachable(fn int32, from ...uint32) []uint32 {
	m, x := f.fn(fn)
	seen := make([]bool, x.Blocks[1]-x.Blocks[0])
	out := []uint32{} // not nil, which would mean all blocks
	var work []uint32
	push := func(b uint32) {
		if !seen[b-x.Blocks[0]] {
			seen[b-x.Blocks[0]] = true
			work = append(work, b)
		}
	}
	for _, b := range from {
		push(b)
	}
	for b := x.Blocks[0]; b < x.Blocks[1]; b++ {
		if m.Blocks[b].Flags&summary.BlockPad != 0 {
			push(b)
		}
	}
	for _, b := range f.setjmpSites(fn) {
		push(b)
	}
	for len(work) > 0 {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		out = append(out, b)
		for _, s := range m.Succs[m.Blocks[b].Succs[0]:m.Blocks[b].Succs[1]] {
			push(uint32(s))
		}
	}
	slices.Sort(out)
	return out
}

// returns reports whether function fn can be left, from some of its blocks, by a return or a tail call.
func (f *Finder) returns(fn int32, blocks []uint32) bool {
	m, x := f.fn(fn)
	if x.Flags&(summary.Incomplete|summary.Stub) != 0 {
		return true
	}
	in := func(b uint32) bool {
		_, ok := slices.BinarySearch(blocks, b)
		return ok
	}
	for k := x.Rets[0]; k < x.Rets[1]; k++ {
		if in(m.Rets[k].Block) {
			return true
		}
	}
	for k := x.Calls[0]; k < x.Calls[1]; k++ {
		c := &m.Calls[k]
		if !c.Tail || !in(c.Block) {
			continue
		}
		if i := m.At(c.Target); c.Kind != summary.Direct || i < 0 || m.Funcs[i].Flags&summary.NoReturn == 0 {
			return true
		}
	}
	return slices.ContainsFunc(blocks, func(b uint32) bool { return m.Blocks[b].Flags&summary.BlockBad != 0 })
}

// loop returns the blocks that the kind's loop reaches in its function.
func (f *Finder) loop(k *Kind) []uint32 {
	_, x := f.fn(k.Func)
	from := []uint32{x.Blocks[0] + uint32(k.Loop.Header)}
	for _, e := range k.Loop.Entries {
		from = append(from, x.Blocks[0]+uint32(e))
	}
	return f.reachable(k.Func, from...)
}

// after returns where a frame goes on: the code that its return address reaches.
func (f *Finder) after(fr *observe.Frame, why string) (callgraph.Start, bool) {
	p := f.locate(fr.Module, fr.PC)
	q := f.locate(fr.Module, fr.PC-1)
	if q.fn < 0 {
		q = p // see at
	}
	if q.fn < 0 {
		return callgraph.Start{}, false
	}
	if p.fn != q.fn { // a call that ends its function: it never returns
		m, _ := f.fn(q.fn)
		b := &m.Blocks[q.block]
		if b.Succs[0] == b.Succs[1] {
			return callgraph.Start{Func: q.fn, Blocks: f.reachable(q.fn), Why: why, Site: fr.PC}, true
		}
		p = place{q.fn, uint32(m.Succs[b.Succs[0]])}
	}
	m, _ := f.fn(p.fn)
	if m.Blocks[p.block].Start != fr.PC && !fr.Signal {
		// Not where a call ends: the block before it counts too.
		return callgraph.Start{Func: p.fn, Blocks: f.reachable(p.fn, p.block, q.block), Why: why, Site: fr.PC}, true
	}
	return callgraph.Start{Func: p.fn, Blocks: f.reachable(p.fn, p.block), Why: why, Site: fr.PC}, true
}

// Serving returns where the kind's serving partition starts: the loop, and what runs after it.
func (f *Finder) Serving(k *Kind) []callgraph.Start {
	starts := []callgraph.Start{{Func: k.Func, Blocks: f.loop(k), Why: "main loop and what follows it", Site: f.Header(k)}}
	for i := range k.Below {
		fr := &k.Below[i]
		if s, ok := f.after(fr, "after the main loop's function returns"); ok {
			starts = append(starts, s)
		}
	}
	if !k.Bottom {
		starts = append(starts, f.resumed()...)
	}
	return starts
}

// resumed returns where libc's functions go on by a second return of setjmp and never return from there: its start
// functions, below whatever a kind's stack says.
func (f *Finder) resumed() []callgraph.Start {
	if f.pads != nil {
		return f.pads
	}
	f.pads = []callgraph.Start{}
	for mi, m := range f.p.Modules {
		if !f.g.System(mi) {
			continue
		}
		for i := range m.Funcs {
			if fn := int32(m.Base) + int32(i); f.g.Live(fn) && f.ends(fn) {
				f.pads = append(f.pads, callgraph.Start{Func: fn, Blocks: f.reachable(fn), Why: "pthread_exit", Site: m.Funcs[i].Entry})
			}
		}
	}
	return f.pads
}

// ends reports whether fn is a function of libc that calls setjmp and never returns after a second return of it.
func (f *Finder) ends(fn int32) bool {
	mi, i := f.p.Where(int(fn))
	if f.g == nil || !f.g.System(mi) || f.p.Modules[mi].Funcs[i].Flags&(summary.Stub|summary.Incomplete) != 0 {
		return false
	}
	return len(f.setjmpSites(fn)) > 0 && !f.returns(fn, f.reachable(fn))
}

// Init returns where the kind's life starts. entry is the program's own start.
func (f *Finder) Init(k *Kind, entry []callgraph.Start) []callgraph.Start {
	frames := append(slices.Clone(k.Below), k.Rest...)
	switch {
	case k.Role == profile.RoleThread && len(frames) > 0:
		var starts []callgraph.Start
		// The bottom frames are libc's: the kernel enters a new thread after clone's system call, and libc's start
		// function calls the start routine.
		for i := len(frames) - 1; i >= 0 && i >= len(frames)-2; i-- {
			if i == len(frames)-1 {
				if s, ok := f.after(&frames[i], "new thread"); ok {
					starts = append(starts, s)
				}
				continue
			}
			if p := f.at(&frames[i], false); p.fn >= 0 {
				_, x := f.fn(p.fn)
				starts = append(starts, callgraph.Start{Func: p.fn, Why: "new thread", Site: x.Entry})
			}
		}
		if p := f.at(&frames[len(frames)-1], false); p.fn >= 0 && len(frames) == 1 {
			_, x := f.fn(p.fn)
			starts = append(starts, callgraph.Start{Func: p.fn, Why: "new thread", Site: x.Entry})
		}
		if len(starts) > 0 {
			starts = append(starts, callgraph.Start{Func: k.Func, Why: "new thread", Site: 0})
			return starts
		}
	case k.Role == profile.RoleChild && k.ForkPC != 0 && k.Inherited > 0 && k.Inherited <= len(frames):
		var starts []callgraph.Start
		base := len(frames) - k.Inherited
		for i := base; i < len(frames); i++ {
			fr := frames[i]
			if i == base {
				fr.PC = k.ForkPC
			}
			if s, ok := f.after(&fr, "after the fork"); ok {
				starts = append(starts, s)
			}
		}
		if len(starts) > 0 {
			return starts
		}
	}
	return entry
}

// Entry returns where the program starts: its entry, the loader's, and what these call by pointers that no code holds.
func (f *Finder) Entry() []callgraph.Start {
	var out []callgraph.Start
	add := func(mi int, va uint64, why string) {
		if fn := f.p.Func(mi, va); fn >= 0 {
			out = append(out, callgraph.Start{Func: int32(fn), Why: why, Site: va})
		}
	}
	add(0, f.p.Modules[0].Entry, "program entry")
	if f.p.Interp >= 0 {
		add(f.p.Interp, f.p.Modules[f.p.Interp].Entry, "the loader's entry")
	}
	return append(out, f.g.Started()...)
}

// Enters returns the edges into the kind's loop from outside: the last instruction's block before it and the first inside.
func (f *Finder) Enters(k *Kind) [][2]uint64 {
	m, x := f.fn(k.Func)
	var out [][2]uint64
	for _, e := range k.Loop.Enter {
		out = append(out, [2]uint64{m.Blocks[x.Blocks[0]+uint32(e[0])].Start, m.Blocks[x.Blocks[0]+uint32(e[1])].Start})
	}
	slices.SortFunc(out, func(a, b [2]uint64) int {
		if a[0] != b[0] {
			if a[0] < b[0] {
				return -1
			}
			return 1
		}
		if a[1] < b[1] {
			return -1
		}
		return 1
	})
	return out
}

// Header returns the address of the kind's loop header.
func (f *Finder) Header(k *Kind) uint64 {
	m, x := f.fn(k.Func)
	return m.Blocks[x.Blocks[0]+uint32(k.Loop.Header)].Start
}

// From returns the walk that starts at an address: its block and what follows in its function.
func (f *Finder) From(module string, va uint64) (callgraph.Start, bool) {
	p := f.locate(module, va)
	if p.fn < 0 {
		return callgraph.Start{}, false
	}
	if _, fn := f.fn(p.fn); fn.Entry == va {
		return callgraph.Start{Func: p.fn, Why: "start", Site: va}, true
	}
	return callgraph.Start{Func: p.fn, Blocks: f.reachable(p.fn, p.block), Why: "start", Site: va}, true
}

// AfterMain returns what runs when main returns: libc passes its result to exit, which calls handlers and destructors. It
// is the whole of exit, and of what libc's start function calls.
func (f *Finder) AfterMain() []callgraph.Start {
	var out []callgraph.Start
	for _, name := range []string{"exit", "_exit", "__libc_start_main"} {
		for _, t := range f.p.LookupName(name, "", link.ScopeAny) {
			if fn := f.p.Func(t.Module, t.Value); fn >= 0 && !t.IFunc {
				out = append(out, callgraph.Start{Func: int32(fn), Why: "after main returns", Site: t.Value})
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	// A static program: the code around main is what its entry reaches.
	m := f.p.Modules[0]
	if fn := f.p.Func(0, m.Entry); fn >= 0 {
		out = append(out, callgraph.Start{Func: int32(fn), Why: "after main returns", Site: m.Entry})
	}
	return out
}
