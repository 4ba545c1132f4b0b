package decode

// special handles what a spec cannot express.
func (d *decoder) special(sp *spec, in *Inst) bool {
	isReg := d.mod == 3
	switch sp.x {
	case xNop90:
		// 90 is nop unless REX.B makes it an exchange with R8.
		if d.rex&rexB == 0 {
			in.nop()
			return true
		}
		d.exchangeA(in)
	case xXchgA:
		d.exchangeA(in)
	case xMovsxd:
		if in.Size < 4 {
			in.SrcSize = in.Size
			if !isReg {
				in.MemSize = uint16(in.Size)
			}
		}
	case xCbw:
		in.Src = in.Dst
		in.SrcSize = in.Size / 2
	case xString:
		d.str(in)
	case xPopMem:
		if !isReg && in.Base == RSP {
			in.Disp += int64(in.Size)
		}
	case xCond:
		in.Cond = d.op & 15
	case xBitMem:
		if !isReg {
			in.MemSize = 0
			if in.Flags&MemWrite != 0 {
				d.opaque(in)
			}
		}
	case xJcxz:
		in.Cond = 0xff
		if d.addr32 {
			in.Size = 4
		}
	case xX87:
		return d.x87(in)
	case xFlow:
		switch d.op {
		case 0xca, 0xcb, 0xcf:
			in.Flags |= Far
		case 0xcd:
			if in.Imm == 0x80 {
				in.Op = OpInt80
				in.Reads, in.Writes = sAX, sAX
			}
		case 0xff:
			in.Flags |= Indirect
			if d.reg&1 != 0 {
				in.Flags |= Far
			}
			if d.ds && d.reg&1 == 0 {
				in.Flags |= NoTrack
			}
		}
	case xXlat:
		in.Flags |= HasMem | MemRead
		in.Base = RBX
		in.Seg = d.seg
	case xMaskMov:
		in.Flags |= HasMem | MemWrite
		in.Base = RDI
		in.Seg = d.seg
		in.MemSize = uint16(in.Size)
		in.Reads |= sDI
		in.Dst = Arg{Kind: ArgMem, Reg: NoReg}
		in.Src = Arg{Kind: ArgVec, Reg: NoReg}
	case xSreg:
		return d.reg < 6 && (d.op != 0x8e || d.reg != 1)
	case xPrivReg:
		if d.op&1 == 0 { // control registers 0, 2, 3, 4 and 8
			return 0x11d>>(d.reg|d.rex&rexR<<1)&1 != 0
		}
		return d.rex&rexR == 0
	case xStackV:
		if in.Op == OpPush {
			in.Src = Arg{Kind: ArgVec, Reg: NoReg}
		} else if in.Op == OpPop {
			in.Dst = Arg{Kind: ArgVec, Reg: NoReg}
		}
	case xGrp7, xGrp9, xGrp15:
		in.Dst = Arg{Reg: NoReg}
		switch sp.x {
		case xGrp7:
			return d.group7(in)
		case xGrp9:
			return d.group9(in)
		}
		return d.group15(in)
	case xNop1E:
		// rdssp leaves its register alone where shadow stacks are off; endbr and everything else here is a nop.
		if isReg && d.reg == 1 {
			in.Op = OpFromVec
			in.Dst, in.Src = d.gpr(d.rm|d.rex&rexB<<3, in.Size), Arg{Kind: ArgVec, Reg: NoReg}
			in.touch(in.Dst.Reg, in.Size, 1, 1)
		}
	case xXabort:
		return d.rm == 0
	case xXbegin:
		in.Cond = 0xff
		return d.rm == 0
	case xPadlock:
		if !isReg {
			return false
		}
	case xBMI:
		// blsr, blsmsk, blsi
		in.Dst = Arg{Kind: ArgReg, Reg: Reg(d.vvvv)}
		return d.reg >= 1 && d.reg <= 3
	case xTBM:
		in.Dst = Arg{Kind: ArgReg, Reg: Reg(d.vvvv)}
		return d.op == 1 && d.reg != 0 || d.op == 2 && (d.reg == 1 || d.reg == 6)
	}
	return true
}

// nop makes the instruction one without effect; an operand that it has says nothing, so it is dropped.
func (i *Inst) nop() {
	i.Op = OpNop
	i.Dst, i.Src = Arg{Reg: NoReg}, Arg{Reg: NoReg}
	i.Reads, i.Writes = 0, 0
	i.Flags &^= HasMem | MemRead | MemWrite
	i.Base, i.Index, i.Scale, i.Seg = NoReg, NoReg, 1, 0
	i.Disp, i.MemSize = 0, 0
}

