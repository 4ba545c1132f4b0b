package cfg

import (
	"slices"
	"sort"

	"syspart/internal/decode"
)

// maxEntries bounds the entries that are read from one jump table whose bound the code does not show.
const maxEntries = 4096

// unresolved is the trouble of a function with an indirect jump that may lead to anywhere in it.
const unresolved = "unresolved indirect jump"

// resolve works out all indirect jumps found so far and reports whether one of them has new targets.
func (w *worker) resolve() (grown bool) {
	started := false
	var pushed *uint64
	for i := range w.indirect {
		j := &w.indirect[i]
		in := &w.disc[j.disc]
		if j.plain {
			continue
		}
		if _, ok := in.AbsMem(); ok || in.Flags&decode.Far != 0 || in.Seg != 0 {
			j.plain = true // a variable, or a GOT slot
			continue
		}
		if !started {
			started = true
			w.slice.start(w)
		}
		before := len(j.targets)
		w.resolveJump(j)
		// All computed gotos of a function lead to the same labels: an interpreter has thousands of both.
		if len(j.targets) > 0 && pushed != &j.targets[0] {
			pushed = &j.targets[0]
			for _, t := range j.targets {
				w.push(t)
			}
		}
		grown = grown || len(j.targets) > before
	}
	return w.findHub() || grown
}

// hubEdges is how many edges from computed gotos to labels a function may have before they go through one block.
const hubEdges = 1 << 18

// findHub chooses the computed goto through which the others of a large interpreter lead to their common labels, so that
// its graph does not grow with the product of both. The instruction is a block of its own, which does nothing else. It
// reports whether the graph has to be made again.
func (w *worker) findHub() bool {
	n, hub := 0, -1
	for i := range w.indirect {
		if j := &w.indirect[i]; len(j.targets) > 0 && len(w.labelsIn) > 0 && &j.targets[0] == &w.labelsIn[0] {
			n++
			if hub < 0 || w.disc[j.disc].Addr < w.disc[w.indirect[hub].disc].Addr {
				hub = i
			}
		}
	}
	if n*len(w.labelsIn) <= hubEdges || hub == w.hub {
		return false
	}
	w.hub = hub
	if off, ok := w.off(w.disc[w.indirect[hub].disc].Addr); ok {
		w.leader[off] = true
	}
	return true
}

// throughHub returns where the hub is if a jump leads to just what the hub leads to; 0: it has no hub.
func (w *worker) throughHub(i int32) uint64 {
	if w.hub < 0 || int(i) == w.hub {
		return 0
	}
	j, hub := &w.indirect[i], &w.indirect[w.hub]
	if len(j.targets) != len(hub.targets) || &j.targets[0] != &hub.targets[0] {
		return 0
	}
	return w.disc[hub.disc].Addr
}

// resolveJump finds the targets of one jump. Targets only accumulate.
func (w *worker) resolveJump(j *jump) {
	in := &w.disc[j.disc]
	k := w.slice.pos[j.disc]
	s := &w.slice
	s.spent += s.steps
	s.steps, s.places, s.loads = 0, 0, 0
	s.active = s.active[:0]
	s.partial = emptied(s.partial)
	j.trouble, j.loose, j.tables = "", false, j.tables[:0]

	if w.pairedTables(j, k) {
		return
	}
	vs := s.arg(in.Src, in, k, 8, false)
	paired := func(v value) bool { return v.kind == vOffset && v.addr == v.base }
	somePaired := slices.ContainsFunc(vs, paired)
	var escapes, unclear, noise bool
	for _, v := range vs {
		switch v.kind {
		case vOutside, vNumber:
			escapes = true
		case vNoise:
			noise = true
		case vConst:
			if w.inside(v.addr) {
				w.target(j, v.addr)
			} else {
				escapes = true // a tail call to a function whose address was taken here
			}
		case vOffset:
			// Where two switches share a jump, each table goes with its own base.
			if somePaired && !paired(v) {
				continue
			}
			switch w.readOffsets(j, v) {
			case noTable:
				noise = true
			case badTable:
				unclear = true
			}
		case vEntry:
			switch {
			case v.width == 8:
				switch w.readPointers(j, v) {
				case noTable:
					escapes = true
				case badTable:
					unclear = true
				}
			case v.width == 4:
				unclear = w.readOffsets(j, v) != goodTable || unclear
			default:
				unclear = true
			}
		case vAddr:
			switch {
			case w.b.inText(v.addr):
				unclear = !w.readStride(j, v) || unclear
			case !somePaired:
				noise = true
			}
		case vUnknown:
			unclear = true
		}
	}
	// Where a table is read and added to its own base, the register that holds the base holds nothing else on any path
	// that can be executed: what comes from elsewhere is from paths that the compiler knew to be dead.
	if somePaired && len(j.tables) > 0 {
		escapes = false
	} else {
		unclear = unclear || noise
	}
	if !escapes && !unclear {
		return
	}
	// A computed goto through memory ends in one of the labels of this function whose address is taken somewhere.
	j.loose = true
	labels := w.labels()
	w.toLabels(j, labels)
	if len(labels) > 0 || unclear && !(escapes && len(vs) == 1) {
		j.trouble = unresolved
	}
}

