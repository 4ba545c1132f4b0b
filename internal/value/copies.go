package value

import "syspart/internal/decode"

// Go's compiler copies structures by pairs of instructions that load sixteen bytes into a vector register and store them.

// vectorMove returns the vector register that a move of sixteen whole bytes from or to memory has, and whether it stores.
func (a *Analysis) vectorMove(i *decode.Inst) (reg uint8, store, ok bool) {
	if a.Bytes == nil || i.Op != decode.OpOther || i.MemSize != 16 || i.Writes != 0 || i.Seg != 0 {
		return 0, false, false
	}
	b, ok := a.Bytes(i.Addr, uint64(i.Len))
	if !ok {
		return 0, false, false
	}
	rex := byte(0)
	for len(b) > 0 && (b[0] == 0x66 || b[0] == 0xf3) {
		b = b[1:]
	}
	if len(b) > 0 && b[0]&0xf0 == 0x40 {
		rex, b = b[0], b[1:]
	}
	if len(b) < 3 || b[0] != 0x0f {
		return 0, false, false
	}
	switch b[1] {
	case 0x10, 0x28, 0x6f: // movups, movaps, movdqu and movdqa
	case 0x11, 0x29, 0x7f:
		store = true
	default:
		return 0, false, false
	}
	return b[2]>>3&7 | rex<<1&8, store, true
}

// copied is the effect of instruction idx if it is one of such a pair; false if it is not.
func (a *Analysis) copied(s *State, i *decode.Inst, idx int32) bool {
	if i.MemSize != 16 {
		return false
	}
	reg, store, ok := a.vectorMove(i)
	if !ok {
		return false
	}
	other := idx + 1
	if store {
		other = idx - 1
	}
	if other < a.block.First || other >= a.block.Last {
		return false
	}
	j := &a.f.Insts[other]
	if r, st, ok := a.vectorMove(j); !ok || r != reg || st == store {
		return false
	}
	from, to := a.Address(s, j), a.Address(s, i)
	if !store { // the register may be stored again elsewhere
		from = to
	}
	low, high := a.Load(s, from, 8, false), a.Load(s, a.T.Shift(from, 8), 8, false)
	if !store {
		a.lose(low)
		a.lose(high)
		a.escape(s, low)
		a.escape(s, high)
		return true
	}
	a.store(s, to, 8, low)
	a.store(s, a.T.Shift(to, 8), 8, high)
	return true
}