// exchangeA completes xchg of the accumulator.
func (d *decoder) exchangeA(in *Inst) {
	in.Src = Arg{Kind: ArgReg, Reg: RAX}
	in.touch(in.Dst.Reg, in.Size, 1, 1)
	in.touch(RAX, in.Size, 1, 1)
}

// str completes a string instruction.
func (d *decoder) str(in *Inst) {
	kept := attr(0) // 1 if a count of 0 may leave the destination alone
	if d.rep != 0 {
		kept = 1
		in.Flags |= Rep
		in.Reads |= sCX
		in.Writes |= sCX
	} else {
		in.MemSize = uint16(in.Size)
	}
	src, dst := sSI, sDI
	mem := Arg{Kind: ArgMem, Reg: NoReg}
	rax := Arg{Kind: ArgReg, Reg: RAX}
	switch d.op &^ 1 {
	case 0x6c: // ins; there is no 64-bit port access
		src = 0
		in.Flags |= MemWrite
		in.Reads |= sDX
		in.Dst = mem
		d.portSize(in)
	case 0x6e: // outs
		dst = 0
		in.Flags |= MemRead
		in.Reads |= sDX
		in.Src = mem
		d.portSize(in)
	case 0xa4: // movs
		in.Flags |= MemRead | MemWrite
		in.Dst, in.Src = mem, mem
	case 0xa6: // cmps
		in.Flags |= MemRead
		in.Dst, in.Src = mem, mem
	case 0xaa: // stos
		src = 0
		in.Flags |= MemWrite
		in.Reads |= sAX
		in.Dst, in.Src = mem, rax
	case 0xac: // lods
		dst = 0
		in.Flags |= MemRead
		in.touch(RAX, in.Size, kept, 1)
		in.Dst, in.Src = rax, mem
	case 0xae: // scas
		src = 0
		in.Flags |= MemRead
		in.Reads |= sAX
		in.Dst, in.Src = rax, mem
	}
	in.Flags |= HasMem
	in.Base = RDI
	if dst == 0 {
		in.Base = RSI
	}
	if dst == 0 {
		in.Seg = d.seg
	}
	in.Reads |= src | dst
	in.Writes |= src | dst
}

// portSize corrects the width of ins and outs, which ignore REX.W.
func (d *decoder) portSize(in *Inst) {
	if in.Size == 8 {
		in.Size, in.SrcSize = 4, 4
		if in.MemSize != 0 {
			in.MemSize = 4
		}
	}
}

// x87Mem are the memory forms of d8 to df by ModRM.reg: width (0 none, 0xf0 unknown) and 0x100 for a store, 0xffff unassigned.
var x87Mem = [8][8]uint16{
	{4, 4, 4, 4, 4, 4, 4, 4},
	{4, 0xffff, 0x104, 0x104, 0xf0, 2, 0x1f0, 0x102},
	{4, 4, 4, 4, 4, 4, 4, 4},
	{4, 0x104, 0x104, 0x104, 0xffff, 10, 0xffff, 0x10a},
	{8, 8, 8, 8, 8, 8, 8, 8},
	{8, 0x108, 0x108, 0x108, 0xf0, 0xffff, 0x1f0, 0x102},
	{2, 2, 2, 2, 2, 2, 2, 2},
	{2, 0x102, 0x102, 0x102, 10, 8, 0x10a, 0x108},
}

// x87 completes a floating-point instruction.
func (d *decoder) x87(in *Inst) bool {
	st := Arg{Kind: ArgVec, Reg: NoReg}
	if d.mod == 3 {
		in.Dst, in.Src = st, st
		if d.op == 0xdf && d.reg == 4 && d.rm == 0 { // fnstsw ax
			in.Op = OpFromVec
			in.Size, in.SrcSize = 2, 2
			in.Dst = Arg{Kind: ArgReg, Reg: RAX}
			in.touch(RAX, 2, 0, 1)
		}
		return true
	}
	k := x87Mem[d.op&7][d.reg]
	if k == 0xffff {
		return false
	}
	mem := Arg{Kind: ArgMem, Reg: NoReg}
	if k&0x100 != 0 {
		in.Flags |= MemWrite
		in.Dst, in.Src = mem, st
	} else {
		in.Flags |= MemRead
		in.Dst, in.Src = st, mem
	}
	in.MemSize = k & 0xff
	if in.MemSize == 0xf0 {
		in.MemSize = 0
	}
	return true
}

