package value

import (
	"math/bits"

	"syspart/internal/decode"
)

// set writes v into the destination register r, size bytes wide.
func (a *Analysis) set(s *State, r decode.Reg, size uint8, v Val) {
	if r == decode.RSP {
		if _, ok := a.above(v); !ok {
			a.trim(s, s.Reg[r])
		}
	}
	switch {
	case size >= 8:
		s.Reg[r&15] = v
		return
	case size == 4:
		w := a.cut(v, 4)
		if w == 0 {
			a.lose(v)
		}
		s.Reg[r&15] = w
	default:
		a.lose(v)
		a.lose(s.Reg[r&15])
		s.Reg[r&15] = 0
	}
	a.escape(s, v)
}

// escape notes that v, if it is an address in the frame, is where unknown code may find it.
func (a *Analysis) escape(s *State, v Val) {
	if v == 0 || v > 0 && a.T.Exprs[v].Kind != Stack {
		return
	}
	a.T.each(v, func(e Expr) {
		if e.Kind != Stack {
			return
		}
		a.ArgsShown = a.ArgsShown || e.Any || e.Off >= 8
		low := int32(lowest)
		if !e.Any && near(e.Off) {
			low = int32(e.Off)
		}
		if !s.Escaped || low < s.Low {
			s.Escaped, s.Low = true, low
		}
	})
}

// leak notes that what the operands of i hold goes where it is not followed.
func (a *Analysis) leak(s *State, i *decode.Inst) {
	for _, arg := range [...]decode.Arg{i.Dst, i.Src} {
		if arg.Kind == decode.ArgReg || arg.Kind == decode.ArgRegHigh {
			a.escape(s, s.Reg[arg.Reg&15])
		}
	}
}

// leakAll notes that what the given registers hold, and what lies at the bottom of the frame, goes to other code.
func (a *Analysis) leakAll(s *State, regs decode.RegSet, bottom bool) {
	for w := uint16(regs &^ (1 << decode.RSP)); w != 0; w &= w - 1 {
		a.escape(s, s.Reg[bits.TrailingZeros16(w)])
	}
	if !bottom {
		return
	}
	e, ok := a.T.One(s.Reg[decode.RSP])
	for i := range s.Slots {
		if x := &s.Slots[i]; a.passed(x) && (!ok || e.Kind != Stack || e.Any || int64(x.Off) >= e.Off && int64(x.Off) < e.Off+64) {
			a.escape(s, x.Val)
		}
	}
}

// above returns the highest place of the frame that v, a stack pointer, can point to; false if that is not known.
func (a *Analysis) above(v Val) (off int64, ok bool) {
	off, ok = -1<<62, v != 0
	a.T.each(v, func(e Expr) {
		if e.Kind != Stack || e.Any {
			ok = false
		}
		off = max(off, e.Off)
	})
	return off, ok
}

// trim drops what is known of places below stack pointer sp: calls and signals may write there.
func (a *Analysis) trim(s *State, sp Val) {
	off, ok := a.above(sp)
	if !ok {
		return
	}
	n := 0
	for n < len(s.Slots) && int64(s.Slots[n].Off) < off {
		n++
	}
	s.Slots = append(s.Slots[:0], s.Slots[n:]...)
}

// Store writes v as size bytes (0: unknown) to address p.
func (a *Analysis) store(s *State, p Val, size uint16, v Val) {
	if e, ok := a.T.One(p); ok {
		switch {
		case e.Kind == Stack && !e.Any:
			a.storePlace(s, e.Off, size, v)
			return
		case e.Kind == Stack:
			a.lose(v)
			a.forget(s)
			return
		case e.Kind == Addr || e.Kind == Sym || e.Kind == TLSBase || e.Kind == Const:
			a.escape(s, v)
			a.loseStored(v)
			return // not the stack
		}
	} else {
		stack := false
		a.T.each(p, func(e Expr) { stack = stack || e.Kind == Stack })
		if stack {
			a.lose(v)
			a.forget(s)
			return
		}
	}
	a.loseStored(v)
	a.escape(s, v)
	if s.Escaped {
		a.reached(s)
	}
}

// storePlace writes v as size bytes (0: unknown) to a place of the frame.
func (a *Analysis) storePlace(s *State, off int64, size uint16, v Val) {
	if !near(off) {
		a.lose(v)
		a.forget(s)
		return
	}
	a.setSlot(s, int32(off), int32(size), v)
	a.escape(s, v)
}

