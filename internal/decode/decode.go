package decode

import "encoding/binary"

// maxLen is the architectural limit of an instruction's length.
const maxLen = 15

// REX bits; VEX, EVEX and XOP prefixes are brought into the same form.
const (
	rexB = 1 << iota
	rexX
	rexR
	rexW
)

// encoding is the prefix scheme of an instruction.
type encoding uint8

const (
	encLegacy encoding = iota
	encVEX
	encEVEX
	encXOP
)

// decoder is the state while one instruction is decoded. It lives on the stack.
type decoder struct {
	code []byte // at most maxLen bytes
	pos  int
	mod  uint8
	reg  uint8 // ModRM.reg without extension
	rm   uint8 // ModRM.rm without extension
	rex  uint8
	enc  encoding
	op   uint8 // opcode byte
	vl   uint8 // vector length in bytes
	vvvv uint8
	disp uint8 // 1 if the displacement has 8 bits
	rep  uint8 // 0, 0xf3 or 0xf2
	seg  uint8

	hasRex bool // any REX prefix: byte registers 4 to 7 are SPL to DIL
	opsz   bool
	addr32 bool
	ds     bool // 3e prefix
	bcast  bool // EVEX.b
	rip    bool
}

// Decode decodes the first instruction of code, which lies at address va, into *in. It reports whether there is one;
// on false (code is empty or ends within the instruction, the opcode is not assigned, or the instruction would be longer
// than 15 bytes) in.Op is OpBad and in.Len 1. It never reads behind code, never panics and allocates nothing.
//
// The fields follow the hardware (Intel SDM volume 2, AMD APM volume 3) with these conventions:
//   - An 8- or 16-bit destination register is in Reads too, because the rest of it survives. So is the destination of an
//     instruction that may leave it unchanged (cmov, cmpxchg, bsf, bsr, lar, lsl).
//   - syscall and int 0x80 read RAX only: which further registers the kernel reads depends on the number.
//   - A string instruction has one memory operand: its destination (RDI) if it has one, else its source. movs and cmps
//     access both. MemSize is 0 with a repeat prefix, since the extent and, by the direction flag, its direction are
//     unknown. maskmovq writes at RDI likewise, xlat reads at RBX.
//   - The memory operand of `pop [rsp+n]` has its displacement adjusted to the stack pointer before the instruction.
//   - A gather has no Index and MemSize 0. Scatters, and bts, btr and btc of memory with the bit number in a register, are
//     Opaque: they write far from their memory operand.
//   - The stack access of push, pop, call and ret is implied by Op; MemRead and MemWrite are about the memory operand.
//   - Nops, prefetches and the like lose their operand: it is never accessed.
//   - A memory operand without base and index and with a 67 prefix, or RIP-relative with one, has 32 bits in Disp.
//   - Prefixes that the hardware ignores are ignored; a 66 prefix does not shorten a branch distance (as on Intel).
func Decode(code []byte, va uint64, in *Inst) bool {
	*in = Inst{Addr: va, Base: NoReg, Index: NoReg, Scale: 1}
	d := decoder{code: code, vl: 16}
	if len(code) > maxLen {
		d.code = code[:maxLen]
	}
	if d.decode(in) {
		in.Len = uint8(d.pos)
		if d.rip && in.Base == RIP {
			in.Disp += int64(va) + int64(d.pos)
			if d.addr32 {
				in.Disp = int64(uint32(in.Disp))
			}
		}
		return true
	}
	*in = Inst{Addr: va, Base: NoReg, Index: NoReg, Scale: 1, Op: OpBad, Len: 1}
	return false
}

// byteClass marks the prefixes among the first bytes.
const (
	pfNone uint8 = iota
	pfRex
	pfOpsz
	pfAddr
	pfRep
	pfLock
	pfSeg
	pfDS
	pfIgnored
	pfTwo  // 0f
	pfVEX2 // c5
	pfVEX3 // c4
	pfEVEX // 62
	pfXOP  // 8f, if the next byte says so
)

var byteClass = func() (t [256]uint8) {
	for i := 0x40; i < 0x50; i++ {
		t[i] = pfRex
	}
	t[0x66], t[0x67], t[0xf0] = pfOpsz, pfAddr, pfLock
	t[0xf2], t[0xf3] = pfRep, pfRep
	t[0x64], t[0x65] = pfSeg, pfSeg
	t[0x26], t[0x2e], t[0x36], t[0x3e] = pfIgnored, pfIgnored, pfIgnored, pfDS
	t[0x0f], t[0xc5], t[0xc4], t[0x62], t[0x8f] = pfTwo, pfVEX2, pfVEX3, pfEVEX, pfXOP
	return t
}()

