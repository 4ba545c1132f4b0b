package decode

// The opcode maps of VEX encoding, by mmmmm.
var (
	vex1 = buildVEX1()
	vex2 = buildVEX2()
	vex3 = buildVEX3()
)

// The XOP maps; the rows are all alike, so there is one each.
var (
	xop8 = buildXOP(8)
	xop9 = buildXOP(9)
	xopA = buildXOP(10)
)

// noLegacy reports whether none of the prefixes is there that make a VEX, EVEX or XOP instruction invalid.
func (d *decoder) noLegacy(in *Inst) bool {
	return !d.opsz && d.rep == 0 && !d.hasRex && in.Flags&Lock == 0
}

// vex decodes a VEX instruction, of which b (c4 or c5) was read.
func (d *decoder) vex(b byte, in *Inst) bool {
	p, ok := d.next()
	if !ok || !d.noLegacy(in) {
		return false
	}
	d.enc = encVEX
	d.rex = ^p >> 5 & rexR
	mapNo := byte(1)
	if b == 0xc4 {
		mapNo = p & 31
		d.rex = ^p >> 5 & (rexR | rexX | rexB)
		if p, ok = d.next(); !ok {
			return false
		}
		d.rex |= p >> 4 & rexW
	}
	d.vvvv = ^p >> 3 & 15
	if p&4 != 0 {
		d.vl = 32
	}
	if d.op, ok = d.next(); !ok {
		return false
	}
	var t *opcodeMap
	switch mapNo {
	case 1:
		t = &vex1
	case 2:
		t = &vex2
	case 3:
		t = &vex3
	default:
		return false
	}
	return d.apply(&t[p&3][d.op], in)
}

// xop decodes an AMD XOP instruction, of which 8f was read.
func (d *decoder) xop(in *Inst) bool {
	if !d.noLegacy(in) || len(d.code) < d.pos+3 {
		return false
	}
	p0, p1 := d.code[d.pos], d.code[d.pos+1]
	d.op = d.code[d.pos+2]
	d.pos += 3
	d.enc = encXOP
	d.rex = ^p0>>5&(rexR|rexX|rexB) | p1>>4&rexW
	d.vvvv = ^p1 >> 3 & 15
	if p1&4 != 0 {
		d.vl = 32
	}
	switch p0 & 31 {
	case 8:
		return d.apply(&xop8[d.op], in)
	case 9:
		return d.apply(&xop9[d.op], in)
	case 10:
		return d.apply(&xopA[d.op], in)
	}
	return false
}

// vectorOnly reports whether sp is an instruction of map 0f that VEX encodes too: one of vectors that is not MMX.
func vectorOnly(sp spec) bool {
	if sp.attr&known == 0 || sp.x != xNone || sp.attr&anyPfx != 0 {
		return false
	}
	if sp.attr&(rmV|regV) == rmV|regV {
		return sp.size == wVL
	}
	return sp.op == OpToVec || sp.op == OpFromVec
}

// shiftCounts are the shifts by the low part of an XMM register or 16 bytes of memory, whatever the vector length.
var shiftCounts = []int{0xd1, 0xd2, 0xd3, 0xe1, 0xe2, 0xf1, 0xf2, 0xf3}

