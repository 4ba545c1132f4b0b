package cfg

import (
	"slices"

	"syspart/internal/decode"
	"syspart/internal/image"
)

// arena hands out pieces of large slices, so that a file's functions are few allocations.
type arena struct {
	insts  []decode.Inst
	blocks []Block
	ints   []int32
	words  []uint64
	tails  []tail
}

func carve[T any](pool *[]T, n, chunk int) []T {
	if n == 0 {
		return nil
	}
	if cap(*pool)-len(*pool) < n {
		*pool = make([]T, 0, max(n, chunk))
	}
	at := len(*pool)
	*pool = (*pool)[:at+n]
	return (*pool)[at : at+n : at+n]
}

// again is carve for a slice that is made anew, in the place of the old one if that is large enough.
func again[T any](pool *[]T, old []T, n, chunk int) []T {
	if n > 0 && cap(old) >= n {
		return old[:n]
	}
	return carve(pool, n, chunk)
}

// copyOf moves a scratch slice into the arena.
func copyOf[T any](pool *[]T, s []T, chunk int) []T {
	c := carve(pool, len(s), chunk)
	copy(c, s)
	return c
}

// finish stores what was found in the node.
func (w *worker) finish() {
	n := w.n
	fn := n.fn
	for i := range w.indirect {
		if j := &w.indirect[i]; j.trouble != "" {
			w.trouble("%s at %#x", j.trouble, w.disc[j.disc].Addr)
		}
	}
	for _, o := range w.outs {
		w.checkOut(o)
	}
	for i := range w.indirect {
		for _, o := range w.indirect[i].outs {
			w.checkOut(o)
		}
	}
	fn.Ranges = n.ranges
	fn.Insts = again(&w.arena.insts, fn.Insts, len(w.ord), 1<<13)
	for k, d := range w.ord {
		fn.Insts[k] = w.disc[d]
	}
	fn.Blocks = again(&w.arena.blocks, fn.Blocks, len(w.blocks), 1<<12)
	copy(fn.Blocks, w.blocks)
	succs := copyOf(&w.arena.ints, w.succs, 1<<12)
	for i := range fn.Blocks {
		lo, hi := w.succAt[i], w.succAt[i+1]
		fn.Blocks[i].Succs = succs[lo:hi:hi]
	}
	fn.Start, _ = w.blockOf(fn.Entry)
	fn.Incomplete = w.bad
	fn.Hub = 0
	if w.hub >= 0 {
		fn.Hub = w.disc[w.indirect[w.hub].disc].Addr
	}
	fn.Pads = nil
	for i := range w.pads {
		if w.padIn[i] {
			if p, ok := w.blockOf(w.pads[i].Pad); ok {
				fn.Pads = append(fn.Pads, p)
			}
		}
	}
	fn.Pads = compact(fn.Pads)
	w.b.markStub(fn)
	w.harvest()
}

// checkOut makes the function incomplete if a jump-table target or landing pad outside the extent cannot become part of it.
func (w *worker) checkOut(va uint64) {
	if w.n.fde < 0 {
		w.trouble("jump table or landing pad leads out of known code to %#x", va)
	}
}

// harvest collects what the function says of other code and of data.
func (w *worker) harvest() {
	n := w.n
	n.ends = n.fn.Incomplete != ""
	n.undecodable = false
	n.loose, n.tabled = false, false
	n.tables = n.tables[:0]
	n.outs = append(n.outs[:0], w.outs...)
	for i := range w.indirect {
		j := &w.indirect[i]
		n.loose, n.tabled = n.loose || j.loose, n.tabled || j.tabled
		n.tables = append(n.tables, j.tables...)
		n.outs = append(n.outs, j.outs...)
	}
	calls, taken, data, deref := w.slice.calls[:0], w.slice.taken[:0], w.slice.data[:0], w.slice.deref[:0]
	tails := w.slice.tails[:0]
	for i := range n.fn.Blocks {
		bl := &n.fn.Blocks[i]
		switch bl.Term {
		case TermRet:
			n.ends = true
		case TermBad:
			n.ends, n.undecodable = true, true
		case TermIndirect:
			slot, ok := n.fn.Insts[bl.Last-1].AbsMem()
			n.ends = n.ends || !ok || !w.b.noretSlot[slot]
		}
		if bl.TailTo != 0 {
			last := &n.fn.Insts[bl.Last-1]
			tails = append(tails, tail{
				to: bl.TailTo, fall: last.Next() == bl.TailTo && bl.Term != TermTail,
				cond: bl.Term == TermCond, call: bl.Term == TermCall,
			})
		}
	}
	fixed := w.b.f.Kind == image.KindExec
	for i := range n.fn.Insts {
		in := &n.fn.Insts[i]
		switch in.Op {
		case decode.OpCall:
			if in.Flags&decode.Indirect == 0 {
				calls = append(calls, uint64(in.Imm))
			}
		case decode.OpMov, decode.OpPush, decode.OpAdd:
			if fixed && in.Src.Kind == decode.ArgImm && in.Size >= 4 {
				if v := uint64(in.Imm); w.b.inText(v) {
					taken = append(taken, v)
				} else if w.b.f.Mapped(v) {
					data = append(data, v)
				}
			}
		}
		if in.Flags&decode.HasMem == 0 || in.Seg != 0 {
			continue
		}
		if in.Base != decode.RIP && !(fixed && (in.Base == decode.NoReg || in.Op != decode.OpLea)) {
			continue
		}
		va := uint64(in.Disp)
		switch {
		case !w.b.inText(va):
			if in.Base == decode.RIP || w.b.f.Mapped(va) {
				data = append(data, va)
			}
		case in.Op != decode.OpLea:
			if in.Flags&(decode.MemRead|decode.MemWrite) != 0 {
				deref = append(deref, va)
			}
		case w.readThrough(n.fn, i):
			deref = append(deref, va)
		default:
			taken = append(taken, va)
		}
	}
	w.slice.calls, w.slice.taken, w.slice.data, w.slice.deref, w.slice.tails = calls, taken, data, deref, tails
	n.calls = copyOf(&w.arena.words, calls, 1<<12)
	n.taken = copyOf(&w.arena.words, taken, 1<<12)
	n.data = copyOf(&w.arena.words, data, 1<<12)
	n.deref = copyOf(&w.arena.words, deref, 1<<12)
	n.tails = copyOf(&w.arena.tails, tails, 1<<10)
}

// readThrough reports whether the address that instruction i (a lea) makes is read or written as memory before anything
// else is done with it: it is the address of data that lies among the code.
func (w *worker) readThrough(fn *Func, i int) bool {
	r := fn.Insts[i].Dst.Reg
	for k := i + 1; k < len(fn.Insts) && k < i+64; k++ {
		in := &fn.Insts[k]
		if in.Addr != fn.Insts[k-1].Next() || ends(in.Op) {
			return false
		}
		if !in.Reads.Has(r) {
			if in.Writes.Has(r) {
				return false
			}
			continue
		}
		asValue := in.Src.Kind == decode.ArgReg && in.Src.Reg == r || in.Dst.Kind == decode.ArgReg && in.Dst.Reg == r
		return in.Base == r && in.Flags&(decode.MemRead|decode.MemWrite) != 0 && in.Index == decode.NoReg && !asValue &&
			in.Op != decode.OpStos
	}
	return false
}

// compact sorts s and removes what occurs twice.
func compact(s []int32) []int32 {
	slices.Sort(s)
	return slices.Compact(s)
}
