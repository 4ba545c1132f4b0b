package value

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator writes random functions in assembly (Intel syntax) that testdata/harness.c runs. They use no register as a
// pointer that is not one, keep the stack pointer inside the harness's window, and end after a bounded number of rounds.
type generator struct {
	*rand.Rand
	out    strings.Builder
	labels int
	fn     int
	lo, hi int  // bytes between the stack pointer and its value at entry: least and most
	frame  bool // rbp is a frame pointer, framed bytes below the entry
	framed int
	tame   bool // no pointers into the frame, so that more is known
}

const (
	maxFrame = 400 // bytes of stack that a generated function may use
	maxNest  = 3
)

var names64 = [16]string{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}

// name is a register's name at a width in bytes.
func name(r, size int) string {
	n := names64[r]
	switch {
	case size == 8:
		return n
	case r >= 8:
		return n + map[int]string{4: "d", 2: "w", 1: "b"}[size]
	case size == 4:
		return "e" + n[1:]
	case size == 2:
		return n[1:]
	case r < 4:
		return n[1:2] + "l"
	}
	return n[1:] + "l"
}

func (g *generator) p(format string, args ...any) {
	g.out.WriteString("\t")
	fmt.Fprintf(&g.out, format, args...)
	g.out.WriteByte('\n')
}

func (g *generator) label() string {
	g.labels++
	return fmt.Sprintf(".L%d_%d", g.fn, g.labels)
}

// reg is a register that may be written.
func (g *generator) reg(but ...int) int {
next:
	for {
		r := g.IntN(16)
		if r == 4 || r == 5 && g.frame {
			continue
		}
		for _, b := range but {
			if r == b {
				continue next
			}
		}
		return r
	}
}

// source is a register to read; in tame functions not one with an address in the frame.
func (g *generator) source() int {
	if g.tame {
		return g.reg(4, 5)
	}
	return g.IntN(16)
}

// size is 8 or 4, seldom 2 or 1.
func (g *generator) size() int { return []int{8, 8, 8, 4, 4, 4, 4, 2, 1}[g.IntN(9)] }

func (g *generator) imm() int32 {
	switch g.IntN(6) {
	case 0:
		return []int32{-1, 0x7fffffff, -0x80000000, 31, 32, 33, 63, 64, -16}[g.IntN(9)]
	case 1:
		return int32(g.Uint32())
	}
	return int32(g.IntN(400))
}

// small is an immediate for an operand of size bytes.
func (g *generator) small(size int) int32 {
	i := g.imm()
	switch size {
	case 1:
		return int32(int8(i))
	case 2:
		return int32(int16(i))
	}
	return i
}

// place is a memory operand in the frame that size bytes may be read at and, if write is set, written to.
func (g *generator) place(size int, write bool) string {
	align := func(n int) int {
		if g.IntN(6) == 0 {
			return n &^ 3
		}
		return n &^ 7
	}
	if g.frame && g.IntN(2) == 0 && g.lo >= g.framed+8 {
		n := align(g.IntN(g.lo-g.framed-7)) + 8
		return fmt.Sprintf("[rbp-%d]", n)
	}
	switch g.IntN(8) {
	case 0: // the red zone
		return fmt.Sprintf("[rsp-%d]", align(g.IntN(96))+16)
	case 1: // a stack-passed argument
		if g.lo == g.hi {
			return fmt.Sprintf("[rsp+%d]", g.lo+8+align(g.IntN(72)))
		}
	}
	if g.lo < 16 {
		return fmt.Sprintf("[rsp-%d]", 16+align(g.IntN(40)))
	}
	return fmt.Sprintf("[rsp+%d]", align(g.IntN(g.lo-8)))
}

func ptr(size int) string {
	return map[int]string{8: "qword ptr ", 4: "dword ptr ", 2: "word ptr ", 1: "byte ptr ", 16: "xmmword ptr "}[size]
}

func (g *generator) cc() string {
	return []string{"e", "ne", "s", "ns", "c", "nc", "l", "ge", "a", "be", "o", "p"}[g.IntN(12)]
}

