package decode

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// checker compares instructions with what others say of them.
type checker struct {
	t       *testing.T
	effects map[string][]effect

	insts, targets, mems    int
	asm, asmSkipped, listed int
	wrong                   int
}

// maxShown bounds the differences that are printed.
const maxShown = 30

func (c *checker) errorf(l *listed, in *Inst, format string, args ...any) {
	c.wrong++
	if c.wrong <= maxShown {
		c.t.Errorf("%#x: % x  %s: %s\n\t%+v", l.addr, l.code, l.text, fmt.Sprintf(format, args...), *in)
	}
}

// inst compares one instruction.
func (c *checker) inst(l *listed) {
	c.insts++
	var in Inst
	if !Decode(l.code, l.addr, &in) {
		c.errorf(l, &in, "not decoded")
		return
	}
	if int(in.Len) != len(l.code) {
		c.errorf(l, &in, "length %d, objdump %d", in.Len, len(l.code))
		return
	}
	if in.Flags&Opaque != 0 {
		c.errorf(l, &in, "opaque")
		return
	}
	mn, ops := mnemonic(l.text)
	if ops == "%ax,%ax" && mn == "xchg" {
		mn = "nop" // 66 90
	}
	c.control(l, &in, mn, ops)
	if want, ok := classes[mn]; ok && in.Op != want && !strings.Contains(ops, "%cr") && !segment(ops) {
		c.errorf(l, &in, "class %d, want %d", in.Op, want)
	}
	c.memory(l, &in, mn, ops)
	c.writes(l, &in, mn)
	c.x86asm(l, &in)
}

// mnemonic splits an instruction as objdump prints it, without prefixes and comments, into mnemonic and operands.
func mnemonic(text string) (mn, ops string) {
	text, _, _ = strings.Cut(text, " #")
	for {
		mn, ops, _ = strings.Cut(text, " ")
		switch mn {
		case "lock", "rep", "repz", "repnz", "bnd", "notrack", "data16", "cs", "ds", "es", "ss", "fs", "gs", "addr32", "xacquire", "xrelease":
			text = strings.TrimSpace(ops)
			continue
		}
		return strings.TrimSuffix(strings.TrimSuffix(mn, ",pn"), ",pt"), strings.TrimSpace(ops)
	}
}

// segment reports whether the operands contain a segment register as such.
func segment(ops string) bool {
	for _, o := range strings.Split(ops, ",") {
		if len(o) == 3 && o[0] == '%' && o[2] == 's' && strings.IndexByte("cdefgs", o[1]) >= 0 {
			return true
		}
	}
	return false
}

// conds are the condition codes by objdump's names.
var conds = map[string]uint8{"o": 0, "no": 1, "b": 2, "ae": 3, "e": 4, "ne": 5, "be": 6, "a": 7,
	"s": 8, "ns": 9, "p": 10, "np": 11, "l": 12, "ge": 13, "le": 14, "g": 15}

// control compares control flow: class, condition and target.
func (c *checker) control(l *listed, in *Inst, mn, ops string) {
	flow := in.Op == OpCall || in.Op == OpJmp || in.Op == OpJcc
	direct := false
	switch {
	case mn == "call" || mn == "jmp":
		want := OpCall
		if mn == "jmp" {
			want = OpJmp
		}
		if in.Op != want || (in.Flags&Indirect != 0) != (ops[0] == '*') {
			c.errorf(l, in, "not %s", mn)
			return
		}
		direct = ops[0] != '*'
		if notrack := strings.Contains(l.text, "notrack"); notrack != (in.Flags&NoTrack != 0) {
			c.errorf(l, in, "notrack %v", notrack)
		}
	case mn == "lcall" || mn == "ljmp":
		return
	case mn == "jrcxz" || mn == "jecxz" || strings.HasPrefix(mn, "loop") || mn == "xbegin":
		direct = true
		if in.Op != OpJcc || in.Cond != 0xff {
			c.errorf(l, in, "not a conditional jump without condition code")
		}
	case mn[0] == 'j':
		direct = true
		if cond, ok := conds[mn[1:]]; !ok || in.Op != OpJcc || in.Cond != cond {
			c.errorf(l, in, "not a jump with condition %d", cond)
		}
	case flow:
		c.errorf(l, in, "branch that is none")
		return
	}
	for prefix, op := range map[string]Op{"set": OpSet, "cmov": OpCmov} {
		if cond, ok := conds[strings.TrimPrefix(mn, prefix)]; ok && strings.HasPrefix(mn, prefix) && (in.Op != op || in.Cond != cond) {
			c.errorf(l, in, "not %s with condition %d", prefix, cond)
		}
	}
	if direct {
		c.targets++
		target, err := strconv.ParseUint(strings.Fields(ops)[0], 16, 64)
		if err != nil || uint64(in.Imm) != target {
			c.errorf(l, in, "target %#x, objdump %s", in.Imm, ops)
		}
	}
}

