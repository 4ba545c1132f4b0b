package decode

// The opcode maps of legacy encoding. Rows of the two- and three-byte maps stand for the mandatory prefix: none, 66, f3, f2.
var (
	oneByte = buildOneByte()
	map0F   = build0F()
	map38   = build38()
	map3A   = build3A()
	groups  = buildGroups()
)

// opcodeMap is an opcode map with its four rows of mandatory prefixes.
type opcodeMap [4][256]spec

// Row masks for opcodeMap.set.
const (
	pNone = 1 << iota
	p66
	pF3
	pF2
	pAll = pNone | p66 | pF3 | pF2
)

// set enters sp for the opcodes from first to last in the rows of mask.
func (t *opcodeMap) set(mask int, first, last int, sp spec) {
	sp.attr |= known
	for r := range t {
		if mask>>r&1 == 0 {
			continue
		}
		for op := first; op <= last; op++ {
			t[r][op] = sp
		}
	}
}

// Attributes of the usual operand layouts.
const (
	eg  = modrm         // Dst rm, Src reg
	ge  = modrm | swap  // Dst reg, Src rm
	eOp = modrm | noReg // Dst rm
	eIn = modrm | noReg | swap
	rw  = rmR | rmW
	// vector register <- vector register or memory, vector memory <- vector register
	vLoad  = ge | rmV | regV | rmR
	vStore = eg | rmV | regV | rmW
)

// Group numbers; a spec with x xGroup has one as its size.
const (
	g1b = iota
	g1v
	g1vb // 83
	g1a
	gC0
	gC1
	gD0
	gD1
	gD2
	gD3
	gF6
	gF7
	gFE
	gFF
	gC6
	gC7
	g6
	g8
	gKeyLocker
	gMaskShift  // 71 and 72: shifts by an immediate
	gMaskShiftQ // 73, which has psrldq and pslldq too
	numGroups
)

