package summary

import (
	"bytes"
	"math/bits"

	"syspart/internal/cfg"
	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/value"
)

// How many register arguments functions consume and call sites prepare (TypeArmor, van der Veen et al., S&P 2016). Both
// err to the side that lets more functions match a site: a function consumes what it certainly does, a site prepares what
// it possibly does.
//
// A function consumes an argument where an instruction needs a register that no path from the entry to there has changed. A
// register that only some paths leave alone may be a variable without a value, which compilers let be what it is; one that
// no path has set is no variable, for gcc zeroes those (pass_initialize_regs) and LLVM folds what uses them. What is stored
// into the frame, and what the kernel is given, is not followed.
//
// A site prepares an argument unless, on all paths to there, the last that happened to its register is a call that may have
// changed it. Results of calls are in rax and rdx, as the psABI has it, or in memory.

// The registers of interest: those of arguments, and rax, which holds results and tells variadic functions from others.
const (
	argSet  = decode.RegSet(1<<decode.RDI | 1<<decode.RSI | 1<<decode.RDX | 1<<decode.RCX | 1<<decode.R8 | 1<<decode.R9)
	raxSet  = decode.RegSet(1 << decode.RAX)
	rdxSet  = decode.RegSet(1 << decode.RDX)
	rdiSet  = decode.RegSet(1 << decode.RDI)
	rsiSet  = decode.RegSet(1 << decode.RSI)
	scratch = argSet | raxSet

	kernelSet = argSet&^(1<<decode.RCX) | 1<<decode.R10 | raxSet // numbers and arguments of system calls
)

// numbers returns the arguments whose registers are in s: bit k is argument k.
func numbers(s decode.RegSet) (n uint8) {
	for k := range 6 {
		n |= uint8(s>>value.ArgReg(k)&1) << k
	}
	return n
}

// closed, in Func.Args until arities has run, says that no calls add to what the function consumes.
const closed uint8 = 1 << 7

// flow is what a block does to registers, and what is known of them where it begins.
type flow struct {
	needs  decode.RegSet // needed, before they are written
	saved  decode.RegSet // stored whole into the frame before that
	writes decode.RegSet // written, wholly or in part
	clob   decode.RegSet // possibly changed by the call at its end
	left   decode.RegSet // among them: left behind by it, with no meaning to its caller
	wants  bool          // rax is needed or saved before it is written
	live   bool
	dirty  bool
	used   bool  // the result of the call at its end is needed
	result int32 // the block of the call whose result is in rax, -1 if not known

	entry decode.RegSet // hold what they held at entry, on all paths
	// Arguments: last changed by a call, on all paths. The bit of rax is another: set if all paths have written rax.
	trash decode.RegSet
}

// arity finds what f, which is no stub, does with argument registers. It fills w.flow, from which call takes what concerns
// sites, and returns what f itself consumes as bits, or closed, and whether it returns and surely leaves no value in rax
// itself.
func (w *worker) arity(f *cfg.Func) (args uint8, void bool) {
	n := len(f.Blocks)
	if cap(w.flow) < n {
		w.flow = make([]flow, n*2)
	}
	w.flow, w.framed = w.flow[:n], 0
	if n == 0 {
		return closed, false
	}
	void = f.Incomplete == "" && !f.NoReturn && !w.foreign
	kernel := false
	for i := range f.Blocks {
		kernel = kernel || f.Blocks[i].Term == cfg.TermSyscall
	}
	for i := range w.flow {
		b, bl := &w.flow[i], &f.Blocks[i]
		w.effect(f, bl, b, kernel)
		// A call that runs on into another function is recorded as a jump to that one.
		void = void && !b.writes.Has(decode.RAX) && !(bl.Term == cfg.TermCall && bl.TailTo != 0)
	}
	w.spread(f)

	var needs, saved decode.RegSet
	variadic := false
	for i := range w.flow {
		b := &w.flow[i]
		if !b.live {
			continue
		}
		needs |= b.needs & b.entry
		saved |= b.saved & b.entry
		variadic = variadic || b.needs&^b.trash&raxSet != 0
		if b.wants && b.result >= 0 {
			w.flow[b.result].used = true
		}
	}
	// A variadic function finds the number of vector registers used in al. One that takes no floating-point arguments does
	// not look, but it too stores those that it takes into its frame, wholly, and it may take more than it was given.
	w.saved = saved
	w.varies = variadic || w.foreign || f.Incomplete != "" || saved&argSet != 0
	if variadic || w.foreign || f.Incomplete != "" {
		return closed, void
	}
	return numbers(needs &^ saved & argSet), void
}