// classes are the classes by objdump's mnemonics, without size suffix where it may have one.
var classes = map[string]Op{
	"add": OpAdd, "sub": OpSub, "and": OpAnd, "or": OpOr, "xor": OpXor, "adc": OpAdc, "sbb": OpSbb, "cmp": OpCmp, "test": OpTest,
	"addq": OpAdd, "addl": OpAdd, "addb": OpAdd, "subq": OpSub, "subl": OpSub, "andl": OpAnd, "andq": OpAnd, "andb": OpAnd,
	"orb": OpOr, "orl": OpOr, "cmpq": OpCmp, "cmpl": OpCmp, "cmpb": OpCmp, "cmpw": OpCmp, "testb": OpTest, "testl": OpTest, "testq": OpTest,
	"mov": OpMov, "movl": OpMov, "movb": OpMov, "movw": OpMov, "movabs": OpMov, "movnti": OpMov, "lea": OpLea,
	"movzbl": OpMovZX, "movzwl": OpMovZX, "movzbq": OpMovZX, "movzwq": OpMovZX,
	"movsbl": OpMovSX, "movswl": OpMovSX, "movsbq": OpMovSX, "movswq": OpMovSX, "movslq": OpMovSX, "cltq": OpMovSX, "cwtl": OpMovSX, "cbtw": OpMovSX,
	"shl": OpShl, "shr": OpShr, "sar": OpSar, "shll": OpShl, "shlq": OpShl, "shlb": OpShl, "shrl": OpShr, "shrq": OpShr, "shrb": OpShr, "sarl": OpSar, "sarb": OpSar,
	"neg": OpNeg, "not": OpNot, "inc": OpInc, "dec": OpDec, "incl": OpInc, "decl": OpDec, "bt": OpBt, "btq": OpBt, "btl": OpBt,
	"push": OpPush, "pop": OpPop, "pushf": OpPush, "popf": OpPop, "leave": OpLeave, "ret": OpRet, "iret": OpRet, "lret": OpRet,
	"xchg": OpXchg, "cmpxchg": OpCmpxchg, "xadd": OpXadd, "syscall": OpSyscall, "hlt": OpTrap, "ud2": OpTrap, "int3": OpTrap,
	"nop": OpNop, "nopw": OpNop, "nopl": OpNop, "endbr64": OpNop, "pause": OpNop, "prefetcht0": OpNop, "lfence": OpNop, "mfence": OpNop, "sfence": OpNop,
	"stos": OpStos, "lods": OpStos, "scas": OpStos, "movsb": OpStos, "movsq": OpStos, "movsl": OpStos, "cmpsb": OpStos,
	"pinsrw": OpToVec, "pinsrd": OpToVec, "vpinsrd": OpToVec, "vpinsrq": OpToVec, "cvtsi2sd": OpToVec, "cvtsi2sdq": OpToVec, "cvtsi2ss": OpToVec,
	"pmovmskb": OpFromVec, "vpmovmskb": OpFromVec, "cvttsd2si": OpFromVec, "pextrw": OpFromVec, "vpextrq": OpFromVec, "movmskpd": OpFromVec,
	"paddd": OpOther, "movaps": OpOther, "movups": OpOther, "movdqu": OpOther, "vmovdqu": OpOther, "vmovdqu64": OpOther,
	"mul": OpOther, "div": OpOther, "cpuid": OpOther, "rorx": OpOther, "shlx": OpOther, "bsf": OpOther, "bsr": OpOther, "tzcnt": OpOther,
}

