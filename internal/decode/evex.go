package decode

// The opcode maps of EVEX encoding, by mmm; map 4 (APX) and map 7 do not exist yet.
var evexMaps = [8]*opcodeMap{1: buildEVEX1(), 2: buildEVEX2(), 3: buildEVEX3(), 5: buildEVEX5(), 6: buildEVEX6()}

// evex decodes an EVEX instruction, of which 62 was read.
func (d *decoder) evex(in *Inst) bool {
	if !d.noLegacy(in) || len(d.code) < d.pos+4 {
		return false
	}
	p0, p1, p2 := d.code[d.pos], d.code[d.pos+1], d.code[d.pos+2]
	t := evexMaps[p0&7]
	if t == nil || p0&8 != 0 || p1&4 == 0 {
		return false
	}
	d.op = d.code[d.pos+3]
	d.pos += 4
	d.enc = encEVEX
	d.rex = ^p0>>5&(rexR|rexX|rexB) | p1>>4&rexW
	d.vvvv = ^p1 >> 3 & 15
	d.bcast = p2&0x10 != 0
	isReg := d.pos < len(d.code) && d.code[d.pos] >= 0xc0
	switch {
	case isReg && d.bcast: // the length field holds the rounding mode
		d.vl = 64
	case p2>>5&3 == 3:
		return false
	default:
		d.vl = 16 << (p2 >> 5 & 3)
	}
	sp := &t[p1&3][d.op]
	if !d.apply(sp, in) {
		return false
	}
	if d.disp != 0 {
		in.Disp *= d.disp8Unit(sp, in)
	}
	return true
}

// disp8Unit is what an 8-bit displacement counts in: the size of the memory operand, or of one of its elements where the
// memory operand is made of elements that are far apart or fewer than the register's.
func (d *decoder) disp8Unit(sp *spec, in *Inst) int64 {
	switch {
	case sp.x == xElem:
		return int64(d.width(wY))
	case sp.x == xElemB:
		return int64(d.width(wByWord))
	case in.MemSize != 0:
		return int64(in.MemSize)
	}
	return int64(d.vl) // opaque: the memory operand means nothing
}

// broadcast turns the memory widths of VEX instructions into those of EVEX, which can broadcast one element.
func (t *opcodeMap) broadcast() {
	for r := range t {
		for op := range t[r] {
			sp := &t[r][op]
			if sp.attr&(rmV|regV|rmR|opaque) != rmV|regV|rmR {
				continue
			}
			switch {
			case sp.mem == wVL || sp.mem == wSame && sp.size == wVL:
				sp.mem = wFull
			case sp.mem == wHalf:
				sp.mem = wHalfV
			}
		}
	}
}

// buildEVEX1 builds EVEX map 1 from what it shares with VEX.
func buildEVEX1() *opcodeMap {
	t := buildVEX1()
	for _, r := range [][2]int{{0x41, 0x4b}, {0x50, 0x50}, {0x52, 0x53}, {0x77, 0x77}, {0x7c, 0x7d}, {0x90, 0x99}, {0xae, 0xae},
		{0xd0, 0xd0}, {0xd7, 0xd7}, {0xf0, 0xf0}, {0xf7, 0xf7}} {
		for op := r[0]; op <= r[1]; op++ {
			for row := range t {
				t[row][op] = spec{}
			}
		}
	}
	load := func(mask, first, last int, mem width) {
		t.set(mask, first, last, spec{size: wVL, mem: mem, attr: vLoad})
	}
	t.set(p66, 0x71, 0x73, spec{size: wVL, mem: wFull, attr: eIn | rmV | rmR, imm: iB})
	load(p66|pF3|pF2, 0x6f, 0x6f, wVL)
	t.set(p66|pF3|pF2, 0x7f, 0x7f, spec{size: wVL, attr: vStore})
	load(pF3, 0xe6, 0xe6, wHalfW)
	load(pNone, 0x78, 0x79, wFull)
	load(p66, 0x78, 0x79, wHalfW)
	load(p66, 0x7a, 0x7b, wHalfW)
	load(pF3, 0x7a, 0x7a, wHalfW)
	load(pF2, 0x7a, 0x7a, wFull)
	for op := 0x78; op <= 0x79; op++ {
		t.set(pF3, op, op, spec{op: OpFromVec, size: wY, mem: w4, attr: ge | regW | rmV | rmR})
		t.set(pF2, op, op, spec{op: OpFromVec, size: wY, mem: w8, attr: ge | regW | rmV | rmR})
	}
	t.set(pF3|pF2, 0x7b, 0x7b, spec{op: OpToVec, size: wY, attr: ge | regV | rmR})
	t.broadcast()
	return &t
}