// step is the effect of one instruction.
func (a *Analysis) step(s *State, i *decode.Inst, idx int32) {
	if s.Junk != 0 {
		s.Junk &^= i.Writes
	}
	a.effect(s, i, idx)
}

func (a *Analysis) effect(s *State, i *decode.Inst, idx int32) {
	if i.Flags&decode.Opaque != 0 {
		for r := range s.Reg {
			a.lose(s.Reg[r])
		}
		for r := range s.Reg {
			s.Reg[r] = 0
		}
		s.Escaped, s.Low = true, lowest // rsp and rbp are anywhere now
		a.forget(s)
		return
	}
	switch i.Op {
	case decode.OpNop, decode.OpCmp, decode.OpTest, decode.OpJmp, decode.OpJcc, decode.OpTrap:
		if i.Writes != 0 { // loop, jrcxz
			a.clobber(s, i.Writes)
		}
		return
	case decode.OpMov:
		a.reported = i.Size == 8
		a.assign(s, i, a.Operand(s, i, i.Src, i.Size))
		a.reported = false
		return
	case decode.OpMovZX, decode.OpMovSX:
		a.assign(s, i, a.extended(s, i))
		return
	case decode.OpLea:
		v := a.Address(s, i)
		if i.Flags&decode.Addr32 != 0 {
			v = 0
		}
		a.derive(s, i, v)
		a.assign(s, i, v)
		return
	case decode.OpAdd, decode.OpSub, decode.OpAnd, decode.OpOr, decode.OpXor, decode.OpShl, decode.OpShr, decode.OpInc, decode.OpDec, decode.OpImul:
		a.arith(s, i)
		return
	case decode.OpPush:
		if i.Size < 8 {
			break
		}
		v := a.Operand(s, i, i.Src, 8)
		a.push(s, v)
		return
	case decode.OpPop:
		if i.Size < 8 {
			break
		}
		p := a.Address(s, i) // decode states it relative to the stack pointer before
		v := a.pop(s)
		if i.Dst.Kind == decode.ArgReg {
			if i.Size >= 8 {
				s.Reg[i.Dst.Reg&15] = v
			} else {
				s.Reg[i.Dst.Reg&15] = 0
			}
		} else if i.Dst.Kind == decode.ArgMem {
			a.store(s, p, 8, v)
		}
		return
	case decode.OpLeave:
		s.Reg[decode.RSP] = s.Reg[decode.RBP]
		s.Reg[decode.RBP] = a.pop(s)
		return
	case decode.OpXchg:
		if i.Dst.Kind == decode.ArgReg && i.Src.Kind == decode.ArgReg && i.Size >= 4 {
			x, y := s.Reg[i.Dst.Reg&15], s.Reg[i.Src.Reg&15]
			a.set(s, i.Dst.Reg, i.Size, y)
			a.set(s, i.Src.Reg, i.Size, x)
			return
		}
	case decode.OpCmov:
		v := a.Operand(s, i, i.Src, i.Size)
		if i.Dst.Kind == decode.ArgReg && i.Size >= 4 {
			u := s.Reg[i.Dst.Reg&15]
			w := a.T.Join(v, u)
			if w == 0 {
				a.leak(s, i)
				a.lose(v)
				a.lose(u)
			}
			a.set(s, i.Dst.Reg, i.Size, w)
			return
		}
	case decode.OpCall:
		a.call(s, idx)
		return
	case decode.OpSyscall, decode.OpInt80, decode.OpSysenter:
		for _, r := range [...]decode.Reg{decode.RDI, decode.RSI, decode.RDX, decode.R10, decode.R8, decode.R9} {
			if i.Op != decode.OpSyscall { // whoever replays sees what a system call is given
				a.lose(s.Reg[r])
			}
			a.escape(s, s.Reg[r])
		}
		s.Reg[decode.RAX] = 0
		s.Reg[decode.RCX] = 0
		s.Reg[decode.R11] = 0
		if s.Escaped {
			a.reached(s)
		}
		return
	case decode.OpRet:
		a.lose(s.Reg[decode.RDX])
		if a.Go {
			for r := range s.Reg {
				if decode.Reg(r) != decode.RAX {
					a.lose(s.Reg[r])
				}
			}
			for i := range s.Slots {
				a.lose(s.Slots[i].Val)
			}
		}
		return
	}
	if a.Go && a.copied(s, i, idx) {
		return
	}
	// Anything else: known by its register effects, and by whether it writes memory.
	a.untracked(s, i)
	a.leak(s, i)
	regs := i.Reads
	if i.Op == decode.OpStos {
		regs &= 1 << decode.RAX
	} else if i.Flags&decode.HasMem != 0 { // those that only say where
		if i.Base < 16 {
			regs &^= 1 << i.Base
		}
		if i.Index < 16 {
			regs &^= 1 << i.Index
		}
	}
	a.leakAll(s, regs, false)
	if i.Flags&decode.MemWrite != 0 || i.Flags&decode.HasMem != 0 && i.Dst.Kind == decode.ArgMem {
		size := i.MemSize
		if i.Flags&decode.Rep != 0 {
			size = 0
		}
		a.store(s, a.Address(s, i), size, 0)
		a.filled(s, i)
	}
	if i.Writes.Has(decode.RSP) { // it may also write there
		a.leak(s, &decode.Inst{Dst: decode.Arg{Kind: decode.ArgReg, Reg: decode.RSP}})
		a.forget(s)
	}
	a.clobber(s, i.Writes)
}

