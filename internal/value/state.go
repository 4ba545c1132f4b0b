package value

import (
	"math/bits"

	"syspart/internal/decode"
)

// Slot is a tracked place in the function's frame.
type Slot struct {
	Off   int32 // bytes above the stack pointer at entry
	Size  uint8 // 4 or 8
	Fresh bool  // stored since the last call
	Val   Val
}

const (
	maxSlots  = 64
	stackArgs = 10 // stack-passed arguments that count as parameters
)

// State is what is known at one point of a function.
type State struct {
	Reg [16]Val
	// Slots are the known places of the frame, sorted by Off. A place that is not there holds anything, or, from offset
	// 8 on (stack-passed arguments), what it held at entry.
	Slots []Slot
	// Escaped: the address of a place in the frame has been made, so stores and calls that we cannot follow may write it.
	Escaped bool
	// Low is the lowest place whose address has been made; below it are places that only this function's code names.
	Low int32
	// ArgsLost: the stack-passed arguments may have been overwritten.
	ArgsLost bool
	// Junk are registers that hold what a call left there: no value that compiled code reads. Their Reg is Top.
	Junk decode.RegSet
	// Dirty: since the last call something has been stored into the frame of which only the place, or not even that, is known.
	Dirty bool
	live  bool
	joins uint8
}

var argRegs = [6]decode.Reg{decode.RDI, decode.RSI, decode.RDX, decode.RCX, decode.R8, decode.R9}

// ArgReg returns the register of argument k (0 to 5).
func ArgReg(k int) decode.Reg { return argRegs[k] }

func (s *State) copyFrom(o *State) {
	slots := append(s.Slots[:0], o.Slots...)
	j := s.joins
	*s = *o
	s.Slots = slots
	s.joins = j
}

// join merges o into s and reports whether s changed. Of registers that are not live, which nothing reads before it writes them,
// s keeps what it has.
func (a *Analysis) join(s, o *State, live decode.RegSet) bool {
	if !s.live {
		s.copyFrom(o)
		s.live = true
		return true
	}
	changed := false
	if s.joins < 255 {
		s.joins++
	}
	wide := s.joins > 6
	junk := s.Junk &^ live
	if both := (s.Junk | o.Junk) & live; both != 0 {
		for ; both != 0; both &= both - 1 {
			// A register stays junk while no path brings something unknown.
			if r := bits.TrailingZeros16(uint16(both)); (s.Reg[r] != 0 || s.Junk>>r&1 != 0) && (o.Reg[r] != 0 || o.Junk>>r&1 != 0) {
				junk |= 1 << r
			}
		}
	}
	for r := range s.Reg {
		v := s.Reg[r]
		if v == o.Reg[r] || v == 0 || live>>r&1 == 0 {
			continue
		}
		n := a.T.merge(v, o.Reg[r], wide)
		if n == v {
			continue
		}
		if s.joins > 60 {
			n = 0
		}
		if decode.Reg(r) == decode.RSP {
			if _, ok := a.above(n); !ok {
				a.trim(s, v)
				a.trim(s, o.Reg[r])
			}
		}
		if n == 0 {
			a.escape(s, v)
			a.escape(s, o.Reg[r])
		}
		s.Reg[r] = n
		changed = true
	}
	if junk != s.Junk {
		s.Junk, changed = junk, true
	}
	if o.Escaped && (!s.Escaped || o.Low < s.Low) {
		s.Escaped, s.Low, changed = true, o.Low, true
	}
	if o.ArgsLost && !s.ArgsLost {
		s.ArgsLost, changed = true, true
	}
	if o.Dirty && !s.Dirty {
		s.Dirty, changed = true, true
	}
	if s.holds(o) {
		return changed
	}
	// Slots: those below the return address must be known on both sides; an argument's place that one side has not
	// written still holds the argument there.
	i, j := 0, 0
	out := a.tmp[:0]
	for i < len(s.Slots) || j < len(o.Slots) {
		switch {
		case j == len(o.Slots) || i < len(s.Slots) && s.Slots[i].Off < o.Slots[j].Off:
			x := s.Slots[i]
			i++
			if x.Off >= 8 {
				v := a.T.merge(x.Val, a.Slot(o, x.Off, x.Size), wide)
				if v != x.Val {
					changed = true
				}
				out = append(out, Slot{x.Off, x.Size, x.Fresh, v})
			} else {
				a.escape(s, x.Val)
				s.Dirty = s.Dirty || x.Fresh
				changed = true
			}
		case i == len(s.Slots) || o.Slots[j].Off < s.Slots[i].Off:
			x := o.Slots[j]
			j++
			a.escapes(s, x.Val, x.Off < 8, &changed)
			if x.Off < 8 && x.Fresh && !s.Dirty {
				s.Dirty, changed = true, true
			}
			if x.Off >= 8 {
				out = append(out, Slot{x.Off, x.Size, x.Fresh, a.T.merge(x.Val, a.Slot(s, x.Off, x.Size), wide)})
				changed = true
			}
		default:
			x, y := s.Slots[i], o.Slots[j]
			i++
			j++
			v := x.Val
			if x.Size != y.Size {
				v = 0
			} else if x.Val != y.Val {
				v = a.T.merge(x.Val, y.Val, wide)
				if s.joins > 60 && v != x.Val {
					v = 0
				}
			}
			if v != x.Val {
				changed = true
			}
			a.escapes(s, x.Val, v == 0, &changed)
			a.escapes(s, y.Val, v == 0, &changed)
			if v == 0 && (x.Fresh || y.Fresh) && !s.Dirty {
				s.Dirty, changed = true, true
			}
			if y.Fresh && !x.Fresh {
				x.Fresh, changed = true, true
			}
			if v != 0 || x.Off >= 8 {
				out = append(out, Slot{x.Off, x.Size, x.Fresh, v})
			}
		}
	}
	s.Slots, a.tmp = out, s.Slots
	return changed
}

