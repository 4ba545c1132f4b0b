package callgraph

import (
	"slices"

	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/summary"
)

// cell is a store to data whose address has not escaped.
type cell struct {
	at   token
	size uint32
	val  token
	any  bool
}

// memory is what is known of a module's data.
type memory struct {
	areas
	open    bool             // all of it has escaped
	escaped bitset           // by fine area
	cells   map[int32][]cell // by fine area that has not escaped: what code stores there
	readers map[int32][]int32
	targets [][]target // by pointer of the module: where it points, if known
	known   []bool
	apart   []uint64    // slots of the pointers that are distances
	places  placeTable  // see placeOf
	copies  []link.Copy // what the loader copies into the module's data
}

// maxEntries bounds the tables whose entries are followed.
const maxEntries = 512

// maxCells bounds the stores to one area that are told apart.
const maxCells = 64

// openData lets escape what others have the address of without being handed it: the image of thread-local storage.
func (w *solver) openData(mi int, m *link.Module) {
	if m.TLS.End > m.TLS.Start {
		w.escape(token{fn: -1, mod: int16(mi), addr: m.TLS.Start})
	}
}

// openModule lets all data of a module escape: code that is not known may refer to any of it.
func (w *solver) openModule(mi int) {
	if w.mem[mi].open {
		return
	}
	w.mem[mi].open = true
	for _, va := range w.mem[mi].fine {
		w.escape(token{fn: -1, mod: int16(mi), addr: va})
	}
}

// data returns the token of an address in data, false if there is nothing to follow: no pointers there, and no way to
// store any, or memory that has escaped or is none of the module (lost).
func (w *solver) data(mi int, va uint64, wide bool) (t token, ok, lost bool) {
	t = token{fn: -1, mod: int16(mi), addr: va, wide: wide}
	mem := &w.mem[mi]
	p := w.placeOf(t)
	switch {
	case p.named && !wide:
		return t, true, false
	case !p.inside:
		return t, false, true // moved out of what it was an address in
	case p.writable:
		if mem.escaped.has(p.first) && (!wide || mem.escaped.has(p.last)) && !p.relro {
			return t, false, true
		}
		return t, true, false
	}
	return t, p.points, false
}

// placeOf returns the place of a data token, valid until the next call.
func (w *solver) placeOf(t token) *dataPlace {
	mem, m := &w.mem[t.mod], w.g.P.Modules[t.mod]
	p, isNew := mem.places.at(t)
	if !isNew {
		return p
	}
	if st := &w.g.mods[t.mod]; st.dlsym {
		p.named = st.named(t.addr)
	}
	if r := mem.span(t); r.Start != r.End {
		p.inside = true
		p.first, p.last = int32(bound(mem.fine, t.addr)), int32(bound(mem.fine, r.End-1))
		p.writable, p.relro = writable(m, t.addr), m.Relro.Contains(t.addr)
		i := pointerOver(m, r.Start)
		p.points = i < len(m.Ptrs) && m.Ptrs[i].Slot < r.End
		if p.points { // objects may be large, and many
			k, _ := slices.BinarySearch(mem.apart, m.Ptrs[i].Slot)
			p.distances = k < len(mem.apart) && mem.apart[k] < r.End
		}
	}
	return p
}

func writable(m *link.Module, va uint64) bool {
	for i := range m.Segments {
		if s := &m.Segments[i]; s.Contains(va) {
			return s.Write
		}
	}
	return true
}

// escape notes that a token can be anywhere; so can what its object holds.
func (w *solver) escape(t token) { w.escapeBy(t, -1, 0, TakenCode) }

// escapeBy is escape with the function and the place that let it happen.
func (w *solver) escapeBy(t token, by int32, site uint64, kind TakenKind) {
	g := w.g
	if t.fn >= 0 {
		if g.class[t.fn]&(classPlain|classNSS) != 0 {
			return
		}
		mod := int32(0)
		if by >= 0 {
			m, _ := g.P.Where(int(by))
			mod = int32(m)
		} else {
			m, _ := g.P.Where(int(t.fn))
			mod = int32(m)
		}
		g.take(t.fn, Evidence{Module: mod, Func: by, Place: site, Kind: kind})
		return
	}
	mem := &w.mem[t.mod]
	p := w.placeOf(t)
	if p.gone {
		return
	}
	p.gone = true
	w.changes++
	span := mem.span(t)
	for r := bound(mem.fine, span.Start); r >= 0 && r+1 < len(mem.fine) && mem.fine[r] < span.End; r++ {
		if !mem.escaped.set(int32(r)) {
			continue
		}
		w.contents(int(t.mod), image.Range{Start: mem.fine[r], End: mem.fine[r+1]}, func(x token, slot uint64, _ bool) {
			if x.fn >= 0 {
				g.take(x.fn, Evidence{Module: int32(t.mod), Func: by, Place: slot, Kind: TakenData})
				return
			}
			w.escapeBy(x, by, slot, TakenData)
		})
		for _, c := range mem.cells[int32(r)] {
			if !c.any {
				w.escapeBy(c.val, by, site, TakenCode)
			}
		}
		delete(mem.cells, int32(r))
		for _, f := range mem.readers[int32(r)] {
			w.push(f)
		}
	}
}

