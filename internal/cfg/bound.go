package cfg

import "syspart/internal/decode"

// Limits of the search for a table's bound: the length of a path back, in blocks, and the blocks visited on all paths.
const (
	boundDepth  = 48
	boundVisits = 1 << 10
)

// limit is what is known of an index: it is less than n. If exact, the program compares it with n itself, so that all n
// entries are there; otherwise n follows from the index's width.
type limit struct {
	n     uint64
	exact bool
}

// tracked is an index followed backwards: in a register, or in memory that is compared before it is loaded.
type tracked struct {
	reg   decode.Reg // NoReg: in memory at disp(base, index, scale)
	base  decode.Reg
	index decode.Reg
	scale uint8
	disp  int64
	cap   limit // tightest limit seen on the way that is not a comparison; n 0: none
	// pend are limits of other registers that hold where the index is used. One of them counts if the index turns out to be a copy.
	pend [4]struct {
		reg decode.Reg
		limit
	}
}

// limitOf returns the pending limit of r, n 0 if there is none.
func (t *tracked) limitOf(r decode.Reg) limit {
	for i := range t.pend {
		if p := &t.pend[i]; p.n != 0 && p.reg == r {
			return p.limit
		}
	}
	return limit{}
}

// expire drops the pending limits of the registers that in, not a copy of the index, changes.
func (t *tracked) expire(in *decode.Inst) {
	for i := range t.pend {
		p := &t.pend[i]
		if p.n != 0 && (in.Writes.Has(p.reg) || in.Op == decode.OpCall && callerSaved.Has(p.reg)) {
			p.n = 0
		}
	}
}

// copies reports whether in copies a register, perhaps extending it, and which to which.
func copies(in *decode.Inst) (from, to decode.Reg, ok bool) {
	switch in.Op {
	case decode.OpMov, decode.OpMovZX, decode.OpMovSX:
		if in.Src.Kind == decode.ArgReg && in.Dst.Kind == decode.ArgReg {
			return in.Src.Reg, in.Dst.Reg, true
		}
	}
	return 0, 0, false
}

// bound finds the limit of the index in register r before position k.
func (s *slicer) bound(r decode.Reg, k int32) (limit, bool) {
	if r >= 16 {
		return limit{}, false
	}
	return s.boundIn(tracked{reg: r}, s.w.blkOf[k], k, make(map[boundVisit]bool), 0)
}

// boundVisit is a visit of the search to a block. A second one for the same index finds nothing new, as all paths must
// agree: what comes around a loop unchanged came from outside it.
type boundVisit struct {
	block int32
	t     tracked
}