// flags sets the flags from something unknown.
func (g *generator) flags() {
	if g.IntN(2) == 0 {
		g.p("test %s, %d", name(g.IntN(16), 4), 1<<g.IntN(8))
	} else {
		g.p("cmp %s, %d", name(g.IntN(16), 8), g.imm())
	}
}

// function writes one function.
func (g *generator) function(n int) string {
	g.out.Reset()
	g.fn, g.labels, g.lo, g.hi, g.frame, g.tame = n, 0, 0, 0, g.IntN(3) == 0, g.IntN(3) != 0
	fmt.Fprintf(&g.out, "\t.globl f%d\n\t.type f%d, @function\nf%d:\n", n, n, n)
	if g.frame {
		g.p("push rbp")
		g.p("mov rbp, rsp")
		g.lo, g.hi = 8, 8
		g.framed = 8
		if g.IntN(3) == 0 {
			g.p("and rsp, %d", []int{-16, -32, -64}[g.IntN(3)])
			g.hi += 56
		}
	}
	if g.IntN(4) != 0 {
		k := 8 * (2 + g.IntN(12))
		g.p("sub rsp, %d", k)
		g.lo, g.hi = g.lo+k, g.hi+k
	}
	g.body(4+g.IntN(16), 0)
	fmt.Fprintf(&g.out, ".Lend%d:\n", n)
	if g.frame && g.IntN(3) == 0 {
		g.p("leave")
	}
	g.p("jmp capture")
	fmt.Fprintf(&g.out, "\t.size f%d, .-f%d\n", n, n)
	return g.out.String()
}

// body writes n random pieces of code.
func (g *generator) body(n, nest int) {
	for range n {
		k := g.IntN(20)
		if g.tame && k < 11 && g.IntN(2) == 0 { // what keeps values in sight
			d, s, size := g.reg(), g.source(), 4+4*g.IntN(2)
			switch g.IntN(5) {
			case 0:
				g.p("mov %s, %d", name(d, size), g.imm())
			case 1:
				g.p("mov %s, %s", name(d, size), name(s, size))
			case 2:
				g.p("mov %s, %s%s", name(d, size), ptr(size), g.place(size, false))
			default:
				g.p("mov %s%s, %s", ptr(size), g.place(size, true), name(s, size))
			}
			continue
		}
		switch {
		case k < 9:
			g.simple()
		case k < 11:
			g.odd()
		case k < 13:
			g.memory()
		case k < 15:
			g.pointer()
		case k == 15:
			g.stack()
		case k == 16:
			g.call()
		case nest >= maxNest:
			g.simple()
		case k == 17:
			g.loop(nest)
		default:
			g.branch(nest)
		}
	}
}

func (g *generator) simple() {
	size := g.size()
	d, s := g.reg(), g.source()
	dn, sn := name(d, size), name(s, size)
	switch g.IntN(9) {
	case 0:
		g.p("mov %s, %d", dn, g.small(size))
	case 1:
		g.p("mov %s, %s", dn, sn)
	case 2:
		g.p("%s %s, %d", []string{"add", "sub", "and", "or", "xor", "adc", "sbb", "cmp", "test"}[g.IntN(9)], dn, g.small(size))
	case 3:
		g.p("%s %s, %s", []string{"add", "sub", "and", "or", "xor", "xchg", "cmp"}[g.IntN(7)], dn, name(g.reg(), size))
	case 4:
		g.p("%s %s, %d", []string{"shl", "shr", "sar", "rol", "ror"}[g.IntN(5)], dn, g.IntN(64))
	case 5:
		size = max(size, 4)
		if g.IntN(2) == 0 {
			g.p("lea %s, [%s+%d]", name(d, size), names64[s], g.imm())
		} else if i := g.reg(); g.IntN(3) == 0 {
			g.p("lea %s, [%s*%d+%d]", name(d, size), names64[i], 1<<g.IntN(4), g.imm())
		} else {
			g.p("lea %s, [%s+%s*%d+%d]", name(d, size), names64[s], names64[i], 1<<g.IntN(4), g.imm())
		}
	case 6:
		size = max(size, 4)
		g.flags()
		g.p("cmov%s %s, %s", g.cc(), name(d, size), name(s, size))
	case 7:
		size = max(size, 4)
		if g.IntN(3) == 0 {
			g.p("movsxd %s, %s", name(d, 8), name(s, 4))
		} else {
			g.p("%s %s, %s", []string{"movzx", "movsx"}[g.IntN(2)], name(d, size), name(s, 1+g.IntN(2)))
		}
	case 8:
		size = max(size, 4)
		g.p("%s %s", []string{"inc", "dec", "neg", "not", "bswap"}[g.IntN(5)], name(d, size))
	}
}