// decode reads prefixes and opcode, and hands over to the instruction's spec.
func (d *decoder) decode(in *Inst) bool {
	for d.pos < len(d.code) {
		b := d.code[d.pos]
		d.pos++
		c := byteClass[b]
		if c == pfRex {
			// Only a REX prefix directly before the opcode counts; none may stand before VEX and EVEX.
			if d.pos >= len(d.code) {
				return false
			}
			next := d.code[d.pos]
			c = byteClass[next]
			switch c {
			case pfNone, pfTwo, pfXOP:
				d.rex, d.hasRex = b&15, true
				b = next
				d.pos++
			case pfVEX2, pfVEX3, pfEVEX:
				return false
			default:
				continue
			}
		}
		if c == pfNone {
			d.op = b
			return d.apply(&oneByte[b], in)
		}
		switch c {
		case pfOpsz:
			d.opsz = true
		case pfAddr:
			d.addr32 = true
			in.Flags |= Addr32
		case pfRep:
			d.rep = b
		case pfLock:
			in.Flags |= Lock
		case pfSeg:
			d.seg = b - 0x63
		case pfDS:
			d.ds = true
		case pfTwo:
			return d.twoByte(in)
		case pfVEX2, pfVEX3:
			return d.vex(b, in)
		case pfEVEX:
			return d.evex(in)
		case pfXOP:
			if d.pos < len(d.code) && d.code[d.pos]&0x38 != 0 {
				return d.xop(in)
			}
			d.op = b
			return d.apply(&oneByte[b], in)
		}
	}
	return false
}

// row is the index of the mandatory prefix in tables: none, 66, f3, f2.
func (d *decoder) row() int {
	switch {
	case d.rep == 0xf3:
		return 2
	case d.rep == 0xf2:
		return 3
	case d.opsz:
		return 1
	}
	return 0
}

// next returns the next byte.
func (d *decoder) next() (byte, bool) {
	if d.pos >= len(d.code) {
		return 0, false
	}
	b := d.code[d.pos]
	d.pos++
	return b, true
}

// twoByte decodes what follows 0f.
func (d *decoder) twoByte(in *Inst) bool {
	b, ok := d.next()
	if !ok {
		return false
	}
	t := &map0F
	if b == 0x38 || b == 0x3a {
		t = &map38
		if b == 0x3a {
			t = &map3A
		}
		if b, ok = d.next(); !ok {
			return false
		}
	}
	d.op = b
	return d.apply(&t[d.row()][b], in)
}

// apply decodes the rest of an instruction by its spec.
func (d *decoder) apply(sp *spec, in *Inst) bool {
	if sp.x == xGroup {
		if d.pos >= len(d.code) {
			return false
		}
		sp = &groups[sp.size][d.code[d.pos]>>3&7]
	}
	at := sp.attr
	if at&known == 0 {
		return false
	}
	in.Op = sp.op
	in.Reads, in.Writes = sp.r, sp.w
	if at&modrm != 0 {
		if sp.x == xPrivReg && d.pos < len(d.code) {
			d.mod = 3
			d.reg, d.rm = d.code[d.pos]>>3&7, d.code[d.pos]&7
			d.pos++
		} else if !d.modRM(in, at) {
			return false
		}
		if d.mod == 3 {
			if at&memOnly != 0 {
				return false
			}
		} else if at&regOnly != 0 {
			return false
		}
	}
	size := d.width(sp.size)
	in.Size, in.SrcSize = size, size
	if sp.w != 0 && size < 4 {
		in.Reads |= sp.w
	}
	d.operands(sp, in, size)
	if sp.imm != iNone && !d.immediate(sp.imm, in) {
		return false
	}
	if sp.x != xNone && !d.special(sp, in) {
		return false
	}
	if in.Op == OpNop {
		in.nop()
	}
	if at&opaque != 0 {
		d.opaque(in)
	}
	return true
}

// opaque marks the instruction as one of which only the length is known.
func (d *decoder) opaque(in *Inst) {
	in.Flags |= Opaque
	in.Reads, in.Writes = AllRegs, AllRegs
}