// filled notes what rep stos fills the beginning of a known place with.
func (a *Analysis) filled(s *State, i *decode.Inst) {
	if i.Op != decode.OpStos || i.Flags&decode.Rep == 0 || i.Size < 4 || i.Reads.Has(decode.RSI) {
		return
	}
	p, ok1 := a.T.One(s.Reg[decode.RDI])
	n, ok2 := a.T.One(s.Reg[decode.RCX])
	v, ok3 := a.T.One(s.Reg[decode.RAX])
	if !ok1 || !ok2 || !ok3 || p.Kind != Stack || p.Any || !near(p.Off) || n.Kind != Const || v.Kind != Const {
		return
	}
	x := v.Off
	if i.Size == 4 {
		x = x<<32 | int64(uint32(x))
	}
	for k := int64(0); k < min(n.Off*int64(i.Size)/8, 4); k++ {
		a.setSlot(s, int32(p.Off+8*k), 8, a.T.Const(x))
	}
}

func (a *Analysis) clobber(s *State, w decode.RegSet) {
	for x := uint16(w); x != 0; x &= x - 1 {
		s.Reg[bits.TrailingZeros16(x)] = 0
	}
}

// assign writes v to the destination of i.
func (a *Analysis) assign(s *State, i *decode.Inst, v Val) {
	switch i.Dst.Kind {
	case decode.ArgReg:
		a.set(s, i.Dst.Reg, i.Size, v)
	case decode.ArgMem:
		if i.Size < 4 {
			v = 0
		}
		sz := i.MemSize
		if sz == 0 {
			sz = uint16(i.Size)
		}
		if off, ok := a.place(s, i); ok {
			a.storePlace(s, off, sz, v)
			return
		}
		a.store(s, a.Address(s, i), sz, v)
	default:
		a.untracked(s, i)
		a.clobber(s, i.Writes)
	}
}

func (a *Analysis) extended(s *State, i *decode.Inst) Val {
	signed := i.Op == decode.OpMovSX
	switch i.Src.Kind {
	case decode.ArgReg:
		v := s.Reg[i.Src.Reg&15]
		if i.SrcSize >= 4 { // movsxd: the number's user masks it
			return a.T.mapSet(v, func(e Expr) Expr {
				switch e.Kind {
				case Const:
					e.Off = extend(e.Off, 4, signed)
				case Addr, Stack, Sym, TLSBase:
					return Expr{}
				}
				return e
			})
		}
		return a.narrow(v, i.SrcSize, signed)
	case decode.ArgMem:
		return a.Load(s, a.Address(s, i), i.SrcSize, signed)
	}
	return 0
}