// odd writes instructions with effects of their own.
func (g *generator) odd() {
	size := max(g.size(), 4)
	d, s := g.reg(), g.reg()
	switch g.IntN(13) {
	case 0:
		g.p("%s %s, cl", []string{"shl", "shr", "sar"}[g.IntN(3)], name(d, size))
	case 1:
		g.p("imul %s, %s, %d", name(d, size), name(s, size), g.imm())
	case 2:
		g.p("imul %s, %s", name(d, size), name(s, size))
	case 3:
		g.p("%s %s", []string{"mul", "imul"}[g.IntN(2)], name(s, size))
	case 4:
		g.p("%s", []string{"cdqe", "cqo", "cdq", "cwde", "cbw", "clc", "xor eax, eax", "sub rdx, rdx"}[g.IntN(8)])
	case 5:
		g.flags()
		g.p("set%s %s", g.cc(), name(d, 1))
	case 6:
		g.p("xadd %s, %s", name(d, size), name(s, size))
	case 7:
		g.p("cmpxchg %s, %s", name(d, size), name(s, size))
	case 8:
		g.p("movabs %s, %d", names64[d], int64(g.Uint64()))
	case 9:
		g.p("mov %s, ah", []string{"al", "bl", "cl", "dh", "bh"}[g.IntN(5)])
	case 10:
		g.p("movq xmm1, %s", names64[s])
		g.p("movq %s, xmm1", names64[d])
	case 11:
		g.p("%s %s, %s", []string{"bsf", "popcnt", "bt", "bts"}[g.IntN(4)], name(d, size), name(s, size))
	case 12:
		g.p("lea %s, [rip+scratch+%d]", names64[d], 8*g.IntN(8))
		g.p("mov %s, %s[%s+8]", name(s, size), ptr(size), names64[d])
	}
}

// memory writes reads and writes of the frame, and of the scratch area.
func (g *generator) memory() {
	size := g.size()
	d, s := g.reg(), g.source()
	wide := max(size, 4)
	switch g.IntN(13) {
	case 0, 1, 2:
		g.p("mov %s%s, %s", ptr(size), g.place(size, true), name(s, size))
	case 3:
		g.p("mov %s%s, %d", ptr(size), g.place(size, true), g.small(size))
	case 4, 5, 6:
		g.p("mov %s, %s%s", name(d, size), ptr(size), g.place(size, false))
	case 7:
		n := 1 + g.IntN(2)
		g.p("%s %s, %s%s", []string{"movzx", "movsx"}[g.IntN(2)], name(d, wide), ptr(n), g.place(n, false))
	case 8:
		g.p("movsxd %s, dword ptr %s", names64[d], g.place(4, false))
	case 9:
		g.p("%s %s%s, %d", []string{"add", "sub", "and", "or", "xor"}[g.IntN(5)], ptr(size), g.place(size, true), g.small(size))
	case 10:
		op := []string{"add", "sub", "and", "or", "xor"}[g.IntN(5)]
		g.p("%s %s, %s%s", op, name(d, size), ptr(size), g.place(size, false))
	case 11:
		g.p("%s %s%s, %s", []string{"xchg", "xadd", "cmpxchg", "add"}[g.IntN(4)], ptr(size), g.place(size, true), name(g.reg(), size))
	case 12:
		if g.IntN(2) == 0 {
			g.p("mov %s%s, %s", ptr(size), fmt.Sprintf("scratch[rip+%d]", 8*g.IntN(20)), name(s, size))
		} else {
			g.flags()
			g.p("cmov%s %s, %s%s", g.cc(), name(d, wide), ptr(wide), g.place(wide, false))
		}
	}
}

