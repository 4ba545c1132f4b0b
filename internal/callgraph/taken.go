package callgraph

import (
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"syspart/internal/link"
	"syspart/internal/summary"
)

const (
	dfBindNow  = 0x8 // DF_BIND_NOW in DT_FLAGS
	df1Now     = 0x1 // DF_1_NOW in DT_FLAGS_1
	nearObject = 128 // bytes outside an object at which a reference counts for it too
	sttFunc    = 2
	sttIFunc   = 10
)

// prepare sets up the modules' states.
func (g *Graph) prepare() {
	g.mods = make([]modState, len(g.P.Modules))
	for i, m := range g.P.Modules {
		st := &g.mods[i]
		st.m = m
		st.symFuncs = map[uint32][]int32{}
		st.ptrLive = newBitset(len(m.Ptrs))
		st.regions = regions(m)
		st.direct = map[uint64]bool{}
		for k := range m.Refs {
			if m.Refs[k].Size != 0 {
				st.direct[m.Refs[k].Addr] = true
			}
		}
		st.regLive = newBitset(len(st.regions) + 1)
		st.service = nameService(m)
		st.libc = len(m.Dyn.Needed) == 0 && i != 0 || i == g.P.Interp
		for k := range m.Dyn.Symbols {
			s := &m.Dyn.Symbols[k]
			switch strings.TrimLeft(s.Name, "_") {
			case "libc_start_main":
				if !s.Undefined {
					st.libc = true
				}
			case "dlsym", "dlvsym":
				st.dlsym = st.dlsym || s.Undefined
			}
		}
		if st.dlsym {
			st.lookups = newBitset(len(m.Calls))
			for k := range m.Calls {
				switch g.callee(m, &m.Calls[k]) {
				case "dlsym", "dlvsym":
					st.lookups.set(int32(k))
				}
			}
		}
		if st.libc {
			st.start = g.startCode(m)
		}
		if len(m.Strs) > 0 {
			st.strs = make(map[uint64]int, len(m.Strs))
			for k := range m.Strs {
				st.strs[m.Strs[k].Addr] = k
			}
		}
		if m.Dyn.Flags&dfBindNow == 0 && m.Dyn.Flags1&df1Now == 0 {
			for k := range m.Ptrs {
				if m.Ptrs[k].Kind == summary.PtrPLT {
					st.lazyStubs = true
					break
				}
			}
		}
	}
}

// regions returns the boundaries between what can be told apart in a module's data: segments, sections, sized symbols
// and RELRO.
func regions(m *link.Module) []uint64 {
	var b []uint64
	for _, s := range m.Segments {
		b = append(b, s.Start, s.End)
	}
	for _, s := range m.Sections {
		b = append(b, s.Start, s.End)
	}
	for _, o := range m.Objs {
		b = append(b, o.Start, o.End)
	}
	if m.TLS.End > m.TLS.Start {
		b = append(b, m.TLS.Start)
	}
	slices.Sort(b)
	b = slices.Compact(b)
	// A section's or segment's end inside an object would cut it; objects are contiguous by definition, so drop those.
	n := 0
	for _, x := range b {
		if o := objectAt(m, x); o != nil && x > o.Start && x < o.End {
			continue
		}
		b[n] = x
		n++
	}
	return b[:n]
}

func objectAt(m *link.Module, va uint64) *summary.Obj {
	i := sort.Search(len(m.Objs), func(i int) bool { return m.Objs[i].End > va })
	if i < len(m.Objs) && m.Objs[i].Start <= va {
		return &m.Objs[i]
	}
	return nil
}

// region returns the index of the region that va lies in, -1 if none.
func (st *modState) region(va uint64) int {
	return sort.Search(len(st.regions), func(i int) bool { return st.regions[i] > va }) - 1
}

// take notes that f's address exists where its class of sites can have it.
func (g *Graph) take(f int32, e Evidence) {
	c := g.classOf(f, &e)
	if g.class[f]&c == c {
		return
	}
	if g.solver != nil {
		g.solver.changes++
		g.solver.reached(f, TakenCall)
	}
	if g.taken[f].Kind == NotTaken {
		g.taken[f] = e
		g.list = append(g.list, f)
	}
	g.class[f] |= c
	for i := range g.sets {
		if s := &g.sets[i]; s.active && g.accepts(&s.key, f) {
			g.enliven(Edge{Site: s.first.Site, From: s.first.From, To: f, Kind: s.first.Kind, Set: Set(i)})
		}
	}
	if g.solver != nil {
		g.solver.open(f)
	}
}

