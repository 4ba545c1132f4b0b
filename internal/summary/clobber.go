package summary

import (
	"syspart/internal/cfg"
	"syspart/internal/decode"
)

// registers computes which registers each function may change, itself or by what it calls. A function with a call or
// jump that is not known, or that goes to another module, may change all that the psABI lets it, and so may a stub. Those
// argument registers that a function both pushes and pops it may restore (preserve_most, run-time helpers): restored.
func (b *builder) registers() {
	funcs := b.graph.Funcs
	own := make([]decode.RegSet, len(funcs))
	index := make(map[uint64]int32, len(funcs))
	for i, f := range funcs {
		index[f.Entry] = int32(i)
	}
	callers := make([][]int32, len(funcs))
	b.restored = map[uint64]decode.RegSet{}
	var work []int32
	for i, f := range funcs {
		var w decode.RegSet
		if f.Stub || f.Incomplete != "" {
			w = decode.AllRegs
		}
		var pushed, popped decode.RegSet
		for k := range f.Insts {
			in := &f.Insts[k]
			w |= in.Writes
			switch {
			case in.Op == decode.OpPush && in.Src.Kind == decode.ArgReg:
				pushed |= 1 << in.Src.Reg
			case in.Op == decode.OpPop && in.Dst.Kind == decode.ArgReg:
				popped |= 1 << in.Dst.Reg
			}
		}
		if k := pushed & popped & argSet; k != 0 {
			b.restored[f.Entry] = k
		}
		for k := range f.Blocks {
			bl := &f.Blocks[k]
			to := bl.TailTo
			switch {
			case bl.Term == cfg.TermCall:
				in := &f.Insts[bl.Last-1]
				if in.Flags&decode.Indirect != 0 {
					w = decode.AllRegs
					continue
				}
				to = uint64(in.Imm)
			case bl.Term == cfg.TermIndirect || bl.Term == cfg.TermBad:
				w = decode.AllRegs
				continue
			case to == 0:
				continue
			}
			if j, ok := index[to]; ok {
				callers[j] = append(callers[j], int32(i))
			} else {
				w = decode.AllRegs
			}
		}
		own[i] = w
		work = append(work, int32(i))
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		for _, c := range callers[i] {
			if own[c]|own[i] != own[c] {
				own[c] |= own[i]
				work = append(work, c)
			}
		}
	}
	b.masks = make(map[uint64]decode.RegSet, len(funcs))
	for i, f := range funcs {
		b.masks[f.Entry] = own[i]
	}
}

// goCallee returns the registers that the function at va overwrites in its first block before anything reads them, and the
// bytes of its arguments, results and room for registers in its caller's frame, negative if not known.
func (b *builder) goCallee(va uint64) (ignored decode.RegSet, args int64) {
	f := b.graph.At(va)
	if f == nil || len(f.Blocks) == 0 || b.golang == nil {
		return 0, -1
	}
	args = -1
	if x := b.golang.At(va); x != nil {
		args = int64(x.Args)
	}
	var read, written decode.RegSet
	blk := &f.Blocks[f.Start]
	for i := blk.First; i < blk.Last; i++ {
		in := &f.Insts[i]
		if in.Op == decode.OpCall || in.Flags&decode.Opaque != 0 {
			break
		}
		read |= in.Reads &^ written
		written |= in.Writes
	}
	return written &^ read, args
}

// clobbers returns the registers that the function at va may change.
func (b *builder) clobbers(va uint64) decode.RegSet {
	if m, ok := b.masks[va]; ok {
		return m
	}
	return decode.AllRegs
}
