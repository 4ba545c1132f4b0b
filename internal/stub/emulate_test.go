package stub

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"

	"syspart/internal/decode"
)

// Flags that the emulator knows: CF, PF, AF, ZF, SF, DF, OF. Others stay as they are.
const (
	flagC = 1 << 0
	flagP = 1 << 2
	flagA = 1 << 4
	flagZ = 1 << 6
	flagS = 1 << 7
	flagD = 1 << 10
	flagO = 1 << 11
)

// cpu emulates the instructions of stubs, and of what tests displace. It takes nothing from the package under test. An
// instruction that touches a vector or x87 register is not emulated, so a stub with one fails every test.
type cpu struct {
	regs  [16]uint64
	rip   uint64
	flags uint64
	mem   map[uint64]byte
	// syscall is asked for the result of a call.
	syscall func(c *cpu) uint64
	low     uint64 // lowest stack pointer seen
	// signal, if set, is called before every instruction: a signal handler that overwrites all below the red zone.
	signal func(c *cpu)
}

func (c *cpu) clone() *cpu {
	n := *c
	n.mem = maps.Clone(c.mem)
	return &n
}

func (c *cpu) write(addr uint64, b []byte) {
	for i, v := range b {
		c.mem[addr+uint64(i)] = v
	}
}

func (c *cpu) read(addr uint64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = c.mem[addr+uint64(i)]
	}
	return b
}

func (c *cpu) load(addr uint64, size uint8) uint64 {
	var b [8]byte
	copy(b[:], c.read(addr, int(size)))
	return binary.LittleEndian.Uint64(b[:])
}

func (c *cpu) store(addr uint64, size uint8, v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	c.write(addr, b[:size])
}

func (c *cpu) push(v uint64) {
	c.regs[decode.RSP] -= 8
	c.store(c.regs[decode.RSP], 8, v)
}

func (c *cpu) pop() uint64 {
	v := c.load(c.regs[decode.RSP], 8)
	c.regs[decode.RSP] += 8
	return v
}

func mask(size uint8) uint64 {
	if size >= 8 {
		return ^uint64(0)
	}
	return 1<<(8*size) - 1
}

func signBit(size uint8) uint64 { return 1 << (8*uint64(size) - 1) }

func (c *cpu) address(in *decode.Inst) uint64 {
	a := uint64(in.Disp)
	if in.Base < 16 {
		a += c.regs[in.Base]
	}
	if in.Index < 16 {
		a += c.regs[in.Index] * uint64(in.Scale)
	}
	return a
}

func (c *cpu) get(in *decode.Inst, arg decode.Arg, size uint8) (uint64, error) {
	switch arg.Kind {
	case decode.ArgReg:
		return c.regs[arg.Reg] & mask(size), nil
	case decode.ArgMem:
		return c.load(c.address(in), size), nil
	case decode.ArgImm:
		return uint64(in.Imm) & mask(size), nil
	}
	return 0, fmt.Errorf("operand of kind %d", arg.Kind)
}

func (c *cpu) set(in *decode.Inst, arg decode.Arg, size uint8, v uint64) error {
	switch arg.Kind {
	case decode.ArgReg:
		if size == 4 {
			v &= mask(4)
		} else {
			v = c.regs[arg.Reg]&^mask(size) | v&mask(size)
		}
		c.regs[arg.Reg] = v
	case decode.ArgMem:
		c.store(c.address(in), size, v)
	default:
		return fmt.Errorf("store into operand of kind %d", arg.Kind)
	}
	return nil
}

func (c *cpu) flag(f uint64, on bool) {
	c.flags &^= f
	if on {
		c.flags |= f
	}
}

func (c *cpu) logic(v uint64, size uint8) {
	v &= mask(size)
	c.flag(flagC|flagO|flagA, false)
	c.result(v, size)
}

func (c *cpu) result(v uint64, size uint8) {
	c.flag(flagZ, v&mask(size) == 0)
	c.flag(flagS, v&signBit(size) != 0)
	c.flag(flagP, bits.OnesCount8(uint8(v))%2 == 0)
}

func (c *cpu) add(a, b uint64, size uint8) uint64 {
	v := (a + b) & mask(size)
	c.flag(flagC, v < a&mask(size))
	c.flag(flagO, (a^v)&(b^v)&signBit(size) != 0)
	c.flag(flagA, (a^b^v)&0x10 != 0)
	c.result(v, size)
	return v
}

func (c *cpu) sub(a, b uint64, size uint8) uint64 {
	v := (a - b) & mask(size)
	c.flag(flagC, a&mask(size) < b&mask(size))
	c.flag(flagO, (a^b)&(a^v)&signBit(size) != 0)
	c.flag(flagA, (a^b^v)&0x10 != 0)
	c.result(v, size)
	return v
}