// group7 completes 0f 01.
func (d *decoder) group7(in *Inst) bool {
	rm := d.rm | d.rex&rexB<<3
	if d.mod != 3 {
		mem := Arg{Kind: ArgMem, Reg: NoReg}
		switch d.reg {
		case 0, 1: // sgdt, sidt
			in.Flags |= MemWrite
			in.MemSize, in.Dst = 10, mem
		case 2, 3: // lgdt, lidt
			in.Flags |= MemRead
			in.MemSize, in.Src = 10, mem
		case 4: // smsw
			in.Flags |= MemWrite
			in.MemSize, in.Dst = 2, mem
		case 5: // rstorssp
			if d.rep != 0xf3 {
				return false
			}
			in.Flags |= MemRead | MemWrite
			in.MemSize, in.Dst = 8, mem
		case 6: // lmsw
			in.Flags |= MemRead
			in.MemSize, in.Src = 2, mem
		case 7: // invlpg
		}
		return true
	}
	switch d.reg {
	case 4: // smsw
		in.Op = OpFromVec
		in.Size = d.operandSize()
		in.SrcSize = in.Size
		in.Dst, in.Src = d.gpr(rm, in.Size), Arg{Kind: ArgVec, Reg: NoReg}
		in.touch(Reg(rm), in.Size, 0, 1)
		return true
	case 6: // lmsw
		in.Op = OpToVec
		in.Dst, in.Src = Arg{Kind: ArgVec, Reg: NoReg}, d.gpr(rm, 2)
		in.Size, in.SrcSize = 2, 2
		in.touch(Reg(rm), 2, 1, 0)
		return true
	}
	switch d.reg<<3 | d.rm {
	case 0o10: // monitor
		in.Reads = sAX | sCX | sDX
	case 0o11: // mwait
		in.Reads = sAX | sCX
	case 0o12, 0o13: // clac, stac
	case 0o20: // xgetbv
		in.Reads, in.Writes = sCX, sAX|sDX
	case 0o21: // xsetbv
		in.Reads = sAX | sCX | sDX
	case 0o25, 0o26: // xend, xtest
	case 0o56: // rdpkru
		if d.rep == 0 {
			in.Reads, in.Writes = sCX, sAX|sDX
		} else {
			d.opaque(in)
		}
	case 0o57: // wrpkru
		if d.rep == 0 {
			in.Reads = sAX | sCX | sDX
		} else {
			d.opaque(in)
		}
	case 0o50: // setssbsy, serialize, xsusldtrk
	case 0o51, 0o52: // xresldtrk, saveprevssp
		if d.rep == 0 {
			return false
		}
	case 0o70: // swapgs
	case 0o71: // rdtscp
		in.Writes = sAX | sCX | sDX
	case 0o72: // monitorx; with f3 mcommit
		if d.rep != 0 {
			return true
		}
		in.Reads = sAX | sCX | sDX
	case 0o73: // mwaitx
		in.Reads = sAX | sBX | sCX
	case 0o75: // rdpru
		in.Reads, in.Writes = sCX, sAX|sDX
	case 0o54: // uiret
		if d.rep == 0xf3 {
			in.Op = OpRet
		}
		d.opaque(in)
	default: // virtual machines, enclaves, user interrupts
		d.opaque(in)
	}
	return true
}

