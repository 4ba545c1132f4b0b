package decode

import (
	"bytes"
	"encoding/hex"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// FuzzDecode decodes arbitrary bytes: no panic, nothing read behind the end, the same result each time, results that hold
// together, and the length that x86asm says where x86asm is known to be right.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"", "90", "f3", "666666666666666666666666666690", "6666666666666666666666666666666690",
		"f30f1efa", "488d0d10000000", "64488b042528000000", "ff2510203040", "48b8efcdab8967452301", "c8100001",
		"c5f877", "c4e27df7c1", "62f17c48584302", "8fe9780101", "8fea781001efbeadde", "0f0f049a9e", "660f78c10203", "67e310",
		"f2ff25123456780000", "3effe0", "f348a5", "660f38f60b", "41904190", "c7f800100000", "9bd97c2404", "f0480fc70e", "67488b04250000000f",
	} {
		code, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(code, uint64(0x401000))
	}
	f.Fuzz(func(t *testing.T, code []byte, va uint64) {
		var in, again Inst
		ok := Decode(code, va, &in)
		if Decode(code, va, &again) != ok || in != again {
			t.Fatalf("% x: twice, two results: %+v, %+v", code, in, again)
		}
		if in.Addr != va || in.Len < 1 || in.Len > maxLen {
			t.Fatalf("% x: %+v", code, in)
		}
		if !ok {
			if in != (Inst{Addr: va, Base: NoReg, Index: NoReg, Scale: 1, Op: OpBad, Len: 1}) {
				t.Fatalf("% x: not decoded, but %+v", code, in)
			}
			return
		}
		n := int(in.Len)
		if n > len(code) {
			t.Fatalf("% x: length %d", code, n)
		}
		// What lies behind an instruction has no part in it, and all of it is needed.
		if !Decode(code[:n:n], va, &again) || in != again {
			t.Fatalf("% x alone is %+v, else %+v", code[:n], again, in)
		}
		for short := range n {
			if Decode(code[:short:short], va, &again) {
				t.Fatalf("% x: %d bytes of %d are enough for %+v", code, short, n, again)
			}
		}
		check(t, code[:n], &in)
		if x, err := x86asm.Decode(code, 64); err == nil && x.Op != 0 && x.Len != n && !asmTrap(code[:n], &in, x) {
			t.Fatalf("% x: %+v, x86asm %v of %d bytes", code, in, x, x.Len)
		}
	})
}

// check verifies that the fields of an instruction fit each other.
func check(t *testing.T, code []byte, in *Inst) {
	t.Helper()
	bad := func(what string) {
		t.Helper()
		t.Fatalf("% x: %s: %+v", code, what, *in)
	}
	if in.Op >= OpBad {
		bad("no class")
	}
	if in.Flags&Opaque != 0 {
		if in.Reads != AllRegs || in.Writes != AllRegs {
			bad("opaque, but does not clobber everything")
		}
		return
	}
	if in.Flags&HasMem == 0 {
		if in.Flags&(MemRead|MemWrite) != 0 || in.Base != NoReg || in.Index != NoReg || in.Scale != 1 || in.Seg != 0 || in.Disp != 0 {
			bad("memory without operand")
		}
	} else {
		if in.Base < 16 && !in.Reads.Has(in.Base) || in.Index < 16 && !in.Reads.Has(in.Index) {
			bad("address registers not read")
		}
		if in.Base > RIP && in.Base != NoReg || in.Index > R15 && in.Index != NoReg || in.Index == RSP || in.Base == RIP && in.Index != NoReg {
			bad("address registers")
		}
		if in.Scale != 1 && in.Scale != 2 && in.Scale != 4 && in.Scale != 8 || in.Seg > 2 {
			bad("scale or segment")
		}
		if in.Op == OpLea && in.Flags&(MemRead|MemWrite) != 0 {
			bad("lea touches memory")
		}
	}
	for _, a := range []Arg{in.Dst, in.Src} {
		switch a.Kind {
		case ArgReg:
			if a.Reg > R15 {
				bad("operand register")
			}
		case ArgRegHigh:
			if a.Reg > RBX {
				bad("high byte register")
			}
		case ArgMem:
			if in.Flags&HasMem == 0 {
				bad("no memory operand")
			}
		case ArgImm:
			if in.Flags&HasImm == 0 {
				bad("no immediate")
			}
		}
		if a.Kind != ArgReg && a.Kind != ArgRegHigh && a.Reg != NoReg {
			bad("operand names a register that it has not")
		}
	}
	if d := in.Dst; d.Kind == ArgReg && in.Writes.Has(d.Reg) && in.Size < 4 && in.Op != OpOther && !in.Reads.Has(d.Reg) {
		bad("a partial write keeps nothing")
	}
	switch in.Op {
	case OpMov, OpMovZX, OpMovSX, OpLea, OpPop, OpCmov, OpSet, OpFromVec:
		if d := in.Dst; (d.Kind == ArgReg || d.Kind == ArgRegHigh) && !in.Writes.Has(d.Reg) || d.Kind == ArgMem && in.Flags&MemWrite == 0 {
			bad("destination not written")
		}
	case OpCall, OpJmp:
		if in.Flags&Indirect != 0 && in.Src.Kind != ArgReg && in.Src.Kind != ArgMem || in.Flags&Indirect == 0 && in.Src.Kind != ArgNone {
			bad("target")
		}
	case OpNop:
		if in.Reads|in.Writes != 0 || in.Flags&HasMem != 0 {
			bad("nop with effects")
		}
	case OpPush, OpRet, OpLeave:
		if !in.Writes.Has(RSP) {
			bad("stack pointer kept")
		}
	}
}

// asmTrap reports whether x86asm is known to be wrong about the length of an instruction: vzeroupper and its like, and moves
// to and from control and debug registers, whose ModRM byte never stands for memory.
func asmTrap(code []byte, in *Inst, x x86asm.Inst) bool {
	if vexed(code) {
		return true
	}
	if x.Op == x86asm.MOV && (in.Op == OpToVec || in.Op == OpFromVec) {
		i := bytes.IndexByte(code, 0x0f)
		return i >= 0 && i+1 < len(code) && code[i+1] >= 0x20 && code[i+1] <= 0x23
	}
	return false
}
