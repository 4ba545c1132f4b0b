package stub

import (
	"encoding/binary"
	"fmt"
	"math"

	"syspart/internal/decode"
)

// label is a position in the code, bound once.
type label int

// assembler collects code for address base. The first error sticks.
type assembler struct {
	base   uint64
	b      []byte
	labels []int // offsets, -1 while not bound
	fixes  []fix
	err    error
}

// fix is a 32-bit distance to be filled in.
type fix struct {
	at int // offset of the four bytes, which end the instruction
	to label
}

func (a *assembler) here() uint64 { return a.base + uint64(len(a.b)) }

func (a *assembler) emit(b ...byte) { a.b = append(a.b, b...) }

func (a *assembler) imm32(v uint32) { a.b = binary.LittleEndian.AppendUint32(a.b, v) }

func (a *assembler) imm64(v uint64) { a.b = binary.LittleEndian.AppendUint64(a.b, v) }

func (a *assembler) newLabel() label {
	a.labels = append(a.labels, -1)
	return label(len(a.labels) - 1)
}

func (a *assembler) bind(l label) { a.labels[l] = len(a.b) }

// rel32 appends the distance from the end of the next four bytes to an absolute address.
func (a *assembler) rel32(to uint64) {
	d, ok := distance(a.here()+4, to)
	if !ok && a.err == nil {
		a.err = fmt.Errorf("%w: %#x is out of reach of %#x", ErrPoint, to, a.here())
	}
	a.imm32(uint32(d))
}

// relLabel appends the distance to a label.
func (a *assembler) relLabel(l label) {
	a.fixes = append(a.fixes, fix{len(a.b), l})
	a.imm32(0)
}

// distance returns to-from if 32 signed bits hold it.
func distance(from, to uint64) (int32, bool) {
	d := int64(to - from)
	return int32(d), d >= math.MinInt32 && d <= math.MaxInt32
}

// finish fills in the distances to labels.
func (a *assembler) finish() ([]byte, error) {
	for _, f := range a.fixes {
		at := a.labels[f.to]
		if at < 0 {
			panic("stub: label is not bound")
		}
		binary.LittleEndian.PutUint32(a.b[f.at:], uint32(int32(at-f.at-4)))
	}
	return a.b, a.err
}

// condition codes
const (
	condE  = 0x4
	condNE = 0x5
)

func (a *assembler) jmp(to uint64)    { a.emit(0xe9); a.rel32(to) }
func (a *assembler) jmpLabel(l label) { a.emit(0xe9); a.relLabel(l) }
func (a *assembler) jccLabel(cond byte, l label) {
	a.emit(0x0f, 0x80|cond)
	a.relLabel(l)
}

func (a *assembler) push(r decode.Reg) {
	if r >= 8 {
		a.emit(0x41)
	}
	a.emit(0x50 | byte(r)&7)
}

func (a *assembler) pop(r decode.Reg) {
	if r >= 8 {
		a.emit(0x41)
	}
	a.emit(0x58 | byte(r)&7)
}

// movImm: mov r32, imm32, which clears the upper half.
func (a *assembler) movImm(r decode.Reg, v uint32) {
	if r >= 8 {
		a.emit(0x41)
	}
	a.emit(0xb8 | byte(r)&7)
	a.imm32(v)
}

// movImm64: movabs r, imm64.
func (a *assembler) movImm64(r decode.Reg, v uint64) {
	a.emit(0x48|byte(r)>>3, 0xb8|byte(r)&7)
	a.imm64(v)
}

// zero: xor r32, r32.
func (a *assembler) zero(r decode.Reg) {
	if r >= 8 {
		a.emit(0x45)
	}
	a.emit(0x31, 0xc0|byte(r)&7<<3|byte(r)&7)
}

// modrm appends REX.W, the opcode and a memory operand [base+disp32].
func (a *assembler) modrm(op byte, reg, base decode.Reg, disp int32) {
	a.emit(0x48|byte(reg)>>3<<2|byte(base)>>3, op, 0x80|byte(reg)&7<<3|byte(base)&7)
	if base&7 == decode.RSP {
		a.emit(0x24)
	}
	a.imm32(uint32(disp))
}

// load: mov reg, [base+disp].
func (a *assembler) load(reg, base decode.Reg, disp int32) { a.modrm(0x8b, reg, base, disp) }

// cmpMem: cmp [base+disp], reg.
func (a *assembler) cmpMem(reg, base decode.Reg, disp int32) { a.modrm(0x39, reg, base, disp) }

// lea: lea reg, [base+disp].
func (a *assembler) lea(reg, base decode.Reg, disp int32) { a.modrm(0x8d, reg, base, disp) }

// mov: mov dst, src.
func (a *assembler) mov(dst, src decode.Reg) {
	a.emit(0x48|byte(src)>>3<<2|byte(dst)>>3, 0x89, 0xc0|byte(src)&7<<3|byte(dst)&7)
}

func (a *assembler) syscall() { a.emit(0x0f, 0x05) }