// buildOneByte builds the one-byte opcode map.
func buildOneByte() (t [256]spec) {
	set := func(first, last int, sp spec) {
		sp.attr |= known
		for op := first; op <= last; op++ {
			t[op] = sp
		}
	}
	for i, op := range aluOps {
		b := i * 8
		dst, regDst := rw, regR|regW
		if op == OpCmp {
			dst, regDst = rmR, regR
		}
		set(b, b, spec{op: op, size: w1, attr: eg | dst | regR})
		set(b+1, b+1, spec{op: op, size: wV, attr: eg | dst | regR})
		set(b+2, b+2, spec{op: op, size: w1, attr: ge | regDst | rmR})
		set(b+3, b+3, spec{op: op, size: wV, attr: ge | regDst | rmR})
		set(b+4, b+4, spec{op: op, size: w1, attr: acc | regDst | immSrc, imm: iB})
		set(b+5, b+5, spec{op: op, size: wV, attr: acc | regDst | immSrc, imm: iZ})
	}
	set(0x50, 0x57, spec{op: OpPush, size: wStack, attr: opReg | rmR | swap, r: sSP, w: sSP})
	set(0x58, 0x5f, spec{op: OpPop, size: wStack, attr: opReg | rmW, r: sSP, w: sSP})
	set(0x63, 0x63, spec{op: OpMovSX, size: wV, mem: w4, attr: ge | regW | rmR | rmWide, x: xMovsxd})
	set(0x68, 0x68, spec{op: OpPush, size: wStack, attr: immSrc, imm: iZ, r: sSP, w: sSP})
	set(0x6a, 0x6a, spec{op: OpPush, size: wStack, attr: immSrc, imm: iB, r: sSP, w: sSP})
	set(0x69, 0x69, spec{op: OpImul, size: wV, attr: ge | regW | rmR, imm: iZ})
	set(0x6b, 0x6b, spec{op: OpImul, size: wV, attr: ge | regW | rmR, imm: iB})
	set(0x70, 0x7f, spec{op: OpJcc, imm: iJB, x: xCond})
	set(0x80, 0x80, spec{x: xGroup, size: g1b})
	set(0x81, 0x81, spec{x: xGroup, size: g1v})
	set(0x83, 0x83, spec{x: xGroup, size: g1vb})
	set(0x84, 0x84, spec{op: OpTest, size: w1, attr: eg | rmR | regR})
	set(0x85, 0x85, spec{op: OpTest, size: wV, attr: eg | rmR | regR})
	set(0x86, 0x86, spec{op: OpXchg, size: w1, attr: eg | rw | regR | regW})
	set(0x87, 0x87, spec{op: OpXchg, size: wV, attr: eg | rw | regR | regW})
	set(0x88, 0x88, spec{op: OpMov, size: w1, attr: eg | rmW | regR})
	set(0x89, 0x89, spec{op: OpMov, size: wV, attr: eg | rmW | regR})
	set(0x8a, 0x8a, spec{op: OpMov, size: w1, attr: ge | regW | rmR})
	set(0x8b, 0x8b, spec{op: OpMov, size: wV, attr: ge | regW | rmR})
	set(0x8c, 0x8c, spec{op: OpFromVec, size: wV, mem: w2, attr: eg | rmW | regV, x: xSreg})
	set(0x8d, 0x8d, spec{op: OpLea, size: wV, attr: ge | regW | noTouch | memOnly, mem: wUnknown})
	set(0x8e, 0x8e, spec{op: OpToVec, size: w2, attr: ge | regV | rmR, x: xSreg})
	set(0x8f, 0x8f, spec{x: xGroup, size: g1a})
	set(0x90, 0x90, spec{op: OpXchg, size: wV, attr: opReg, x: xNop90})
	set(0x91, 0x97, spec{op: OpXchg, size: wV, attr: opReg | rw, x: xXchgA})
	set(0x98, 0x98, spec{op: OpMovSX, size: wV, attr: acc | regW, r: sAX, x: xCbw})
	set(0x99, 0x99, spec{size: wV, r: sAX, w: sDX})
	set(0x9b, 0x9b, spec{}) // fwait
	set(0x9c, 0x9c, spec{op: OpPush, size: wStack, r: sSP, w: sSP, x: xStackV})
	set(0x9d, 0x9d, spec{op: OpPop, size: wStack, r: sSP, w: sSP, x: xStackV})
	set(0x9e, 0x9e, spec{r: sAX, size: w1})
	set(0x9f, 0x9f, spec{w: sAX, size: w1})
	set(0xa0, 0xa0, spec{op: OpMov, size: w1, attr: acc | regW, imm: iMoffs})
	set(0xa1, 0xa1, spec{op: OpMov, size: wV, attr: acc | regW, imm: iMoffs})
	set(0xa2, 0xa2, spec{op: OpMov, size: w1, attr: acc | regR | swap, imm: iMoffs})
	set(0xa3, 0xa3, spec{op: OpMov, size: wV, attr: acc | regR | swap, imm: iMoffs})
	set(0xa8, 0xa8, spec{op: OpTest, size: w1, attr: acc | regR | immSrc, imm: iB})
	set(0xa9, 0xa9, spec{op: OpTest, size: wV, attr: acc | regR | immSrc, imm: iZ})
	for _, op := range []int{0x6c, 0x6e, 0xa4, 0xa6, 0xaa, 0xac, 0xae} { // ins, outs, movs, cmps, stos, lods, scas
		set(op, op, spec{op: OpStos, size: w1, x: xString})
		set(op+1, op+1, spec{op: OpStos, size: wV, x: xString})
	}
	set(0xb0, 0xb7, spec{op: OpMov, size: w1, attr: opReg | rmW | immSrc, imm: iB})
	set(0xb8, 0xbf, spec{op: OpMov, size: wV, attr: opReg | rmW | immSrc, imm: iV})
	for i, g := range []width{gC0, gC1} {
		set(0xc0+i, 0xc0+i, spec{x: xGroup, size: g})
	}
	for i, g := range []width{gD0, gD1, gD2, gD3} {
		set(0xd0+i, 0xd0+i, spec{x: xGroup, size: g})
	}
	set(0xc2, 0xc2, spec{op: OpRet, size: w8, attr: immSrc, imm: iW, r: sSP, w: sSP})
	set(0xc3, 0xc3, spec{op: OpRet, size: w8, r: sSP, w: sSP})
	set(0xc6, 0xc6, spec{x: xGroup, size: gC6})
	set(0xc7, 0xc7, spec{x: xGroup, size: gC7})
	set(0xc8, 0xc8, spec{size: wStack, imm: iEnter, r: sSP | sBP, w: sSP | sBP})
	set(0xc9, 0xc9, spec{op: OpLeave, size: wStack, r: sBP, w: sSP | sBP})
	set(0xca, 0xca, spec{op: OpRet, size: wV, attr: immSrc, imm: iW, r: sSP, w: sSP, x: xFlow})
	set(0xcb, 0xcb, spec{op: OpRet, size: wV, r: sSP, w: sSP, x: xFlow})
	set(0xcc, 0xcc, spec{op: OpTrap})
	set(0xcd, 0xcd, spec{op: OpTrap, imm: iBU, x: xFlow})
	set(0xcf, 0xcf, spec{op: OpRet, size: wV, r: sSP, w: sSP, x: xFlow})
	set(0xd7, 0xd7, spec{size: w1, r: sAX | sBX, w: sAX, x: xXlat})
	set(0xd8, 0xdf, spec{size: w10, attr: eOp | rmV, x: xX87})
	set(0xe0, 0xe2, spec{op: OpJcc, imm: iJB, r: sCX, w: sCX, size: w8, x: xJcxz})
	set(0xe3, 0xe3, spec{op: OpJcc, imm: iJB, r: sCX, size: w8, x: xJcxz})
	set(0xe4, 0xe4, spec{size: w1, imm: iBU, w: sAX})
	set(0xe5, 0xe5, spec{size: wV, imm: iBU, w: sAX})
	set(0xe6, 0xe6, spec{size: w1, imm: iBU, r: sAX})
	set(0xe7, 0xe7, spec{size: wV, imm: iBU, r: sAX})
	set(0xe8, 0xe8, spec{op: OpCall, size: w8, imm: iJZ, r: sSP, w: sSP})
	set(0xe9, 0xe9, spec{op: OpJmp, size: w8, imm: iJZ})
	set(0xeb, 0xeb, spec{op: OpJmp, size: w8, imm: iJB})
	set(0xec, 0xec, spec{size: w1, r: sDX, w: sAX})
	set(0xed, 0xed, spec{size: wV, r: sDX, w: sAX})
	set(0xee, 0xee, spec{size: w1, r: sDX | sAX})
	set(0xef, 0xef, spec{size: wV, r: sDX | sAX})
	set(0xf1, 0xf1, spec{op: OpTrap})
	set(0xf4, 0xf4, spec{op: OpTrap})
	set(0xf5, 0xf5, spec{})
	set(0xf6, 0xf6, spec{x: xGroup, size: gF6})
	set(0xf7, 0xf7, spec{x: xGroup, size: gF7})
	set(0xf8, 0xfd, spec{})
	set(0xfe, 0xfe, spec{x: xGroup, size: gFE})
	set(0xff, 0xff, spec{x: xGroup, size: gFF})
	return t
}