// activate notes a live call of a set of targets: from there all of them are live.
func (g *Graph) activate(e Edge) {
	s := &g.sets[e.Set]
	if s.active {
		return
	}
	s.active, s.first = true, e
	for _, f := range g.list {
		if g.accepts(&s.key, f) {
			g.enliven(Edge{Site: e.Site, From: e.From, To: f, Kind: e.Kind, Set: e.Set})
		}
	}
}

func (g *Graph) enliven(e Edge) {
	if g.solver != nil {
		g.solver.reached(e.To, e.Kind)
	}
	if !g.live.set(e.To) {
		return
	}
	g.parent[e.To] = e
	if g.solver != nil {
		if e.Kind == Root {
			g.solver.open(e.To)
		}
		g.solver.push(e.To)
		return
	}
	g.queue = append(g.queue, e.To)
}

// fixpoint finds live and address-taken functions together, below level c.
func (g *Graph) fixpoint() {
	p := g.P
	for mi := range p.Modules {
		g.roots(mi)
	}
	if g.Level == LevelA {
		for mi := range p.Modules {
			g.takeAll(mi)
		}
	}
	for _, t := range p.LoaderFuncs() {
		if f := p.Func(t.Module, t.Value); f >= 0 && !t.IFunc {
			g.take(int32(f), Evidence{Module: int32(p.Interp), Func: -1, Place: t.Value, Kind: TakenName})
		}
	}
	for _, mi := range append(g.openedByName(), g.openedToo()...) {
		g.exported(mi)
	}
	for _, a := range g.asked {
		g.lookAsked(a.Module)
	}
	for _, c := range p.Copies() {
		if g.Level == LevelB {
			g.markRange(c.Source, c.Value, c.Value+max(c.Size, c.SrcSize), -1)
		}
	}
	for len(g.queue) > 0 {
		f := g.queue[0]
		g.queue = g.queue[1:]
		g.visitLive(f)
	}
	g.queue = nil
}

// roots are what runs without being called by code: entries, constructors and destructors, resolvers, personality
// routines, and the vDSO's functions.
func (g *Graph) roots(mi int) {
	p := g.P
	m := p.Modules[mi]
	start := func(va uint64) {
		if f := p.Func(mi, va); f >= 0 {
			g.enliven(Edge{Site: va, From: -1, To: int32(f), Kind: Root})
		}
	}
	// The loader calls resolvers by pointer.
	resolver := func(rm int, va, slot uint64) {
		if f := p.Func(rm, va); f >= 0 {
			g.take(int32(f), Evidence{Module: int32(mi), Func: -1, Place: slot, Kind: TakenInit})
			g.enliven(Edge{Site: slot, From: -1, To: int32(f), Kind: Root})
		}
	}
	if (mi == 0 || mi == p.Interp) && m.Entry != 0 {
		start(m.Entry)
		// The loader jumps to the program's entry, the kernel to the loader's.
		if f := p.Func(mi, m.Entry); f >= 0 && !g.entered(mi, int32(f)) {
			g.take(int32(f), Evidence{Module: int32(mi), Func: -1, Place: m.Entry, Kind: TakenStart})
		}
	}
	for i := range m.Always {
		a := &m.Always[i]
		kind := TakenStart
		switch a.Role {
		case summary.RoleInit:
			kind = TakenInit
		case summary.RoleFini:
			kind = TakenFini
		case summary.RoleMethod:
			kind = TakenData
		}
		for _, f := range g.pointees(mi, a) {
			g.take(f, Evidence{Module: int32(mi), Func: -1, Place: a.Slot, Kind: kind})
			if a.Role != summary.RoleMethod {
				g.enliven(Edge{Site: a.Slot, From: -1, To: f, Kind: Root})
			}
		}
	}
	for i := range m.Ptrs {
		q := &m.Ptrs[i]
		switch q.Kind {
		case summary.PtrIFunc:
			resolver(mi, q.Target, q.Slot)
		case summary.PtrSym, summary.PtrPLT:
			if q.Sym == 0 {
				continue
			}
			for _, t := range p.Lookup(mi, q.Sym) {
				if t.IFunc {
					resolver(t.Module, t.Value, q.Slot)
				}
			}
		}
	}
	if mi == p.VDSO {
		for _, t := range p.VDSOFuncs() {
			if f := p.Func(t.Module, t.Value); f >= 0 && g.vdsoAsked(t.Value) {
				g.take(int32(f), Evidence{Module: int32(mi), Func: -1, Place: t.Value, Kind: TakenVDSO})
			}
		}
	}
	if g.Level == LevelB && m.TLS.End > m.TLS.Start {
		g.markRange(mi, m.TLS.Start, m.TLS.End, -1)
	}
}