// pointer writes accesses to the frame through pointers to it.
func (g *generator) pointer() {
	if g.tame {
		g.memory()
		return
	}
	r := g.reg()
	q := g.reg(r)
	s := g.IntN(16)
	lea := func(r int) {
		g.p("lea %s, %s", names64[r], g.place(8, true))
	}
	use := func(r int) {
		if g.IntN(3) == 0 {
			g.p("mov %s, [%s]", names64[g.reg()], names64[r])
		} else if g.IntN(2) == 0 {
			g.p("mov [%s], %s", names64[r], names64[s])
		} else {
			g.p("mov %s[%s], %d", ptr(4), names64[r], g.imm())
		}
	}
	switch g.IntN(10) {
	case 0:
		lea(r)
		use(r)
	case 1:
		lea(r)
		lea(q)
		g.flags()
		g.p("cmov%s %s, %s", g.cc(), names64[r], names64[q])
		use(r)
	case 2: // through memory
		lea(r)
		g.p("mov gptr[rip], %s", names64[r])
		g.p("mov %s, gptr[rip]", names64[q])
		use(q)
	case 3: // hidden by arithmetic
		lea(r)
		op := []string{"xor", "add", "neg", "not"}[g.IntN(4)]
		arg, back := "", op
		switch op {
		case "xor":
			arg = ", 0x12345678"
		case "add":
			arg, back = ", 0x5550", "sub"
		}
		g.p("%s %s%s", op, names64[r], arg)
		g.p("mov %s, %s", names64[q], names64[r])
		g.p("%s %s%s", back, names64[q], arg)
		use(q)
	case 4: // the frame pointer through memory
		if !g.frame || g.lo < 32 {
			return
		}
		if g.IntN(2) == 0 {
			g.p("mov gptr[rip], rbp")
			g.p("mov %s, gptr[rip]", names64[q])
		} else {
			g.p("movq xmm0, rbp")
			g.p("movq %s, xmm0", names64[q])
		}
		g.p("mov qword ptr [%s-%d], %d", names64[q], 8*(1+g.IntN((g.lo-g.framed)/8)), g.imm())
	case 5: // the stack pointer by push
		if g.hi+8 > maxFrame {
			return
		}
		g.p("push rsp")
		g.p("pop %s", names64[q])
		g.p("mov qword ptr [%s+%d], %s", names64[q], 8*g.IntN(1+max(0, g.lo-8)/8), names64[s])
	case 6: // many words
		if g.lo < 40 {
			return
		}
		off := 8 * g.IntN((g.lo-24)/8)
		g.p("lea rdi, [rsp+%d]", off)
		g.p("mov ecx, %d", 1+g.IntN(min(6, (g.lo-off)/8)))
		g.p("rep stosq")
	case 7: // a vector
		if g.lo < 32 {
			return
		}
		g.p("movq xmm0, %s", names64[s])
		g.p("movups xmmword ptr [rsp+%d], xmm0", 8*g.IntN((g.lo-16)/8))
	case 8: // an index
		if g.lo < 80 {
			return
		}
		g.p("mov %s, %s", name(r, 4), name(s, 4))
		g.p("and %s, 7", name(r, 4))
		if g.IntN(2) == 0 {
			g.p("mov qword ptr [rsp+%s*8], %d", names64[r], g.imm())
		} else {
			g.p("mov %s, [rsp+%s*8+8]", names64[q], names64[r])
		}
	case 9: // string moves
		if g.lo < 64 {
			return
		}
		g.p("lea rsi, [rsp+%d]", 8*g.IntN(3))
		g.p("lea rdi, [rsp+%d]", 24+8*g.IntN(2))
		g.p("%s", []string{"movsq", "movsd", "stosq", "stosb", "lodsq"}[g.IntN(5)])
	}
}

