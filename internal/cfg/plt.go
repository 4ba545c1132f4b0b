package cfg

import (
	"bytes"
	"encoding/binary"

	"syspart/internal/decode"
	"syspart/internal/image"
)

var (
	endbr64        = []byte{0xf3, 0x0f, 0x1e, 0xfa}
	jumpThroughRIP = []byte{0xff, 0x25} // jmp *disp32(%rip)
	pushRIP        = []byte{0xff, 0x35} // push disp32(%rip)
)

// Relocation types of the x86-64 psABI, table 4.9.
const (
	rel64       = 1
	relGlobDat  = 6
	relJumpSlot = 7
	relRelative = 8
	relIRel     = 37
)

// stubSlot decodes `jmp *slot(%rip)` at va, with an optional bnd or notrack prefix and endbr64 before it.
func stubSlot(code []byte, va uint64) (slot uint64, ok bool) {
	at := 0
	if bytes.HasPrefix(code, endbr64) {
		at = 4
	}
	if at < len(code) && (code[at] == 0xf2 || code[at] == 0x3e) {
		at++
	}
	if len(code) < at+6 || !bytes.HasPrefix(code[at:], jumpThroughRIP) {
		return 0, false
	}
	disp := int32(binary.LittleEndian.Uint32(code[at+2:]))
	return va + uint64(at) + 6 + uint64(int64(disp)), true
}

// isPLT reports whether an unwind entry covers a procedure linkage table: such an entry spans many stubs, or the lazy
// table, which begins with the push of the link map and the jump to the resolver (psABI, figure 5.2).
func (b *builder) isPLT(r image.Range) bool {
	code, ok := b.f.Bytes(r.Start, r.End-r.Start)
	if !ok || len(code) < 8 {
		return false
	}
	if len(code) >= 16 && bytes.HasPrefix(code, pushRIP) {
		_, ok := stubSlot(code[6:], r.Start+6)
		return ok
	}
	slot, ok := stubSlot(code, r.Start)
	return ok && b.relocated(slot)
}

// stubs returns the entries of the stubs in a procedure linkage table. Stubs lie at multiples of eight bytes.
func (b *builder) stubs(r image.Range) (entries []uint64) {
	code, ok := b.f.Bytes(r.Start, r.End-r.Start)
	if !ok {
		return nil
	}
	for at := 0; at+6 <= len(code); at += 8 {
		va := r.Start + uint64(at)
		if slot, ok := stubSlot(code[at:], va); ok && b.relocated(slot) {
			entries = append(entries, va)
		}
	}
	return entries
}

// markStub recognises a function that only jumps through a GOT slot which the dynamic loader fills.
func (b *builder) markStub(fn *Func) {
	fn.Stub, fn.Slot = false, 0
	if len(fn.Blocks) != 1 || len(fn.Insts) > 2 {
		return
	}
	last := &fn.Insts[len(fn.Insts)-1]
	if last.Op != decode.OpJmp || last.Flags&decode.Indirect == 0 || len(fn.Insts) == 2 && fn.Insts[0].Op != decode.OpNop {
		return
	}
	if slot, ok := last.AbsMem(); ok && b.relocated(slot) {
		fn.Stub, fn.Slot = true, slot
	}
}
