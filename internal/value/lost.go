package value

import (
	"syspart/internal/cfg"
	"syspart/internal/decode"
)

// While a function is replayed, the analysis notes which expressions it loses sight of: values that are handed to
// instructions that are not followed, stored where the frame is not known, or that merge into Top where they can still be
// used. What is passed to a call in an argument register, returned in rax, or moved whole to memory outside the frame is
// not lost: whoever replays sees it there. An expression that is not lost is, in this function, only dereferenced,
// compared, called, passed on, returned, stored or dropped.

// Lost reports whether expression i was lost; valid after Replay.
func (a *Analysis) Lost(i int32) bool { return int(i) < len(a.lost) && a.lost[i] }

// Lose notes that a value goes out of sight at the place where the function is replayed.
func (a *Analysis) Lose(v Val) { a.lose(v) }

func (a *Analysis) lose(v Val) {
	if !a.tracking || v == 0 {
		return
	}
	for len(a.lost) < len(a.T.Exprs) {
		a.lost = append(a.lost, false)
	}
	if v > 0 {
		a.lost[v] = true
		return
	}
	r := a.T.runs[^v]
	for _, x := range a.T.flat[r[0]:r[1]] {
		a.lost[x] = true
	}
}

// loseStored notes that v goes to memory outside the frame.
func (a *Analysis) loseStored(v Val) {
	if !a.reported {
		a.lose(v)
	}
}

// loseUnless loses what v has and w, the merged value, has not.
func (a *Analysis) loseUnless(v, w Val) {
	if v == w || v == 0 {
		return
	}
	if w == 0 {
		a.lose(v)
		return
	}
	has := func(x int32) bool {
		if w >= 0 {
			return int32(w) == x
		}
		r := a.T.runs[^w]
		for _, y := range a.T.flat[r[0]:r[1]] {
			if x == y {
				return true
			}
		}
		return false
	}
	if v > 0 {
		if !has(int32(v)) {
			a.lose(v)
		}
		return
	}
	r := a.T.runs[^v]
	for _, x := range a.T.flat[r[0]:r[1]] {
		if !has(x) {
			a.lose(Val(x))
		}
	}
}

const (
	argSet   = decode.RegSet(1<<decode.RDI | 1<<decode.RSI | 1<<decode.RDX | 1<<decode.RCX | 1<<decode.R8 | 1<<decode.R9)
	scratch  = argSet | decode.RegSet(1<<decode.RAX|1<<decode.R10|1<<decode.R11)
	allRegs  = decode.RegSet(0xffff)
	savedSet = decode.RegSet(1<<decode.RBX | 1<<decode.RBP | 1<<decode.RSP | 1<<decode.R12 | 1<<decode.R13 | 1<<decode.R14 | 1<<decode.R15)
)

// liveness computes which registers may still be read at the start of each block: liveIn counts what a call may be given,
// readIn only what instructions name.
func (a *Analysis) liveness() {
	f := a.f
	n := len(f.Blocks)
	a.liveIn, a.readIn = resize(a.liveIn, n), resize(a.readIn, n)
	a.flows = resize(a.flows, n)
	for b := range f.Blocks {
		blk := &f.Blocks[b]
		var x flow
		for i := blk.First; i < blk.Last; i++ {
			r, args, w := a.uses(&f.Insts[i], i == blk.Last-1 && len(blk.Succs) == 0)
			x.read |= r &^ x.kill
			x.live |= (r | args) &^ x.kill
			x.kill |= w
		}
		if blk.Term != cfg.TermRet && blk.TailTo != 0 {
			x.readOut, x.liveOut = savedSet, savedSet|argSet
		}
		a.flows[b] = x
	}
	clear(a.liveIn)
	clear(a.readIn)
	for changed := true; changed; {
		changed = false
		for o := len(a.order) - 1; o >= 0; o-- {
			b := a.order[o]
			x := &a.flows[b]
			live, read := x.liveOut, x.readOut
			for _, s := range f.Blocks[b].Succs {
				live |= a.liveIn[s]
				read |= a.readIn[s]
			}
			live, read = x.live|live&^x.kill, x.read|read&^x.kill
			if live != a.liveIn[b] || read != a.readIn[b] {
				a.liveIn[b], a.readIn[b] = live, read
				changed = true
			}
		}
	}
	// The unwinder restores the registers that callees save.
	a.padLive = 0
	for _, p := range f.Pads {
		a.padLive |= a.liveIn[p] & savedSet
	}
}