// stores are vector instructions that write memory if their last operand is memory.
var stores = map[string]bool{"movaps": true, "movups": true, "movdqa": true, "movdqu": true, "movapd": true, "movq": true, "movd": true,
	"movss": true, "movsd": true, "movlps": true, "movhps": true, "movlpd": true, "movhpd": true, "movntps": true, "movntdq": true,
	"vmovdqu": true, "vmovdqa": true, "vmovdqu64": true, "vmovdqu32": true, "vmovdqu8": true, "vmovdqa64": true, "vmovdqa32": true, "vmovups": true, "vmovaps": true,
	"vmovntdq": true, "vmovq": true, "vmovd": true, "vextracti128": true, "vextracti32x4": true, "vextracti64x4": true, "pextrw": true,
	"fstpt": true, "fstpl": true, "fstps": true, "fstp": true, "fistpll": true, "fistpl": true, "fnstcw": true, "fnstenv": true, "stmxcsr": true,
	"mov": true, "movl": true, "movb": true, "movw": true, "add": true, "addl": true, "or": true, "orl": true, "xadd": true, "cmpxchg": true, "inc": true, "sub": true}

// memory compares the memory operand, and for the usual loads and stores the access.
func (c *checker) memory(l *listed, in *Inst, mn, ops string) {
	if in.Op == OpNop || in.Op == OpStos || in.Op == OpTrap || mn == "xlat" || mn == "maskmovdqu" {
		return
	}
	m, last, ok := memOperand(ops, l.text)
	if ok != (in.Flags&HasMem != 0) {
		c.errorf(l, in, "memory operand %v, objdump %v", !ok, ok)
		return
	}
	if !ok {
		return
	}
	c.mems++
	got := mem{in.Base, in.Index, in.Scale, in.Seg, in.Disp}
	if got.index == NoReg {
		got.scale = 1
	}
	if got != m {
		c.errorf(l, in, "memory operand %+v, objdump %+v", got, m)
	}
	if stores[mn] {
		if last != (in.Flags&MemWrite != 0) || !last && in.Flags&MemRead == 0 {
			c.errorf(l, in, "memory written %v, want %v", !last, last)
		}
	}
}

// mem is a memory operand.
type mem struct {
	base, index Reg
	scale, seg  uint8
	disp        int64
}

// gprNumbers are the registers that address memory, by name.
var gprNumbers = map[string]Reg{"rax": RAX, "rcx": RCX, "rdx": RDX, "rbx": RBX, "rsp": RSP, "rbp": RBP, "rsi": RSI, "rdi": RDI,
	"eax": RAX, "ecx": RCX, "edx": RDX, "ebx": RBX, "esp": RSP, "ebp": RBP, "esi": RSI, "edi": RDI,
	"al": RAX, "cl": RCX, "dl": RDX, "bl": RBX, "ax": RAX, "cx": RCX, "dx": RDX, "bx": RBX,
	"r8": R8, "r9": R9, "r10": R10, "r11": R11, "r12": R12, "r13": R13, "r14": R14, "r15": R15,
	"r8d": R8, "r9d": R9, "r10d": R10, "r11d": R11, "r12d": R12, "r13d": R13, "r14d": R14, "r15d": R15, "rip": RIP, "riz": NoReg, "eiz": NoReg}