// boundIn walks backwards from position k in block b.
func (s *slicer) boundIn(t tracked, b, k int32, seen map[boundVisit]bool, depth int) (limit, bool) {
	fallback := func() (limit, bool) { return t.cap, t.cap.n != 0 }
	bl := &s.w.blocks[b]
	for k--; k >= bl.First; k-- {
		in := s.w.inst(k)
		if from, to, ok := copies(in); ok && t.reg < 16 && (to == t.reg || from == t.reg) {
			other := from
			if from == t.reg {
				other = to
			}
			if l := t.limitOf(other); l.n != 0 {
				return l, true
			}
		}
		t.expire(in)
		if t.reg == decode.NoReg {
			if in.Writes.Has(t.base) || t.index != decode.NoReg && in.Writes.Has(t.index) {
				return fallback()
			}
			continue
		}
		if in.Op == decode.OpCall && callerSaved.Has(t.reg) {
			return fallback()
		}
		if !in.Writes.Has(t.reg) {
			continue
		}
		own := in.Dst.Kind == decode.ArgReg && in.Dst.Reg == t.reg
		if !own {
			if in.Op == decode.OpMovSX && in.Dst.Reg == t.reg {
				continue
			}
			return fallback()
		}
		switch in.Op {
		case decode.OpMov, decode.OpMovZX, decode.OpMovSX:
			if in.Op == decode.OpMovZX && in.SrcSize == 1 {
				t.narrow(256)
			}
			switch in.Src.Kind {
			case decode.ArgReg:
				t.reg = in.Src.Reg
			case decode.ArgMem:
				if in.Seg != 0 || in.Base == decode.RIP || in.Base == decode.NoReg {
					return fallback()
				}
				t.reg, t.base, t.index, t.scale, t.disp = decode.NoReg, in.Base, in.Index, in.Scale, in.Disp
				if in.Writes.Has(t.base) || t.index != decode.NoReg && in.Writes.Has(t.index) {
					return fallback()
				}
			default:
				return fallback()
			}
		case decode.OpAnd:
			if in.Src.Kind == decode.ArgImm && in.Imm >= 0 {
				t.narrow(uint64(in.Imm) + 1)
			} else {
				return fallback()
			}
		case decode.OpShr:
			if in.Src.Kind != decode.ArgImm || in.Imm <= 0 || in.Imm >= int64(in.Size)*8 || in.Size*8-uint8(in.Imm) > 16 {
				return fallback()
			}
			t.narrow(1 << (in.Size*8 - uint8(in.Imm)))
			return fallback()
		case decode.OpShl: // a scaled index
			if in.Src.Kind != decode.ArgImm || in.Imm > 3 {
				return fallback()
			}
		case decode.OpAdd: // doubling
			if in.Src.Kind != decode.ArgReg || in.Src.Reg != t.reg {
				return fallback()
			}
		case decode.OpLea:
			switch {
			case in.Base == decode.NoReg && in.Index != decode.NoReg && in.Disp == 0:
				t.reg = in.Index
			case in.Base != decode.NoReg && in.Base == in.Index && in.Disp == 0:
				t.reg = in.Base
			default:
				return fallback()
			}
		default:
			return fallback()
		}
	}
	if depth > boundDepth || len(seen) > boundVisits || b == s.entry || s.padBlock[b] {
		return fallback()
	}
	var best limit
	any := false
	for _, p := range s.preds(b) {
		via := t
		l, ok := s.guard(&via, p, b)
		if !ok {
			if v := (boundVisit{p, via}); seen[v] {
				continue
			} else {
				seen[v] = true
			}
			l, ok = s.boundIn(via, p, s.w.blocks[p].Last, seen, depth+1)
		}
		if !ok {
			return fallback()
		}
		if !any || l.n > best.n {
			best = l
		}
		any = true
	}
	if !any {
		return fallback()
	}
	if t.cap.n != 0 && t.cap.n < best.n {
		return t.cap, true
	}
	return best, true
}

func (t *tracked) narrow(n uint64) {
	if t.cap.n == 0 || n < t.cap.n {
		t.cap.n = n
	}
}

// Condition codes (Intel SDM volume 1, appendix B).
const (
	ccB, ccAE = 2, 3
	ccE, ccNE = 4, 5
	ccBE, ccA = 6, 7
	ccL, ccGE = 12, 13
	ccLE, ccG = 14, 15
)