// buildVEX1 builds VEX map 1 from what it shares with the legacy map.
func buildVEX1() (t opcodeMap) {
	legacy := build0F()
	for r := range t {
		for op := range 256 {
			if r == 0 && (op >= 0x60 && op < 0xc2 || op >= 0xc3 && op != 0xc6) {
				continue // MMX
			}
			if op == 0x2a && r < 2 || (op == 0x2c || op == 0x2d) && r < 2 || op == 0x0f || op >= 0x18 && op <= 0x23 || op == 0xd6 && r != 1 {
				continue
			}
			if vectorOnly(legacy[r][op]) {
				t[r][op] = legacy[r][op]
			}
		}
	}
	for _, op := range shiftCounts {
		t[1][op].mem = w16
	}
	for _, op := range []int{0x2b} { // movntss, movntsd are SSE4a only
		t[2][op], t[3][op] = spec{}, spec{}
	}
	t.set(p66, 0x71, 0x72, spec{x: xGroup, size: gMaskShift})
	t.set(p66, 0x73, 0x73, spec{x: xGroup, size: gMaskShiftQ})
	t[1][0x78], t[3][0x78], t[1][0x79], t[3][0x79] = spec{}, spec{}, spec{}, spec{}
	t.set(p66, 0xf7, 0xf7, spec{size: wVL, attr: ge | rmV | regV | regOnly, x: xMaskMov})
	t.set(pNone, 0x77, 0x77, spec{}) // vzeroupper, vzeroall
	// Mask registers.
	for _, op := range []int{0x41, 0x42, 0x44, 0x45, 0x46, 0x47, 0x4a, 0x4b, 0x98, 0x99} {
		t.set(pNone|p66, op, op, spec{size: w8, attr: vLoad | regOnly})
	}
	t.set(pNone, 0x90, 0x90, spec{size: w8, mem: wMaskW, attr: vLoad})
	t.set(p66, 0x90, 0x90, spec{size: w8, mem: wMaskB, attr: vLoad})
	t.set(pNone, 0x91, 0x91, spec{size: w8, mem: wMaskW, attr: vStore | memOnly})
	t.set(p66, 0x91, 0x91, spec{size: w8, mem: wMaskB, attr: vStore | memOnly})
	t.set(pNone|p66, 0x92, 0x92, spec{op: OpToVec, size: w4, attr: ge | regV | rmR | regOnly})
	t.set(pF2, 0x92, 0x92, spec{op: OpToVec, size: wY, attr: ge | regV | rmR | regOnly})
	t.set(pNone|p66, 0x93, 0x93, spec{op: OpFromVec, size: w4, attr: ge | regW | rmV | regOnly})
	t.set(pF2, 0x93, 0x93, spec{op: OpFromVec, size: wY, attr: ge | regW | rmV | regOnly})
	t.set(pNone, 0xae, 0xae, spec{size: w8, mem: wUnknown, attr: eOp | rmV | memOnly, x: xGrp15})
	return t
}

// buildVEX2 builds VEX map 2. What is not known of it has a ModRM byte and no immediate.
func buildVEX2() (t opcodeMap) {
	t.set(pAll, 0x00, 0xff, spec{attr: eg | rmV | regV | opaque | rmR | rmW, mem: wUnknown})
	load := func(mask, first, last int, mem width) {
		t.set(mask, first, last, spec{size: wVL, mem: mem, attr: vLoad})
	}
	load(p66, 0x00, 0x0f, wVL)
	load(p66, 0x13, 0x13, wHalf)
	load(p66, 0x16, 0x17, wVL)
	load(p66, 0x18, 0x18, w4)
	load(p66, 0x19, 0x19, w8)
	load(p66, 0x1a, 0x1a, w16)
	load(p66, 0x1c, 0x1e, wVL)
	for _, b := range []int{0x20, 0x30} {
		for i, w := range []width{wHalf, wQuarter, wEighth, wHalf, wQuarter, wHalf} {
			load(p66, b+i, b+i, w)
		}
	}
	load(p66, 0x28, 0x2d, wVL)
	t.set(p66, 0x2e, 0x2f, spec{size: wVL, attr: vStore | memOnly})
	load(p66, 0x36, 0x41, wVL)
	load(p66, 0x41, 0x41, w16)
	load(p66, 0x45, 0x47, wVL)
	load(pAll, 0x50, 0x51, wVL)
	load(p66, 0x52, 0x53, wVL)
	load(p66, 0x58, 0x58, w4)
	load(p66, 0x59, 0x59, w8)
	load(p66, 0x5a, 0x5a, w16)
	load(p66, 0x78, 0x78, w1)
	load(p66, 0x79, 0x79, w2)
	t.set(p66, 0x8c, 0x8c, spec{size: wVL, attr: vLoad | memOnly})
	t.set(p66, 0x8e, 0x8e, spec{size: wVL, attr: vStore | memOnly})
	t.set(p66, 0x90, 0x93, spec{size: wVL, mem: wUnknown, attr: vLoad | memOnly | vsib})
	fma(&t, p66, wVL, wY)
	load(pAll, 0xb0, 0xb0, wVL)
	load(p66|pF3, 0xb1, 0xb1, w2)
	load(p66, 0xb4, 0xb5, wVL)
	load(p66, 0xcf, 0xcf, wVL)
	load(p66, 0xdb, 0xdf, wVL)
	t.set(p66, 0xe0, 0xef, spec{size: wY, attr: eg | rw | regR | regW | vR | memOnly}) // cmpccxadd
	t.set(pNone, 0xf2, 0xf2, spec{size: wY, attr: ge | regW | rmR | vR})               // andn
	t.set(pNone, 0xf3, 0xf3, spec{size: wY, attr: eIn | rmR | vW, x: xBMI})
	t.set(pNone, 0xf5, 0xf5, spec{size: wY, attr: ge | regW | rmR | vR})       // bzhi
	t.set(pF3|pF2, 0xf5, 0xf5, spec{size: wY, attr: ge | regW | rmR | vR})     // pext, pdep
	t.set(pF2, 0xf6, 0xf6, spec{size: wY, attr: ge | regW | rmR | vW, r: sDX}) // mulx
	t.set(pAll, 0xf7, 0xf7, spec{size: wY, attr: ge | regW | rmR | vR})        // bextr, shlx, sarx, shrx
	return t
}