// give is escapeBy where a function hands a token to code that is not followed, and may be another module's.
func (w *solver) give(t token, by int32, site uint64) {
	if t.fn >= 0 {
		m, _ := w.g.P.Where(int(by))
		w.g.take(t.fn, Evidence{Module: int32(m), Func: by, Place: site, Kind: TakenCode, Given: true})
		return
	}
	w.escapeBy(t, by, site, TakenCode)
}

// span1 is where a store or load of size bytes through a token can be.
func (m *memory) span1(t token, size uint32) image.Range {
	if t.wide || size == 0 {
		return m.span(t)
	}
	return image.Range{Start: t.addr, End: t.addr + uint64(size)}
}

func overlap(r image.Range, start, end uint64) bool { return r.Start < end && start < r.End }

// target is where a pointer in data points: a function, or an address of a module.
type target struct {
	fn  int32 // -1: data
	mod int32
	va  uint64
}

// pointsTo returns where pointer i of module mi points.
func (w *solver) pointsTo(mi, i int) []target {
	mem := &w.mem[mi]
	if mem.known[i] {
		return mem.targets[i]
	}
	mem.known[i] = true
	g := w.g
	m := g.P.Modules[mi]
	q := &m.Ptrs[i]
	switch q.Kind {
	case summary.PtrPLT, summary.PtrTLS, summary.PtrCopy:
		return nil
	}
	if q.Kind == summary.PtrWord && mi == 0 && q.Target == m.Entry {
		return nil // the ELF header's e_entry
	}
	var out []target
	for _, f := range g.pointees(mi, q) {
		out = append(out, target{fn: f})
	}
	switch {
	case len(out) > 0 || q.Kind == summary.PtrDistance:
	case q.Kind == summary.PtrRelative || q.Kind == summary.PtrWord:
		out = append(out, target{fn: -1, mod: int32(mi), va: q.Target})
	case q.Kind == summary.PtrSym && q.Sym != 0:
		for _, t := range g.P.Lookup(mi, q.Sym) {
			out = append(out, target{fn: -1, mod: int32(t.Module), va: t.Value + uint64(q.Addend)})
		}
	}
	mem.targets[i] = out
	return out
}

// contents calls visit for the tokens of the pointers that lie in a range of a module's data at the start; lost says that one
// points into memory that has escaped, so that it may be anything there.
func (w *solver) contents(mi int, r image.Range, visit func(t token, slot uint64, lost bool)) {
	m := w.g.P.Modules[mi]
	for i := pointerOver(m, r.Start); i < len(m.Ptrs) && m.Ptrs[i].Slot < r.End; i++ {
		for _, x := range w.pointsTo(mi, i) {
			if x.fn >= 0 {
				visit(token{fn: x.fn}, m.Ptrs[i].Slot, false)
			} else if t, ok, lost := w.data(int(x.mod), x.va, false); ok || lost {
				visit(t, m.Ptrs[i].Slot, lost)
			}
		}
	}
}

// load adds to out what eight bytes at t hold, as function f reads them.
func (w *solver) load(f int32, t token, out *pointers, spill func(token)) {
	if t.fn >= 0 {
		out.any = true // code is read
		return
	}
	mem := &w.mem[t.mod]
	if t.entry {
		if mem.escaped.has(int32(bound(mem.fine, t.addr))) { // its last part escapes with the first
			out.any = true
			return
		}
		l, ok := w.dataIn(t)
		if !ok {
			w.escapeBy(t, f, t.addr, TakenCode)
			out.any = true
			return
		}
		for _, x := range l {
			w.load(f, x, out, spill)
		}
		return
	}
	r := mem.span1(t, 8)
	put := func(x token) {
		if _, full := out.put(x); full {
			spill(x)
		}
	}
	there := func(x token, _ uint64, lost bool) {
		if lost {
			out.any = true
		} else {
			put(x)
		}
	}
	m := w.g.P.Modules[t.mod]
	if !writable(m, r.Start) || m.Relro.Contains(r.Start) && len(m.Dyn.Needed) > 0 {
		// The loader has filled it before any code of the module runs.
		if t.wide {
			switch n := pointersIn(m, r); {
			case n > maxEntries:
				w.escapeBy(t, f, t.addr, TakenCode)
				out.any = true
				return
			case n > 4:
				t.entry = true
				put(t)
				return
			}
		}
		w.contents(int(t.mod), r, there)
		w.copied(t, r, there)
		return
	}
	for a := int32(bound(mem.fine, r.Start)); a >= 0 && int(a)+1 < len(mem.fine) && mem.fine[a] < r.End; a++ {
		if mem.escaped.has(a) {
			out.any = true
			continue
		}
		if !slices.Contains(mem.readers[a], f) {
			mem.readers[a] = append(mem.readers[a], f)
		}
		w.contents(int(t.mod), image.Range{Start: max(r.Start, mem.fine[a]), End: min(r.End, mem.fine[a+1])}, there)
		for _, c := range mem.cells[a] {
			switch {
			case !overlap(mem.span1(c.at, c.size), r.Start, r.End):
			case c.any:
				out.any = true
			default:
				put(c.val)
			}
		}
	}
}