// buildEVEX2 builds EVEX map 2. What is not known of it has a ModRM byte and no immediate.
func buildEVEX2() *opcodeMap {
	var t opcodeMap
	t.set(pAll, 0x00, 0xff, spec{attr: eg | rmV | regV | opaque | rmR | rmW, mem: wUnknown})
	load := func(mask, first, last int, mem width) {
		t.set(mask, first, last, spec{size: wVL, mem: mem, attr: vLoad})
	}
	store := func(mask, op int, mem width) {
		t.set(mask, op, op, spec{size: wVL, mem: mem, attr: vStore})
	}
	load(p66, 0x00, 0x00, wFull)
	load(p66, 0x04, 0x04, wFull)
	load(p66, 0x0b, 0x0d, wFull)
	load(p66, 0x10, 0x12, wFull)
	load(p66, 0x13, 0x13, wHalf)
	load(p66, 0x14, 0x16, wFull)
	load(p66, 0x18, 0x18, w4)
	load(p66, 0x19, 0x19, w8)
	load(p66, 0x1a, 0x1a, w16)
	load(p66, 0x1b, 0x1b, w32)
	load(p66, 0x1c, 0x1f, wFull)
	for i, w := range []width{wHalf, wQuarter, wEighth, wHalf, wQuarter, wHalf} {
		for _, b := range []int{0x20, 0x30} { // vpmovsx, vpmovzx; vpmovs, vpmov
			load(p66, b+i, b+i, w)
			store(pF3, b+i, w)
		}
		store(pF3, 0x10+i, w) // vpmovus
	}
	load(p66|pF3, 0x26, 0x27, wFull)
	load(p66, 0x28, 0x29, wFull)
	load(p66, 0x2a, 0x2a, wVL)
	load(p66, 0x2b, 0x2c, wFull)
	load(p66, 0x2d, 0x2d, wY)
	for _, op := range []int{0x28, 0x29, 0x2a, 0x38, 0x39, 0x3a} { // between masks and vectors
		t.set(pF3, op, op, spec{size: wVL, attr: vLoad | regOnly})
	}
	load(p66, 0x36, 0x40, wFull)
	for _, op := range []int{0x42, 0x4c, 0x4e, 0xca, 0xcc} {
		load(p66, op, op, wFull)
		load(p66, op+1, op+1, wY)
	}
	load(p66, 0x44, 0x47, wFull)
	load(p66, 0x50, 0x55, wFull)
	load(pF3, 0x52, 0x52, wFull)
	load(pF2, 0x52, 0x53, w16)
	load(p66, 0x58, 0x58, w4)
	load(p66, 0x59, 0x59, w8)
	load(p66, 0x5a, 0x5a, w16)
	load(p66, 0x5b, 0x5b, w32)
	t.set(p66, 0x62, 0x62, spec{size: wVL, mem: wUnknown, attr: vLoad, x: xElemB})
	t.set(p66, 0x63, 0x63, spec{size: wVL, mem: wUnknown, attr: vStore, x: xElemB})
	load(p66, 0x64, 0x66, wFull)
	load(pF2, 0x68, 0x68, wFull)
	load(p66, 0x70, 0x73, wFull)
	load(pF3|pF2, 0x72, 0x72, wFull)
	load(p66, 0x75, 0x77, wFull)
	load(p66, 0x78, 0x78, w1)
	load(p66, 0x79, 0x79, w2)
	t.set(p66, 0x7a, 0x7b, spec{op: OpToVec, size: w4, attr: ge | regV | rmR | regOnly})
	t.set(p66, 0x7c, 0x7c, spec{op: OpToVec, size: wY, attr: ge | regV | rmR | regOnly})
	load(p66, 0x7d, 0x7f, wFull)
	load(p66, 0x83, 0x83, wFull)
	t.set(p66, 0x88, 0x89, spec{size: wVL, mem: wUnknown, attr: vLoad, x: xElem})
	t.set(p66, 0x8a, 0x8b, spec{size: wVL, mem: wUnknown, attr: vStore, x: xElem})
	load(p66, 0x8d, 0x8d, wFull)
	load(p66, 0x8f, 0x8f, wFull)
	t.set(p66, 0x90, 0x93, spec{size: wVL, mem: wUnknown, attr: vLoad | memOnly | vsib, x: xElem})
	fma(&t, p66, wFull, wY)
	for _, op := range []int{0x9a, 0xaa} { // v4fmadd, v4fnmadd
		load(pF2, op, op+1, w16)
	}
	t.set(p66, 0xa0, 0xa3, spec{size: wVL, mem: wUnknown, attr: vStore | memOnly | vsib | opaque, x: xElem})
	load(p66, 0xb4, 0xb5, wFull)
	load(p66, 0xc4, 0xc4, wFull)
	t.set(p66, 0xc6, 0xc7, spec{op: OpNop, size: wVL, mem: wUnknown, attr: eOp | rmV | noTouch | memOnly | vsib, x: xElem})
	load(p66, 0xc8, 0xc8, wFull)
	load(p66, 0xcf, 0xcf, wFull)
	load(p66, 0xdc, 0xdf, wFull)
	return &t
}

