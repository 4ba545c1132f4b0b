package summary

import (
	"syspart/internal/cfg"
	"syspart/internal/decode"
)

// entries numbers the functions by where they begin.
func (b *builder) entries() map[uint64]int32 {
	index := make(map[uint64]int32, len(b.graph.Funcs))
	for i, f := range b.graph.Funcs {
		index[f.Entry] = int32(i)
	}
	return index
}

// registers computes which registers each function may change, itself or by what it calls. A function with a call or
// jump that is not known, or that goes to another module, may change all that the psABI lets it, and so may a stub. Those
// argument registers that a function both pushes and pops it may restore (preserve_most, run-time helpers): restored.
func (b *builder) registers(index map[uint64]int32) {
	funcs := b.graph.Funcs
	own := make([]decode.RegSet, len(funcs))
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

// hiddenSet are the registers that no argument of the psABI's is in, and that a call may yet be given something in: rax, in
// whose lowest byte variadic functions find the number of vector registers used, and r10, the static chain.
const hiddenSet = decode.RegSet(1<<decode.RAX | 1<<decode.R10)

// hidden finds which registers of hiddenSet functions may find something in: those that they read before they write them,
// themselves or in functions that they call by name. Functions of other modules keep to the psABI.
func (b *builder) hidden(index map[uint64]int32) {
	funcs := b.graph.Funcs
	type call struct {
		by   int32
		regs decode.RegSet
	}
	callers := make([][]call, len(funcs))
	finds := make([]decode.RegSet, len(funcs))
	var in []decode.RegSet // by block: registers that some path from the entry to there has not written
	var work []int32
	for i, f := range funcs {
		if f.Incomplete != "" {
			finds[i] = hiddenSet
		}
		if f.Stub || f.Incomplete != "" || len(f.Blocks) == 0 { // what a stub goes to keeps to the psABI
			continue
		}
		in = append(in[:0], make([]decode.RegSet, len(f.Blocks))...)
		in[f.Start] = hiddenSet
		work = append(work[:0], f.Start)
		for len(work) > 0 {
			bi := work[len(work)-1]
			work = work[:len(work)-1]
			bl := &f.Blocks[bi]
			rest := in[bi]
			goes := func(to uint64) {
				if j, ok := index[to]; ok {
					callers[j] = append(callers[j], call{int32(i), rest})
				} else {
					finds[i] |= rest
				}
			}
			for k := bl.First; k < bl.Last && rest != 0; k++ {
				x := &f.Insts[k]
				finds[i] |= finding(x) & rest
				if x.Op == decode.OpCall && x.Flags&decode.Indirect == 0 {
					goes(uint64(x.Imm))
				}
				rest &^= x.Writes
			}
			switch {
			case bl.Term == cfg.TermBad:
				finds[i] |= rest
			case bl.Term == cfg.TermCall:
				rest = 0
			case bl.TailTo != 0:
				goes(bl.TailTo)
			}
			for _, t := range bl.Succs {
				if rest&^in[t] != 0 {
					in[t] |= rest
					work = append(work, t)
				}
			}
		}
	}
	work = work[:0]
	for i := range finds {
		if finds[i] != 0 {
			work = append(work, int32(i))
		}
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		for _, c := range callers[i] {
			if x := finds[i] & c.regs &^ finds[c.by]; x != 0 {
				finds[c.by] |= x
				work = append(work, c.by)
			}
		}
	}
	b.finds = make(map[uint64]decode.RegSet)
	for i, f := range funcs {
		if finds[i] != 0 {
			b.finds[f.Entry] = finds[i]
		}
	}
}

// finding returns the registers in which an instruction may find a pointer: those that it reads, but for what it makes zero
// of, and the number of vector registers that variadic functions look for.
func finding(in *decode.Inst) decode.RegSet {
	if in.Flags&decode.Opaque != 0 {
		return decode.AllRegs
	}
	if in.Dst.Kind == decode.ArgReg && in.Dst == in.Src {
		switch {
		case in.Op == decode.OpXor || in.Op == decode.OpSub, in.Op == decode.OpTest && in.Size == 1:
			return in.Reads &^ (1 << in.Dst.Reg)
		}
	}
	return in.Reads
}

// found returns the registers of hiddenSet that the function at va may find something in.
func (b *builder) found(va uint64) decode.RegSet {
	if _, ok := b.masks[va]; ok {
		return b.finds[va]
	}
	return hiddenSet
}
