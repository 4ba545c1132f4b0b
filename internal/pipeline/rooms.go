package pipeline

import (
	"cmp"
	"fmt"
	"slices"

	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/stub"
	"syspart/internal/summary"
	"syspart/internal/value"
)

// rooms finds code of one function that a jump may replace.
type rooms struct {
	m      *link.Module
	file   *image.File
	fn     *summary.Func
	blocks []summary.Block // the function's, by address
	falls  []bool          // blocks[i] is reached from blocks[i-1] by falling into it, and in no other way
}

// newRooms fails if it is not known where the function's code goes.
func newRooms(m *link.Module, file *image.File, fn *summary.Func) (*rooms, error) {
	if fn.Flags&summary.Incomplete != 0 {
		return nil, fmt.Errorf("%w: not all ways through the function at %#x are known", stub.ErrPoint, fn.Entry)
	}
	r := &rooms{m: m, file: file, fn: fn}
	type source struct {
		n    int
		from uint64 // where one of them ends
	}
	into := map[uint64]source{}
	for i := fn.Blocks[0]; i < fn.Blocks[1]; i++ {
		b := &m.Blocks[i]
		r.blocks = append(r.blocks, *b)
		for _, s := range m.Succs[b.Succs[0]:b.Succs[1]] {
			to := m.Blocks[s].Start
			into[to] = source{into[to].n + 1, b.End}
		}
	}
	slices.SortFunc(r.blocks, func(a, b summary.Block) int { return cmp.Compare(a.Start, b.Start) })
	r.falls = make([]bool, len(r.blocks))
	entry := m.Blocks[fn.Start].Start
	for i := 1; i < len(r.blocks); i++ {
		b, src := &r.blocks[i], into[r.blocks[i].Start]
		r.falls[i] = src.n == 1 && src.from == b.Start && r.blocks[i-1].End == b.Start && b.Start != entry &&
			b.Flags&summary.BlockPad == 0 && !r.meant(b.Start, b.Start+1)
	}
	return r, nil
}

func (r *rooms) at(start uint64) (int, error) {
	i, ok := slices.BinarySearchFunc(r.blocks, start, func(b summary.Block, va uint64) int { return cmp.Compare(b.Start, va) })
	if !ok {
		return 0, fmt.Errorf("%w: no block at %#x", stub.ErrPoint, start)
	}
	return i, nil
}

// edge finds the place for a jump on the edge from one block to another.
func (r *rooms) edge(from, to uint64) (stub.Point, error) {
	i, err := r.at(from)
	if err != nil {
		return stub.Point{}, err
	}
	first := i
	for r.falls[first] {
		first--
	}
	room, err := r.room(first, i)
	if err != nil {
		return stub.Point{}, err
	}
	return r.checked(room.Edge(to))
}

// head finds the place for a jump at a block's start.
func (r *rooms) head(start uint64) (stub.Point, error) {
	i, err := r.at(start)
	if err != nil {
		return stub.Point{}, err
	}
	last := i
	for last+1 < len(r.blocks) && r.falls[last+1] {
		last++
	}
	room, err := r.room(i, last)
	if err != nil {
		return stub.Point{}, err
	}
	return r.checked(room.Head())
}

// room is the code of the blocks from first to last, which lie in a row.
func (r *rooms) room(first, last int) (*stub.Room, error) {
	start, end := r.blocks[first].Start, r.blocks[last].End
	code := r.file.Tail(start)
	if uint64(len(code)) < end-start {
		return nil, fmt.Errorf("%w: no code at %#x", stub.ErrPoint, start)
	}
	out := &stub.Room{Start: start, Code: code[:end-start]}
	// Padding: nops and traps up to the next code.
	pad := code[end-start:]
	pad = pad[:min(len(pad), 16)]
	n := 0
	for n < len(pad) {
		var in decode.Inst
		if !decode.Decode(pad[n:], end+uint64(n), &in) || in.Op != decode.OpNop && pad[n] != 0xcc {
			break
		}
		n += int(in.Len)
	}
	for n > 0 && (r.foreign(end, end+uint64(n)) || r.meant(end, end+uint64(n)) || r.own(end, end+uint64(n))) {
		n--
	}
	out.Pad = pad[:n]
	return out, nil
}

// checked refuses a point that anything else may lead into.
func (r *rooms) checked(p stub.Point, err error) (stub.Point, error) {
	if err != nil {
		return p, err
	}
	end := p.Addr + uint64(len(p.Old))
	if r.foreign(p.Addr, end) {
		return p, fmt.Errorf("%w: the code at %#x is that of another function, too", stub.ErrPoint, p.Addr)
	}
	if r.meant(p.Addr+1, end) {
		return p, fmt.Errorf("%w: something refers into the code at %#x", stub.ErrPoint, p.Addr)
	}
	p.Module = modulePath(r.m)
	return p, nil
}

// own reports whether code of the function lies in a range.
func (r *rooms) own(start, end uint64) bool {
	return slices.ContainsFunc(r.blocks, func(b summary.Block) bool { return b.Start < end && start < b.End })
}

// foreign reports whether code of other functions lies in a range, or one of them begins there.
func (r *rooms) foreign(start, end uint64) bool {
	for i := range r.m.Funcs {
		fn := &r.m.Funcs[i]
		if fn == r.fn || fn.Entry == r.fn.Entry {
			continue
		}
		if fn.Entry >= start && fn.Entry < end && fn.Entry != r.fn.Entry {
			return true
		}
		for _, b := range r.m.Blocks[fn.Blocks[0]:fn.Blocks[1]] {
			if b.Start < end && start < b.End {
				return true
			}
		}
	}
	return false
}

// meant reports whether a symbol, a relocation, a pointer in data or an address in code means an address in a range.
func (r *rooms) meant(start, end uint64) bool {
	in := func(va uint64) bool { return va >= start && va < end }
	return slices.ContainsFunc(r.m.Dyn.Symbols, func(s image.Symbol) bool { return !s.Undefined && !s.TLS && !s.Abs && in(s.Value) }) ||
		slices.ContainsFunc(r.file.Symtab, func(s image.Symbol) bool { return !s.Undefined && !s.TLS && !s.Abs && in(s.Value) }) ||
		slices.ContainsFunc(r.m.Dyn.Relocs, func(x image.Reloc) bool { return x.Sym == 0 && in(uint64(x.Addend)) }) ||
		slices.ContainsFunc(r.m.Ptrs, func(x summary.Ptr) bool { return in(x.Target) }) ||
		slices.ContainsFunc(r.m.Takes, func(x summary.Take) bool { return in(x.Target) }) ||
		slices.ContainsFunc(r.m.Exprs, func(x value.Expr) bool { return x.Kind == value.Addr && in(uint64(x.Off)) })
}
