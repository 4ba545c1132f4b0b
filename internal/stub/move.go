package stub

import (
	"encoding/binary"
	"fmt"

	"syspart/internal/decode"
)

// movable reports whether an instruction does the same at another address, or can be made to: nil, or an error that matches
// ErrPoint.
func movable(b []byte, in *decode.Inst) error {
	why := ""
	switch {
	case in.Op == decode.OpBad:
		why = "no instruction"
	case in.Flags&decode.Opaque != 0:
		why = "only its length is known"
	case in.Op == decode.OpCall:
		why = "a call's return address would lie in the stub"
	case in.Op == decode.OpSyscall, in.Op == decode.OpInt80, in.Op == decode.OpSysenter:
		why = "a system call"
	case in.Op == decode.OpTrap:
		why = "a trap"
	case in.Flags&decode.Far != 0:
		why = "a far transfer"
	case in.Op == decode.OpJcc && in.Cond == 0xff:
		// jrcxz and loop, but not xbegin, have one opcode byte and one of distance.
		if len(b) != 2 || b[0] < 0xe0 || b[0] > 0xe3 {
			why = "a transaction, or a counted jump with prefixes"
		}
	case in.Base == decode.RIP && in.Flags&decode.HasMem != 0:
		if in.Flags&decode.Addr32 != 0 {
			why = "a 32-bit address relative to it"
		} else if ripDisp(b, in) < 0 {
			why = "its displacement was not found"
		}
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("%w: instruction at %#x (% x) would have to be moved: %s", ErrPoint, in.Addr, b, why)
}

// ripDisp returns the offset of the displacement of a RIP-relative operand, -1 if it cannot be told.
func ripDisp(b []byte, in *decode.Inst) int {
	at := modrmAt(b)
	if at < 0 || at+5 > len(b) || b[at]&0xc7 != 0x05 {
		return -1
	}
	if d := int32(binary.LittleEndian.Uint32(b[at+1:])); in.Next()+uint64(int64(d)) != uint64(in.Disp) {
		return -1
	}
	return at + 1
}

// modrmAt returns the offset of the ModRM byte of an instruction that has one, -1 behind what cannot be read. It need not be
// right for instructions without: the caller compares what it finds.
func modrmAt(b []byte) int {
	i := 0
	for i < len(b) {
		switch b[i] {
		case 0x66, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x67:
			i++
			continue
		}
		break
	}
	if i < len(b) && b[i]&0xf0 == 0x40 { // REX
		i++
	}
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case 0xc5: // VEX, two bytes; one of opcode
		return i + 3
	case 0xc4, 0x8f: // VEX, XOP, three bytes
		if b[i] == 0x8f && i+1 < len(b) && b[i+1]&0x1f < 8 {
			return i + 1 // pop
		}
		return i + 4
	case 0x62: // EVEX
		return i + 5
	case 0x0f:
		if i+1 < len(b) && (b[i+1] == 0x38 || b[i+1] == 0x3a) {
			return i + 3
		}
		return i + 2
	}
	return i + 1
}

// move appends one instruction of the file, whose addresses differ from those at run time by bias. Jumps to an address for
// which to returns a label go there. inner reports whether an address is one that no longer holds what it held.
func (a *assembler) move(b []byte, in *decode.Inst, bias uint64, to func(va uint64) (label, bool), inner func(va uint64) bool) error {
	if err := movable(b, in); err != nil {
		return err
	}
	switch {
	case in.Op == decode.OpJmp && in.Flags&decode.Indirect == 0, in.Op == decode.OpJcc:
		dst := uint64(in.Imm)
		l, local := to(dst)
		if !local && inner(dst) {
			return fmt.Errorf("%w: instruction at %#x (% x) jumps into what is replaced", ErrPoint, in.Addr, b)
		}
		switch {
		case in.Op == decode.OpJmp:
			a.emit(0xe9)
		case in.Cond != 0xff:
			a.emit(0x0f, 0x80|in.Cond)
		default: // over a jump that is taken otherwise
			a.emit(b[0], 2, 0xeb, 5, 0xe9)
		}
		if local {
			a.relLabel(l)
		} else {
			a.rel32(dst + bias)
		}
	case in.Base == decode.RIP && in.Flags&decode.HasMem != 0:
		at := ripDisp(b, in)
		d, ok := distance(a.here()+uint64(len(b)), uint64(in.Disp)+bias)
		if !ok {
			return fmt.Errorf("%w: operand at %#x of the instruction at %#x is out of reach of %#x", ErrPoint, uint64(in.Disp), in.Addr, a.here())
		}
		moved := append([]byte(nil), b...)
		binary.LittleEndian.PutUint32(moved[at:], uint32(d))
		a.emit(moved...)
	default:
		a.emit(b...)
	}
	return nil
}

// ends reports whether control never goes on behind an instruction.
func ends(in *decode.Inst) bool { return in.Op == decode.OpJmp || in.Op == decode.OpRet }
