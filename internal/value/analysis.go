package value

import (
	"syspart/internal/cfg"
	"syspart/internal/decode"
)

// Memory says what lies at constant addresses of the file.
type Memory interface {
	// At returns the value of size bytes (1, 2, 4, 8) at addr if they never change: read-only data, and pointers that
	// the loader writes before it makes them read-only. The second result is false where that is not so.
	At(addr uint64, size int) (Expr, bool)
}

// SignalFunc is a function of libc whose effect on memory is known, because addresses in the frame are passed to it where a
// handler lies beside them.
type SignalFunc uint8

const (
	NoSignal     SignalFunc = iota
	SignalSet               // sigemptyset and its like: touches the 128 bytes at its first argument
	SigAction               // sigaction: reads what its second argument points to, writes the 152 bytes at its third
	ReturnsTwice            // setjmp, vfork: goes on once more, with the frame as it is by then
)

// Analysis is the reusable state of the interpretation of one function after another; one goroutine has one.
type Analysis struct {
	T     Table
	Mem   Memory
	Fixed bool                 // the file has a fixed address: 32-bit values may be addresses
	Code  func(va uint64) bool // whether an address is one of code; may be nil
	// Signals says which functions handle sets of signals and handlers; nil if none is known.
	Signals func(va uint64) SignalFunc
	// Clobbers returns the registers that the function at an address may change; nil if that is not known of any.
	Clobbers func(va uint64) decode.RegSet
	// Finds returns those of rax and r10 in which the function at an address may find something; nil if that is not known of any.
	Finds func(va uint64) decode.RegSet

	// Go: the function follows the calling convention of Go's compiler: the first argument and result are in rax, a call keeps
	// nothing but the stack pointer, r14 and what is below the caller's own arguments, and leaves results in many places
	// (cmd/compile/abi-internal.md). What an argument in rax was is Param GoArg.
	Go bool
	// GoCallee returns the registers that the function of Go's at an address overwrites before it can read them, and how
	// many bytes at the bottom of its caller's frame it may read and write, negative if that is not known.
	GoCallee func(va uint64) (ignored decode.RegSet, args int64)
	// Bytes returns the bytes of code at an address; only for Go code, may be nil.
	Bytes func(va, n uint64) ([]byte, bool)

	f     *cfg.Func
	block *cfg.Block // the one that is gone over
	in    []State
	tmp   []Slot
	cur   State
	order []int32
	dirty []bool
	rank  []int32
	stack []int32
	next  []int32 // by block: the successor that postorder goes to next

	// ArgsShown: an address has been passed on that may be one of what the function was given on the stack.
	ArgsShown bool

	padLive decode.RegSet // registers that landing pads read as they find them
	loads   offsets       // places of the frame that the function reads by name: no arguments that it passes

	tracking bool
	accesses []access // to the frame, in the order of blocks
	first    []int32  // by block: its first one
	drops    []drop
	reads    []uint8 // see readable
	twice    bool    // the function makes a call that returns twice
	reported bool    // the store under way is one that a visitor of Replay sees: 8 bytes by a move
	lost     []bool
	liveIn   []decode.RegSet
	readIn   []decode.RegSet
	flows    []flow
}

// Run computes the state at the start of every block of f. Results of calls are Result expressions whose A is the index
// of the call instruction in f.Insts.
func (a *Analysis) Run(f *cfg.Func) {
	a.f = f
	a.T.Reset()
	n := len(f.Blocks)
	for len(a.in) < n {
		a.in = append(a.in, State{})
	}
	a.in = a.in[:n]
	for i := range a.in {
		a.in[i].live = false
		a.in[i].joins = 0
		a.in[i].Slots = a.in[i].Slots[:0]
	}
	if n == 0 {
		return
	}
	a.twice = a.returnsTwice()
	a.loads.reset()
	a.ArgsShown = false
	a.postorder()
	a.liveness()
	every := a.twice || len(f.Pads) > 0 // what is not read here may be where control goes on unseen
	entry := &a.cur
	a.entry(entry)
	a.join(&a.in[f.Start], entry, allRegs)
	for _, p := range f.Pads {
		a.pad(entry)
		a.join(&a.in[p], entry, allRegs)
	}
	for changed := true; changed; {
		changed = false
		for _, b := range a.order {
			if !a.dirty[b] || !a.in[b].live {
				continue
			}
			a.dirty[b] = false
			s := &a.cur
			s.copyFrom(&a.in[b])
			blk := &f.Blocks[b]
			a.block = blk
			for i := blk.First; i < blk.Last; i++ {
				a.step(s, &f.Insts[i], i)
			}
			s.live = true
			for k, t := range blk.Succs {
				r, v := a.refine(s, blk, k)
				live := allRegs
				if !every {
					live = a.liveIn[t] | 1<<decode.RSP
				}
				changes := a.join(&a.in[t], s, live)
				a.unrefine(s, r, v)
				if changes {
					a.dirty[t] = true
					if a.rank[t] <= a.rank[b] {
						changed = true
					}
				}
			}
		}
	}
}

