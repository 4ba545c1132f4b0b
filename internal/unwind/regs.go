package unwind

import "golang.org/x/sys/unix"

// Registers by their DWARF numbers (AMD64 ABI, figure 3.36). RA is the return address column, which holds the program
// counter.
const (
	RAX = iota
	RDX
	RCX
	RBX
	RSI
	RDI
	RBP
	RSP
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
	RA
	numRegs
)

// preserved are the registers that a call leaves as they were unless its frame says otherwise (AMD64 ABI, section 3.2.1).
const preserved RegSet = 1<<RBX | 1<<RBP | 1<<R12 | 1<<R13 | 1<<R14 | 1<<R15

// RegSet is a set of registers, bit n for register n.
type RegSet uint32

// AllRegs are all of them.
const AllRegs RegSet = 1<<numRegs - 1

// Regs are the registers of a frame; those not in Known have no meaning.
type Regs struct {
	Val   [numRegs]uint64
	Known RegSet
}

// Blocked returns the registers of a thread of which only the stack pointer and the program counter are known.
func Blocked(sp, pc uint64) Regs {
	r := Regs{Known: 1<<RSP | 1<<RA}
	r.Val[RSP], r.Val[RA] = sp, pc
	return r
}

// Stopped returns the registers of a stopped thread.
func Stopped(p *unix.PtraceRegs) Regs {
	return Regs{Known: AllRegs, Val: [numRegs]uint64{
		RAX: p.Rax, RDX: p.Rdx, RCX: p.Rcx, RBX: p.Rbx, RSI: p.Rsi, RDI: p.Rdi, RBP: p.Rbp, RSP: p.Rsp,
		R8: p.R8, R9: p.R9, R10: p.R10, R11: p.R11, R12: p.R12, R13: p.R13, R14: p.R14, R15: p.R15, RA: p.Rip,
	}}
}

// set makes register r known.
func (g *Regs) set(r int, v uint64) {
	g.Val[r] = v
	g.Known |= 1 << r
}

// get returns register r, or an UnknownError.
func (g *Regs) get(r int) (uint64, error) {
	if r >= numRegs {
		return 0, malformed("register %d", r)
	}
	if g.Known>>r&1 == 0 {
		return 0, UnknownError(r)
	}
	return g.Val[r], nil
}