func (c *cpu) holds(cond uint8) bool {
	f := func(x uint64) bool { return c.flags&x != 0 }
	var v bool
	switch cond >> 1 {
	case 0:
		v = f(flagO)
	case 1:
		v = f(flagC)
	case 2:
		v = f(flagZ)
	case 3:
		v = f(flagC) || f(flagZ)
	case 4:
		v = f(flagS)
	case 5:
		v = f(flagP)
	case 6:
		v = f(flagS) != f(flagO)
	case 7:
		v = f(flagZ) || f(flagS) != f(flagO)
	}
	return v != (cond&1 != 0)
}

// run executes until stop says so of the instruction pointer, at most 2,000 instructions.
func (c *cpu) run(stop func(rip uint64) bool) error {
	c.low = c.regs[decode.RSP]
	for range 2000 {
		if stop(c.rip) {
			return nil
		}
		if c.signal != nil {
			c.signal(c)
		}
		if err := c.step(); err != nil {
			return fmt.Errorf("at %#x: %w", c.rip, err)
		}
		c.low = min(c.low, c.regs[decode.RSP])
	}
	return fmt.Errorf("does not end")
}

func (c *cpu) step() error {
	var in decode.Inst
	code := c.read(c.rip, 15)
	if !decode.Decode(code, c.rip, &in) {
		return fmt.Errorf("% x: no instruction", code)
	}
	c.rip = in.Next()
	size := in.Size
	two := func(f func(a, b uint64) uint64, store bool) error {
		a, err := c.get(&in, in.Dst, size)
		if err != nil {
			return err
		}
		b, err := c.get(&in, in.Src, size)
		if err != nil {
			return err
		}
		if v := f(a, b); store {
			return c.set(&in, in.Dst, size, v)
		}
		return nil
	}
	logic := func(v uint64) uint64 { c.logic(v, size); return v }
	switch {
	case code[0] == 0x9c:
		c.push(c.flags)
		return nil
	case code[0] == 0x9d:
		c.flags = c.pop()
		return nil
	}
	switch in.Op {
	case decode.OpNop:
	case decode.OpMov:
		return two(func(_, b uint64) uint64 { return b }, true)
	case decode.OpMovZX:
		v, err := c.get(&in, in.Src, in.SrcSize)
		if err != nil {
			return err
		}
		return c.set(&in, in.Dst, size, v)
	case decode.OpLea:
		return c.set(&in, in.Dst, size, c.address(&in))
	case decode.OpAdd:
		return two(func(a, b uint64) uint64 { return c.add(a, b, size) }, true)
	case decode.OpSub:
		return two(func(a, b uint64) uint64 { return c.sub(a, b, size) }, true)
	case decode.OpCmp:
		return two(func(a, b uint64) uint64 { return c.sub(a, b, size) }, false)
	case decode.OpAnd:
		return two(func(a, b uint64) uint64 { return logic(a & b) }, true)
	case decode.OpTest:
		return two(func(a, b uint64) uint64 { return logic(a & b) }, false)
	case decode.OpOr:
		return two(func(a, b uint64) uint64 { return logic(a | b) }, true)
	case decode.OpXor:
		return two(func(a, b uint64) uint64 { return logic(a ^ b) }, true)
	case decode.OpInc, decode.OpDec:
		a, err := c.get(&in, in.Dst, size)
		if err != nil {
			return err
		}
		carry := c.flags & flagC
		if in.Op == decode.OpInc {
			a = c.add(a, 1, size)
		} else {
			a = c.sub(a, 1, size)
		}
		c.flags = c.flags&^flagC | carry
		return c.set(&in, in.Dst, size, a)
	case decode.OpPush:
		v, err := c.get(&in, in.Src, 8)
		if err != nil {
			return err
		}
		c.push(v)
	case decode.OpPop:
		return c.set(&in, in.Dst, 8, c.pop())
	case decode.OpRet:
		c.rip = c.pop()
	case decode.OpCall, decode.OpJmp:
		to := uint64(in.Imm)
		if in.Flags&decode.Indirect != 0 {
			var err error
			if to, err = c.get(&in, in.Src, 8); err != nil {
				return err
			}
		}
		if in.Op == decode.OpCall {
			c.push(c.rip)
		}
		c.rip = to
	case decode.OpJcc:
		taken := false
		switch {
		case in.Cond != 0xff:
			taken = c.holds(in.Cond)
		case code[0] == 0xe3:
			taken = c.regs[decode.RCX] == 0
		default: // loopne, loope, loop
			c.regs[decode.RCX]--
			taken = c.regs[decode.RCX] != 0 && (code[0] == 0xe2 || (c.flags&flagZ != 0) == (code[0] == 0xe1))
		}
		if taken {
			c.rip = uint64(in.Imm)
		}
	case decode.OpSyscall:
		c.regs[decode.RAX] = c.syscall(c)
		c.regs[decode.RCX], c.regs[decode.R11] = c.rip, c.flags
	default:
		return fmt.Errorf("% x (class %d) is not emulated", code[:in.Len], in.Op)
	}
	return nil
}
