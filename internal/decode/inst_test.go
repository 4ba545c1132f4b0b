package decode

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Operands of the tests.
var (
	none   = Arg{Kind: ArgNone, Reg: NoReg}
	memory = Arg{Kind: ArgMem, Reg: NoReg}
	vector = Arg{Kind: ArgVec, Reg: NoReg}
	number = Arg{Kind: ArgImm, Reg: NoReg}
)

func reg(r Reg) Arg { return Arg{Kind: ArgReg, Reg: r} }

func set(regs ...Reg) (s RegSet) {
	for _, r := range regs {
		s |= 1 << r
	}
	return s
}

// TestInst spells out what Inst says of instructions that value analysis and control flow depend on. The instructions lie at
// 0x401000; fields that are not given are those of an instruction without memory operand, SrcSize that of Size.
func TestInst(t *testing.T) {
	const va = 0x401000
	for _, c := range []struct {
		code, text string
		want       Inst
	}{
		{"4889c3", "mov rbx, rax", Inst{Op: OpMov, Size: 8, Dst: reg(RBX), Src: reg(RAX), Reads: set(RAX), Writes: set(RBX)}},
		{"89c3", "mov ebx, eax", Inst{Op: OpMov, Size: 4, Dst: reg(RBX), Src: reg(RAX), Reads: set(RAX), Writes: set(RBX)}},
		{"6689c3", "mov bx, ax", Inst{Op: OpMov, Size: 2, Dst: reg(RBX), Src: reg(RAX), Reads: set(RAX, RBX), Writes: set(RBX)}},
		{"88e3", "mov bl, ah", Inst{Op: OpMov, Size: 1, Dst: reg(RBX), Src: Arg{ArgRegHigh, RAX}, Reads: set(RAX, RBX), Writes: set(RBX)}},
		{"4088e3", "mov bl, spl", Inst{Op: OpMov, Size: 1, Dst: reg(RBX), Src: reg(RSP), Reads: set(RSP, RBX), Writes: set(RBX)}},
		{"b9e7000000", "mov ecx, 231", Inst{Op: OpMov, Size: 4, Imm: 231, Dst: reg(RCX), Src: number, Writes: set(RCX), Flags: HasImm}},
		{"b9ffffffff", "mov ecx, -1", Inst{Op: OpMov, Size: 4, Imm: -1, Dst: reg(RCX), Src: number, Writes: set(RCX), Flags: HasImm}},
		{"49b8efcdab8967452381", "movabs r8, n", Inst{Op: OpMov, Size: 8, Imm: -0x7edcba9876543211, Dst: reg(R8), Src: number, Writes: set(R8), Flags: HasImm}},
		{"c7442408fcffffff", "mov dword [rsp+8], -4", Inst{Op: OpMov, Size: 4, Imm: -4, Dst: memory, Src: number, Base: RSP, Index: NoReg, Disp: 8, MemSize: 4, Reads: set(RSP), Flags: HasImm | HasMem | MemWrite}},
		{"4a8b44c5f0", "mov rax, [rbp+r8*8-16]", Inst{Op: OpMov, Size: 8, Dst: reg(RAX), Src: memory, Base: RBP, Index: R8, Scale: 8, Disp: -16, MemSize: 8, Reads: set(RBP, R8), Writes: set(RAX), Flags: HasMem | MemRead}},
		{"488b0510000000", "mov rax, [rip+16]", Inst{Op: OpMov, Size: 8, Dst: reg(RAX), Src: memory, Base: RIP, Index: NoReg, Disp: va + 7 + 16, MemSize: 8, Writes: set(RAX), Flags: HasMem | MemRead}},
		{"488d05f0ffffff", "lea rax, [rip-16]", Inst{Op: OpLea, Size: 8, Dst: reg(RAX), Src: memory, Base: RIP, Index: NoReg, Disp: va + 7 - 16, Writes: set(RAX), Flags: HasMem}},
		{"803d1000000005", "cmp byte [rip+16], 5", Inst{Op: OpCmp, Size: 1, Imm: 5, Dst: memory, Src: number, Base: RIP, Index: NoReg, Disp: va + 7 + 16, MemSize: 1, Flags: HasMem | MemRead | HasImm}},
		{"64488b042528000000", "mov rax, fs:[0x28]", Inst{Op: OpMov, Size: 8, Dst: reg(RAX), Src: memory, Base: NoReg, Index: NoReg, Seg: 1, Disp: 0x28, MemSize: 8, Writes: set(RAX), Flags: HasMem | MemRead}},
		{"8b0425000000f0", "mov eax, [-0x10000000]", Inst{Op: OpMov, Size: 4, Dst: reg(RAX), Src: memory, Base: NoReg, Index: NoReg, Disp: -0x10000000, MemSize: 4, Writes: set(RAX), Flags: HasMem | MemRead}},
		{"678b0425000000f0", "mov eax, [0xf0000000]", Inst{Op: OpMov, Size: 4, Dst: reg(RAX), Src: memory, Base: NoReg, Index: NoReg, Disp: 0xf0000000, MemSize: 4, Writes: set(RAX), Flags: HasMem | MemRead | Addr32}},
		{"48a10807060504030281", "movabs rax, [n]", Inst{Op: OpMov, Size: 8, Dst: reg(RAX), Src: memory, Base: NoReg, Index: NoReg, Disp: -0x7efdfcfbfaf9f8f8, MemSize: 8, Writes: set(RAX), Flags: HasMem | MemRead}},
		{"a30807060504030201", "movabs [n], eax", Inst{Op: OpMov, Size: 4, Dst: memory, Src: reg(RAX), Base: NoReg, Index: NoReg, Disp: 0x0102030405060708, MemSize: 4, Reads: set(RAX), Flags: HasMem | MemWrite}},
		{"0fb6c3", "movzx eax, bl", Inst{Op: OpMovZX, Size: 4, SrcSize: 1, Dst: reg(RAX), Src: reg(RBX), Reads: set(RBX), Writes: set(RAX)}},
		{"480fbf07", "movsx rax, word [rdi]", Inst{Op: OpMovSX, Size: 8, SrcSize: 2, Dst: reg(RAX), Src: memory, Base: RDI, Index: NoReg, MemSize: 2, Reads: set(RDI), Writes: set(RAX), Flags: HasMem | MemRead}},
		{"486304b2", "movsxd rax, [rdx+rsi*4]", Inst{Op: OpMovSX, Size: 8, SrcSize: 4, Dst: reg(RAX), Src: memory, Base: RDX, Index: RSI, Scale: 4, MemSize: 4, Reads: set(RDX, RSI), Writes: set(RAX), Flags: HasMem | MemRead}},
		{"4898", "cdqe", Inst{Op: OpMovSX, Size: 8, SrcSize: 4, Dst: reg(RAX), Src: reg(RAX), Reads: set(RAX), Writes: set(RAX)}},
		{"99", "cdq", Inst{Op: OpOther, Size: 4, Reads: set(RAX), Writes: set(RDX)}},
		{"31c0", "xor eax, eax", Inst{Op: OpXor, Size: 4, Dst: reg(RAX), Src: reg(RAX), Reads: set(RAX), Writes: set(RAX)}},
		{"4883ec80", "sub rsp, -128", Inst{Op: OpSub, Size: 8, Imm: -128, Dst: reg(RSP), Src: number, Reads: set(RSP), Writes: set(RSP), Flags: HasImm}},
		{"663d3412", "cmp ax, 0x1234", Inst{Op: OpCmp, Size: 2, Imm: 0x1234, Dst: reg(RAX), Src: number, Reads: set(RAX), Flags: HasImm}},
		{"f0480fc10f", "lock xadd [rdi], rcx", Inst{Op: OpXadd, Size: 8, Dst: memory, Src: reg(RCX), Base: RDI, Index: NoReg, MemSize: 8, Reads: set(RDI, RCX), Writes: set(RCX), Flags: HasMem | MemRead | MemWrite | Lock}},
		{"f00fb117", "lock cmpxchg [rdi], edx", Inst{Op: OpCmpxchg, Size: 4, Dst: memory, Src: reg(RDX), Base: RDI, Index: NoReg, MemSize: 4, Reads: set(RDI, RDX, RAX), Writes: set(RAX), Flags: HasMem | MemRead | MemWrite | Lock}},
		{"480fc70e", "cmpxchg16b [rsi]", Inst{Op: OpOther, Size: 16, Dst: memory, Base: RSI, Index: NoReg, MemSize: 16, Reads: set(RSI, RAX, RBX, RCX, RDX), Writes: set(RAX, RDX), Flags: HasMem | MemRead | MemWrite}},
		{"48c1e003", "shl rax, 3", Inst{Op: OpShl, Size: 8, Imm: 3, Dst: reg(RAX), Src: number, Reads: set(RAX), Writes: set(RAX), Flags: HasImm}},
		{"d1e8", "shr eax, 1", Inst{Op: OpShr, Size: 4, Imm: 1, Dst: reg(RAX), Src: number, Reads: set(RAX), Writes: set(RAX), Flags: HasImm}},
		{"d3f8", "sar eax, cl", Inst{Op: OpSar, Size: 4, SrcSize: 1, Dst: reg(RAX), Src: reg(RCX), Reads: set(RAX, RCX), Writes: set(RAX)}},
		{"6bc300", "imul eax, ebx, 0", Inst{Op: OpImul, Size: 4, Dst: reg(RAX), Src: reg(RBX), Reads: set(RBX), Writes: set(RAX), Flags: HasImm}},
		{"0fafc3", "imul eax, ebx", Inst{Op: OpImul, Size: 4, Dst: reg(RAX), Src: reg(RBX), Reads: set(RAX, RBX), Writes: set(RAX)}},
		{"f7e1", "mul ecx", Inst{Op: OpOther, Size: 4, Src: reg(RCX), Reads: set(RAX, RCX), Writes: set(RAX, RDX)}},
		{"f6f1", "div cl", Inst{Op: OpOther, Size: 1, Src: reg(RCX), Reads: set(RAX, RCX), Writes: set(RAX)}},
		{"55", "push rbp", Inst{Op: OpPush, Size: 8, Src: reg(RBP), Reads: set(RBP, RSP), Writes: set(RSP)}},
		{"6aff", "push -1", Inst{Op: OpPush, Size: 8, Imm: -1, Src: number, Reads: set(RSP), Writes: set(RSP), Flags: HasImm}},
		{"ff742408", "push [rsp+8]", Inst{Op: OpPush, Size: 8, Src: memory, Base: RSP, Index: NoReg, Disp: 8, MemSize: 8, Reads: set(RSP), Writes: set(RSP), Flags: HasMem | MemRead}},
		{"8f442408", "pop [rsp+8], addressed after the pop", Inst{Op: OpPop, Size: 8, Dst: memory, Base: RSP, Index: NoReg, Disp: 16, MemSize: 8, Reads: set(RSP), Writes: set(RSP), Flags: HasMem | MemWrite}},
		{"9c", "pushf", Inst{Op: OpPush, Size: 8, Src: vector, Reads: set(RSP), Writes: set(RSP)}},
		{"c9", "leave", Inst{Op: OpLeave, Size: 8, Reads: set(RBP), Writes: set(RSP, RBP)}},
		{"490fbcc3", "bsf rax, r11", Inst{Op: OpOther, Size: 8, Dst: reg(RAX), Src: reg(R11), Reads: set(RAX, R11), Writes: set(RAX)}},
		{"f3490fbcc3", "tzcnt rax, r11", Inst{Op: OpOther, Size: 8, Dst: reg(RAX), Src: reg(R11), Reads: set(R11), Writes: set(RAX)}},
		{"0f4ec3", "cmovle eax, ebx", Inst{Op: OpCmov, Cond: 14, Size: 4, Dst: reg(RAX), Src: reg(RBX), Reads: set(RAX, RBX), Writes: set(RAX)}},
		{"0f94c0", "sete al", Inst{Op: OpSet, Cond: 4, Size: 1, Dst: reg(RAX), Reads: set(RAX), Writes: set(RAX)}},
		{"0f9507", "setne [rdi]", Inst{Op: OpSet, Cond: 5, Size: 1, Dst: memory, Base: RDI, Index: NoReg, MemSize: 1, Reads: set(RDI), Flags: HasMem | MemWrite}},
		{"4987c0", "xchg r8, rax", Inst{Op: OpXchg, Size: 8, Dst: reg(R8), Src: reg(RAX), Reads: set(RAX, R8), Writes: set(RAX, R8)}},
		{"4990", "xchg r8, rax, short", Inst{Op: OpXchg, Size: 8, Dst: reg(R8), Src: reg(RAX), Reads: set(RAX, R8), Writes: set(RAX, R8)}},
		{"e8fbffffff", "call self", Inst{Op: OpCall, Size: 8, Imm: va, Reads: set(RSP), Writes: set(RSP)}},
		{"eb0e", "jmp .+16", Inst{Op: OpJmp, Size: 8, Imm: va + 16}},
		{"660f85fa0f0000", "jne, the 66 ignored", Inst{Op: OpJcc, Cond: 5, Imm: va + 0x1001}},
		{"67e3fd", "jecxz self", Inst{Op: OpJcc, Cond: 0xff, Size: 4, SrcSize: 8, Imm: va, Reads: set(RCX), Flags: Addr32}},
		{"e2fe", "loop self", Inst{Op: OpJcc, Cond: 0xff, Size: 8, Imm: va, Reads: set(RCX), Writes: set(RCX)}},
		{"ffd0", "call rax", Inst{Op: OpCall, Size: 8, Src: reg(RAX), Reads: set(RAX, RSP), Writes: set(RSP), Flags: Indirect}},
		{"ff2500000000", "jmp [rip]", Inst{Op: OpJmp, Size: 8, Src: memory, Base: RIP, Index: NoReg, Disp: va + 6, MemSize: 8, Flags: Indirect | HasMem | MemRead}},
		{"3effe0", "notrack jmp rax", Inst{Op: OpJmp, Size: 8, Src: reg(RAX), Reads: set(RAX), Flags: Indirect | NoTrack}},
		{"48ff2f", "jmp far [rdi]", Inst{Op: OpJmp, Size: 8, Src: memory, Base: RDI, Index: NoReg, MemSize: 10, Reads: set(RDI), Flags: Indirect | Far | HasMem | MemRead}},
		{"f3c3", "repz ret", Inst{Op: OpRet, Size: 8, Reads: set(RSP), Writes: set(RSP)}},
		{"c21080", "ret 0x8010", Inst{Op: OpRet, Size: 8, Imm: 0x8010, Src: number, Reads: set(RSP), Writes: set(RSP), Flags: HasImm}},
		{"0f05", "syscall", Inst{Op: OpSyscall, Size: 8, Reads: set(RAX), Writes: set(RAX, RCX, R11)}},
		{"cd80", "int 0x80", Inst{Op: OpInt80, Imm: 0x80, Reads: set(RAX), Writes: set(RAX), Flags: HasImm}},
		{"f30f01ec", "uiret", Inst{Op: OpRet, Size: 8, Reads: AllRegs, Writes: AllRegs, Flags: Opaque}},
		{"cd03", "int 3", Inst{Op: OpTrap, Imm: 3, Flags: HasImm}},
		{"cc", "int3", Inst{Op: OpTrap}},
		{"0f0b", "ud2", Inst{Op: OpTrap}},
		{"f3aa", "rep stosb", Inst{Op: OpStos, Size: 1, Dst: memory, Src: reg(RAX), Base: RDI, Index: NoReg, Reads: set(RAX, RCX, RDI), Writes: set(RCX, RDI), Flags: HasMem | MemWrite | Rep}},
		{"48a5", "movsq", Inst{Op: OpStos, Size: 8, Dst: memory, Src: memory, Base: RDI, Index: NoReg, MemSize: 8, Reads: set(RSI, RDI), Writes: set(RSI, RDI), Flags: HasMem | MemRead | MemWrite}},
		{"66f2af", "repne scasw", Inst{Op: OpStos, Size: 2, Dst: reg(RAX), Src: memory, Base: RDI, Index: NoReg, Reads: set(RAX, RCX, RDI), Writes: set(RCX, RDI), Flags: HasMem | MemRead | Rep}},
		{"0fa2", "cpuid", Inst{Op: OpOther, Size: 4, Reads: set(RAX, RCX), Writes: set(RAX, RBX, RCX, RDX)}},
		{"0f01d0", "xgetbv", Inst{Op: OpOther, Size: 8, Reads: set(RCX), Writes: set(RAX, RDX)}},
		{"f30f1efa", "endbr64", Inst{Op: OpNop, Size: 4}},
		{"66660f1f840000000000", "nopw, its operand dropped", Inst{Op: OpNop, Size: 2}},
		{"0f1106", "movups [rsi], xmm0", Inst{Op: OpOther, Size: 16, Dst: memory, Src: vector, Base: RSI, Index: NoReg, MemSize: 16, Reads: set(RSI), Flags: HasMem | MemWrite}},
		{"c5fe7f4708", "vmovdqu [rdi+8], ymm0", Inst{Op: OpOther, Size: 32, Dst: memory, Src: vector, Base: RDI, Index: NoReg, Disp: 8, MemSize: 32, Reads: set(RDI), Flags: HasMem | MemWrite}},
		{"62f1fe486f46ff", "vmovdqu64 zmm0, [rsi-64]", Inst{Op: OpOther, Size: 64, Dst: vector, Src: memory, Base: RSI, Index: NoReg, Disp: -64, MemSize: 64, Reads: set(RSI), Flags: HasMem | MemRead}},
		{"66480f6ec0", "movq xmm0, rax", Inst{Op: OpToVec, Size: 8, Dst: vector, Src: reg(RAX), Reads: set(RAX)}},
		{"660fd7c1", "pmovmskb eax, xmm1", Inst{Op: OpFromVec, Size: 4, Dst: reg(RAX), Src: vector, Writes: set(RAX)}},
		{"c462fbf6c3", "mulx r8, rax, rbx", Inst{Op: OpOther, Size: 8, Dst: reg(R8), Src: reg(RBX), Reads: set(RDX, RBX), Writes: set(R8, RAX)}},
		{"660fd607", "movq [rdi], xmm0", Inst{Op: OpOther, Size: 16, Dst: memory, Src: vector, Base: RDI, Index: NoReg, MemSize: 8, Reads: set(RDI), Flags: HasMem | MemWrite}},
		{"66480501000000", "add rax, 1, REX.W outweighs 66", Inst{Op: OpAdd, Size: 8, Imm: 1, Dst: reg(RAX), Src: number, Reads: set(RAX), Writes: set(RAX), Flags: HasImm}},
		{"d97c2404", "fnstcw [rsp+4]", Inst{Op: OpOther, Size: 10, Dst: memory, Src: vector, Base: RSP, Index: NoReg, Disp: 4, MemSize: 2, Reads: set(RSP), Flags: HasMem | MemWrite}},
		{"dfe0", "fnstsw ax", Inst{Op: OpFromVec, Size: 2, Dst: reg(RAX), Src: vector, Reads: set(RAX), Writes: set(RAX)}},
		{"480fab07", "bts [rdi], rax writes anywhere", Inst{Op: OpOther, Size: 8, Dst: memory, Src: reg(RAX), Base: RDI, Index: NoReg, Reads: AllRegs, Writes: AllRegs, Flags: HasMem | MemRead | MemWrite | Opaque}},
	} {
		code, err := hex.DecodeString(c.code)
		if err != nil {
			t.Fatal(err)
		}
		want := c.want
		want.Addr, want.Len = va, uint8(len(code))
		if want.SrcSize == 0 {
			want.SrcSize = want.Size
		}
		if want.Scale == 0 {
			want.Scale = 1
		}
		if want.Flags&HasMem == 0 {
			want.Base, want.Index = NoReg, NoReg
		}
		for _, a := range []*Arg{&want.Dst, &want.Src} {
			if a.Kind == ArgNone {
				*a = none
			}
		}
		var in Inst
		if !Decode(append(code, 0xcc), va, &in) {
			t.Errorf("%s (%s): not decoded", c.text, c.code)
		} else if diff := cmp.Diff(want, in); diff != "" {
			t.Errorf("%s (%s): -want +got\n%s", c.text, c.code, diff)
		}
	}
}