// copied calls visit for the tokens of the pointers that the loader copies to a range of the data that t is in: those that the
// objects which it copies there hold at the start. From there on they are what they are, if the range becomes read-only.
func (w *solver) copied(t token, r image.Range, visit func(t token, slot uint64, lost bool)) {
	for _, c := range w.mem[t.mod].copies {
		if !overlap(r, c.Addr, c.Addr+c.Size) {
			continue
		}
		from := image.Range{Start: max(r.Start, c.Addr) - c.Addr + c.Value, End: min(r.End, c.Addr+c.Size) - c.Addr + c.Value}
		w.contents(c.Source, from, visit)
	}
}

// pointersIn counts the pointers in a range of a module's data.
func pointersIn(m *link.Module, r image.Range) int {
	return pointerFrom(m, r.End) - pointerFrom(m, r.Start)
}

// pointerFrom returns the index of the first pointer in a module's data at va or behind.
func pointerFrom(m *link.Module, va uint64) int {
	lo, hi := 0, len(m.Ptrs)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); m.Ptrs[mid].Slot >= va {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// pointerOver is pointerFrom for pointers of which a byte is at va or behind.
func pointerOver(m *link.Module, va uint64) int {
	if va < 7 {
		return 0
	}
	return pointerFrom(m, va-7)
}

// dataIn returns the tokens of the pointers to data in a table, each once; false if there are too many to follow.
func (w *solver) dataIn(t token) ([]token, bool) {
	l, ok := w.tables[t]
	if !ok {
		l = []token{}
		w.contents(int(t.mod), w.mem[t.mod].span(t), func(x token, _ uint64, _ bool) {
			if x.fn < 0 && len(l) <= maxTokens && !slices.Contains(l, x) {
				l = append(l, x)
			}
		})
		w.tables[t] = l
	}
	return l, len(l) <= maxTokens
}

// functions calls visit for the functions that a token that is called may be.
func (w *solver) functions(t token, visit func(int32)) {
	switch {
	case t.fn >= 0:
		visit(t.fn)
	case t.entry:
		w.contents(int(t.mod), w.mem[t.mod].span(t), func(x token, _ uint64, _ bool) {
			if x.fn >= 0 {
				visit(x.fn)
			}
		})
	}
}

// store notes that function f stores a value to data at t.
func (w *solver) store(f int32, t token, size uint32, v *pointers, site uint64) {
	mem := &w.mem[t.mod]
	s := mem.span1(t, size)
	list := slices.Clone(v.list)
	for a := int32(bound(mem.fine, s.Start)); a >= 0 && int(a)+1 < len(mem.fine) && mem.fine[a] < s.End; a++ {
		changed := false
		add := func(c cell) {
			if !slices.Contains(mem.cells[a], c) {
				mem.cells[a] = append(mem.cells[a], c)
				changed = true
			}
		}
		for _, x := range list {
			if mem.escaped.has(a) {
				w.escapeBy(x, f, site, TakenCode)
			} else {
				add(cell{at: t, size: size, val: x})
			}
		}
		if v.any && !mem.escaped.has(a) {
			add(cell{at: t, size: size, any: true})
		}
		if len(mem.cells[a]) > maxCells {
			w.escapeBy(token{fn: -1, mod: t.mod, addr: mem.fine[a]}, f, site, TakenCode)
		} else if changed {
			for _, r := range mem.readers[a] {
				w.push(r)
			}
		}
	}
}

// distances takes the functions whose distances from an address lie where four bytes are read.
func (w *solver) distances(f int32, t token) {
	if t.fn >= 0 || t.entry || !w.placeOf(t).distances {
		return
	}
	m, r := w.g.P.Modules[t.mod], w.mem[t.mod].span(t)
	for i := pointerFrom(m, r.Start); i < len(m.Ptrs) && m.Ptrs[i].Slot < r.End; i++ {
		if m.Ptrs[i].Kind != summary.PtrDistance {
			continue
		}
		for _, x := range w.pointsTo(int(t.mod), i) {
			w.g.take(x.fn, Evidence{Module: int32(t.mod), Func: f, Place: m.Ptrs[i].Slot, Kind: TakenData})
		}
	}
}