// returnsTwice reports whether the function makes a call that returns twice.
func (a *Analysis) returnsTwice() bool {
	for i := range a.f.Blocks {
		b := &a.f.Blocks[i]
		if b.Term != cfg.TermCall || a.Signals == nil {
			continue
		}
		if in := &a.f.Insts[b.Last-1]; in.Flags&decode.Indirect == 0 && a.Signals(uint64(in.Imm)) == ReturnsTwice {
			return true
		}
	}
	return false
}

func (a *Analysis) postorder() {
	f := a.f
	n := len(f.Blocks)
	a.dirty = resize(a.dirty, n)
	a.rank = resize(a.rank, n)
	for i := range a.dirty {
		a.dirty[i] = true
		a.rank[i] = -1
	}
	a.order = a.order[:0]
	a.next = resize(a.next, n)
	next := a.next
	clear(next)
	visit := func(root int32) {
		if a.rank[root] != -1 {
			return
		}
		a.rank[root] = -2
		a.stack = append(a.stack[:0], root)
		for len(a.stack) > 0 {
			b := a.stack[len(a.stack)-1]
			su := f.Blocks[b].Succs
			if int(next[b]) < len(su) {
				t := su[next[b]]
				next[b]++
				if a.rank[t] == -1 {
					a.rank[t] = -2
					a.stack = append(a.stack, t)
				}
				continue
			}
			a.stack = a.stack[:len(a.stack)-1]
			a.order = append(a.order, b)
		}
	}
	for _, p := range f.Pads {
		visit(p)
	}
	visit(f.Start)
	for i, j := 0, len(a.order)-1; i < j; i, j = i+1, j-1 {
		a.order[i], a.order[j] = a.order[j], a.order[i]
	}
	for i, b := range a.order {
		a.rank[b] = int32(i)
	}
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func (a *Analysis) entry(s *State) {
	*s = State{Slots: s.Slots[:0], live: true}
	for k, r := range argRegs {
		s.Reg[r] = a.T.Intern(Expr{Kind: Param, A: int32(k)})
	}
	s.Reg[decode.RSP] = a.T.Intern(Expr{Kind: Stack})
	if a.Go {
		s.Reg[decode.RAX] = a.T.Intern(Expr{Kind: Param, A: GoArg})
	}
}

// pad is the state where the unwinder lands: only the frame's contents survive, and we do not know where it is.
func (a *Analysis) pad(s *State) {
	*s = State{Slots: s.Slots[:0], live: true, Escaped: true, Low: lowest, ArgsLost: true}
}

// Replay goes over all reachable blocks again, in address order, and calls visit with the state before each instruction.
// Afterwards Lost tells which expressions the function loses sight of.
func (a *Analysis) Replay(visit func(block int32, inst int32, i *decode.Inst, s *State)) {
	a.lost = a.lost[:0]
	a.tracking = true
	a.accesses, a.first = a.accesses[:0], a.first[:0]
	s := &a.cur
	for b := range a.f.Blocks {
		a.first = append(a.first, int32(len(a.accesses)))
		if !a.in[b].live {
			continue
		}
		s.copyFrom(&a.in[b])
		blk := &a.f.Blocks[b]
		a.block = blk
		for i := blk.First; i < blk.Last; i++ {
			in := &a.f.Insts[i]
			visit(int32(b), i, in, s)
			a.step(s, in, i)
		}
		a.leave(int32(b), s)
		if blk.TailTo != 0 || blk.Term == cfg.TermIndirect {
			a.gone(s)
		}
	}
	a.judge()
	a.tracking = false
}

// refine narrows s to what holds where block b goes on to successor k, and returns what unrefine needs: a register that was
// compared with 0 is 0 where it was equal.
func (a *Analysis) refine(s *State, b *cfg.Block, k int) (decode.Reg, Val) {
	if b.Term != cfg.TermCond || len(b.Succs) != 2 || b.Last-b.First < 2 || b.Succs[0] == b.Succs[1] {
		return decode.NoReg, 0
	}
	j, t := &a.f.Insts[b.Last-1], &a.f.Insts[b.Last-2]
	if j.Op != decode.OpJcc || t.Op != decode.OpTest || t.Size != 8 || t.Dst.Kind != decode.ArgReg || t.Src != t.Dst ||
		!(j.Cond == 4 && k == 0 || j.Cond == 5 && k == 1) {
		return decode.NoReg, 0
	}
	r := t.Dst.Reg & 15
	v := s.Reg[r]
	s.Reg[r] = a.T.Const(0)
	return r, v
}

func (a *Analysis) unrefine(s *State, r decode.Reg, v Val) {
	if r != decode.NoReg {
		s.Reg[r] = v
	}
}

// Reached reports whether control can come to block b.
func (a *Analysis) Reached(b int32) bool { return a.in[b].live }

// Address is the value of the address of the memory operand of i.
func (a *Analysis) Address(s *State, i *decode.Inst) Val {
	if i.Flags&decode.HasMem == 0 || i.Flags&decode.Addr32 != 0 {
		return 0
	}
	var v Val
	switch {
	case i.Seg == 1:
		v = a.T.Intern(Expr{Kind: TLSBase})
		if i.Base != decode.NoReg && i.Base != decode.RIP {
			v = a.T.Add(v, s.Reg[i.Base])
		}
		v = a.T.Shift(v, i.Disp)
	case i.Seg != 0:
		return 0
	case i.Base == decode.RIP:
		v = a.T.Intern(Expr{Kind: Addr, Off: i.Disp})
	case i.Base == decode.NoReg:
		if i.Index != decode.NoReg && i.Disp == 0 && i.Scale == 1 {
			return s.Reg[i.Index]
		}
		v = a.T.Const(i.Disp)
		if a.Fixed {
			v = a.T.Intern(Expr{Kind: Addr, Off: i.Disp})
		}
	default:
		v = a.T.Shift(s.Reg[i.Base], i.Disp)
	}
	if i.Index != decode.NoReg {
		x := s.Reg[i.Index]
		if e, ok := a.T.One(x); ok && e.Kind == Const {
			v = a.T.Shift(v, e.Off*int64(i.Scale))
		} else if i.Scale == 1 {
			v = a.T.Add(v, x)
		} else {
			v = a.T.Anywhere(v)
		}
	}
	return v
}

// place returns the place of the frame that the memory operand of i is, in bytes above the stack pointer at entry; false if it
// is not a known one.
func (a *Analysis) place(s *State, i *decode.Inst) (off int64, ok bool) {
	if i.Base >= 16 || i.Index != decode.NoReg || i.Seg != 0 || i.Flags&(decode.HasMem|decode.Addr32) != decode.HasMem {
		return 0, false
	}
	v := s.Reg[i.Base]
	if v <= 0 {
		return 0, false
	}
	e := &a.T.Exprs[v]
	return e.Off + i.Disp, e.Kind == Stack && !e.Any
}

// InFrame reports whether the memory operand of i is a known place of the frame.
func (a *Analysis) InFrame(s *State, i *decode.Inst) bool {
	_, ok := a.place(s, i)
	return ok
}

// near reports whether a place of the frame is one that is followed.
func near(off int64) bool { return off > -nearFrame && off < nearFrame }

// nearFrame bounds the distance in bytes from the stack pointer at entry.
const nearFrame = 1 << 20

// Load is the value of size bytes at address v.
func (a *Analysis) Load(s *State, v Val, size uint8, signed bool) Val {
	if v > 0 {
		if e := &a.T.Exprs[v]; e.Kind == Stack && !e.Any {
			return a.loadPlace(s, e.Off, size, signed)
		}
	}
	r := a.load(s, v, size, signed)
	a.noteLoad(s, v)
	if r == 0 && v != 0 {
		a.loseMemory(s, v) // too deep, or too many
	}
	return r
}

// loadPlace is Load from a place of the frame.
func (a *Analysis) loadPlace(s *State, off int64, size uint8, signed bool) Val {
	r := a.loadSlot(s, off, size, signed)
	if r == 0 {
		a.loseSlots(s, off, off+int64(size))
		a.ArgsShown = a.ArgsShown || off > -64
	}
	return r
}

// loadSlot is the value of a place of the frame, 0 if it is not known.
func (a *Analysis) loadSlot(s *State, off int64, size uint8, signed bool) Val {
	if !near(off) || size != 4 && size != 8 {
		a.ArgsShown = a.ArgsShown || off+int64(size) > 8
		return 0
	}
	a.loads.add(int32(off))
	a.note(access{start: off, end: off + int64(size), kind: readsPlaces})
	v := a.Slot(s, int32(off), size)
	if size == 4 {
		v = a.word(v, signed)
	}
	return v
}

func (a *Analysis) load(s *State, v Val, size uint8, signed bool) Val {
	if v == 0 {
		return 0
	}
	sz := size
	if signed {
		sz |= SignBit
	}
	if v > 0 {
		return a.load1(s, a.T.Exprs[v], int32(v), size, sz)
	}
	l := a.T.members(a.T.list(), v)
	defer a.T.give(l)
	r := Val(-1 << 31)
	for k := range l {
		x := a.load1(s, a.T.Exprs[l[k]], l[k], size, sz)
		if k == 0 {
			r = x
		} else {
			r = a.T.Join(r, x)
		}
	}
	return r
}

func (a *Analysis) load1(s *State, e Expr, idx int32, size, sz uint8) Val {
	switch {
	case e.Kind == Stack && !e.Any:
		return a.loadSlot(s, e.Off, size, sz&SignBit != 0)
	case e.Kind == Stack:
		a.ArgsShown = true
		return 0
	case e.Kind == Addr && !e.Any && a.Mem != nil:
		if x, ok := a.Mem.At(uint64(e.Off), int(size)); ok {
			if x.Kind == Const {
				x.Off = extend(x.Off, size, sz&SignBit != 0)
			}
			return a.T.Intern(x)
		}
	}
	return a.T.Load(Val(idx), sz)
}

func extend(v int64, size uint8, signed bool) int64 {
	switch size {
	case 1:
		if signed {
			return int64(int8(v))
		}
		return int64(uint8(v))
	case 2:
		if signed {
			return int64(int16(v))
		}
		return int64(uint16(v))
	case 4:
		if signed {
			return int64(int32(v))
		}
		return int64(uint32(v))
	}
	return v
}

// Operand is the value of an operand of i, size bytes wide.
func (a *Analysis) Operand(s *State, i *decode.Inst, arg decode.Arg, size uint8) Val {
	switch arg.Kind {
	case decode.ArgImm:
		return a.T.Const(i.Imm)
	case decode.ArgReg:
		v := s.Reg[arg.Reg&15]
		if size < 4 {
			w := a.narrow(v, size, false)
			a.loseUnless(v, w)
			return w
		}
		w := a.cut(v, size)
		if w == 0 {
			a.lose(v)
		}
		return w
	case decode.ArgMem:
		if off, ok := a.place(s, i); ok {
			return a.loadPlace(s, off, size, false)
		}
		return a.Load(s, a.Address(s, i), size, false)
	}
	return 0
}

// word is the lower half of v, extended. What is no number and stays in sight keeps its upper half.
func (a *Analysis) word(v Val, signed bool) Val {
	w := a.cut(v, 4)
	if !signed || w == 0 {
		return w
	}
	return a.T.mapSet(w, func(e Expr) Expr {
		switch e.Kind {
		case Const:
			e.Off = extend(e.Off, 4, true)
		case Addr:
			return Expr{} // of a fixed address: below 4 GiB, not surely below 2
		}
		return e
	})
}

// cut is v as 4 or 8 bytes.
func (a *Analysis) cut(v Val, size uint8) Val {
	if size != 4 || v == 0 {
		return v
	}
	if v > 0 {
		switch a.T.Exprs[v].Kind {
		case Param, Result, Load:
			return v
		}
	}
	return a.T.mapSet(v, func(e Expr) Expr {
		switch e.Kind {
		case Const:
			e.Off = int64(uint32(e.Off))
		case Addr:
			if !a.Fixed {
				return Expr{}
			}
			e.Off = int64(uint32(e.Off))
		case Stack, Sym, TLSBase:
			return Expr{}
		}
		return e
	})
}

// narrow is v cut to 1 or 2 bytes and extended: known for numbers only.
func (a *Analysis) narrow(v Val, size uint8, signed bool) Val {
	if v == 0 {
		return 0
	}
	return a.T.mapSet(v, func(e Expr) Expr {
		if e.Kind != Const {
			return Expr{}
		}
		e.Off = extend(e.Off, size, signed)
		return e
	})
}