// TestNoInst decodes bytes that are no instruction.
func TestNoInst(t *testing.T) {
	for _, c := range []struct{ code, why string }{
		{"", "nothing"},
		{"48", "a prefix alone"},
		{"0f", "half an opcode"},
		{"e8000000", "a truncated distance"},
		{"8b84", "a truncated address"},
		{"06", "push es"},
		{"d6", "salc"},
		{"ea0000000000000000", "jmp far with address"},
		{"8d c0", "lea of a register"},
		{"0f c7 07", "cmpxchg8b with another opcode extension"},
		{"0f ff", "ud0 without operand"},
		{"66 c5 f8 77", "66 before VEX"},
		{"48 c5 f8 77", "REX before VEX"},
		{"f3 62 f1 7c 48 58 07", "f3 before EVEX"},
		{"62 f1 7c 68 58 07", "EVEX with vector length 3"},
		{"62 f4 7c 48 58 07", "EVEX map 4"},
		{"c5 f8 ae 07", "fxsave in VEX encoding"},
		{"c4 e4 78 58 07", "VEX map 4"},
		{"f2 0f 28 c1", "movaps with f2"},
		{strings.Repeat("66", 15) + "90", "16 bytes"},
		{strings.Repeat("2e", 40), "prefixes only"},
	} {
		code, err := hex.DecodeString(strings.ReplaceAll(c.code, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		var in Inst
		if Decode(code, 16, &in) || in.Op != OpBad || in.Len != 1 || in.Addr != 16 {
			t.Errorf("%s (%s): %+v", c.why, c.code, in)
		}
	}
	var in Inst
	longest, _ := hex.DecodeString(strings.Repeat("66", 14) + "90")
	if !Decode(longest, 0, &in) || in.Len != 15 {
		t.Errorf("nop of 15 bytes: %+v", in)
	}
}

// TestCompact keeps Inst small: analyses hold millions, and one cache line each.
func TestCompact(t *testing.T) {
	if n := reflect.TypeFor[Inst]().Size(); n > 64 {
		t.Errorf("Inst has %d bytes", n)
	}
	code, in := []byte{0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x46, 0xff}, Inst{}
	if n := testing.AllocsPerRun(100, func() { Decode(code, 0, &in) }); n != 0 {
		t.Errorf("Decode allocates %v times", n)
	}
}

// TestAbsMem asks for the addresses that instructions alone tell.
func TestAbsMem(t *testing.T) {
	for _, c := range []struct {
		code string
		addr uint64
		ok   bool
	}{
		{"488b0510000000", 0x1017, true},
		{"8b042500000040", 0x40000000, true},
		{"64488b042528000000", 0, false},
		{"8b04c500000040", 0, false},
		{"8b4010", 0, false},
		{"90", 0, false},
	} {
		code, _ := hex.DecodeString(c.code)
		var in Inst
		if !Decode(code, 0x1000, &in) {
			t.Fatalf("%s: not decoded", c.code)
		}
		if addr, ok := in.AbsMem(); addr != c.addr || ok != c.ok {
			t.Errorf("%s: %#x %v, want %#x %v", c.code, addr, ok, c.addr, c.ok)
		}
		if in.Next() != 0x1000+uint64(len(code)) {
			t.Errorf("%s: next at %#x", c.code, in.Next())
		}
	}
}