// flow is what liveness needs of a block: registers that it reads before it writes them, live counting what a call may be given,
// those that it writes, and those that are read behind it outside the function.
type flow struct{ live, read, kill, liveOut, readOut decode.RegSet }

// uses returns the registers that an instruction reads, those that may be arguments of the call or of the jump out of the
// function that it is, and the ones that it overwrites wholly.
func (a *Analysis) uses(i *decode.Inst, leaves bool) (reads, args, writes decode.RegSet) {
	const given = argSet | decode.RegSet(1<<decode.RAX|1<<decode.R10)
	reads = i.Reads
	if a.Go && (i.Op == decode.OpCall || i.Op == decode.OpRet || leaves) {
		return allRegs, 0, 0
	}
	switch i.Op {
	case decode.OpCall:
		return reads, given, a.clobbered(i) | 1<<decode.RAX | 1<<decode.RDX
	case decode.OpRet:
		return reads | savedSet | 1<<decode.RAX | 1<<decode.RDX, 0, 0
	case decode.OpXor, decode.OpSub:
		if i.Dst.Kind == decode.ArgReg && i.Dst == i.Src { // zero
			reads &^= 1 << i.Dst.Reg
		}
	case decode.OpJmp, decode.OpJcc:
		if leaves {
			return reads | savedSet | 1<<decode.R11, given, 0
		}
	}
	return reads, 0, i.Writes
}

// leave notes what is lost on the way from the end of block b, in state s, into its successors: what goes into a union with
// others that is Top; one that is not stands for all of them.
func (a *Analysis) leave(b int32, s *State) {
	f := a.f
	for k, t := range f.Blocks[b].Succs {
		in := &a.in[t]
		reg, was := a.refine(s, &f.Blocks[b], k)
		// No call is given what another one left behind.
		for live, r := a.liveIn[t]&^in.Junk|a.readIn[t]&in.Junk, 0; r < len(s.Reg); r++ {
			if in.Reg[r] == 0 && s.Reg[r] != 0 && live>>r&1 != 0 {
				a.lose(s.Reg[r])
			}
		}
		a.unrefine(s, reg, was)
		for _, x := range s.Slots {
			if x.Val == 0 {
				continue
			}
			kept := false
			for _, y := range in.Slots {
				if y.Off == x.Off {
					kept = y.Size == x.Size && y.Val != 0
					break
				}
			}
			if !kept {
				a.dropped(t, &x)
			}
		}
	}
}

// untracked notes what an instruction takes out of sight: the values of the registers that it reads as operands, and
// memory that it reads other than by a move.
func (a *Analysis) untracked(s *State, i *decode.Inst) {
	if !a.tracking {
		return
	}
	for r := decode.RAX; r <= decode.R15; r++ {
		if !i.Reads.Has(r) || r == decode.RSP {
			continue
		}
		operand := i.Dst.Kind == decode.ArgReg && i.Dst.Reg == r || i.Src.Kind == decode.ArgReg && i.Src.Reg == r
		if (i.Base == r || i.Index == r) && !operand && i.Flags&decode.HasMem != 0 && i.Op != decode.OpStos {
			if i.Index == r && i.Base != r {
				a.lose(s.Reg[r])
			}
			continue
		}
		if i.Op == decode.OpStos && i.Base == r {
			continue
		}
		a.lose(s.Reg[r])
	}
	if i.Flags&decode.MemRead == 0 {
		return
	}
	switch p := a.Address(s, i); {
	case i.MemSize > 0 && i.MemSize < 8: // no pointer is that short
	case i.MemSize == 8:
		a.lose(a.Load(s, p, 8, false))
	default:
		a.loseMemory(s, p)
	}
}