func (a *Analysis) arith(s *State, i *decode.Inst) {
	size := i.Size
	var v Val
	zero := (i.Op == decode.OpXor || i.Op == decode.OpSub) && i.Dst.Kind == decode.ArgReg && i.Src == i.Dst
	if size >= 4 {
		var x, y Val
		if !zero {
			x = a.Operand(s, i, i.Dst, size)
			if i.Op != decode.OpInc && i.Op != decode.OpDec {
				y = a.Operand(s, i, i.Src, size)
			}
		}
		switch i.Op {
		case decode.OpAdd:
			v = a.T.Add(x, y)
		case decode.OpInc:
			v = a.T.Shift(x, 1)
		case decode.OpDec:
			v = a.T.Shift(x, -1)
		case decode.OpSub:
			if zero {
				v = a.T.Const(0)
			} else if e, ok := a.T.One(y); ok && e.Kind == Const {
				v = a.T.Shift(x, -e.Off)
			} else if a.T.isAddress(x) && !a.T.isAddress(y) {
				v = a.T.Anywhere(x)
			}
		case decode.OpXor:
			if zero {
				v = a.T.Const(0)
			} else {
				v = a.fold(x, y, func(p, q int64) int64 { return p ^ q })
			}
		case decode.OpAnd:
			v = a.fold(x, y, func(p, q int64) int64 { return p & q })
			if e, ok := a.T.One(y); v == 0 && ok && e.Kind == Const && e.Off < 0 && e.Off >= -4096 && size == 8 && a.T.isAddress(x) {
				v = a.T.Anywhere(x) // aligned down
			}
		case decode.OpOr:
			if e, ok := a.T.One(y); ok && e.Kind == Const && e.Off == -1 {
				v = y
			} else {
				v = a.fold(x, y, func(p, q int64) int64 { return p | q })
			}
		case decode.OpShl:
			v = a.fold(x, y, func(p, q int64) int64 { return p << (uint64(q) & (8*uint64(size) - 1)) })
		case decode.OpShr:
			if size == 8 {
				v = a.fold(x, y, func(p, q int64) int64 { return int64(uint64(p) >> uint(q&63)) })
			} else {
				v = a.fold(x, y, func(p, q int64) int64 { return int64(uint32(p) >> uint(q&31)) })
			}
		case decode.OpImul:
			// Two and three operands: only products of numbers are followed, through the two-operand form.
			v = 0
		}
	}
	if v == 0 {
		a.leak(s, i)
	}
	if a.tracking && !zero {
		a.derive(s, i, v)
	}
	if i.Dst.Kind == decode.ArgReg && i.Writes&^(1<<i.Dst.Reg) == 0 {
		a.set(s, i.Dst.Reg, size, v)
		return
	}
	if i.Dst.Kind == decode.ArgMem {
		a.assign(s, i, v)
	}
	a.clobber(s, i.Writes)
}

// fold computes f on numbers; anything else is Top.
func (a *Analysis) fold(x, y Val, f func(p, q int64) int64) Val {
	q, ok := a.T.One(y)
	if !ok || q.Kind != Const || x == 0 {
		return 0
	}
	return a.T.mapSet(x, func(e Expr) Expr {
		if e.Kind != Const {
			return Expr{}
		}
		e.Off = f(e.Off, q.Off)
		return e
	})
}

func (a *Analysis) push(s *State, v Val) {
	sp := a.T.Shift(s.Reg[decode.RSP], -8)
	s.Reg[decode.RSP] = sp
	if e, ok := a.T.One(sp); ok && e.Kind == Stack && !e.Any {
		a.setSlot(s, int32(e.Off), 8, v)
		a.escape(s, v)
		return
	}
	a.lose(v)
	a.escape(s, v)
	a.forget(s)
}

func (a *Analysis) pop(s *State) Val {
	sp := s.Reg[decode.RSP]
	s.Reg[decode.RSP] = a.T.Shift(sp, 8)
	if e, ok := a.T.One(sp); ok && e.Kind == Stack && !e.Any {
		a.note(access{start: e.Off, end: e.Off + 8, kind: readsPlaces})
		return a.Slot(s, int32(e.Off), 8)
	}
	a.note(access{kind: readsAll})
	return 0
}