// entered reports whether it is known who jumps to f, the entry of module mi: nobody but the kernel, or the loader at a
// place that is then among the followed ones (_dl_start_user in sysdeps/x86_64/dl-machine.h of glibc, the jump at the end
// of the loader's own entry). Below level c pointers are not followed.
func (g *Graph) entered(mi int, f int32) bool {
	if mi != 0 || g.P.Interp < 0 {
		return true
	}
	if g.Level < LevelC {
		return false
	}
	loader := g.P.Modules[g.P.Interp]
	i := loader.At(loader.Entry)
	if i < 0 {
		return false
	}
	fn, known := &loader.Funcs[i], false
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		if c := &loader.Calls[k]; c.Kind == summary.Indirect && c.Tail {
			ref := CallRef{int32(loader.Base) + int32(i), k}
			n := g.number(ref)
			g.followed[n] = append(g.followed[n], f)
			known = true
		}
	}
	return known
}

// takeAll is level a: every pointer counts.
func (g *Graph) takeAll(mi int) {
	m := g.P.Modules[mi]
	for i := range m.Funcs {
		f := &m.Funcs[i]
		for _, t := range m.Takes[f.Takes[0]:f.Takes[1]] {
			for _, x := range g.made(mi, m, int32(m.Base)+int32(i), t.Target) {
				g.take(x, Evidence{Module: int32(mi), Func: int32(m.Base) + int32(i), Place: t.Site, Kind: TakenCode})
			}
		}
	}
	for i := range m.Ptrs {
		if m.Ptrs[i].Kind != summary.PtrPLT {
			for _, f := range g.pointees(mi, &m.Ptrs[i]) {
				g.take(f, Evidence{Module: int32(mi), Func: -1, Place: m.Ptrs[i].Slot, Kind: TakenData})
			}
		}
	}
	for i := range m.Strs {
		g.lookup(mi, i, -1)
	}
}

// made returns the functions that an address of code is for that function f (-1: data) makes: the one that begins there,
// or if none is known to, those into the middle of which it points, for what is computed from it may be their entries.
func (g *Graph) made(mi int, m *link.Module, f int32, va uint64) []int32 {
	out := g.inside(m, f, va)
	if i := m.At(va); i >= 0 {
		out = append(out, int32(m.Base)+int32(i))
	}
	return out
}

// inside returns the functions into the middle of which an address points that is not in function f, where it would be a
// label, and at which no function is known to begin.
func (g *Graph) inside(m *link.Module, f int32, va uint64) []int32 {
	if i := m.At(va); i >= 0 && (m.Funcs[i].Flags&summary.Guessed == 0 || returns(m, &m.Funcs[i])) {
		return nil // glibc's trampoline for signals has its unwind entry begin one byte early
	}
	var out []int32
	for n, i := 0, m.Before(va)-1; i >= 0 && n < 4; n, i = n+1, i-1 {
		if fn := &m.Funcs[i]; fn.Entry < va && fn.Flags&summary.Stub == 0 && int32(m.Base)+int32(i) != f && m.BlockOf(i, va) >= 0 {
			out = append(out, int32(m.Base)+int32(i))
		}
	}
	return out
}

// openedByName returns the modules loaded later that no other module needs: those that dlopen was called for. What
// is looked up in them is not known: names are put together ("_nss_%s_%s") or come from a configuration.
func (g *Graph) openedByName() []int {
	needed := map[int]bool{}
	for _, m := range g.P.Modules {
		for _, n := range m.Needed {
			needed[n] = true
		}
	}
	var out []int
	for i, m := range g.P.Modules {
		if m.Later && !needed[i] {
			out = append(out, i)
		}
	}
	return out
}

// openedToo returns the modules loaded later that others need and that dlopen may have been called for as well: those that are
// known to be, and those of which the ones that need them lie in the same directory, unless loaders search it for everyone: parts
// of what was installed together (a Java virtual machine's).
func (g *Graph) openedToo() []int {
	var out []int
	for i, m := range g.P.Modules {
		if !m.Later {
			continue
		}
		too, dir := m.Opened, filepath.Dir(m.Real)
		if !too && !link.IsDefault(dir) {
			too = slices.ContainsFunc(g.P.Modules, func(o *link.Module) bool { return filepath.Dir(o.Real) == dir && slices.Contains(o.Needed, i) })
		}
		if too {
			out = append(out, i)
		}
	}
	return out
}

// Opening reports whether it makes a difference that module i is opened by its name (link.Extra.Opened), which is not known of it.
func (g *Graph) Opening(i int) bool {
	return g.P.Modules[i].Later && (g.Level < LevelC || g.lookedLater) && !slices.Contains(g.openedByName(), i) && !slices.Contains(g.openedToo(), i)
}

