package unwind

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"syspart/internal/image"
)

// base is where the test's stack lies.
const base = 0x7000

// words is memory at base, one value a word.
func words(v ...uint64) pieces {
	var b []byte
	for _, w := range v {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return pieces{{base, b}}
}

func bytesOf(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

// TestInstructions runs each call-frame instruction in an entry for 0x1000 to 0x1100 and compares the caller's registers
// at 0x1010. Memory holds its own addresses, so that a value tells where it was read.
func TestInstructions(t *testing.T) {
	mem := make([]uint64, 64)
	for i := range mem {
		mem[i] = base + 8*uint64(i)
	}
	cie := image.CIE{CodeAlign: 1, DataAlign: -8, RetReg: RA, Insts: bytesOf(cfaDefCFA, RSP, 8, cfaOffset|RA, 1)}
	const none = ^uint64(0)
	for _, c := range []struct {
		name  string
		insts []byte
		cfa   uint64 // relative to base; the stack pointer is base
		reg   int
		want  uint64 // none: unknown
	}{
		{"nothing", nil, 8, RBX, 3000},
		{"nop", bytesOf(cfaNop), 8, RBX, 3000},
		{"caller-saved", nil, 8, RCX, none},
		{"stack pointer", nil, 8, RSP, base + 8},
		{"def_cfa", bytesOf(cfaDefCFA, RSP, 0x90, 0x01), 0x90, RA, base + 0x88},
		{"def_cfa_offset", bytesOf(cfaDefCFAOffset, 32), 32, RA, base + 24},
		{"def_cfa_sf", bytesOf(cfaDefCFASF, RSP, 0x7c), 32, RA, base + 24},
		{"def_cfa_offset_sf", bytesOf(cfaDefCFAOffsetSF, 0x7d), 24, RA, base + 16},
		{"def_cfa_register", bytesOf(cfaDefCFARegister, RBP), 0x48, RA, base + 0x40},
		{"def_cfa_expression", bytesOf(cfaDefCFAExpr, 2, opBreg0+RSP, 16), 16, RA, base + 8},
		{"after expression", bytesOf(cfaDefCFAExpr, 2, opBreg0+RSP, 16, cfaDefCFA, RSP, 24), 24, RA, base + 16},
		{"offset", bytesOf(cfaDefCFAOffset, 64, cfaOffset|RBX, 3), 64, RBX, base + 40},
		{"offset_extended", bytesOf(cfaDefCFAOffset, 64, cfaOffsetExt, RBX, 4), 64, RBX, base + 32},
		{"offset_extended_sf", bytesOf(cfaDefCFAOffset, 64, cfaOffsetExtSF, RBX, 0x7f), 64, RBX, base + 72},
		{"GNU_negative_offset_extended", bytesOf(cfaDefCFAOffset, 64, cfaGNUNegOffsetExt, RBX, 2), 64, RBX, base + 80},
		{"val_offset", bytesOf(cfaValOffset, RBX, 2), 8, RBX, base + 8 - 16},
		{"val_offset_sf", bytesOf(cfaValOffsetSF, RBX, 0x7e), 8, RBX, base + 8 + 16},
		{"register", bytesOf(cfaRegister, RBX, RDI), 8, RBX, 3005},
		{"expression", bytesOf(cfaExpr, RBX, 2, opPlusUconst, 16), 8, RBX, base + 24},
		{"val_expression", bytesOf(cfaValExpr, RBX, 2, opPlusUconst, 16), 8, RBX, base + 24},
		{"undefined", bytesOf(cfaUndefined, RBX), 8, RBX, none},
		{"same_value", bytesOf(cfaUndefined, RBX, cfaSameValue, RBX), 8, RBX, 3000},
		{"same_value of a caller-saved", bytesOf(cfaSameValue, RCX), 8, RCX, 3002},
		{"restore", bytesOf(cfaDefCFAOffset, 64, cfaOffset|RA, 3, cfaRestore|RA), 64, RA, base + 56},
		{"restore_extended", bytesOf(cfaOffset|RBX, 3, cfaRestoreExt, RBX), 8, RBX, 3000},
		{"remember and restore", bytesOf(cfaRememberState, cfaDefCFAOffset, 64, cfaOffset|RBX, 3, cfaRestoreState), 8, RBX, 3000},
		{"GNU_args_size", bytesOf(cfaGNUArgsSize, 0x80, 0x01, cfaDefCFAOffset, 16), 16, RA, base + 8},
		{"advance to", bytesOf(cfaAdvance|0x10, cfaDefCFAOffset, 16), 16, RA, base + 8},
		{"advance beyond", bytesOf(cfaAdvance|0x11, cfaDefCFAOffset, 16), 8, RA, base},
		{"advance twice", bytesOf(cfaAdvance|8, cfaAdvance|8, cfaDefCFAOffset, 16), 16, RA, base + 8},
		{"advance1", bytesOf(cfaAdvance1, 0x11, cfaDefCFAOffset, 16), 8, RA, base},
		{"advance2", bytesOf(cfaAdvance2, 0x10, 0, cfaDefCFAOffset, 16), 16, RA, base + 8},
		{"advance4", bytesOf(cfaAdvance4, 0, 1, 0, 0, cfaDefCFAOffset, 16), 8, RA, base},
		{"vector register", bytesOf(cfaOffset|17, 3, cfaOffsetExt, 0xff, 0x7f, 3), 8, RBX, 3000},
	} {
		fde := image.FDE{Range: image.Range{Start: 0x1000, End: 0x1100}, Insts: c.insts}
		row, err := compile(&cie, &fde, 0x1010)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		regs := Regs{Known: AllRegs, Val: [numRegs]uint64{RBX: 3000, RCX: 3002, RDI: 3005, RBP: base + 0x40, RSP: base}}
		next, cfa, bottom, err := row.apply(&regs, &memory{r: words(mem...)})
		if err != nil || bottom || cfa != base+c.cfa {
			t.Errorf("%s: cfa %#x, want %#x; bottom %v, %v", c.name, cfa, base+c.cfa, bottom, err)
			continue
		}
		got := none
		if next.Known>>c.reg&1 != 0 {
			got = next.Val[c.reg]
		}
		if got != c.want {
			t.Errorf("%s: %s is %#x, want %#x", c.name, regNames[c.reg], got, c.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	good := bytesOf(cfaDefCFA, RSP, 8, cfaOffset|RA, 1)
	remember := make([]byte, maxRemembered+1)
	for i := range remember {
		remember[i] = cfaRememberState
	}
	for _, c := range []struct {
		name  string
		cie   []byte
		insts []byte
		ret   uint8
	}{
		{"return column", good, nil, 17},
		{"unknown instruction", good, bytesOf(0x3f), RA},
		{"restore without remember", good, bytesOf(cfaRestoreState), RA},
		{"endless remembering", good, remember, RA},
		{"truncated", good, bytesOf(cfaAdvance4, 1), RA},
		{"truncated expression", good, bytesOf(cfaDefCFAExpr, 9, 1), RA},
		{"set_loc", good, bytesOf(cfaSetLoc, 0, 0, 0, 0, 0, 0, 0, 0), RA},
		{"too many", good, make([]byte, maxCFI+1), RA},
	} {
		cie := image.CIE{CodeAlign: 1, DataAlign: -8, RetReg: c.ret, Insts: c.cie}
		fde := image.FDE{Range: image.Range{Start: 0x1000, End: 0x1100}, Insts: c.insts}
		if _, err := compile(&cie, &fde, 0x1010); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for name, cie := range map[string][]byte{"no rule for the return address": bytesOf(cfaDefCFA, RSP, 8), "no CFA": bytesOf(cfaOffset|RA, 1)} {
		row, err := compile(&image.CIE{CodeAlign: 1, DataAlign: -8, RetReg: RA, Insts: cie}, &image.FDE{Range: image.Range{Start: 0x1000, End: 0x1100}}, 0x1000)
		if err != nil {
			t.Fatal(err)
		}
		regs := Regs{Known: AllRegs, Val: [numRegs]uint64{RSP: base}}
		if _, _, _, err := row.apply(&regs, &memory{r: words(1, 2)}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExpressions evaluates every operation; the initial value is 7.
func TestExpressions(t *testing.T) {
	neg := func(v int64) uint64 { return uint64(v) }
	for _, c := range []struct {
		name string
		expr []byte
		want uint64
	}{
		{"initial", nil, 7},
		{"addr", bytesOf(opAddr, 1, 2, 0, 0, 0, 0, 0, 0x80), 0x8000000000000201},
		{"lit", bytesOf(opLit0 + 31), 31},
		{"const1u", bytesOf(opConst1u, 0xff), 255},
		{"const1s", bytesOf(opConst1s, 0xff), neg(-1)},
		{"const2u", bytesOf(opConst2u, 0xff, 0xff), 65535},
		{"const2s", bytesOf(opConst2s, 0xfe, 0xff), neg(-2)},
		{"const4u", bytesOf(opConst4u, 0xff, 0xff, 0xff, 0xff), 1<<32 - 1},
		{"const4s", bytesOf(opConst4s, 0xfd, 0xff, 0xff, 0xff), neg(-3)},
		{"const8u", bytesOf(opConst8u, 1, 0, 0, 0, 0, 0, 0, 0), 1},
		{"constu", bytesOf(opConstu, 0x80, 0x01), 128},
		{"consts", bytesOf(opConsts, 0x40), neg(-64)},
		{"reg", bytesOf(opReg0 + RBX), 3000},
		{"breg", bytesOf(opBreg0+RBX, 0x7f), 2999},
		{"regx", bytesOf(opRegx, RBX), 3000},
		{"bregx", bytesOf(opBregx, RBX, 1), 3001},
		{"deref", bytesOf(opBreg0+RSP, 8, opDeref), 0x1122334455667788},
		{"deref_size", bytesOf(opBreg0+RSP, 8, opDerefSize, 2), 0x7788},
		{"dup plus", bytesOf(opDup, opPlus), 14},
		{"drop", bytesOf(opLit0+1, opDrop), 7},
		{"over", bytesOf(opLit0+1, opOver), 7},
		{"pick", bytesOf(opLit0+1, opLit0+2, opPick, 2), 7},
		{"swap", bytesOf(opLit0+9, opSwap), 7},
		{"rot", bytesOf(opLit0+1, opLit0+2, opRot), 1},
		{"abs", bytesOf(opConst1s, 0xfb, opAbs), 5},
		{"neg", bytesOf(opNeg), neg(-7)},
		{"not", bytesOf(opNot), ^uint64(7)},
		{"and", bytesOf(opLit0+3, opAnd), 3},
		{"or", bytesOf(opLit0+8, opOr), 15},
		{"xor", bytesOf(opLit0+1, opXor), 6},
		{"minus", bytesOf(opLit0+8, opMinus), neg(-1)},
		{"mul", bytesOf(opLit0+3, opMul), 21},
		{"div", bytesOf(opNeg, opLit0+2, opDiv), neg(-3)},
		{"mod", bytesOf(opLit0+4, opMod), 3},
		{"plus_uconst", bytesOf(opPlusUconst, 5), 12},
		{"shl", bytesOf(opLit0+2, opShl), 28},
		{"shr", bytesOf(opLit0+1, opShr), 3},
		{"shra", bytesOf(opNeg, opLit0+1, opShra), neg(-4)},
		{"eq", bytesOf(opLit0+7, opEq), 1},
		{"ne", bytesOf(opLit0+7, opNe), 0},
		{"ge", bytesOf(opLit0+7, opGe), 1},
		{"gt", bytesOf(opLit0+7, opGt), 0},
		{"le", bytesOf(opLit0+7, opLe), 1},
		{"lt", bytesOf(opNeg, opLit0, opLt), 1},
		{"skip", bytesOf(opSkip, 1, 0, opDrop), 7},
		{"bra taken", bytesOf(opLit0+1, opBra, 1, 0, opNeg), 7},
		{"bra not taken", bytesOf(opLit0, opBra, 1, 0, opNeg), neg(-7)},
		{"nop", bytesOf(opNop), 7},
	} {
		regs := Regs{Known: AllRegs, Val: [numRegs]uint64{RBX: 3000, RSP: base}}
		if got, err := eval(c.expr, &regs, &memory{r: words(0, 0x1122334455667788)}, 7, true); err != nil || got != c.want {
			t.Errorf("%s: %#x, %v, want %#x", c.name, got, err, c.want)
		}
	}
	for name, expr := range map[string][]byte{
		"empty stack":   bytesOf(opDrop, opDrop),
		"endless":       bytesOf(opSkip, 0xfd, 0xff),
		"deep":          slices.Repeat([]byte{opDup}, maxStack),
		"jump out":      bytesOf(opSkip, 9, 0),
		"truncated":     bytesOf(opConst8u, 1),
		"divide":        bytesOf(opLit0, opDiv),
		"modulo":        bytesOf(opLit0, opMod),
		"pick too deep": bytesOf(opPick, 3),
		"load size":     bytesOf(opDerefSize, 3),
		"unknown":       bytesOf(0xff),
		"register 200":  bytesOf(opRegx, 0xc8, 0x01),
	} {
		regs := Regs{Known: AllRegs}
		if v, err := eval(expr, &regs, &memory{r: words()}, 7, true); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %#x, %v", name, v, err)
		}
	}
	regs := Regs{}
	var u UnknownError
	if _, err := eval(bytesOf(opReg0+RBP), &regs, &memory{r: words()}, 0, false); !errors.As(err, &u) || u != RBP {
		t.Errorf("unknown register: %v", err)
	}
	if _, err := eval(bytesOf(opLit0, opDeref), &regs, &memory{r: words()}, 0, false); !errors.Is(err, ErrMemory) {
		t.Errorf("unreadable memory: %v", err)
	}
}

// tableOf makes a table by hand.
func tableOf(cie image.CIE, insts ...[]byte) *Table {
	fr := &image.Frames{CIEs: []image.CIE{cie}}
	for i, b := range insts {
		start := uint64(0x1000 + 0x100*i)
		fr.FDEs = append(fr.FDEs, image.FDE{Range: image.Range{Start: start, End: start + 0x100}, Insts: b})
	}
	return &Table{file: &image.File{}, frames: fr, rows: make(map[uint64]*row)}
}

// TestUnknown: the walk ends, and says why, at the frame whose caller hangs on a register that is not known; it goes on
// where an inner frame has saved the register.
func TestUnknown(t *testing.T) {
	cie := image.CIE{CodeAlign: 1, DataAlign: -8, RetReg: RA, Insts: bytesOf(cfaDefCFA, RSP, 8, cfaOffset|RA, 1)}
	table := tableOf(cie,
		nil, // a leaf that saves nothing
		bytesOf(cfaDefCFAOffset, 16, cfaOffset|RBP, 2), // pushes rbp
		bytesOf(cfaDefCFA, RBP, 16),                    // its frame hangs on rbp
		bytesOf(cfaUndefined, RA))                      // the bottom
	space := Space{{Start: 0x401000, End: 0x401400, VA: 0x1000, Module: &Module{Path: "m", Table: table}}}
	// The frame of the third function lies at base+0x40.
	leaf := words(0x401210, 0, 0, 0, 0, 0, 0, 0, 0, 0x401310, 0)
	res := space.Unwind(Blocked(base, 0x401010), leaf, 10)
	if res.Complete || res.Need != 1<<RBP || len(res.Frames) != 2 {
		t.Errorf("unsaved: %d frames, complete %v, need %#x, %v", len(res.Frames), res.Complete, res.Need, res.Err)
	}
	regs := Blocked(base, 0x401010)
	regs.set(RBP, base+0x40)
	if res = space.Unwind(regs, leaf, 10); !res.Complete || len(res.Frames) != 3 {
		t.Errorf("given: %d frames, %v", len(res.Frames), res.Err)
	}
	saved := words(base+0x40, 0x401210, 0, 0, 0, 0, 0, 0, 0, 0x401310, 0)
	res = space.Unwind(Blocked(base, 0x401110), saved, 10)
	if !res.Complete || len(res.Frames) != 3 || res.Frames[1].CFA != base+0x50 || res.Frames[2].PC != 0x1310 || res.Frames[2].Func != 0x1300 {
		t.Errorf("saved: %+v, %v", res.Frames, res.Err)
	}
	if res = space.Unwind(Blocked(base, 0x401110), saved, 2); !errors.Is(res.Err, ErrDepth) || len(res.Frames) != 2 {
		t.Errorf("limit: %d frames, %v", len(res.Frames), res.Err)
	}
	if res = space.Unwind(Blocked(base, 0x999), saved, 2); !errors.Is(res.Err, ErrNoFrame) || len(res.Frames) != 0 {
		t.Errorf("outside: %d frames, %v", len(res.Frames), res.Err)
	}
	// Start code without unwind entry is the bottom, and so is other such code with a frame pointer of zero; a leaf
	// without entry is left by the return address that it must have at its stack pointer, if it lies behind a call.
	bare := tableOf(cie, nil)
	bare.file.Entry = 0x1500
	wide := Space{{Start: 0x401000, End: 0x401800, VA: 0x1000, Module: &Module{Path: "m", Table: bare}}}
	for _, c := range []struct {
		ret, rbp uint64
		complete bool
	}{{0x401510, 1, true}, {0x401610, 1, false}, {0x401610, 0, true}, {0x4014ff, 1, false}, {0x401500 + startSize + 1, 1, false}} {
		regs := Blocked(base, 0x401010)
		regs.set(RBP, c.rbp)
		if res := wide.Unwind(regs, words(c.ret), 10); res.Complete != c.complete || len(res.Frames) != 2 {
			t.Errorf("return to %#x, rbp %d: complete %v, %d frames, %v", c.ret, c.rbp, res.Complete, len(res.Frames), res.Err)
		}
	}
	// A frame that does not lie above its callee's.
	regs.set(RBP, base-0x40)
	if res = space.Unwind(regs, leaf, 10); !errors.Is(res.Err, ErrStack) {
		t.Errorf("downwards: %v", res.Err)
	}
}

// FuzzUnwind walks random memory by random tables: it must end, and quickly.
func FuzzUnwind(f *testing.F) {
	f.Add(bytesOf(cfaDefCFA, RSP, 8, cfaOffset|RA, 1), bytesOf(cfaAdvance|4, cfaDefCFAOffset, 16), []byte("some stack"), uint16(3))
	f.Add(bytesOf(cfaDefCFAExpr, 4, opDup, opSkip, 0xfc, 0xff), []byte{}, make([]byte, 64), uint16(300))
	f.Fuzz(func(t *testing.T, init, insts, stack []byte, pc uint16) {
		table := tableOf(image.CIE{CodeAlign: 1, DataAlign: -8, RetReg: RA, Signal: len(stack)&1 != 0, Insts: init}, insts, init)
		space := Space{{Start: 0, End: 0x10000, VA: 0, Module: &Module{Path: "m", Table: table}}}
		regs := Regs{Known: AllRegs &^ (1 << RBX)}
		regs.set(RSP, base)
		regs.set(RBP, base+16)
		regs.set(RA, 0x1000+uint64(pc)%0x200)
		res := space.Unwind(regs, pieces{{base, stack}}, 50)
		if len(res.Frames) > 50 || res.Complete && res.Err != nil || !res.Complete && res.Err == nil {
			t.Errorf("%d frames, complete %v, %v", len(res.Frames), res.Complete, res.Err)
		}
	})
}

// BenchmarkUnwind walks a deep stack whose rows are cached.
func BenchmarkUnwind(b *testing.B) {
	cie := image.CIE{CodeAlign: 1, DataAlign: -8, RetReg: RA, Insts: bytesOf(cfaDefCFA, RSP, 8, cfaOffset|RA, 1)}
	table := tableOf(cie, bytesOf(cfaDefCFAOffset, 32, cfaOffset|RBX, 2, cfaOffset|RBP, 3), bytesOf(cfaUndefined, RA))
	space := Space{{Start: 0x401000, End: 0x401200, VA: 0x1000, Module: &Module{Path: "m", Table: table}}}
	var stack []uint64
	for range 20 {
		stack = append(stack, 0, 1, 2, 0x401010)
	}
	stack[len(stack)-1] = 0x401110
	mem := words(stack...)
	regs := Blocked(base, 0x401010)
	b.ReportAllocs()
	frames := 0
	for b.Loop() {
		res := space.Unwind(regs, mem, 100)
		if !res.Complete {
			b.Fatal(res.Err)
		}
		frames = len(res.Frames)
	}
	b.ReportMetric(float64(frames), "frames")
}

func ExampleBlocked() {
	r := Blocked(0x7000, 0x1234)
	fmt.Println(r.Known == 1<<RSP|1<<RA)
	// Output: true
}