// operands fills in the operands and their accesses.
func (d *decoder) operands(sp *spec, in *Inst, size uint8) {
	at := sp.attr
	rm, reg := Arg{Reg: NoReg}, Arg{Reg: NoReg}
	if at&modrm != 0 {
		rmSize := size
		if d.mod != 3 {
			rm = Arg{Kind: ArgMem, Reg: NoReg}
			if at&noTouch == 0 {
				in.Flags |= Flags(at/rmR&1)*MemRead | Flags(at/rmW&1)*MemWrite
			}
			in.MemSize = uint16(size)
			if sp.mem != wSame {
				in.MemSize = uint16(d.width(sp.mem))
			}
			if at&rmWide != 0 {
				in.SrcSize = uint8(in.MemSize)
			}
		} else if at&rmV != 0 {
			rm = Arg{Kind: ArgVec, Reg: NoReg}
		} else {
			if at&rmWide != 0 {
				rmSize = d.width(sp.mem)
				in.SrcSize = rmSize
			}
			rm = d.gpr(d.rm|d.rex&rexB<<3, rmSize)
			in.touch(rm.Reg, rmSize, at/rmR, at/rmW)
		}
		if at&noReg == 0 {
			if at&regV != 0 {
				reg = Arg{Kind: ArgVec, Reg: NoReg}
			} else {
				reg = d.gpr(d.reg|d.rex&rexR<<1, size)
				in.touch(reg.Reg, size, at/regR, at/regW)
			}
		}
	} else if at&opReg != 0 {
		rm = d.gpr(d.op&7|d.rex&rexB<<3, size)
		in.touch(rm.Reg, size, at/rmR, at/rmW)
	}
	if at&acc != 0 {
		rm = Arg{Kind: ArgReg, Reg: RAX}
		in.touch(RAX, size, at/regR, at/regW)
	}
	if at&(vR|vW) != 0 {
		in.touch(Reg(d.vvvv), size, at/vR, at/vW)
	}
	if at&swap != 0 {
		in.Dst, in.Src = reg, rm
	} else {
		in.Dst, in.Src = rm, reg
	}
	if at&immSrc != 0 {
		in.Src = Arg{Kind: ArgImm, Reg: NoReg}
	}
	if at&clSrc != 0 {
		in.Src = Arg{Kind: ArgReg, Reg: RCX}
		in.SrcSize = 1
		in.Reads |= sCX
	}
}

// gpr is the operand of general-purpose register n in the given width.
func (d *decoder) gpr(n, size uint8) Arg {
	if size == 1 && n >= 4 && n < 8 && !d.hasRex && d.enc == encLegacy {
		return Arg{Kind: ArgRegHigh, Reg: Reg(n - 4)}
	}
	return Arg{Kind: ArgReg, Reg: Reg(n)}
}

// touch records the access to a register; the lowest bits of read and write count. A write of less than 32 bits keeps the
// rest of the register, so it reads too.
func (i *Inst) touch(r Reg, size uint8, read, write attr) {
	if size < 4 {
		read |= write
	}
	i.Reads |= RegSet(read&1) << (r & 15)
	i.Writes |= RegSet(write&1) << (r & 15)
}

// width evaluates a width rule.
func (d *decoder) width(w width) uint8 {
	if w < wUnknown {
		return uint8(w)
	}
	if w <= wStack {
		ctx := d.rex >> 3 << 1
		if d.opsz {
			ctx |= 1
		}
		return integerWidths[w&3][ctx&3]
	}
	wide := d.rex&rexW != 0
	switch w {
	case wFar:
		return d.operandSize() + 2
	case wVL:
		return d.vl
	case wHalf:
		return d.vl / 2
	case wQuarter:
		return d.vl / 4
	case wEighth:
		return d.vl / 8
	case wDup:
		if d.vl == 16 {
			return 8
		}
		return d.vl
	case wPair:
		if wide {
			return 16
		}
		return 8
	case wMaskW:
		if wide {
			return 8
		}
		return 2
	case wMaskB:
		if wide {
			return 4
		}
		return 1
	case wByWord:
		if wide {
			return 2
		}
		return 1
	case wFull, wHalfV, wHalfW:
		switch {
		case d.bcast && wide:
			return 8
		case d.bcast:
			return 4
		case w == wFull || wide && w == wHalfW:
			return d.vl
		}
		return d.vl / 2
	case wFullH, wHalfH, wQuartH:
		switch {
		case d.bcast:
			return 2
		case w == wFullH:
			return d.vl
		case w == wHalfH:
			return d.vl / 2
		}
		return d.vl / 4
	}
	return 0
}