// call is the effect of a call that returns.
func (a *Analysis) call(s *State, idx int32) {
	if a.Go {
		a.callGo(s, idx)
		return
	}
	quiet := a.signal(s, &a.f.Insts[idx])
	if !quiet {
		a.leakAll(s, scratch, true)
	}
	for _, r := range [...]decode.Reg{decode.R10, decode.RAX} {
		i := &a.f.Insts[idx]
		if i.Flags&decode.Indirect == 0 {
			if a.Finds == nil || a.Finds(uint64(i.Imm)).Has(r) {
				a.lose(s.Reg[r])
			}
		} else if i.Base != r && !(i.Src.Kind == decode.ArgReg && i.Src.Reg == r) {
			// What finds the target of a call is no argument: functions that are called through pointers keep to the psABI.
			a.lose(s.Reg[r])
		}
	}
	a.loseStackArgs(s)
	if a.tracking && len(a.f.Pads) > 0 { // what is here may be found again where an exception lands
		for r, v := range s.Reg {
			if a.padLive.Has(decode.Reg(r)) {
				a.lose(v)
			}
		}
		for _, x := range s.Slots {
			a.lose(x.Val)
		}
	}
	s.Reg[decode.RAX] = a.T.Intern(Expr{Kind: Result, A: idx})
	s.Junk &^= 1 << decode.RAX
	s.Reg[decode.RDX] = 0 // the second half of a result
	s.Junk &^= 1 << decode.RDX
	junk := a.clobbered(&a.f.Insts[idx]) &^ (1<<decode.RAX | 1<<decode.RDX) & (1<<(decode.R11+1) - 1)
	a.clobber(s, junk)
	s.Junk |= junk
	switch {
	case quiet:
	case a.twice:
		a.forget(s)
	case s.Escaped:
		a.reached(s)
	}
	a.trim(s, s.Reg[decode.RSP])
	for k := range s.Slots {
		s.Slots[k].Fresh = false
	}
	s.Dirty = false
}

// callGo is the effect of a call in Go code. What it is given is not told apart from what the function keeps for itself: all
// of it is lost, but for the registers that are arguments of C too, in which whoever replays sees it. The callee may write
// its arguments' and results' places, at the bottom of the frame.
func (a *Analysis) callGo(s *State, idx int32) {
	var dead decode.RegSet
	end := int64(8)
	if i := &a.f.Insts[idx]; i.Flags&decode.Indirect == 0 && a.GoCallee != nil {
		var args int64
		dead, args = a.GoCallee(uint64(i.Imm))
		if sp, ok := a.above(s.Reg[decode.RSP]); ok && args >= 0 {
			end = min(end, sp+args)
		}
	}
	for r := decode.RAX; r <= decode.R15; r++ {
		if r == decode.RSP {
			continue
		}
		if e, ok := a.T.One(s.Reg[r]); ok && r == decode.RBP && e.Kind == Stack {
			continue // the frame pointer, which callees keep
		}
		a.escape(s, s.Reg[r])
		if !argSet.Has(r) && !dead.Has(r) {
			a.lose(s.Reg[r])
		}
		s.Reg[r] = 0
	}
	s.Junk = 0
	s.Reg[decode.RAX] = a.T.Intern(Expr{Kind: Result, A: idx})
	n := 0
	for _, x := range s.Slots {
		a.lose(x.Val)
		a.escape(s, x.Val)
		if int64(x.Off) >= end {
			x.Fresh = false
			s.Slots[n] = x
			n++
		}
	}
	s.Slots = s.Slots[:n]
	if s.Escaped {
		a.forget(s)
	}
	a.trim(s, s.Reg[decode.RSP])
	s.Dirty = true
}

// signal is the effect on the frame of a call of a function of SignalFunc; false if it is none, or not given known places.
func (a *Analysis) signal(s *State, i *decode.Inst) bool {
	if a.Signals == nil || i.Flags&decode.Indirect != 0 {
		return false
	}
	k, p, size := a.Signals(uint64(i.Imm)), s.Reg[decode.RDI], int32(128)
	switch k {
	case NoSignal, ReturnsTwice:
		return false
	case SigAction:
		if e, ok := a.T.One(s.Reg[decode.RSI]); !ok || e.Kind != Const && (e.Kind != Stack || e.Any) {
			return false
		}
		p, size = s.Reg[decode.RDX], 152
	}
	if p == 0 {
		return false
	}
	if e, ok := a.T.One(p); ok && e.Kind == Stack && !e.Any && near(e.Off) {
		a.setSlot(s, int32(e.Off), size, 0)
		return true
	}
	ok := true
	a.T.each(p, func(e Expr) { ok = ok && e.Kind != Stack })
	return ok
}

// clobbered returns the registers that a call may change: those that the psABI lets it, unless its callee is known to
// keep some (gcc's -fipa-ra relies on that).
func (a *Analysis) clobbered(i *decode.Inst) decode.RegSet {
	if a.Clobbers == nil || i.Flags&decode.Indirect != 0 {
		return scratch
	}
	return a.Clobbers(uint64(i.Imm)) & scratch
}