// fma enters the fused multiply-adds, which lie alike in three maps: odd ones from 9 on are scalar.
func fma(t *opcodeMap, mask int, packed, scalar width) {
	for _, b := range []int{0x90, 0xa0, 0xb0} {
		for i := 6; i < 16; i++ {
			mem := packed
			if i >= 9 && i&1 != 0 {
				mem = scalar
			}
			t.set(mask, b+i, b+i, spec{size: wVL, mem: mem, attr: vLoad})
		}
	}
}

// buildVEX3 builds VEX map 3. Every opcode of it has a ModRM byte and an immediate byte.
func buildVEX3() (t opcodeMap) {
	t.set(pAll, 0x00, 0xff, spec{attr: eg | rmV | regV | opaque | rmR | rmW, mem: wUnknown, imm: iB})
	legacy := build3A()
	for _, r := range [][2]int{{0x08, 0x0f}, {0x14, 0x17}, {0x20, 0x22}, {0x40, 0x42}, {0x44, 0x44}, {0x60, 0x63}, {0xce, 0xcf}, {0xdf, 0xdf}} {
		copy(t[1][r[0]:r[1]+1], legacy[1][r[0]:r[1]+1])
	}
	load := func(first, last int, mem width) {
		t.set(p66, first, last, spec{size: wVL, mem: mem, attr: vLoad, imm: iB})
	}
	load(0x00, 0x02, wVL)
	load(0x04, 0x06, wVL)
	load(0x18, 0x18, w16)
	t.set(p66, 0x19, 0x19, spec{size: wVL, mem: w16, attr: vStore, imm: iB})
	t.set(p66, 0x1d, 0x1d, spec{size: wVL, mem: wHalf, attr: vStore, imm: iB})
	t.set(p66, 0x30, 0x33, spec{size: w8, attr: vLoad | regOnly, imm: iB})
	load(0x38, 0x38, w16)
	t.set(p66, 0x39, 0x39, spec{size: wVL, mem: w16, attr: vStore, imm: iB})
	load(0x46, 0x46, wVL)
	load(0x48, 0x49, wVL)
	load(0x4a, 0x4c, wVL)
	load(0x5c, 0x5f, wVL)
	for _, b := range []int{0x68, 0x6c, 0x78, 0x7c} {
		load(b, b+1, wVL)
		load(b+2, b+2, w4)
		load(b+3, b+3, w8)
	}
	t.set(pF2, 0xf0, 0xf0, spec{size: wY, attr: ge | regW | rmR, imm: iB}) // rorx
	return t
}

// buildXOP builds an XOP map. Only TBM touches general-purpose registers; nothing stores.
func buildXOP(n int) (t [256]spec) {
	im := iNone
	switch n {
	case 8:
		im = iB
	case 10:
		im = iD
	}
	for op := range t {
		t[op] = spec{attr: known | eg | rmV | regV | opaque | rmR | rmW, mem: wUnknown, imm: im}
	}
	vec := spec{size: wVL, attr: known | vLoad, imm: im}
	switch n {
	case 8: // multiply-adds, vpcmov, vpperm, rotates, compares
		for _, op := range []int{0x85, 0x86, 0x87, 0x8e, 0x8f, 0x95, 0x96, 0x97, 0x9e, 0x9f, 0xa2, 0xa3, 0xa6, 0xb6,
			0xc0, 0xc1, 0xc2, 0xc3, 0xcc, 0xcd, 0xce, 0xcf, 0xec, 0xed, 0xee, 0xef} {
			t[op] = vec
		}
	case 9: // TBM; fractions, rotates, shifts, horizontal adds
		t[0x01] = spec{size: wY, attr: known | eIn | rmR | vW, x: xTBM}
		t[0x02] = t[0x01]
		for _, r := range [][2]int{{0x80, 0x83}, {0x90, 0x9b}, {0xc1, 0xc3}, {0xc6, 0xc7}, {0xcb, 0xcb}, {0xd1, 0xd3}, {0xd6, 0xd7}, {0xdb, 0xdb}, {0xe1, 0xe3}} {
			for op := r[0]; op <= r[1]; op++ {
				t[op] = vec
			}
		}
		t[0x82].mem, t[0x83].mem = w4, w8
	case 10:
		t[0x10] = spec{size: wY, attr: known | ge | regW | rmR, imm: im} // bextr with immediate
	}
	return t
}
