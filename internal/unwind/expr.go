package unwind

import (
	"encoding/binary"
	"io"
)

// Caps of expressions. Real ones have a dozen operations.
const (
	maxSteps = 1000
	maxStack = 64
)

// Operations of DWARF expressions (DWARF 5, section 7.7.1).
const (
	opAddr       = 0x03
	opDeref      = 0x06
	opConst1u    = 0x08
	opConst1s    = 0x09
	opConst2u    = 0x0a
	opConst2s    = 0x0b
	opConst4u    = 0x0c
	opConst4s    = 0x0d
	opConst8u    = 0x0e
	opConst8s    = 0x0f
	opConstu     = 0x10
	opConsts     = 0x11
	opDup        = 0x12
	opDrop       = 0x13
	opOver       = 0x14
	opPick       = 0x15
	opSwap       = 0x16
	opRot        = 0x17
	opAbs        = 0x19
	opAnd        = 0x1a
	opDiv        = 0x1b
	opMinus      = 0x1c
	opMod        = 0x1d
	opMul        = 0x1e
	opNeg        = 0x1f
	opNot        = 0x20
	opOr         = 0x21
	opPlus       = 0x22
	opPlusUconst = 0x23
	opShl        = 0x24
	opShr        = 0x25
	opShra       = 0x26
	opXor        = 0x27
	opBra        = 0x28
	opEq         = 0x29
	opGe         = 0x2a
	opGt         = 0x2b
	opLe         = 0x2c
	opLt         = 0x2d
	opNe         = 0x2e
	opSkip       = 0x2f
	opLit0       = 0x30
	opReg0       = 0x50
	opBreg0      = 0x70
	opRegx       = 0x90
	opBregx      = 0x92
	opDerefSize  = 0x94
	opNop        = 0x96
)

// machine evaluates one expression.
type machine struct {
	code  cursor
	regs  *Regs
	mem   *memory
	stack [maxStack]uint64
	n     int
	err   error
}

// eval evaluates a DWARF expression. With push, cfa is on the stack at the start. Registers named by reg operations count
// as their values, as in libgcc's unwinder.
func eval(expr []byte, regs *Regs, mem *memory, cfa uint64, push bool) (uint64, error) {
	m := machine{code: cursor{b: expr}, regs: regs, mem: mem}
	if push {
		m.push(cfa)
	}
	for steps := 0; m.code.left() > 0 && m.err == nil; steps++ {
		if steps == maxSteps {
			return 0, malformed("expression of more than %d steps", maxSteps)
		}
		m.step()
		if m.code.bad {
			return 0, malformed("truncated expression")
		}
	}
	if m.err != nil {
		return 0, m.err
	}
	v := m.pop()
	return v, m.err
}

func (m *machine) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}

func (m *machine) push(v uint64) {
	if m.n == maxStack {
		m.fail(malformed("expression needs more than %d values", maxStack))
		return
	}
	m.stack[m.n] = v
	m.n++
}

func (m *machine) pop() uint64 {
	if m.n == 0 {
		m.fail(malformed("expression takes from an empty stack"))
		return 0
	}
	m.n--
	return m.stack[m.n]
}

// pick pushes the value i below the top again.
func (m *machine) pick(i int) {
	if i >= m.n {
		m.fail(malformed("expression picks value %d of %d", i, m.n))
		return
	}
	m.push(m.stack[m.n-1-i])
}

func (m *machine) reg(r uint64, off int64) {
	v, err := m.regs.get(int(min(r, numRegs)))
	if err != nil {
		m.fail(err)
		return
	}
	m.push(v + uint64(off))
}

func (m *machine) load(size uint8) {
	addr := m.pop()
	if size != 1 && size != 2 && size != 4 && size != 8 {
		m.fail(malformed("load of %d bytes", size))
	}
	if m.err != nil {
		return
	}
	v, ok := m.mem.load(addr, size)
	if !ok {
		m.fail(ErrMemory)
		return
	}
	m.push(v)
}

func (m *machine) jump(off int16) {
	to := m.code.pos + int(off)
	if to < 0 || to > len(m.code.b) {
		m.fail(malformed("expression jumps out of itself"))
		return
	}
	m.code.pos = to
}