// buildEVEX3 builds EVEX map 3. Every opcode of it has a ModRM byte and an immediate byte.
func buildEVEX3() *opcodeMap {
	var t opcodeMap
	t.set(pAll, 0x00, 0xff, spec{attr: eg | rmV | regV | opaque | rmR | rmW, mem: wUnknown, imm: iB})
	legacy := build3A()
	for _, r := range [][2]int{{0x14, 0x17}, {0x20, 0x22}} {
		copy(t[1][r[0]:r[1]+1], legacy[1][r[0]:r[1]+1])
	}
	load := func(mask, first, last int, mem width) {
		t.set(mask, first, last, spec{size: wVL, mem: mem, attr: vLoad, imm: iB})
	}
	store := func(op int, mem width) {
		t.set(p66, op, op, spec{size: wVL, mem: mem, attr: vStore, imm: iB})
	}
	load(p66, 0x00, 0x01, wFull)
	load(p66, 0x03, 0x05, wFull)
	load(p66, 0x08, 0x09, wFull)
	load(p66, 0x0a, 0x0a, w4)
	load(p66, 0x0b, 0x0b, w8)
	load(p66, 0x0f, 0x0f, wFull)
	for _, b := range []int{0x18, 0x38} { // insert and extract 16 and 32 bytes
		load(p66, b, b, w16)
		store(b+1, w16)
		load(p66, b+2, b+2, w32)
		store(b+3, w32)
	}
	store(0x1d, wHalf)
	load(p66, 0x1e, 0x1f, wFull)
	load(p66, 0x23, 0x23, wFull)
	load(p66, 0x25, 0x25, wFull)
	for _, op := range []int{0x26, 0x50, 0x54, 0x56, 0x66} {
		load(p66, op, op, wFull)
		load(p66, op+1, op+1, wY)
	}
	load(p66, 0x3e, 0x3f, wFull)
	load(p66, 0x42, 0x44, wFull)
	load(p66, 0x70, 0x73, wFull)
	load(p66, 0xce, 0xcf, wFull)
	// Half precision.
	load(pNone, 0x08, 0x08, wFullH)
	load(pNone, 0x0a, 0x0a, w2)
	for _, op := range []int{0x26, 0x56, 0x66} {
		load(pNone, op, op, wFullH)
		load(pNone, op+1, op+1, w2)
	}
	load(pNone, 0xc2, 0xc2, wFullH)
	load(pF3, 0xc2, 0xc2, w2)
	return &t
}