// labels returns the addresses inside the extent, other than the entry, that are taken somewhere in the file, sorted. They
// stay the same while a function is explored, and are not the caller's to change.
func (w *worker) labels() []uint64 {
	if w.labelled {
		return w.labelsIn
	}
	w.labelled = true
	for i := range w.spans {
		sp := &w.spans[i]
		for k := sort.Search(len(w.b.labels), func(k int) bool { return w.b.labels[k] >= sp.Start }); k < len(w.b.labels); k++ {
			if w.b.labels[k] >= sp.End {
				break
			}
			if w.b.labels[k] != w.n.fn.Entry {
				w.labelsIn = append(w.labelsIn, w.b.labels[k])
			}
		}
	}
	w.labelsIn = slices.Clip(w.labelsIn)
	return w.labelsIn
}

// toLabels adds labels of the function to the targets of a jump, which shares the list where it has no others.
func (w *worker) toLabels(j *jump, labels []uint64) {
	if len(labels) == 0 || len(j.targets) > 0 && &j.targets[0] == &labels[0] {
		return
	}
	i := 0
	for _, t := range j.targets {
		for i < len(labels) && labels[i] < t {
			i++
		}
		if i == len(labels) || labels[i] != t {
			for _, l := range labels {
				w.target(j, l)
			}
			return
		}
	}
	j.targets = labels
}

// target adds one target.
func (w *worker) target(j *jump, va uint64) {
	list := &j.targets
	if !w.inside(va) {
		if !w.b.inText(va) {
			return
		}
		list = &j.outs
	}
	if at, ok := slices.BinarySearch(*list, va); !ok {
		*list = slices.Insert(*list, at, va)
	}
}

// entries decides how many entries of the table at v may be read, and whether the code itself says so.
func (w *worker) entries(j *jump, v value) (n uint64, exact bool) {
	l, ok := w.slice.bound(v.ix, v.pos)
	if ok && l.exact && l.n <= 1<<20 {
		return l.n, true
	}
	j.loose, j.tabled = true, true
	n = maxEntries
	if ok {
		n = min(n, l.n)
	}
	// No further than the next thing whose address is used.
	for _, data := range [2][]uint64{w.b.data, w.b.hints} {
		i := sort.Search(len(data), func(i int) bool { return data[i] > v.addr })
		if i < len(data) {
			n = min(n, (data[i]-v.addr)/uint64(v.width))
		}
	}
	return n, false
}

// What was found where a table was expected.
type tableKind uint8

const (
	goodTable tableKind = iota
	noTable             // no code addresses inside the function, or they change at run time
	badTable            // some entries could not be read
)

// readOffsets reads a table of 32-bit offsets from v.base (or of 32-bit addresses, with base 0).
func (w *worker) readOffsets(j *jump, v value) tableKind {
	if w.b.f.Write(v.addr) && !w.b.f.Relro.Contains(v.addr) {
		return noTable
	}
	n, exact := w.entries(j, v)
	r := w.read(n, exact, func(i uint64) (uint64, bool) {
		entry, ok := w.b.f.Uint32(v.addr + 4*i)
		if v.signed || v.kind == vOffset {
			return v.base + uint64(int64(int32(entry))), ok
		}
		return v.base + uint64(entry), ok
	})
	if r.count == 0 {
		return noTable
	}
	return w.accept(j, r, JumpTable{Table: v.addr, Width: 4, Base: v.base})
}