// group15 completes 0f ae, of which VEX has ldmxcsr and stmxcsr only.
func (d *decoder) group15(in *Inst) bool {
	if d.enc == encVEX && d.reg != 2 && d.reg != 3 {
		return false
	}
	mem := Arg{Kind: ArgMem, Reg: NoReg}
	y := d.width(wY)
	if d.mod != 3 {
		switch {
		case d.rep == 0xf3 && d.reg == 4: // ptwrite
			in.Flags |= MemRead
			in.MemSize, in.Src = uint16(y), mem
		case d.rep == 0xf3 && d.reg == 6: // clrssbsy
			in.Flags |= MemRead | MemWrite
			in.MemSize, in.Dst = 8, mem
		case d.rep != 0:
			return false
		case d.opsz:
			if d.reg < 6 { // clwb, clflushopt remain
				return false
			}
			in.nop()
		case d.reg == 7: // clflush
			in.nop()
		case d.reg == 2: // ldmxcsr
			in.Flags |= MemRead
			in.MemSize, in.Src = 4, mem
		case d.reg == 3: // stmxcsr
			in.Flags |= MemWrite
			in.MemSize, in.Dst = 4, mem
		case d.reg == 0: // fxsave
			in.Flags |= MemWrite
			in.Dst = mem
		case d.reg == 1: // fxrstor
			in.Flags |= MemRead
			in.Src = mem
		case d.reg == 5: // xrstor
			in.Flags |= MemRead
			in.Src = mem
			in.Reads |= sAX | sDX
		default: // xsave, xsaveopt
			in.Flags |= MemRead | MemWrite
			in.Dst = mem
			in.Reads |= sAX | sDX
		}
		return true
	}
	r := d.gpr(d.rm|d.rex&rexB<<3, y)
	vec := Arg{Kind: ArgVec, Reg: NoReg}
	switch {
	case d.rep == 0xf3 && d.reg < 2: // rdfsbase, rdgsbase
		in.Op = OpFromVec
		in.Size, in.SrcSize = y, y
		in.Dst, in.Src = r, vec
		in.touch(r.Reg, y, 0, 1)
	case d.rep == 0xf3 && d.reg < 4: // wrfsbase, wrgsbase
		in.Op = OpToVec
		in.Size, in.SrcSize = y, y
		in.Dst, in.Src = vec, r
		in.touch(r.Reg, y, 1, 0)
	case d.rep == 0xf3 && (d.reg == 4 || d.reg == 5): // ptwrite, incssp
		in.Src = r
		in.Size, in.SrcSize = y, y
		in.touch(r.Reg, y, 1, 0)
	case d.rep == 0xf3 && d.reg == 6: // umonitor
		in.Src = r
		in.touch(r.Reg, 8, 1, 0)
	case (d.rep == 0xf2 || d.rep == 0 && d.opsz) && d.reg == 6: // umwait, tpause
		in.Src = r
		in.touch(r.Reg, 4, 1, 0)
		in.Reads |= sAX | sDX
	case d.rep == 0 && !d.opsz && d.reg >= 5: // lfence, mfence, sfence
		in.Op = OpNop
	default:
		return false
	}
	return true
}

// group9 completes 0f c7.
func (d *decoder) group9(in *Inst) bool {
	mem := Arg{Kind: ArgMem, Reg: NoReg}
	rm := d.rm | d.rex&rexB<<3
	if d.mod == 3 {
		switch {
		case d.reg == 7 && d.rep == 0xf3: // rdpid
			in.Op = OpFromVec
			in.Size, in.SrcSize = 8, 8
			in.Dst, in.Src = d.gpr(rm, 8), Arg{Kind: ArgVec, Reg: NoReg}
			in.touch(Reg(rm), 8, 0, 1)
		case d.reg == 6 && d.rep == 0xf3: // senduipi
			in.Src = d.gpr(rm, 8)
			in.touch(Reg(rm), 8, 1, 0)
		case d.reg >= 6 && d.rep == 0: // rdrand, rdseed
			in.Op = OpFromVec
			in.Size = d.operandSize()
			in.SrcSize = in.Size
			in.Dst, in.Src = d.gpr(rm, in.Size), Arg{Kind: ArgVec, Reg: NoReg}
			in.touch(Reg(rm), in.Size, 0, 1)
		default:
			return false
		}
		return true
	}
	switch d.reg {
	case 1: // cmpxchg8b, cmpxchg16b
		in.Flags |= MemRead | MemWrite
		in.Reads |= sAX | sBX | sCX | sDX
		in.Writes |= sAX | sDX
		in.Dst = mem
		in.Size = d.width(wPair)
		in.SrcSize = in.Size
		in.MemSize = uint16(in.Size)
	case 3: // xrstors
		in.Flags |= MemRead
		in.Reads |= sAX | sDX
		in.Src = mem
	case 4, 5: // xsavec, xsaves
		in.Flags |= MemRead | MemWrite
		in.Reads |= sAX | sDX
		in.Dst = mem
	case 6: // vmptrld, vmxon, vmclear
		in.Flags |= MemRead | MemWrite
		in.MemSize, in.Dst = 8, mem
	case 7: // vmptrst
		in.Flags |= MemWrite
		in.MemSize, in.Dst = 8, mem
	default:
		return false
	}
	return true
}