// guard finds the limit that the conditional jump at the end of block p puts on the index when control goes on to block
// b. A limit of another register is added to those pending.
func (s *slicer) guard(at *tracked, p, b int32) (limit, bool) {
	t := *at
	bl := &s.w.blocks[p]
	if bl.Term != TermCond {
		return limit{}, false
	}
	last := s.w.inst(bl.Last - 1)
	taken, falls := false, false
	if to, ok := s.w.blockOf(uint64(last.Imm)); ok && to == b {
		taken = true
	}
	if to, ok := s.w.blockOf(last.Next()); ok && to == b {
		falls = true
	}
	if taken == falls {
		return limit{}, false
	}
	// Find the comparison, renaming t on the way.
	k := bl.Last - 2
	for ; k >= bl.First; k-- {
		in := s.w.inst(k)
		if in.Op == decode.OpCmp {
			break
		}
		if !keepsFlags(in.Op) {
			return limit{}, false
		}
		if t.reg == decode.NoReg {
			if in.Writes.Has(t.base) || t.index != decode.NoReg && in.Writes.Has(t.index) {
				return limit{}, false
			}
			continue
		}
		if !in.Writes.Has(t.reg) {
			continue
		}
		if in.Dst.Kind != decode.ArgReg || in.Dst.Reg != t.reg {
			return limit{}, false
		}
		switch {
		case (in.Op == decode.OpMov || in.Op == decode.OpMovZX || in.Op == decode.OpMovSX) && in.Src.Kind == decode.ArgReg:
			t.reg = in.Src.Reg
		case (in.Op == decode.OpMov || in.Op == decode.OpMovZX || in.Op == decode.OpMovSX) && in.Src.Kind == decode.ArgMem &&
			in.Seg == 0 && in.Base != decode.RIP && in.Base != decode.NoReg && !in.Writes.Has(in.Base):
			t.reg, t.base, t.index, t.scale, t.disp = decode.NoReg, in.Base, in.Index, in.Scale, in.Disp
		default:
			return limit{}, false
		}
	}
	if k < bl.First {
		return limit{}, false
	}
	in := s.w.inst(k)
	if in.Src.Kind != decode.ArgImm || in.Imm < 0 || in.Op != decode.OpCmp {
		return limit{}, false
	}
	l := limit{exact: true}
	switch cc := last.Cond; {
	case taken && (cc == ccBE || cc == ccLE || cc == ccE), falls && (cc == ccA || cc == ccG || cc == ccNE):
		l.n = uint64(in.Imm) + 1
	case taken && (cc == ccB || cc == ccL), falls && (cc == ccAE || cc == ccGE):
		l.n = uint64(in.Imm)
	default:
		return limit{}, false
	}
	if s.compares(t, in, bl, k) {
		return l, true
	}
	if in.Dst.Kind != decode.ArgReg || l.n == 0 {
		return limit{}, false
	}
	for j := k + 1; j < bl.Last; j++ {
		if s.w.inst(j).Writes.Has(in.Dst.Reg) {
			return limit{}, false
		}
	}
	for i := range at.pend {
		if p := &at.pend[i]; p.n == 0 {
			p.reg, p.limit = in.Dst.Reg, l
			break
		}
	}
	return limit{}, false
}

// compares reports whether the comparison in, at position k of block bl, looks at t, or at memory that t was loaded from.
func (s *slicer) compares(t tracked, in *decode.Inst, bl *Block, k int32) bool {
	if t.reg == decode.NoReg {
		return in.Dst.Kind == decode.ArgMem && in.Base == t.base && in.Index == t.index &&
			(t.index == decode.NoReg || in.Scale == t.scale) && in.Disp == t.disp
	}
	if in.Dst.Kind == decode.ArgMem {
		// mov mem, t; cmp $n, mem
		for k--; k >= bl.First; k-- {
			d := s.w.inst(k)
			if d.Writes.Has(t.reg) {
				return (d.Op == decode.OpMov || d.Op == decode.OpMovZX || d.Op == decode.OpMovSX) && d.Src.Kind == decode.ArgMem &&
					d.Base == in.Base && d.Index == in.Index && d.Disp == in.Disp && d.Seg == in.Seg
			}
			if d.Flags&decode.MemWrite != 0 || d.Op == decode.OpCall {
				return false
			}
		}
		return false
	}
	return in.Dst.Kind == decode.ArgReg && in.Dst.Reg == t.reg
}

// keepsFlags reports whether an operation leaves the status flags alone.
func keepsFlags(op decode.Op) bool {
	switch op {
	case decode.OpNop, decode.OpMov, decode.OpMovZX, decode.OpMovSX, decode.OpLea, decode.OpPush, decode.OpPop, decode.OpNot,
		decode.OpCmov, decode.OpSet, decode.OpXchg, decode.OpToVec, decode.OpFromVec:
		return true
	}
	return false
}