// holds reports whether the frame's places are known as o knows them, so that a join changes nothing of them.
func (s *State) holds(o *State) bool {
	if len(s.Slots) != len(o.Slots) {
		return false
	}
	for i := range s.Slots {
		if x := &s.Slots[i]; *x != o.Slots[i] || x.Val == 0 {
			return false
		}
	}
	return true
}

// escapes is escape if lost is set; changed notes that s changed by it.
func (a *Analysis) escapes(s *State, v Val, lost bool, changed *bool) {
	if !lost {
		return
	}
	e, low := s.Escaped, s.Low
	a.escape(s, v)
	*changed = *changed || e != s.Escaped || low != s.Low
}

func (a *Analysis) param(off int32, lost bool) Val {
	if lost || off < 8 || off%8 != 0 || off >= 8+8*stackArgs {
		return 0
	}
	return a.T.Intern(Expr{Kind: Param, A: 6 + (off-8)/8})
}

// Slot returns what size bytes of the frame at off hold.
func (a *Analysis) Slot(s *State, off int32, size uint8) Val {
	for _, x := range s.Slots {
		if x.Off == off {
			if x.Size == size || x.Size == 8 && size == 4 {
				return x.Val
			}
			return 0
		}
		if x.Off < off+int32(size) && off < x.Off+int32(x.Size) {
			return 0
		}
	}
	return a.param(off, s.ArgsLost)
}

// passed reports whether a place of the frame may hold an argument of the next call. It has been stored since the last call,
// for calls may write where they find arguments, and compilers store these when no other call is to come before; and the
// function does not read it, for what it keeps for itself lies elsewhere.
func (a *Analysis) passed(x *Slot) bool { return x.Fresh && !a.loads.has(x.Off) }

// Passed returns what a call is given at off in the frame; in a jump out of the function, what the function itself was
// given. What is there and is no argument counts as 0.
func (a *Analysis) Passed(s *State, off int32) Val {
	if off >= 8 {
		return a.Slot(s, off, 8)
	}
	for i := range s.Slots {
		x := &s.Slots[i]
		if !a.passed(x) && !(a.Go && x.Fresh) {
			continue
		}
		if x.Off == off {
			return x.Val
		}
		if x.Off < off+8 && off < x.Off+int32(x.Size) {
			return 0
		}
	}
	if s.Dirty || a.Go {
		return 0
	}
	return a.T.Const(0)
}