// loseMemory notes that what lies at address p is read in a way that is not followed: as loads of every size.
func (a *Analysis) loseMemory(s *State, p Val) {
	a.noteLoad(s, p)
	if p == 0 {
		return
	}
	stack := false
	a.T.each(p, func(e Expr) {
		stack = stack || e.Kind == Stack
		a.ArgsShown = a.ArgsShown || e.Kind == Stack && (e.Any || e.Off > -64)
	})
	if stack {
		a.note(access{kind: readsAll})
		for _, x := range s.Slots {
			a.lose(x.Val)
		}
	}
	// Reading part of an object out of sight is as good as giving the object away.
	a.lose(p)
}

// loseSlots loses what the frame holds from place start to place end.
func (a *Analysis) loseSlots(s *State, start, end int64) {
	a.note(access{start: start, end: end, kind: readsPlaces})
	for _, x := range s.Slots {
		if int64(x.Off) < end && start < int64(x.Off)+int64(x.Size) {
			a.lose(x.Val)
		}
	}
}

// derive notes what is lost in the operands of an addition, subtraction or other arithmetic whose result is v: nothing, if
// the result still says which object it points into.
func (a *Analysis) derive(s *State, i *decode.Inst, v Val) {
	if !a.tracking {
		return
	}
	kept := func(e Expr) bool {
		ok := false
		a.T.each(v, func(x Expr) {
			switch e.Kind {
			case Addr: // an address of code is no base of anything; of data, the object is meant as long as it is near
				ok = ok || x.Kind == Addr && (x == e || !a.code(uint64(e.Off)) && x.Off-e.Off < 1<<20 && e.Off-x.Off < 1<<20)
			case Const:
				ok = true
			default:
				ok = ok || x.Kind == e.Kind && x.A == e.A && x.Size == e.Size
			}
		})
		return ok || e.Kind == Const
	}
	check := func(w Val) {
		if w == 0 {
			return
		}
		set := a.T.members(a.T.list(), w)
		for _, x := range set {
			if !kept(a.T.Exprs[x]) {
				a.lose(Val(x))
			}
		}
		a.T.give(set)
	}
	for _, o := range [...]decode.Arg{i.Dst, i.Src} {
		if o.Kind == decode.ArgReg && !(i.Op == decode.OpLea && o == i.Dst) {
			check(s.Reg[o.Reg&15])
		}
	}
	if i.Op == decode.OpLea {
		if i.Base < 16 && i.Base != decode.RSP {
			check(s.Reg[i.Base])
		}
		if i.Index < 16 {
			check(s.Reg[i.Index])
		}
	} else if i.Flags&decode.MemRead != 0 {
		check(a.Load(s, a.Address(s, i), i.Size, false))
	}
}

func (a *Analysis) code(va uint64) bool { return a.Code != nil && a.Code(va) }

// loseStackArgs notes that a call is given what lies at the bottom of the frame: what is there besides the first two
// arguments, which whoever replays sees.
func (a *Analysis) loseStackArgs(s *State) {
	if !a.tracking {
		return
	}
	e, ok := a.T.One(s.Reg[decode.RSP])
	if !ok || e.Kind != Stack || e.Any {
		a.note(access{kind: readsAll})
	} else {
		a.note(access{start: e.Off, end: e.Off + 64, kind: readsPassed})
	}
	for i := range s.Slots {
		if x := &s.Slots[i]; a.passed(x) && (!ok || e.Kind != Stack || e.Any || int64(x.Off) >= e.Off+16 && int64(x.Off) < e.Off+64) {
			a.lose(x.Val)
		}
	}
}

// gone notes what a jump out of the function takes along besides arguments: where it goes to code that is not called by
// the psABI's rules (a shared tail, the next piece of hand-written code), it finds all registers and the frame.
func (a *Analysis) gone(s *State) {
	for r := decode.RAX; r <= decode.R15; r++ {
		if !argSet.Has(r) {
			a.lose(s.Reg[r])
		}
	}
	a.note(access{start: 8, end: 1 << 30, kind: readsPlaces})
	if e, ok := a.T.One(s.Reg[decode.RSP]); !ok || e.Kind != Stack || e.Off != 0 || e.Any {
		a.note(access{kind: readsAll})
		for _, x := range s.Slots {
			a.lose(x.Val)
		}
	}
}