// aluOps are the classes of the eight arithmetic operations in encoding order.
var aluOps = [8]Op{OpAdd, OpOr, OpAdc, OpSbb, OpAnd, OpSub, OpXor, OpCmp}

// buildGroups builds the groups, whose class ModRM.reg selects.
func buildGroups() (g [numGroups][8]spec) {
	set := func(n, i int, sp spec) {
		sp.attr |= known
		g[n][i] = sp
	}
	shifts := [8]Op{OpOther, OpOther, OpOther, OpOther, OpShl, OpShr, OpShl, OpSar}
	for i, op := range aluOps {
		dst := rw
		if op == OpCmp {
			dst = rmR
		}
		set(g1b, i, spec{op: op, size: w1, attr: eOp | dst | immSrc, imm: iB})
		set(g1v, i, spec{op: op, size: wV, attr: eOp | dst | immSrc, imm: iZ})
		set(g1vb, i, spec{op: op, size: wV, attr: eOp | dst | immSrc, imm: iB})
		for j, size := range []width{w1, wV} {
			set(gC0+j, i, spec{op: shifts[i], size: size, attr: eOp | rw | immSrc, imm: iB})
			set(gD0+j, i, spec{op: shifts[i], size: size, attr: eOp | rw | immSrc, imm: iOne})
			set(gD2+j, i, spec{op: shifts[i], size: size, attr: eOp | rw | clSrc})
		}
	}
	set(g1a, 0, spec{op: OpPop, size: wStack, attr: eOp | rmW, r: sSP, w: sSP, x: xPopMem})
	for j, size := range []width{w1, wV} {
		im := iB
		dx := RegSet(0)
		if size == wV {
			im, dx = iZ, sDX
		}
		n := gF6 + j
		set(n, 0, spec{op: OpTest, size: size, attr: eOp | rmR | immSrc, imm: im})
		set(n, 1, spec{op: OpTest, size: size, attr: eOp | rmR | immSrc, imm: im})
		set(n, 2, spec{op: OpNot, size: size, attr: eOp | rw})
		set(n, 3, spec{op: OpNeg, size: size, attr: eOp | rw})
		set(n, 4, spec{size: size, attr: eIn | rmR, r: sAX, w: sAX | dx})
		set(n, 5, spec{size: size, attr: eIn | rmR, r: sAX, w: sAX | dx})
		set(n, 6, spec{size: size, attr: eIn | rmR, r: sAX | dx, w: sAX | dx})
		set(n, 7, spec{size: size, attr: eIn | rmR, r: sAX | dx, w: sAX | dx})
		set(gFE+j, 0, spec{op: OpInc, size: size, attr: eOp | rw})
		set(gFE+j, 1, spec{op: OpDec, size: size, attr: eOp | rw})
		set(gC6+j, 0, spec{op: OpMov, size: size, attr: eOp | rmW | immSrc, imm: im})
	}
	set(gFF, 2, spec{op: OpCall, size: w8, attr: eIn | rmR, r: sSP, w: sSP, x: xFlow})
	set(gFF, 3, spec{op: OpCall, size: wV, mem: wFar, attr: eIn | rmR | memOnly, r: sSP, w: sSP, x: xFlow})
	set(gFF, 4, spec{op: OpJmp, size: w8, attr: eIn | rmR, x: xFlow})
	set(gFF, 5, spec{op: OpJmp, size: wV, mem: wFar, attr: eIn | rmR | memOnly, x: xFlow})
	set(gFF, 6, spec{op: OpPush, size: wStack, attr: eIn | rmR, r: sSP, w: sSP})
	set(gC6, 7, spec{size: w1, attr: eOp | regOnly | rmV, imm: iB, r: sAX, w: sAX, x: xXabort})
	set(gC7, 7, spec{op: OpJcc, size: w8, attr: eOp | regOnly | rmV, imm: iJW, r: sAX, w: sAX, x: xXbegin})

	for i := range 2 { // sldt, str; lldt, ltr; verr, verw
		set(g6, i, spec{op: OpFromVec, size: wV, mem: w2, attr: eOp | rmW})
		set(g6, i+2, spec{size: w2, attr: eIn | rmR})
		set(g6, i+4, spec{size: w2, attr: eIn | rmR})
	}
	set(g8, 4, spec{op: OpBt, size: wV, attr: eOp | rmR | immSrc, imm: iB})
	for i := 5; i < 8; i++ {
		set(g8, i, spec{size: wV, attr: eOp | rw | immSrc, imm: iB})
	}
	for i := range 4 { // aesencwide128kl and its kin
		set(gKeyLocker, i, spec{attr: eIn | rmV | memOnly | rmR | opaque, mem: wUnknown})
	}
	for _, i := range []int{2, 4, 6} {
		set(gMaskShift, i, spec{size: wVL, attr: eOp | rmV | regOnly | immSrc, imm: iB})
	}
	for _, i := range []int{2, 3, 6, 7} {
		set(gMaskShiftQ, i, spec{size: wVL, attr: eOp | rmV | regOnly | immSrc, imm: iB})
	}
	return g
}