// memOperand finds the memory operand among AT&T operands. last says that it is the last one, the destination.
func memOperand(ops, text string) (m mem, last, ok bool) {
	m = mem{base: NoReg, index: NoReg, scale: 1}
	ops = strings.TrimPrefix(ops, "*")
	if i := strings.Index(ops, "{"); i >= 0 { // mask or broadcast
		end := strings.LastIndex(ops, "}")
		ops = ops[:i] + ops[end+1:]
	}
	open := strings.Index(ops, "(%")
	if open < 0 {
		open = strings.Index(ops, "(,%")
	}
	head := ops
	if open >= 0 && strings.HasPrefix(ops[open:], "(%st") || strings.HasPrefix(ops, "%st") {
		return m, false, false
	}
	if open >= 0 {
		closing := open + strings.IndexByte(ops[open:], ')')
		parts := strings.Split(ops[open+1:closing], ",")
		for i, p := range parts {
			p = strings.TrimPrefix(p, "%")
			switch {
			case i == 0 && p != "":
				m.base = gprNumbers[p]
			case i == 1:
				m.index = gprNumbers[p]
			case i == 2 && m.index != NoReg:
				n, _ := strconv.Atoi(p)
				m.scale = uint8(n)
			}
		}
		last = closing == len(ops)-1
		head = ops[:open]
		head = head[strings.LastIndexByte(head, ',')+1:]
	} else {
		// Without registers: %fs:0x28, or an absolute address of mov.
		found := false
		parts := strings.Split(ops, ",")
		for i, p := range parts {
			if strings.HasPrefix(p, "%fs:") || strings.HasPrefix(p, "%gs:") || strings.HasPrefix(p, "0x") {
				head, found, last = p, true, i == len(parts)-1
			}
		}
		if !found {
			return m, false, false
		}
	}
	switch {
	case strings.HasPrefix(head, "%fs:"):
		m.seg, head = 1, head[4:]
	case strings.HasPrefix(head, "%gs:"):
		m.seg, head = 2, head[4:]
	case strings.HasPrefix(head, "%"):
		head = head[strings.IndexByte(head, ':')+1:]
	}
	if m.base == RIP { // the comment says where it is
		_, comment, _ := strings.Cut(text, "# ")
		head = "0x" + strings.Fields(comment)[0]
	}
	if head != "" {
		neg := strings.HasPrefix(head, "-")
		v, err := strconv.ParseUint(strings.TrimPrefix(head, "-"), 0, 64)
		if err != nil {
			return m, false, false
		}
		m.disp = int64(v)
		if neg {
			m.disp = -m.disp
		}
	}
	return m, last, true
}

// effect is one line of testdata/gpr_effects.tsv: the operands of an instruction and how it uses them, and the
// general-purpose registers that it writes beside them.
type effect struct {
	kinds  []string // "reg", "mem", "imm"
	writes []bool
	also   RegSet
}

// loadEffects reads the register effects by mnemonic.
func loadEffects(t testing.TB) map[string][]effect {
	data, err := os.ReadFile("testdata/gpr_effects.tsv")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]effect{}
	for _, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			t.Fatalf("gpr_effects.tsv: %q has %d fields", line, len(f))
		}
		var e effect
		for _, o := range strings.Split(f[2], ",") {
			if kind, access, ok := strings.Cut(o, ":"); ok {
				e.kinds = append(e.kinds, kind)
				e.writes = append(e.writes, strings.Contains(access, "w"))
			}
		}
		for _, o := range strings.Split(f[3], ",") {
			name, access, _ := strings.Cut(o, ":")
			if r, ok := gprNumbers[name]; ok && r < 16 && strings.Contains(access, "w") && access != "w?" {
				e.also |= 1 << r
			}
		}
		all[f[0]] = append(all[f[0]], e)
	}
	return all
}

// zydisNames are the mnemonics of gpr_effects.tsv that objdump calls otherwise.
var zydisNames = map[string]string{"movabs": "mov", "movslq": "movsxd", "cltq": "cdqe", "cwtl": "cwde", "cltd": "cdq", "cqto": "cqo",
	"movzbl": "movzx", "movzwl": "movzx", "movzbq": "movzx", "movzwq": "movzx", "movsbl": "movsx", "movswl": "movsx", "movsbq": "movsx", "movswq": "movsx",
	"nopw": "nop", "nopl": "nop", "pushf": "pushfq", "popf": "popfq", "cvtsi2sdq": "cvtsi2sd", "cvtsi2sdl": "cvtsi2sd"}

// zydisCond are the conditions that have other names there.
var zydisCond = map[string]string{"e": "z", "ne": "nz", "a": "nbe", "ae": "nb", "g": "nle", "ge": "nl"}

// lookupEffects finds the lines of an instruction by objdump's mnemonic.
func (c *checker) lookupEffects(mn string) []effect {
	if n, ok := zydisNames[mn]; ok {
		mn = n
	}
	for _, p := range []string{"j", "set", "cmov"} {
		if rest, ok := strings.CutPrefix(mn, p); ok {
			if z, ok := zydisCond[rest]; ok {
				mn = p + z
			}
		}
	}
	if e, ok := c.effects[mn]; ok {
		return e
	}
	if strings.IndexByte("bwlq", mn[len(mn)-1]) >= 0 {
		return c.effects[mn[:len(mn)-1]]
	}
	return nil
}