// buildEVEX5 builds EVEX map 5: half-precision forms of map 1.
func buildEVEX5() *opcodeMap {
	var t opcodeMap
	t.set(pAll, 0x00, 0xff, spec{attr: eg | rmV | regV | opaque | rmR | rmW, mem: wUnknown})
	load := func(mask, op int, mem width) {
		t.set(mask, op, op, spec{size: wVL, mem: mem, attr: vLoad})
	}
	load(pF3, 0x10, w2)
	t.set(pF3, 0x11, 0x11, spec{size: wVL, mem: w2, attr: vStore})
	load(pNone, 0x1d, w4)
	load(p66, 0x1d, wFull)
	t.set(pF3, 0x2a, 0x2a, spec{op: OpToVec, size: wY, attr: ge | regV | rmR})
	t.set(pF3, 0x2c, 0x2d, spec{op: OpFromVec, size: wY, mem: w2, attr: ge | regW | rmV | rmR})
	load(pNone, 0x2e, w2)
	load(pNone, 0x2f, w2)
	for _, op := range []int{0x51, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f} {
		load(pNone, op, wFullH)
		load(pF3, op, w2)
	}
	load(pNone, 0x5a, wQuartH)
	load(p66, 0x5a, wFull)
	load(pF3, 0x5a, w2)
	load(pF2, 0x5a, w8)
	load(pNone, 0x5b, wFull)
	load(p66|pF3, 0x5b, wHalfH)
	t.set(p66, 0x6e, 0x6e, spec{op: OpToVec, size: w4, mem: w2, attr: ge | regV | rmR})
	t.set(p66, 0x7e, 0x7e, spec{op: OpFromVec, size: w4, mem: w2, attr: eg | rmW | regV})
	for op := 0x78; op <= 0x79; op++ {
		load(pNone, op, wHalfH)
		load(p66, op, wQuartH)
		t.set(pF3, op, op, spec{op: OpFromVec, size: wY, mem: w2, attr: ge | regW | rmV | rmR})
	}
	load(p66, 0x7a, wQuartH)
	load(pF2, 0x7a, wFull)
	load(p66, 0x7b, wQuartH)
	t.set(pF3, 0x7b, 0x7b, spec{op: OpToVec, size: wY, attr: ge | regV | rmR})
	load(pNone|p66, 0x7c, wFullH)
	load(pAll, 0x7d, wFullH)
	return &t
}

// buildEVEX6 builds EVEX map 6: half-precision forms of map 2.
func buildEVEX6() *opcodeMap {
	var t opcodeMap
	t.set(pAll, 0x00, 0xff, spec{attr: eg | rmV | regV | opaque | rmR | rmW, mem: wUnknown})
	load := func(mask, op int, mem width) {
		t.set(mask, op, op, spec{size: wVL, mem: mem, attr: vLoad})
	}
	load(pNone, 0x13, w2)
	load(p66, 0x13, wHalfH)
	for _, op := range []int{0x2c, 0x42, 0x4c, 0x4e} {
		load(p66, op, wFullH)
		load(p66, op+1, w2)
	}
	for _, op := range []int{0x56, 0xd6} { // complex multiplication: elements of 4 bytes
		load(pF3|pF2, op, wFull)
		load(pF3|pF2, op+1, w4)
	}
	fma(&t, p66, wFullH, w2)
	return &t
}
