package cfg

import "syspart/internal/decode"

// pairedTables resolves the common form of a jump through a table of offsets in position-independent code,
//
//	movslq (B,I,4), X
//	add    B, X         (or add X, B)
//	jmp    *X           (or jmp *B)
//
// within one block. The same register is the table's address and the base of its entries, so only B's constants count:
// what else B may hold comes from paths that the compiler knew to be dead. It reports false if the jump is of another
// form, or B is not known.
func (w *worker) pairedTables(j *jump, k int32) bool {
	in := w.inst(k)
	if in.Src.Kind != decode.ArgReg {
		return false
	}
	first := w.blocks[w.blkOf[k]].First
	add := w.definedBefore(in.Src.Reg, k, first)
	if add < first {
		return false
	}
	sum := w.inst(add)
	if sum.Op != decode.OpAdd || sum.Size != 8 || sum.Dst.Kind != decode.ArgReg || sum.Src.Kind != decode.ArgReg {
		return false
	}
	for _, r := range [2][2]decode.Reg{{sum.Dst.Reg, sum.Src.Reg}, {sum.Src.Reg, sum.Dst.Reg}} {
		entry, base := r[0], r[1]
		at := w.definedBefore(entry, add, first)
		if at < first || w.definedBefore(base, add, first) >= at {
			continue
		}
		load := w.inst(at)
		if load.Op != decode.OpMovSX || load.Src.Kind != decode.ArgMem || load.SrcSize != 4 || load.Size != 8 ||
			load.Base != base || load.Index == decode.NoReg || load.Scale != 4 || load.Disp != 0 || load.Seg != 0 {
			continue
		}
		tables, ok := w.slice.constants(base, at)
		if !ok {
			return false
		}
		found := false
		for _, t := range tables {
			v := value{kind: vOffset, width: 4, signed: true, ix: load.Index, pos: at, addr: t, base: t}
			switch w.readOffsets(j, v) {
			case goodTable:
				found = true
			case badTable:
				j.trouble = unresolved
				found = true
			}
		}
		if !found && len(tables) > 0 {
			j.trouble, j.loose = unresolved, true
		}
		return len(tables) > 0
	}
	return false
}

// definedBefore returns the position of the instruction that last writes r before position k, not before first; less than
// first if none does.
func (w *worker) definedBefore(r decode.Reg, k, first int32) int32 {
	for k--; k >= first && !w.inst(k).Writes.Has(r); k-- {
	}
	return k
}

// constants returns the addresses that register r may hold before position k because they were loaded into it, moved or
// spilled and reloaded, in order of discovery. It reports false if it cannot follow all moves.
func (s *slicer) constants(r decode.Reg, k int32) (list []uint64, ok bool) {
	type item struct {
		q query
		k int32
	}
	seen := make(map[item]bool)
	work := []item{{query{reg: r}, k}}
	push := func(q query, k int32) {
		if it := (item{q, k}); !seen[it] {
			seen[it] = true
			work = append(work, it)
		}
	}
	found := func(va uint64) {
		for _, v := range list {
			if v == va {
				return
			}
		}
		list = append(list, va)
	}
	for len(work) > 0 {
		it := work[len(work)-1]
		work = work[:len(work)-1]
		var d defs
		if it.q.slot {
			d = s.storing(it.q, it.k)
		} else {
			d = s.reaching(it.q.reg, it.k)
		}
		if d.lost || len(list) > sliceValues {
			return nil, false
		}
		for i, at := range d.at {
			in := s.w.inst(at)
			q := d.queries[i]
			own := q.slot || in.Dst.Kind == decode.ArgReg && in.Dst.Reg == q.reg
			switch {
			case q.slot && (in.Op == decode.OpPush && q.disp == -8 || in.Op == decode.OpMov && in.Size == 8 && in.Disp == q.disp),
				own && !q.slot && in.Op == decode.OpMov && in.Size == 8:
				s.follow(in, at, push, found)
			case own && !q.slot && in.Op == decode.OpCmov:
				push(query{reg: q.reg}, at)
				s.follow(in, at, push, found)
			case own && !q.slot && in.Op == decode.OpPop:
				push(query{reg: decode.RSP, slot: true}, at)
			case own && !q.slot && in.Op == decode.OpLea:
				if va, ok := in.AbsMem(); ok && (in.Base == decode.RIP || s.fixed(va)) {
					found(va)
				}
			case own && !q.slot && in.Op == decode.OpMov && in.Size == 4 && in.Src.Kind == decode.ArgImm && s.fixed(uint64(uint32(in.Imm))):
				found(uint64(uint32(in.Imm)))
			}
		}
	}
	return list, true
}

// follow goes on with the source operand of the move in at position k.
func (s *slicer) follow(in *decode.Inst, k int32, push func(query, int32), found func(uint64)) {
	switch in.Src.Kind {
	case decode.ArgReg:
		push(query{reg: in.Src.Reg}, k)
	case decode.ArgImm:
		if s.fixed(uint64(in.Imm)) {
			found(uint64(in.Imm))
		}
	case decode.ArgMem:
		if va, ok := in.AbsMem(); ok && in.Seg == 0 {
			for _, v := range s.cell(va, 8, false) {
				if v.kind == vConst {
					found(v.addr)
				}
			}
		} else if in.Index == decode.NoReg && in.Seg == 0 && (in.Base == decode.RSP || in.Base == decode.RBP && s.framePointer(k)) {
			push(query{reg: in.Base, slot: true, disp: in.Disp}, k)
		}
	}
}