// reading is what was read of a table.
type reading struct {
	count   int
	targets []uint64
	inner   bool // some lead into the function, not to its entry
	short   bool // there are more entries than were read, or it cannot be told
}

// read reads up to n entries of a table. If exact all must be code. Otherwise the table ends where an entry does not lead
// to code of this function; if it leads to other code, that may be a split-off part which is not yet known as such.
func (w *worker) read(n uint64, exact bool, entry func(i uint64) (to uint64, ok bool)) (r reading) {
	for i := uint64(0); i < n; i++ {
		to, ok := entry(i)
		switch {
		case !ok || !w.b.inText(to) && !w.atEnd(to):
			r.short = exact
			return r
		case w.inside(to):
			r.inner = r.inner || to != w.n.fn.Entry
		case w.atEnd(to):
			r.count++ // what the compiler puts where it knows that no value leads
			continue
		case exact || w.b.splitOff(to):
		default:
			r.short = w.b.origin[to]&^(FromFrame|FromTail) == 0
			return r
		}
		r.targets = append(r.targets, to)
		r.count++
	}
	return r
}

// accept takes over a table that was read.
func (w *worker) accept(j *jump, r reading, t JumpTable) tableKind {
	for _, to := range r.targets {
		w.target(j, to)
	}
	t.Site, t.Entries = w.disc[j.disc].Addr, r.count
	j.tables = append(j.tables, t)
	if r.short {
		return badTable
	}
	return goodTable
}

// readStride resolves a jump to v.addr plus a multiple of a masked register: equal pieces of code, as in hand-written
// copying loops.
func (w *worker) readStride(j *jump, v value) bool {
	if !w.inside(v.addr) {
		return false
	}
	r, stride := v.ix, uint64(1)
	bl := &w.blocks[w.blkOf[v.pos]]
	k := v.pos - 1
	for ; k >= bl.First && r < 16; k-- {
		in := w.inst(k)
		if !in.Writes.Has(r) {
			continue
		}
		own := in.Dst.Kind == decode.ArgReg && in.Dst.Reg == r
		switch {
		case own && in.Op == decode.OpShl && in.Src.Kind == decode.ArgImm && in.Imm < 12:
			stride <<= in.Imm
			continue
		case own && in.Op == decode.OpMov && in.Src.Kind == decode.ArgReg:
			r = in.Src.Reg
			continue
		case own && in.Op == decode.OpLea && in.Disp == 0 && in.Base == in.Index && in.Base < 16:
			stride *= 1 + uint64(in.Scale)
			r = in.Base
			continue
		case own && in.Op == decode.OpLea && in.Disp == 0 && in.Base == decode.NoReg && in.Index < 16:
			stride *= uint64(in.Scale)
			r = in.Index
			continue
		}
		break
	}
	l, ok := w.slice.bound(r, k+1)
	if !ok || l.n > 256 || stride < 2 || stride > 1<<12 {
		return false
	}
	for i := uint64(0); i < l.n; i++ {
		to := v.addr + i*stride
		if !w.inside(to) {
			return false
		}
		w.target(j, to)
	}
	return true
}

// atEnd reports whether va is the end of a range of the extent.
func (w *worker) atEnd(va uint64) bool {
	for i := range w.spans {
		if w.spans[i].End == va {
			return true
		}
	}
	return false
}

// readPointers reads a table of 64-bit addresses.
func (w *worker) readPointers(j *jump, v value) tableKind {
	if !w.b.f.Mapped(v.addr) {
		return noTable
	}
	n, exact := w.entries(j, v)
	r := w.read(n, exact, func(i uint64) (uint64, bool) { return w.b.pointer(v.addr + 8*i) })
	if !r.inner {
		return noTable
	}
	r.short = r.short || w.b.f.Write(v.addr) && !w.b.f.Relro.Contains(v.addr)
	return w.accept(j, r, JumpTable{Table: v.addr, Width: 8})
}