// exported takes the address of everything that a module exports.
func (g *Graph) exported(mi int) {
	m := g.P.Modules[mi]
	for i := range m.Dyn.Symbols {
		s := &m.Dyn.Symbols[i]
		if s.Undefined || s.Name == "" {
			continue
		}
		switch s.Type {
		case sttIFunc:
			for _, f := range g.resolved(mi, s.Value) {
				g.take(f, Evidence{Module: int32(mi), Func: -1, Place: s.Value, Kind: TakenAnyName})
			}
		default:
			if f := g.P.Func(mi, s.Value); f >= 0 {
				g.take(int32(f), Evidence{Module: int32(mi), Func: -1, Place: s.Value, Kind: TakenAnyName})
			} else if !s.TLS && !s.Abs {
				g.shown(mi, s.Value, -1)
			}
		}
	}
}

// pointees returns the functions that a pointer in data denotes.
func (g *Graph) pointees(mi int, q *summary.Ptr) []int32 {
	switch q.Kind {
	case summary.PtrWord, summary.PtrDistance: // a word that looks like an address: of a function only if it is one's entry
		if f := g.P.Func(mi, q.Target); f >= 0 {
			return []int32{int32(f)}
		}
	case summary.PtrRelative:
		if m := g.P.Modules[mi]; m.Exec(q.Target) {
			return g.made(mi, m, -1, q.Target)
		}
	case summary.PtrIFunc:
		return g.resolved(mi, q.Target)
	case summary.PtrSym:
		if q.Sym == 0 {
			return nil
		}
		var out []int32
		for _, t := range g.P.Lookup(mi, q.Sym) {
			if t.IFunc {
				out = append(out, g.resolved(t.Module, t.Value)...)
			} else if f := g.P.Func(t.Module, t.Value+uint64(q.Addend)); f >= 0 {
				out = append(out, int32(f))
			}
		}
		return out
	}
	return nil
}

// visitLive follows everything that a live function does.
func (g *Graph) visitLive(f int32) {
	mi, i := g.P.Where(int(f))
	m := g.P.Modules[mi]
	fn := &m.Funcs[i]
	g.edges(f, nil, func(e Edge) {
		switch {
		case e.To >= 0:
			g.enliven(e)
		case e.Kind == LazyBinding:
			g.lazy(e, func(e Edge) { g.enliven(e) })
		default:
			g.activate(e)
		}
	})
	g.lookups(mi, m, fn)
	if g.Level < LevelB {
		return
	}
	for _, t := range m.Takes[fn.Takes[0]:fn.Takes[1]] {
		for _, x := range g.made(mi, m, f, t.Target) {
			g.take(x, Evidence{Module: int32(mi), Func: f, Place: t.Site, Kind: TakenCode})
		}
	}
	tm := g.registersClones(mi, m, fn)
	for k := fn.Refs[0]; k < fn.Refs[1]; k++ {
		r := &m.Refs[k]
		if r.Size == 0 && tm {
			continue
		}
		if r.Size == 0 {
			g.address(mi, r.Addr, f, true)
		} else {
			g.markRange(mi, r.Addr, r.Addr+uint64(r.Size), f)
		}
	}
}

// registersClones recognises (de)register_tm_clones of gcc's crtstuff.c, which every file has: it compares the end of the
// data with itself and passes it to a function of libitm. Where that is not there, the address goes nowhere.
func (g *Graph) registersClones(mi int, m *link.Module, fn *summary.Func) bool {
	if fn.Stores[0] != fn.Stores[1] || fn.Sys[0] != fn.Sys[1] || fn.Calls[1]-fn.Calls[0] != 1 {
		return false
	}
	c := &m.Calls[fn.Calls[0]]
	return c.Kind == summary.BySym && strings.HasPrefix(m.Dyn.Symbols[c.Sym].Name, "_ITM_") && len(g.symTargets(mi, c.Sym)) == 0
}

