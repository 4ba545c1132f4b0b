package decode

// build0F builds the map 0f.
func build0F() (t opcodeMap) {
	// load, store: a vector register from a register or memory of the given width, and back.
	load := func(mask, op int, mem width) {
		t.set(mask, op, op, spec{size: wVL, mem: mem, attr: vLoad})
	}
	store := func(mask, op int, mem width) {
		t.set(mask, op, op, spec{size: wVL, mem: mem, attr: vStore})
	}
	// scalar enters a floating-point operation in its four forms: packed single and double, scalar single and double.
	scalar := func(op int) {
		load(pNone|p66, op, wVL)
		load(pF3, op, w4)
		load(pF2, op, w8)
	}
	nop := spec{op: OpNop, size: wV, attr: eOp | noTouch | rmV | anyPfx, mem: wUnknown}

	t.set(pAll, 0x00, 0x00, spec{x: xGroup, size: g6})
	t.set(pAll, 0x01, 0x01, spec{size: w8, mem: wUnknown, attr: eOp | rmV, x: xGrp7})
	t.set(pAll, 0x02, 0x03, spec{size: wV, mem: w2, attr: ge | regR | regW | rmR}) // lar, lsl
	t.set(pAll, 0x05, 0x05, spec{op: OpSyscall, size: w8, r: sAX, w: sAX | sCX | 1<<R11})
	t.set(pAll, 0x06, 0x06, spec{}) // clts
	t.set(pAll, 0x07, 0x07, spec{op: OpTrap})
	t.set(pAll, 0x08, 0x09, spec{}) // invd, wbinvd
	t.set(pAll, 0x0b, 0x0b, spec{op: OpTrap})
	t.set(pAll, 0x0d, 0x0d, nop)
	t.set(pAll, 0x0e, 0x0e, spec{})                               // femms
	t.set(pAll, 0x0f, 0x0f, spec{size: w8, attr: vLoad, imm: iB}) // 3DNow
	load(pNone|p66, 0x10, wVL)
	load(pF3, 0x10, w4)
	load(pF2, 0x10, w8)
	store(pNone|p66, 0x11, wVL)
	store(pF3, 0x11, w4)
	store(pF2, 0x11, w8)
	load(pNone, 0x12, w8)
	t.set(p66, 0x12, 0x12, spec{size: wVL, mem: w8, attr: vLoad | memOnly})
	load(pF3, 0x12, wVL)
	load(pF2, 0x12, wDup)
	t.set(pNone|p66, 0x13, 0x13, spec{size: wVL, mem: w8, attr: vStore | memOnly})
	load(pNone|p66, 0x14, wVL)
	load(pNone|p66, 0x15, wVL)
	load(pNone, 0x16, w8)
	t.set(p66, 0x16, 0x16, spec{size: wVL, mem: w8, attr: vLoad | memOnly})
	load(pF3, 0x16, wVL)
	t.set(pNone|p66, 0x17, 0x17, spec{size: wVL, mem: w8, attr: vStore | memOnly})
	t.set(pAll, 0x18, 0x1d, nop)
	// MPX: nops where it is off or missing; the memory forms count as what they would do.
	t.set(pNone, 0x1a, 0x1a, spec{size: w8, mem: wUnknown, attr: vLoad})
	t.set(p66, 0x1a, 0x1a, spec{size: w16, attr: vLoad})
	t.set(pNone, 0x1b, 0x1b, spec{size: w8, mem: wUnknown, attr: vStore})
	t.set(p66, 0x1b, 0x1b, spec{size: w16, attr: vStore})
	t.set(pAll, 0x1e, 0x1f, nop)
	t.set(pF3, 0x1e, 0x1e, spec{op: OpNop, size: wY, attr: eOp | noTouch | rmV, mem: wUnknown, x: xNop1E})
	t.set(pAll, 0x20, 0x21, spec{op: OpFromVec, size: w8, attr: eg | rmW | regV, x: xPrivReg})
	t.set(pAll, 0x22, 0x23, spec{op: OpToVec, size: w8, attr: ge | rmR | regV, x: xPrivReg})
	load(pNone|p66, 0x28, wVL)
	store(pNone|p66, 0x29, wVL)
	load(pNone|p66, 0x2a, w8)
	t.set(pF3|pF2, 0x2a, 0x2a, spec{op: OpToVec, size: wY, attr: ge | regV | rmR})
	t.set(pNone|p66, 0x2b, 0x2b, spec{size: wVL, attr: vStore | memOnly})
	t.set(pF3, 0x2b, 0x2b, spec{size: wVL, mem: w4, attr: vStore | memOnly})
	t.set(pF2, 0x2b, 0x2b, spec{size: wVL, mem: w8, attr: vStore | memOnly})
	for op := 0x2c; op <= 0x2d; op++ {
		load(pNone, op, w8)
		load(p66, op, w16)
		t.set(pF3, op, op, spec{op: OpFromVec, size: wY, mem: w4, attr: ge | regW | rmV | rmR})
		t.set(pF2, op, op, spec{op: OpFromVec, size: wY, mem: w8, attr: ge | regW | rmV | rmR})
		load(pNone, op+2, w4)
		load(p66, op+2, w8)
	}
	t.set(pAll, 0x30, 0x30, spec{size: w4, r: sAX | sCX | sDX})
	t.set(pAll, 0x31, 0x31, spec{size: w4, w: sAX | sDX})
	t.set(pAll, 0x32, 0x33, spec{size: w4, r: sCX, w: sAX | sDX})
	t.set(pAll, 0x34, 0x34, spec{op: OpSysenter, size: w8, r: sAX, w: AllRegs})
	t.set(pAll, 0x35, 0x35, spec{op: OpTrap, size: w8, r: sCX | sDX})
	t.set(pAll, 0x37, 0x37, spec{attr: opaque})
	t.set(pAll, 0x40, 0x4f, spec{op: OpCmov, size: wV, attr: ge | regR | regW | rmR, x: xCond})
	t.set(pNone|p66, 0x50, 0x50, spec{op: OpFromVec, size: w4, attr: ge | regW | rmV | regOnly})
	scalar(0x51)
	for op := 0x52; op <= 0x53; op++ {
		load(pNone, op, wVL)
		load(pF3, op, w4)
	}
	for op := 0x54; op <= 0x57; op++ {
		load(pNone|p66, op, wVL)
	}
	scalar(0x58)
	scalar(0x59)
	scalar(0x5a)
	load(pNone, 0x5a, wHalf)
	load(pNone|p66|pF3, 0x5b, wVL)
	for op := 0x5c; op <= 0x5f; op++ {
		scalar(op)
	}
	// 60 to fe: MMX without prefix, SSE with 66.
	mmx := func(first, last int) {
		t.set(pNone, first, last, spec{size: w8, attr: vLoad})
		t.set(p66, first, last, spec{size: wVL, attr: vLoad})
	}
	mmx(0x60, 0x6b)
	t.set(pNone, 0x60, 0x62, spec{size: w8, mem: w4, attr: vLoad})
	load(p66, 0x6c, wVL)
	load(p66, 0x6d, wVL)
	t.set(pNone|p66, 0x6e, 0x6e, spec{op: OpToVec, size: wY, attr: ge | regV | rmR})
	mmx(0x6f, 0x6f)
	load(pF3, 0x6f, wVL)
	t.set(pNone, 0x70, 0x70, spec{size: w8, attr: vLoad, imm: iB})
	t.set(p66|pF3|pF2, 0x70, 0x70, spec{size: wVL, attr: vLoad, imm: iB})
	t.set(pNone|p66, 0x71, 0x73, spec{x: xGroup, size: gMaskShift})
	t.set(pNone|p66, 0x73, 0x73, spec{x: xGroup, size: gMaskShiftQ})
	mmx(0x74, 0x76)
	t.set(pAll, 0x77, 0x77, spec{}) // emms
	t.set(pNone, 0x78, 0x78, spec{size: w8, attr: eg | rmW | regR})
	t.set(pNone, 0x79, 0x79, spec{size: w8, attr: ge | regR | rmR})
	t.set(p66, 0x78, 0x78, spec{size: w16, attr: eOp | rmV | regOnly, imm: iTwo})       // extrq
	t.set(pF2, 0x78, 0x78, spec{size: w16, attr: ge | rmV | regV | regOnly, imm: iTwo}) // insertq
	t.set(p66|pF2, 0x79, 0x79, spec{size: w16, attr: ge | rmV | regV | regOnly})
	for op := 0x7c; op <= 0x7d; op++ {
		load(p66|pF2, op, wVL)
	}
	t.set(pNone|p66, 0x7e, 0x7e, spec{op: OpFromVec, size: wY, attr: eg | rmW | regV})
	load(pF3, 0x7e, w8)
	t.set(pNone, 0x7f, 0x7f, spec{size: w8, attr: vStore})
	store(p66|pF3, 0x7f, wVL)
	t.set(pAll, 0x80, 0x8f, spec{op: OpJcc, imm: iJZ, x: xCond})
	t.set(pAll, 0x90, 0x9f, spec{op: OpSet, size: w1, attr: eOp | rmW, x: xCond})
	for _, op := range []int{0xa0, 0xa8} {
		t.set(pAll, op, op, spec{op: OpPush, size: wStack, r: sSP, w: sSP, x: xStackV})
		t.set(pAll, op+1, op+1, spec{op: OpPop, size: wStack, r: sSP, w: sSP, x: xStackV})
	}
	t.set(pAll, 0xa2, 0xa2, spec{size: w4, r: sAX | sCX, w: sAX | sBX | sCX | sDX})
	t.set(pAll, 0xa3, 0xa3, spec{op: OpBt, size: wV, attr: eg | rmR | regR, x: xBitMem})
	for _, op := range []int{0xab, 0xb3, 0xbb} {
		t.set(pAll, op, op, spec{size: wV, attr: eg | rw | regR, x: xBitMem})
	}
	for _, op := range []int{0xa4, 0xac} { // shld, shrd
		t.set(pAll, op, op, spec{size: wV, attr: eg | rw | regR, imm: iB})
		t.set(pAll, op+1, op+1, spec{size: wV, attr: eg | rw | regR, r: sCX})
	}
	t.set(pAll, 0xa6, 0xa7, spec{attr: eOp | rmV | opaque, x: xPadlock})
	t.set(pAll, 0xaa, 0xaa, spec{op: OpTrap})
	t.set(pAll, 0xae, 0xae, spec{size: w8, mem: wUnknown, attr: eOp | rmV, x: xGrp15})
	t.set(pAll, 0xaf, 0xaf, spec{op: OpImul, size: wV, attr: ge | regR | regW | rmR})
	t.set(pAll, 0xb0, 0xb0, spec{op: OpCmpxchg, size: w1, attr: eg | rw | regR, r: sAX, w: sAX})
	t.set(pAll, 0xb1, 0xb1, spec{op: OpCmpxchg, size: wV, attr: eg | rw | regR, r: sAX, w: sAX})
	for _, op := range []int{0xb2, 0xb4, 0xb5} { // lss, lfs, lgs
		t.set(pAll, op, op, spec{size: wV, mem: wFar, attr: ge | regW | rmR | memOnly})
	}
	t.set(pAll, 0xb6, 0xb6, spec{op: OpMovZX, size: wV, mem: w1, attr: ge | regW | rmR | rmWide})
	t.set(pAll, 0xb7, 0xb7, spec{op: OpMovZX, size: wV, mem: w2, attr: ge | regW | rmR | rmWide})
	t.set(pAll, 0xbe, 0xbe, spec{op: OpMovSX, size: wV, mem: w1, attr: ge | regW | rmR | rmWide})
	t.set(pAll, 0xbf, 0xbf, spec{op: OpMovSX, size: wV, mem: w2, attr: ge | regW | rmR | rmWide})
	t.set(pF3, 0xb8, 0xb8, spec{size: wV, attr: ge | regW | rmR}) // popcnt
	t.set(pAll, 0xb9, 0xb9, spec{op: OpTrap, size: wV, mem: w4, attr: eg | noTouch | rmV | regV})
	t.set(pAll, 0xba, 0xba, spec{x: xGroup, size: g8})
	t.set(pAll, 0xbc, 0xbd, spec{size: wV, attr: ge | regR | regW | rmR}) // bsf, bsr
	t.set(pF3, 0xbc, 0xbd, spec{size: wV, attr: ge | regW | rmR})         // tzcnt, lzcnt
	t.set(pAll, 0xc0, 0xc0, spec{op: OpXadd, size: w1, attr: eg | rw | regR | regW})
	t.set(pAll, 0xc1, 0xc1, spec{op: OpXadd, size: wV, attr: eg | rw | regR | regW})
	scalar(0xc2)
	for r := range t {
		t[r][0xc2].imm = iB
	}
	t.set(pNone, 0xc3, 0xc3, spec{op: OpMov, size: wY, attr: eg | rmW | regR | memOnly}) // movnti
	t.set(pNone|p66, 0xc4, 0xc4, spec{op: OpToVec, size: w4, mem: w2, attr: ge | regV | rmR, imm: iB})
	t.set(pNone|p66, 0xc5, 0xc5, spec{op: OpFromVec, size: w4, attr: ge | regW | rmV | regOnly, imm: iB})
	t.set(pNone|p66, 0xc6, 0xc6, spec{size: wVL, attr: vLoad, imm: iB})
	t.set(pAll, 0xc7, 0xc7, spec{size: w8, mem: wUnknown, attr: eOp | rmV, x: xGrp9})
	t.set(pAll, 0xc8, 0xcf, spec{size: wV, attr: opReg | rw}) // bswap
	load(p66|pF2, 0xd0, wVL)
	mmx(0xd1, 0xd5)
	store(p66, 0xd6, w8)
	t.set(pF3|pF2, 0xd6, 0xd6, spec{size: wVL, attr: vLoad | regOnly})
	t.set(pNone|p66, 0xd7, 0xd7, spec{op: OpFromVec, size: w4, attr: ge | regW | rmV | regOnly})
	mmx(0xd8, 0xe5)
	load(p66|pF2, 0xe6, wVL)
	load(pF3, 0xe6, wHalf)
	t.set(pNone, 0xe7, 0xe7, spec{size: w8, attr: vStore | memOnly})
	t.set(p66, 0xe7, 0xe7, spec{size: wVL, attr: vStore | memOnly})
	mmx(0xe8, 0xef)
	t.set(pF2, 0xf0, 0xf0, spec{size: wVL, attr: vLoad | memOnly})
	mmx(0xf1, 0xf6)
	t.set(pNone, 0xf7, 0xf7, spec{size: w8, attr: ge | rmV | regV | regOnly, x: xMaskMov})
	t.set(p66, 0xf7, 0xf7, spec{size: wVL, attr: ge | rmV | regV | regOnly, x: xMaskMov})
	mmx(0xf8, 0xfe)
	t.set(pAll, 0xff, 0xff, spec{op: OpTrap, size: wV, mem: w4, attr: eg | noTouch | rmV | regV}) // ud0
	return t
}