// integerWidths are the widths by wUnknown, wV, wY and wStack, without and with 66 and REX.W.
var integerWidths = [4][4]uint8{{}, {4, 2, 8, 8}, {4, 4, 8, 8}, {8, 2, 8, 8}}

// operandSize is the width of an ordinary integer operand.
func (d *decoder) operandSize() uint8 { return d.width(wV) }

// modRM reads the ModRM byte and what belongs to the memory operand.
func (d *decoder) modRM(in *Inst, at attr) bool {
	code, pos := d.code, d.pos
	if pos >= len(code) {
		return false
	}
	m := code[pos]
	pos++
	d.mod, d.reg, d.rm = m>>6, m>>3&7, m&7
	if d.mod == 3 {
		d.pos = pos
		return true
	}
	in.Flags |= HasMem
	in.Seg = d.seg
	base := d.rm | d.rex&rexB<<3
	if d.rm == 4 {
		if pos >= len(code) {
			return false
		}
		sib := code[pos]
		pos++
		base = sib&7 | d.rex&rexB<<3
		if x := sib>>3&7 | d.rex&rexX<<2; x != 4 && at&vsib == 0 {
			in.Index, in.Scale = Reg(x), 1<<(sib>>6)
			in.Reads |= 1 << x
		}
	}
	n := 0
	switch {
	case d.mod == 1:
		n = 1
	case d.mod == 2:
		n = 4
	case base&7 == 5:
		n = 4
		base = 16 // none, or RIP without SIB byte
		d.rip = d.rm == 5
	}
	if pos+n > len(code) {
		return false
	}
	switch n {
	case 1:
		in.Disp = int64(int8(code[pos]))
		d.disp = 1
	case 4:
		in.Disp = int64(int32(binary.LittleEndian.Uint32(code[pos:])))
	}
	d.pos = pos + n
	switch {
	case base < 16:
		in.Base = Reg(base)
		in.Reads |= 1 << base
	case d.rip:
		in.Base = RIP
	case d.addr32 && in.Index == NoReg:
		in.Disp = int64(uint32(in.Disp))
	}
	return true
}

// immediate reads an immediate into in.Imm; of a direct branch it becomes the target.
func (d *decoder) immediate(kind imm, in *Inst) bool {
	rest := d.code[d.pos:]
	n := 1
	switch kind {
	case iOne:
		in.Imm = 1
		in.Flags |= HasImm
		return true
	case iW, iTwo:
		n = 2
	case iD, iJZ:
		n = 4
	case iEnter:
		n = 3
	case iZ, iJW:
		n = 4
		if d.opsz && d.rex&rexW == 0 {
			n = 2
		}
	case iV:
		n = int(in.Size)
	case iMoffs:
		n = 8
		if d.addr32 {
			n = 4
		}
	}
	if len(rest) < n {
		return false
	}
	var v int64
	switch n {
	case 1:
		v = int64(int8(rest[0]))
	case 2, 3:
		v = int64(int16(binary.LittleEndian.Uint16(rest)))
	case 4:
		v = int64(int32(binary.LittleEndian.Uint32(rest)))
	default:
		v = int64(binary.LittleEndian.Uint64(rest))
	}
	d.pos += n
	switch kind {
	case iBU:
		v = int64(uint8(v))
	case iW, iEnter, iTwo:
		v = int64(uint16(v))
	case iJB, iJW, iJZ:
		in.Imm = v + int64(in.Addr) + int64(d.pos)
		return true
	case iMoffs:
		if n == 4 {
			v = int64(uint32(v))
		}
		in.Disp = v
		in.Seg = d.seg
		in.Flags |= HasMem
		in.MemSize = uint16(in.Size)
		if in.Dst.Kind == ArgNone {
			in.Dst = Arg{Kind: ArgMem, Reg: NoReg}
			in.Flags |= MemWrite
		} else {
			in.Src = Arg{Kind: ArgMem, Reg: NoReg}
			in.Flags |= MemRead
		}
		return true
	}
	in.Imm = v
	in.Flags |= HasImm
	return true
}