// setSlot stores v into size bytes of the frame at off; size 0 is an unknown number of bytes upwards.
func (a *Analysis) setSlot(s *State, off int32, size int32, v Val) {
	if a.twice { // found again by what goes on a second time
		a.lose(v)
		a.escape(s, v)
	}
	end := off + size
	if size != 0 {
		a.note(access{start: int64(off), end: int64(end), kind: writesPlaces})
	}
	if size == 0 {
		end = 1 << 30
		if end > 8 {
			s.ArgsLost = true
		}
	}
	n := 0
	for _, x := range s.Slots {
		if top := x.Off + int32(x.Size); x.Off < end && off < top {
			if top > 8 && (x.Off < off || end < top) { // what remains of it is no argument any more
				s.ArgsLost = true
			}
			continue
		}
		s.Slots[n] = x
		n++
	}
	s.Slots = s.Slots[:n]
	if size != 4 && size != 8 {
		s.Dirty = true
		a.lose(v)
		a.escape(s, v)
		if off >= 8 || end > 8 {
			s.ArgsLost = true
		}
		return
	}
	if v == 0 && off < 8 {
		s.Dirty = true
		return
	}
	if len(s.Slots) >= maxSlots {
		s.Dirty = true
		a.lose(v)
		a.escape(s, v)
		if off >= 8 {
			s.ArgsLost = true
		}
		return
	}
	i := len(s.Slots)
	s.Slots = append(s.Slots, Slot{})
	for i > 0 && s.Slots[i-1].Off > off {
		s.Slots[i] = s.Slots[i-1]
		i--
	}
	s.Slots[i] = Slot{off, uint8(size), true, v}
}

// forget drops all that is known of the frame.
func (a *Analysis) forget(s *State) {
	a.note(access{kind: readsAll})
	for _, x := range s.Slots {
		a.lose(x.Val)
	}
	s.Slots = s.Slots[:0]
	s.ArgsLost, s.Dirty = true, true
}

// reached drops what code can reach that has the addresses which have been made of places in the frame: all but the compiler's
// own copies of parameters.
func (a *Analysis) reached(s *State) {
	a.note(access{low: s.Low, kind: readsReached})
	n := 0
	for _, x := range s.Slots {
		if a.spilled(s, &x) {
			s.Slots[n] = x
			n++
			continue
		}
		a.lose(x.Val)
	}
	s.Slots = s.Slots[:n]
	s.ArgsLost, s.Dirty = true, true
}

// spilled reports whether a place of the frame holds the compiler's own copy of a parameter: it lies below all places whose
// addresses have been made. A pointer into an object is not moved below the object.
func (a *Analysis) spilled(s *State, x *Slot) bool { return x.Off+8 <= s.Low && a.parameter(x) }

// parameter reports whether a place of the frame holds what one of the function's parameters was.
func (a *Analysis) parameter(x *Slot) bool {
	e, ok := a.T.One(x.Val)
	return ok && e.Kind == Param && e.Off == 0 && !e.Any && x.Size == 8
}

// lowest is below every place of a frame.
const lowest = -1 << 31

// offsets is a set of places of the frame.
type offsets struct {
	bits []uint64
	used []int32 // indices into bits that are not zero
}

func (o *offsets) add(off int32) {
	if o.bits == nil {
		o.bits = make([]uint64, 2*nearFrame/64)
	}
	at := uint32(off + nearFrame)
	if w := &o.bits[at/64]; *w == 0 {
		o.used = append(o.used, int32(at/64))
		*w = 1 << (at % 64)
	} else {
		*w |= 1 << (at % 64)
	}
}

func (o *offsets) has(off int32) bool {
	at := uint32(off + nearFrame)
	return int(at/64) < len(o.bits) && o.bits[at/64]>>(at%64)&1 != 0
}

func (o *offsets) reset() {
	for _, i := range o.used {
		o.bits[i] = 0
	}
	o.used = o.used[:0]
}