// effect finds what a block does. In a function with system calls (kernel), what is moved to where the kernel takes
// arguments may be moved for the kernel, which need not look at it.
func (w *worker) effect(f *cfg.Func, bl *cfg.Block, b *flow, kernel bool) {
	*b = flow{result: -1}
	insts := f.Insts[bl.First:bl.Last]
	for i := range insts {
		in := &insts[i]
		if (in.Reads|in.Writes)&scratch == 0 {
			continue
		}
		need, save := needed(in), decode.RegSet(0)
		switch in.Op {
		case decode.OpMov:
			if in.Src.Kind != decode.ArgReg {
				break
			}
			src := decode.RegSet(1) << in.Src.Reg
			switch {
			case in.Dst.Kind == decode.ArgReg:
				if kernel && kernelSet.Has(in.Dst.Reg) {
					need &^= src & argSet
				}
			case in.Dst.Kind == decode.ArgMem && in.Base != decode.RSP && in.Base != decode.RBP:
				// A copy does not tell: half of a structure passed in two registers may have no value (LLVM).
				need &^= src & argSet
				if in.Base < 16 {
					need |= 1 << in.Base
				}
				if in.Index < 16 {
					need |= 1 << in.Index
				}
			case in.Dst.Kind == decode.ArgMem && in.Seg == 0 && (in.Base == decode.RSP || in.Base == decode.RBP && w.hasFrame(f)):
				if !b.writes.Has(decode.RAX) && in.Src.Reg == decode.RAX {
					b.wants = true
				}
				if in.Size == 8 && in.Src.Reg != decode.RDI { // the first argument has a name
					save = src
				}
				if in.Size == 8 || in.Base == decode.RBP { // else optimised code, which saves only what it needs
					need &^= src
				}
			}
		case decode.OpPush:
			if in.Src.Kind == decode.ArgReg {
				need &^= 1 << in.Src.Reg
			}
		}
		b.needs |= need &^ b.writes
		b.saved |= save &^ b.writes
		if need.Has(decode.RAX) && !b.writes.Has(decode.RAX) {
			b.wants = true
		}
		b.writes |= in.Writes
	}
	if last := &insts[len(insts)-1]; last.Op == decode.OpCall {
		b.clob, b.left = w.clobbered(last)
	}
}

// clobbered returns the registers of interest that a call may change, and those among them that its caller makes nothing of.
func (w *worker) clobbered(in *decode.Inst) (clob, left decode.RegSet) {
	switch {
	case in.Flags&decode.Indirect == 0:
		clob = w.clobbers(uint64(in.Imm)) & scratch
		return clob, clob & argSet &^ w.restored[uint64(in.Imm)]
	case w.tlsDesc && in.Src.Kind == decode.ArgMem && in.Base == decode.RAX && in.Index == decode.NoReg && in.Disp == 0:
		return scratch, 0 // perhaps call *x@tlscall(%rax), which changes rax alone (psABI, TLS descriptors)
	}
	return scratch, argSet
}

// spread carries the state of registers forward over f to a fixed point.
func (w *worker) spread(f *cfg.Func) {
	join := func(to int32, entry, trash decode.RegSet, result int32) (back bool) {
		b := &w.flow[to]
		if !b.live {
			b.live, b.dirty, b.entry, b.trash, b.result = true, true, entry, trash, result
			return true
		}
		if result != b.result {
			result = -1
		}
		entry &= b.entry
		trash &= b.trash
		if entry == b.entry && trash == b.trash && result == b.result {
			return false
		}
		b.dirty, b.entry, b.trash, b.result = true, entry, trash, result
		return true
	}
	join(f.Start, scratch, 0, -1)
	for _, p := range f.Pads {
		join(p, 0, raxSet, -1)
	}
	for again := true; again; {
		again = false
		for i := range w.flow {
			b := &w.flow[i]
			if !b.dirty {
				continue
			}
			b.dirty = false
			changed := b.writes | b.clob
			trash := b.trash&^(b.writes&^raxSet) | b.left | changed&raxSet
			result := b.result
			switch {
			case b.clob.Has(decode.RAX):
				result = int32(i)
			case b.writes.Has(decode.RAX):
				result = -1
			}
			for _, s := range f.Blocks[i].Succs {
				if join(s, b.entry&^changed, trash, result) && int(s) <= i {
					again = true
				}
			}
		}
	}
}

// site fills in what the flow says of the call at the end of block i, and returns the arguments, as bits, that f hands on
// as it got them.
func (w *worker) site(i int32, c *Call) (pass uint8) {
	b := &w.flow[i]
	c.Prepared = 6
	if w.f.Incomplete != "" || w.foreign {
		return 0
	}
	trash := b.trash &^ b.writes
	if trash&(rdiSet|rsiSet) == 0 {
		trash &^= rdxSet // perhaps the second half of a result, handed on as the third argument
	}
	c.Prepared = uint8(bits.Len8(numbers(argSet &^ trash)))
	c.UsesResult = b.used
	if bl := &w.f.Blocks[i]; bl.Term == cfg.TermCall && bl.TailTo != 0 {
		return 0 // what c says is what follows the call
	}
	return numbers(b.entry &^ b.writes &^ w.saved & argSet)
}