// build38 builds the map 0f 38. Opcodes of it that are not known have a ModRM byte and no immediate.
func build38() (t opcodeMap) {
	t.set(pAll, 0x00, 0xff, spec{attr: eg | rmV | regV | opaque | rmR | rmW, mem: wUnknown})
	load := func(mask, first, last int, mem width) {
		t.set(mask, first, last, spec{size: wVL, mem: mem, attr: vLoad})
	}
	for _, r := range [][2]int{{0x00, 0x0b}, {0x1c, 0x1e}} {
		t.set(pNone, r[0], r[1], spec{size: w8, attr: vLoad})
		load(p66, r[0], r[1], wVL)
	}
	for _, op := range []int{0x10, 0x14, 0x15, 0x17, 0x28, 0x29, 0x2b, 0xcf} {
		load(p66, op, op, wVL)
	}
	for _, b := range []int{0x20, 0x30} { // pmovsx, pmovzx
		for i, w := range []width{wHalf, wQuarter, wEighth, wHalf, wQuarter, wHalf} {
			load(p66, b+i, b+i, w)
		}
	}
	t.set(p66, 0x2a, 0x2a, spec{size: wVL, attr: vLoad | memOnly})
	load(p66, 0x37, 0x41, wVL)
	t.set(p66, 0x80, 0x82, spec{size: w8, mem: w16, attr: ge | regR | rmR | memOnly}) // invept, invvpid, invpcid
	load(pNone, 0xc8, 0xcd, wVL)
	load(p66, 0xdb, 0xdf, wVL)
	t.set(pF3, 0xd8, 0xd8, spec{x: xGroup, size: gKeyLocker})
	for _, row := range []int{pNone, p66} { // movbe
		t.set(row, 0xf0, 0xf0, spec{size: wV, attr: ge | regW | rmR | memOnly})
		t.set(row, 0xf1, 0xf1, spec{size: wV, attr: eg | rmW | regR | memOnly})
	}
	t.set(pF2, 0xf0, 0xf0, spec{size: wY, mem: w1, attr: ge | regR | regW | rmR | rmWide}) // crc32
	t.set(pF2, 0xf1, 0xf1, spec{size: wY, mem: wV, attr: ge | regR | regW | rmR | rmWide})
	t.set(p66, 0xf5, 0xf5, spec{size: wY, attr: eg | rmW | regR | memOnly})              // wruss
	t.set(pNone, 0xf6, 0xf6, spec{size: wY, attr: eg | rmW | regR | memOnly})            // wrss
	t.set(p66|pF3, 0xf6, 0xf6, spec{size: wY, attr: ge | regR | regW | rmR})             // adcx, adox
	t.set(pNone, 0xf9, 0xf9, spec{op: OpMov, size: wY, attr: eg | rmW | regR | memOnly}) // movdiri
	t.set(pAll, 0xfc, 0xfc, spec{size: wY, attr: eg | rw | regR | memOnly})              // aadd, aand, axor, aor
	return t
}