// stack moves the stack pointer.
func (g *generator) stack() {
	switch g.IntN(8) {
	case 0, 1, 2:
		if g.hi+8 > maxFrame {
			return
		}
		if g.IntN(4) == 0 {
			g.p("push %d", g.imm())
		} else {
			g.p("push %s", names64[g.source()])
		}
		g.lo, g.hi = g.lo+8, g.hi+8
	case 3, 4:
		if g.lo < g.floor()+8 {
			return
		}
		g.p("pop %s", names64[g.reg()])
		g.lo, g.hi = g.lo-8, g.hi-8
	case 5:
		if g.hi+32 > maxFrame {
			return
		}
		g.p("pushfq")
		g.p("pop %s", names64[g.reg()])
	case 6:
		k := 8 * (1 + g.IntN(4))
		if g.hi+k > maxFrame {
			return
		}
		g.p("%s", []string{fmt.Sprintf("sub rsp, %d", k), fmt.Sprintf("lea rsp, [rsp-%d]", k), fmt.Sprintf("add rsp, %d", -k)}[g.IntN(3)])
		g.lo, g.hi = g.lo+k, g.hi+k
	case 7:
		if g.hi+72 > maxFrame || !g.frame { // alloca
			return
		}
		g.p("mov eax, %s", name(g.IntN(16), 4))
		g.p("and eax, 0x38")
		g.p("sub rsp, rax")
		g.hi += 56
	}
}

// floor is where the frame's fixed part ends.
func (g *generator) floor() int {
	if g.frame {
		return g.framed
	}
	return 0
}

func (g *generator) call() {
	if !g.tame && g.IntN(2) == 0 {
		g.p("lea rdi, %s", g.place(8, true))
	}
	if g.hi+8 <= maxFrame && g.IntN(3) == 0 { // a stack-passed argument, taken away again
		g.p("push %d", g.imm())
		g.p("call helper")
		g.p("add rsp, 8")
		return
	}
	g.p("call helper")
}

func (g *generator) branch(nest int) {
	lo, hi := g.lo, g.hi
	g.flags()
	other := g.label()
	g.p("j%s %s", g.cc(), other)
	g.body(1+g.IntN(4), nest+1)
	if g.IntN(2) == 0 {
		fmt.Fprintf(&g.out, "%s:\n", other)
		g.lo, g.hi = min(lo, g.lo), max(hi, g.hi)
		return
	}
	join := g.label()
	g.p("jmp %s", join)
	fmt.Fprintf(&g.out, "%s:\n", other)
	tlo, thi := g.lo, g.hi
	g.lo, g.hi = lo, hi
	g.body(1+g.IntN(4), nest+1)
	fmt.Fprintf(&g.out, "%s:\n", join)
	g.lo, g.hi = min(tlo, g.lo), max(thi, g.hi)
}

// loop writes a loop that leaves the stack pointer as it was; the harness's fuel ends it.
func (g *generator) loop(nest int) {
	lo, hi := g.lo, g.hi
	if g.hi+8 > maxFrame {
		return
	}
	head := g.label()
	fmt.Fprintf(&g.out, "%s:\n", head)
	keep := g.out.String()
	g.body(1+g.IntN(5), nest+1)
	if g.lo != lo || g.hi != hi {
		if g.hi-hi != g.lo-lo { // cannot be put back by a constant: do without the body
			g.out.Reset()
			g.out.WriteString(keep)
		} else if d := g.lo - lo; d > 0 {
			g.p("add rsp, %d", d)
		} else {
			g.p("sub rsp, %d", -d)
		}
		g.lo, g.hi = lo, hi
	}
	g.p("dec qword ptr fuel[rip]")
	g.p("jz .Lend%d", g.fn)
	g.flags()
	g.p("j%s %s", g.cc(), head)
}
