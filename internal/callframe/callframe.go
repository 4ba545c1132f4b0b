// Package callframe describes, for unwinders, code that we made: where the caller's frame is at each instruction of it.
//
//	Insts(code []byte, at uint64, entry []byte, s unwind.Simple) ([]byte, error)
//
// The code moves the stack pointer by push, pop, lea and constants, and saves registers by push; what else it does to them is
// an error, never a guess.
package callframe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"syspart/internal/decode"
	"syspart/internal/unwind"
)

// ErrCode: code whose frame is not clear.
var ErrCode = errors.New("frame is not clear")

// Call-frame instructions (DWARF 5, section 7.24).
const (
	defCFAOffset = 0x0e
	advance4     = 0x04
	offset       = 0x80
	restore      = 0xc0
)

// saved are the registers that callers keep values in, and their numbers in DWARF (System V ABI, figure 3.36).
var saved = map[decode.Reg]uint8{decode.RBX: 3, decode.RBP: 6, decode.R12: 12, decode.R13: 13, decode.R14: 14, decode.R15: 15}

// state is what is known at an instruction: by how many bytes the stack has grown since the entry, and where below the
// frame address, in words, registers were pushed.
type state struct {
	depth int64
	where [16]uint64 // by DWARF's number; 0: not pushed
}

// Insts returns the call-frame instructions of code at address at, whose entry is its first byte. There the rules are those of
// entry, of which s says where the frame is. Data behind the code are not looked at.
func Insts(code []byte, at uint64, entry []byte, s unwind.Simple) ([]byte, error) {
	states := map[uint64]state{}
	work := []uint64{at}
	states[at] = state{}
	next := map[uint64]uint64{}
	for len(work) > 0 {
		va := work[len(work)-1]
		work = work[:len(work)-1]
		st := states[va]
		var in decode.Inst
		if va < at || va >= at+uint64(len(code)) {
			continue // it goes on elsewhere
		}
		if !decode.Decode(code[va-at:], va, &in) {
			return nil, fmt.Errorf("%#x: %w: not decoded", va, ErrCode)
		}
		next[va] = in.Next()
		if err := st.step(&in, s); err != nil {
			return nil, err
		}
		var to []uint64
		switch in.Op {
		case decode.OpRet, decode.OpTrap:
		case decode.OpJmp:
			if in.Flags&decode.Indirect == 0 {
				to = []uint64{uint64(in.Imm)}
			}
		case decode.OpJcc:
			to = []uint64{in.Next(), uint64(in.Imm)}
		default:
			to = []uint64{in.Next()}
		}
		for _, t := range to {
			if old, ok := states[t]; !ok {
				states[t] = st
				work = append(work, t)
			} else if old != st && t >= at && t < at+uint64(len(code)) {
				return nil, fmt.Errorf("%#x: %w: two ways lead there with another stack", t, ErrCode)
			}
		}
	}
	out := slices.Clone(entry)
	last, loc := state{}, at
	for _, va := range slices.Sorted(maps.Keys(next)) {
		st := states[va]
		var b []byte
		if st.depth != last.depth && !s.FromRBP {
			b = append(append(b, defCFAOffset), uleb(uint64(int64(s.Off)+st.depth))...)
		}
		for reg := range uint8(len(st.where)) {
			switch {
			case st.where[reg] == last.where[reg]:
			case st.where[reg] == 0 && len(entry) > 0:
				return nil, fmt.Errorf("%#x: %w: the rule of register %d at the entry is gone", va, ErrCode, reg)
			case st.where[reg] == 0:
				b = append(b, restore|reg)
			default:
				b = append(append(b, offset|reg), uleb(st.where[reg])...)
			}
		}
		if len(b) > 0 {
			out = binary.LittleEndian.AppendUint32(append(out, advance4), uint32(va-loc))
			out = append(out, b...)
			loc = va
		}
		last = st
	}
	return out, nil
}

// step is what an instruction does to the stack.
func (st *state) step(in *decode.Inst, s unwind.Simple) error {
	if s.FromRBP && in.Writes.Has(decode.RBP) && in.Op != decode.OpCall {
		return fmt.Errorf("%#x: %w: the frame pointer is changed", in.Addr, ErrCode)
	}
	switch {
	case in.Op == decode.OpPush:
		st.depth += 8
		if reg, ok := saved[in.Src.Reg]; ok && in.Src.Kind == decode.ArgReg && !s.FromRBP && st.where[reg] == 0 {
			st.where[reg] = uint64(int64(s.Off)+st.depth) / 8
		}
	case in.Op == decode.OpPop:
		if reg, ok := saved[in.Dst.Reg]; ok && in.Dst.Kind == decode.ArgReg {
			if !s.FromRBP && st.where[reg] == uint64(int64(s.Off)+st.depth)/8 {
				st.where[reg] = 0
			}
		}
		st.depth -= 8
	case in.Op == decode.OpCall, in.Op == decode.OpRet: // a call comes back
	case !in.Writes.Has(decode.RSP):
	case in.Op == decode.OpLea && in.Base == decode.RSP && in.Index == decode.NoReg:
		st.depth -= in.Disp
	case in.Op == decode.OpAdd && in.Flags&decode.HasImm != 0:
		st.depth -= in.Imm
	case in.Op == decode.OpSub && in.Flags&decode.HasImm != 0:
		st.depth += in.Imm
	default:
		return fmt.Errorf("%#x: %w: the stack pointer is changed in another way", in.Addr, ErrCode)
	}
	return nil
}

func uleb(v uint64) (b []byte) {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}
