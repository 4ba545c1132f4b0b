package value

import "syspart/internal/decode"

// Slot is a tracked place in the function's frame.
type Slot struct {
	Off  int32 // bytes above the stack pointer at entry
	Size uint8 // 4 or 8
	Val  Val
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
	// ArgsLost: the stack-passed arguments may have been overwritten.
	ArgsLost bool
	// Junk are registers that hold what a call left there: no value that compiled code reads. Their Reg is Top.
	Junk  decode.RegSet
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

// join merges o into s and reports whether s changed.
func (a *Analysis) join(s, o *State) bool {
	if !s.live {
		s.copyFrom(o)
		s.live = true
		return true
	}
	changed := false
	if s.joins < 255 {
		s.joins++
	}
	merge := a.T.Join
	if s.joins > 6 {
		merge = a.T.JoinWiden
	}
	junk := decode.RegSet(0)
	for r := range s.Reg {
		// A register stays junk while no path brings something unknown.
		if s.Junk|o.Junk != 0 && (s.Junk|o.Junk)>>r&1 != 0 && (s.Reg[r] != 0 || s.Junk>>r&1 != 0) && (o.Reg[r] != 0 || o.Junk>>r&1 != 0) {
			junk |= 1 << r
		}
		if v := s.Reg[r]; v != o.Reg[r] && v != 0 {
			if n := merge(v, o.Reg[r]); n != v {
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
		}
	}
	if junk != s.Junk {
		s.Junk, changed = junk, true
	}
	if o.Escaped && !s.Escaped {
		s.Escaped, changed = true, true
	}
	if o.ArgsLost && !s.ArgsLost {
		s.ArgsLost, changed = true, true
	}
	// Slots: those below the return address must be known on both sides; an argument's place that one side has not
	// written still holds the argument there.
	n, i, j := 0, 0, 0
	out := a.tmp[:0]
	for i < len(s.Slots) || j < len(o.Slots) {
		switch {
		case j == len(o.Slots) || i < len(s.Slots) && s.Slots[i].Off < o.Slots[j].Off:
			x := s.Slots[i]
			i++
			if x.Off >= 8 {
				v := merge(x.Val, a.Slot(o, x.Off, x.Size))
				if v != x.Val {
					changed = true
				}
				out = append(out, Slot{x.Off, x.Size, v})
				n++
			} else {
				changed = true
			}
		case i == len(s.Slots) || o.Slots[j].Off < s.Slots[i].Off:
			x := o.Slots[j]
			j++
			if x.Off >= 8 {
				out = append(out, Slot{x.Off, x.Size, merge(x.Val, a.Slot(s, x.Off, x.Size))})
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
				v = merge(x.Val, y.Val)
				if s.joins > 60 && v != x.Val {
					v = 0
				}
			}
			if v != x.Val {
				changed = true
			}
			if v != 0 || x.Off >= 8 {
				out = append(out, Slot{x.Off, x.Size, v})
			}
		}
	}
	s.Slots = append(s.Slots[:0], out...)
	a.tmp = out
	return changed
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

// setSlot stores v into size bytes of the frame at off; size 0 is an unknown number of bytes upwards.
func (a *Analysis) setSlot(s *State, off int32, size int32, v Val) {
	end := off + size
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
		a.lose(v)
		if off >= 8 || end > 8 {
			s.ArgsLost = true
		}
		return
	}
	if v == 0 && off < 8 {
		return
	}
	if len(s.Slots) >= maxSlots {
		a.lose(v)
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
	s.Slots[i] = Slot{off, uint8(size), v}
}

// forget drops all that is known of the frame.
func (a *Analysis) forget(s *State) {
	for _, x := range s.Slots {
		a.lose(x.Val)
	}
	s.Slots = s.Slots[:0]
	s.ArgsLost = true
}