func (m *machine) step() {
	c := &m.code
	op := c.u8()
	switch {
	case op >= opLit0 && op < opReg0:
		m.push(uint64(op - opLit0))
		return
	case op >= opReg0 && op < opBreg0:
		m.reg(uint64(op-opReg0), 0)
		return
	case op >= opBreg0 && op < opRegx:
		m.reg(uint64(op-opBreg0), c.sleb())
		return
	}
	switch op {
	case opAddr, opConst8u, opConst8s:
		m.push(c.u64())
	case opDeref:
		m.load(8)
	case opDerefSize:
		m.load(c.u8())
	case opConst1u:
		m.push(uint64(c.u8()))
	case opConst1s:
		m.push(uint64(int8(c.u8())))
	case opConst2u:
		m.push(uint64(c.u16()))
	case opConst2s:
		m.push(uint64(int16(c.u16())))
	case opConst4u:
		m.push(uint64(c.u32()))
	case opConst4s:
		m.push(uint64(int32(c.u32())))
	case opConstu:
		m.push(c.uleb())
	case opConsts:
		m.push(uint64(c.sleb()))
	case opDup:
		m.pick(0)
	case opDrop:
		m.pop()
	case opOver:
		m.pick(1)
	case opPick:
		m.pick(int(c.u8()))
	case opSwap:
		a, b := m.pop(), m.pop()
		m.push(a)
		m.push(b)
	case opRot:
		a, b, d := m.pop(), m.pop(), m.pop()
		m.push(a)
		m.push(d)
		m.push(b)
	case opAbs:
		v := int64(m.pop())
		m.push(uint64(max(v, -v)))
	case opNeg:
		m.push(-m.pop())
	case opNot:
		m.push(^m.pop())
	case opPlusUconst:
		m.push(m.pop() + c.uleb())
	case opRegx:
		m.reg(c.uleb(), 0)
	case opBregx:
		r := c.uleb()
		m.reg(r, c.sleb())
	case opBra:
		off := int16(c.u16())
		if m.pop() != 0 {
			m.jump(off)
		}
	case opSkip:
		m.jump(int16(c.u16()))
	case opNop:
	default:
		m.binary(op)
	}
}

func (m *machine) binary(op uint8) {
	b, a := m.pop(), m.pop() // b was on top
	truth := func(v bool) uint64 {
		if v {
			return 1
		}
		return 0
	}
	var v uint64
	switch op {
	case opAnd:
		v = a & b
	case opDiv:
		switch int64(b) {
		case 0:
			m.fail(malformed("division by zero"))
		case -1:
			v = -a
		default:
			v = uint64(int64(a) / int64(b))
		}
	case opMinus:
		v = a - b
	case opMod:
		if b == 0 {
			m.fail(malformed("division by zero"))
		} else {
			v = a % b
		}
	case opMul:
		v = a * b
	case opOr:
		v = a | b
	case opPlus:
		v = a + b
	case opShl:
		v = a << b
	case opShr:
		v = a >> b
	case opShra:
		v = uint64(int64(a) >> b)
	case opXor:
		v = a ^ b
	case opEq:
		v = truth(a == b)
	case opNe:
		v = truth(a != b)
	case opGe:
		v = truth(int64(a) >= int64(b))
	case opGt:
		v = truth(int64(a) > int64(b))
	case opLe:
		v = truth(int64(a) <= int64(b))
	case opLt:
		v = truth(int64(a) < int64(b))
	default:
		m.fail(malformed("operation %#x", op))
	}
	m.push(v)
}

// memory reads numbers from memory.
type memory struct {
	r   io.ReaderAt
	buf [8]byte // here, so that it is allocated once for a walk
}

// load reads a number of size bytes at addr, at most 8, and reports whether it could.
func (m *memory) load(addr uint64, size uint8) (uint64, bool) {
	if int64(addr) < 0 || int64(addr+uint64(size)) < 0 {
		return 0, false
	}
	m.buf = [8]byte{}
	n, _ := m.r.ReadAt(m.buf[:size], int64(addr))
	return binary.LittleEndian.Uint64(m.buf[:]), n == int(size)
}