// lazy calls visit for the functions by which the loader binds a PLT slot on its first use (_dl_runtime_resolve in
// sysdeps/x86_64/dl-trampoline.h of glibc): the loader takes their addresses, and they end by a jump to what they have bound.
// If none of its functions is like that, any whose address it takes may be one.
func (g *Graph) lazy(e Edge, visit func(Edge)) {
	m := g.P.Modules[g.P.Interp]
	if g.binders == nil {
		g.binders = []int32{}
		seen := map[int32]bool{}
		var all []int32
		for k := range m.Takes {
			va := m.Takes[k].Target
			x := int32(g.P.Func(g.P.Interp, va))
			if x < 0 || va == m.Entry || seen[x] {
				continue
			}
			seen[x] = true
			all = append(all, x)
			fn := &m.Funcs[uint32(x)-m.Base]
			jumps, calls := false, false
			for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
				c := &m.Calls[k]
				jumps = jumps || c.Tail && c.Kind == summary.Indirect
				calls = calls || !c.Tail && c.Kind == summary.Direct
			}
			if jumps && calls {
				g.binders = append(g.binders, x)
			}
		}
		if len(g.binders) == 0 || g.Level < LevelC {
			g.binders = all
		}
	}
	for _, x := range g.binders {
		visit(Edge{Site: e.Site, From: e.From, To: x, Kind: LazyBinding})
	}
}

// address notes that a live function (-1: data) has the address va of module mi: the whole object there, and one close by.
func (g *Graph) address(mi int, va uint64, by int32, code bool) {
	st := &g.mods[mi]
	st.near(va, code, func(r int) { g.markRegion(mi, r, by) })
	if k, ok := st.strs[va]; ok {
		g.lookup(mi, k, by)
	}
}

// near calls visit for the regions that an address may be meant for: the one it lies in, the one that it is the end of, and,
// for an address made by code, one close by that it may have been moved out of. An address that code also reads or writes
// directly is an object's own, and nobody moves an address out of the GOT.
func (st *modState) near(va uint64, code bool, visit func(r int)) {
	r := st.region(va)
	if r < 0 {
		return
	}
	visit(r)
	if st.direct[va] {
		return
	}
	if code && r+1 < len(st.regions) && st.regions[r+1]-va <= nearObject && !st.got(st.regions[r+1]) {
		visit(r + 1)
	}
	if past := va - st.regions[r]; r > 0 && (past == 0 || code && past <= nearObject) && !st.got(st.regions[r-1]) {
		visit(r - 1)
	}
}

func (st *modState) got(va uint64) bool {
	for _, x := range st.m.Got {
		if x.Contains(va) {
			return true
		}
	}
	return false
}

func (g *Graph) markRegion(mi, r int, by int32) {
	st := &g.mods[mi]
	if !st.regLive.set(int32(r)) || r+1 >= len(st.regions) {
		return
	}
	g.markRange(mi, st.regions[r], st.regions[r+1], by)
}

// markRange makes the pointers in [start, end) live.
func (g *Graph) markRange(mi int, start, end uint64, by int32) {
	st := &g.mods[mi]
	m := st.m
	for i := sort.Search(len(m.Ptrs), func(i int) bool { return m.Ptrs[i].Slot+8 > start }); i < len(m.Ptrs) && m.Ptrs[i].Slot < end; i++ {
		if !st.ptrLive.set(int32(i)) {
			continue
		}
		q := &m.Ptrs[i]
		switch q.Kind {
		case summary.PtrPLT, summary.PtrTLS, summary.PtrCopy:
			continue
		}
		fs := g.pointees(mi, q)
		for _, f := range fs {
			g.take(f, Evidence{Module: int32(mi), Func: by, Place: q.Slot, Kind: TakenData})
		}
		switch q.Kind {
		case summary.PtrRelative, summary.PtrWord:
			if len(fs) == 0 {
				g.address(mi, q.Target, by, false)
			}
		case summary.PtrSym:
			if q.Sym != 0 && len(fs) == 0 {
				for _, t := range g.P.Lookup(mi, q.Sym) {
					g.address(t.Module, t.Value+uint64(q.Addend), by, false)
				}
			}
		}
	}
}

// shown notes that the address va of module mi has been handed out: to whoever looks names up.
func (g *Graph) shown(mi int, va uint64, by int32) {
	switch {
	case g.solver != nil:
		if t, ok, _ := g.solver.data(mi, va, false); ok {
			g.solver.escapeBy(t, by, va, TakenName)
		}
	case g.Level == LevelB:
		g.address(mi, va, by, false)
	}
}

// lookup notes that code has string k of module mi: a function of that name may be looked up with it.
func (g *Graph) lookup(mi, k int, by int32) {
	st := &g.mods[mi]
	if !st.libc && !st.dlsym {
		return
	}
	for _, t := range g.lookupName(mi, k) {
		if st.libc && t.Module == mi && !g.P.Musl && mi != 0 {
			continue // glibc and its loader look up in other modules
		}
		g.foundByName(t, Evidence{Module: int32(mi), Func: by, Place: g.P.Modules[mi].Strs[k].Addr, Kind: TakenName})
	}
}