// build3A builds the map 0f 3a. Every opcode of it has a ModRM byte and an immediate byte.
func build3A() (t opcodeMap) {
	t.set(pAll, 0x00, 0xff, spec{attr: eg | rmV | regV | opaque | rmR | rmW, mem: wUnknown, imm: iB})
	load := func(mask, first, last int, mem width) {
		t.set(mask, first, last, spec{size: wVL, mem: mem, attr: vLoad, imm: iB})
	}
	load(p66, 0x08, 0x0f, wVL)
	t.set(pNone, 0x0f, 0x0f, spec{size: w8, attr: vLoad, imm: iB})
	load(p66, 0x0a, 0x0a, w4)
	load(p66, 0x0b, 0x0b, w8)
	t.set(p66, 0x14, 0x14, spec{op: OpFromVec, size: w4, mem: w1, attr: eg | rmW | regV, imm: iB})
	t.set(p66, 0x15, 0x15, spec{op: OpFromVec, size: w4, mem: w2, attr: eg | rmW | regV, imm: iB})
	t.set(p66, 0x16, 0x16, spec{op: OpFromVec, size: wY, attr: eg | rmW | regV, imm: iB})
	t.set(p66, 0x17, 0x17, spec{op: OpFromVec, size: w4, attr: eg | rmW | regV, imm: iB})
	t.set(p66, 0x20, 0x20, spec{op: OpToVec, size: w4, mem: w1, attr: ge | regV | rmR, imm: iB})
	load(p66, 0x21, 0x21, w4)
	t.set(p66, 0x22, 0x22, spec{op: OpToVec, size: wY, attr: ge | regV | rmR, imm: iB})
	load(p66, 0x40, 0x42, wVL)
	load(p66, 0x44, 0x44, wVL)
	cmp := func(op int, r, w RegSet) {
		t.set(p66, op, op, spec{size: wVL, attr: vLoad, imm: iB, r: r, w: w})
	}
	cmp(0x60, sAX|sDX, 0)
	cmp(0x61, sAX|sDX, sCX)
	cmp(0x62, 0, 0)
	cmp(0x63, 0, sCX)
	load(pNone, 0xcc, 0xcc, wVL)
	load(p66, 0xce, 0xcf, wVL)
	load(p66, 0xdf, 0xdf, wVL)
	return t
}