// writes compares the written registers with the lines of the table that fit the operands.
func (c *checker) writes(l *listed, in *Inst, mn string) {
	if in.Op == OpNop || in.Op == OpStos || in.Op == OpSyscall || mn == "mulx" || mn == "xbegin" {
		return // no operands; repeat prefixes; what the kernel adds; a second destination that has no field; what an abort adds
	}
	rows := c.lookupEffects(mn)
	if rows == nil {
		return
	}
	c.listed++
	fits := false
	for i := range rows {
		e := &rows[i]
		want := e.also
		args := []Arg{in.Dst, in.Src}
		if in.Dst.Kind == ArgNone {
			args = args[1:]
		}
		fitsMem := slices.Contains(e.kinds, "mem") == (in.Flags&HasMem != 0)
		for j := range e.kinds {
			if e.writes[j] && j < len(args) && (args[j].Kind == ArgReg || args[j].Kind == ArgRegHigh) {
				want |= 1 << args[j].Reg
			}
		}
		if fitsMem && want == in.Writes {
			fits = true
			break
		}
	}
	if !fits {
		c.errorf(l, in, "writes %016b is none of %+v", in.Writes, rows)
	}
}

// x86asm compares length, memory operand and immediate with golang.org/x/arch/x86/x86asm, where that is known to be right:
// not for VEX and EVEX, nor for instructions that it does not know (endbr64 is one byte without error), nor for its 67 prefix.
func (c *checker) x86asm(l *listed, in *Inst) {
	if vexed(l.code) || in.Op == OpNop || in.Flags&(Addr32|Far) != 0 {
		c.asmSkipped++
		return
	}
	x, err := x86asm.Decode(l.code, 64)
	if err != nil || x.Op == 0 {
		c.asmSkipped++
		return
	}
	c.asm++
	if x.Len != int(in.Len) {
		c.errorf(l, in, "length %d, x86asm %d", in.Len, x.Len)
		return
	}
	seenImm := false
	for _, a := range x.Args {
		switch a := a.(type) {
		case x86asm.Mem:
			if in.Op == OpStos || in.Op == OpOther && in.Flags&HasMem == 0 || l.code[0] == 0xd7 {
				continue
			}
			want := mem{asmReg(a.Base), asmReg(a.Index), a.Scale, 0, int64(int32(a.Disp))}
			if l.code[0]&^3 == 0xa0 || len(l.code) > 9 && l.code[1]&^3 == 0xa0 {
				want.disp = a.Disp // a 64-bit address
			}
			switch a.Segment {
			case x86asm.FS:
				want.seg = 1
			case x86asm.GS:
				want.seg = 2
			}
			if want.base == RIP {
				want.disp += int64(in.Next())
			}
			if want.index == NoReg {
				want.scale = 1
			}
			if got := (mem{in.Base, in.Index, in.Scale, in.Seg, in.Disp}); got != want && in.Op != OpPop {
				c.errorf(l, in, "memory operand %+v, x86asm %+v", got, want)
			}
		case x86asm.Imm:
			if seenImm || in.Flags&HasImm == 0 {
				continue
			}
			seenImm = true
			mask := uint64(0xff) // imm8 is not consistently sign-extended there
			if v := int64(a); v > 255 || v < -128 {
				mask = 1<<(8*min(uint(max(in.Size, 1)), 4)) - 1
				if in.Op == OpMov && in.Size == 8 {
					mask = ^uint64(0)
				}
			}
			if uint64(a)&mask != uint64(in.Imm)&mask {
				c.errorf(l, in, "immediate %#x, x86asm %#x", in.Imm, int64(a))
			}
		case x86asm.Rel:
			if uint64(in.Imm) != in.Next()+uint64(int64(a)) {
				c.errorf(l, in, "target %#x, x86asm .%+d", in.Imm, int64(a))
			}
		}
	}
}

// vexed reports whether the opcode is in VEX, EVEX or XOP encoding.
func vexed(code []byte) bool {
	for _, b := range code {
		switch b {
		case 0x66, 0x67, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65:
			continue
		case 0xc4, 0xc5, 0x62:
			return true
		case 0x8f:
			return len(code) > 1 && code[1]&0x38 != 0
		}
		return false
	}
	return false
}

// asmReg translates a register of x86asm.
func asmReg(r x86asm.Reg) Reg {
	switch {
	case r >= x86asm.RAX && r <= x86asm.R15:
		return Reg(r - x86asm.RAX)
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return Reg(r - x86asm.EAX)
	case r == x86asm.RIP:
		return RIP
	}
	return NoReg
}