// needed returns the registers whose values in certainly needs: not those that it reads only because a part of them is
// kept, or that have no influence on what it computes.
func needed(in *decode.Inst) decode.RegSet {
	if in.Flags&decode.Opaque != 0 {
		return 0
	}
	r := in.Reads
	dst := decode.RegSet(0)
	if in.Dst.Kind == decode.ArgReg {
		dst = 1 << in.Dst.Reg
	}
	switch in.Op {
	case decode.OpAdd, decode.OpAdc, decode.OpShl, decode.OpShr, decode.OpSar, decode.OpImul, decode.OpNeg, decode.OpNot, decode.OpInc, decode.OpDec,
		decode.OpCmov, decode.OpXadd, decode.OpCmpxchg, decode.OpStos:
		return r
	case decode.OpXor, decode.OpSub, decode.OpSbb:
		if dst != 0 && in.Src == in.Dst { // 0, or the carry
			return 0
		}
		return r
	case decode.OpAnd:
		if in.Flags&decode.HasImm != 0 && in.Imm == 0 {
			return r &^ dst
		}
		return r
	case decode.OpOr:
		if in.Flags&decode.HasImm != 0 && in.Imm == -1 {
			return r &^ dst
		}
		return r
	case decode.OpXchg:
		if dst != 0 && in.Src.Kind == decode.ArgReg { // a move, of what one of them holds (gcc -Os)
			return 0
		}
		return r
	}
	// Anything else may write a register that it reads without need: partly (setcc), not always (bsf), or as one of several
	// results (cpuid).
	explicit := decode.RegSet(0)
	if in.Src.Kind == decode.ArgReg || in.Src.Kind == decode.ArgRegHigh {
		explicit = 1 << in.Src.Reg
	}
	if in.Base < 16 {
		explicit |= 1 << in.Base
	}
	if in.Index < 16 {
		explicit |= 1 << in.Index
	}
	return r &^ (in.Writes &^ explicit)
}

// hasFrame reports whether rbp points into f's frame anywhere.
func (w *worker) hasFrame(f *cfg.Func) bool {
	for i := 0; w.framed == 0 && i < len(f.Insts); i++ {
		in := &f.Insts[i]
		if in.Dst == (decode.Arg{Kind: decode.ArgReg, Reg: decode.RBP}) &&
			(in.Op == decode.OpMov && in.Src == (decode.Arg{Kind: decode.ArgReg, Reg: decode.RSP}) || in.Op == decode.OpLea && in.Base == decode.RSP) {
			w.framed = 1
		}
	}
	if w.framed == 0 {
		w.framed = -1
	}
	return w.framed > 0
}

// arities carries what functions consume, and that they leave a value in rax, from callees to callers. pass has, for each
// of m.Calls, the arguments that the caller hands on as it got them.
func (m *Module) arities(pass []uint8) {
	type edge struct {
		caller, callee int32
		pass           uint8
	}
	var edges []edge
	for i := range m.Funcs {
		f := &m.Funcs[i]
		if f.Args&closed != 0 {
			continue
		}
		for k := f.Calls[0]; k < f.Calls[1]; k++ {
			if g := m.Callee(&m.Calls[k]); g >= 0 && pass[k] != 0 && m.Funcs[g].Args&closed == 0 {
				edges = append(edges, edge{int32(i), int32(g), pass[k]})
			}
		}
	}
	for again := true; again; {
		again = false
		for _, e := range edges {
			f := &m.Funcs[e.caller]
			if a := f.Args | m.Funcs[e.callee].Args&e.pass; a != f.Args {
				f.Args, again = a, true
			}
		}
	}
	for i := range m.Funcs {
		f := &m.Funcs[i]
		if f.Args&closed != 0 {
			f.Args = 0
		}
		f.Args = uint8(bits.Len8(f.Args))
	}
	for again := true; again; {
		again = false
		for i := range m.Funcs {
			f := &m.Funcs[i]
			if f.Flags&Void != 0 && !m.void(f) {
				f.Flags &^= Void
				again = true
			}
		}
	}
}

// void reports whether no callee of f leaves a value in rax for f's caller.
func (m *Module) void(f *Func) bool {
	for k := f.Calls[0]; k < f.Calls[1]; k++ {
		c := &m.Calls[k]
		if c.NoReturn {
			continue
		}
		if g := m.Callee(c); g < 0 || m.Funcs[g].Flags&(Void|NoReturn) == 0 {
			return false
		}
	}
	return true
}

// foreignMarks are what files hold that are made from languages whose compilers do not pass arguments as C does: Go's build
// information (debug/buildinfo), for its functions take arguments and return results in registers of Go's own choice; a
// message of Rust's core library, for Rust passes enums in two registers of which one may have no value.
var foreignMarks = [][]byte{[]byte("\xff Go buildinf:"), []byte("called `Option::unwrap()` on a `None` value")}

// isForeign looks for foreignMarks.
func isForeign(f *image.File) bool {
	for i := range f.Segments {
		s := &f.Segments[i]
		if data, ok := f.Bytes(s.Start, s.FileSize); ok {
			for _, m := range foreignMarks {
				if bytes.Contains(data, m) {
					return true
				}
			}
		}
	}
	return false
}
