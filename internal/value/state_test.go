package value

import (
	"testing"

	"syspart/internal/cfg"
	"syspart/internal/decode"
)

// fresh returns an analysis and the state at a function's entry.
func fresh() (*Analysis, *State) {
	a, s := &Analysis{f: &cfg.Func{Insts: make([]decode.Inst, 1)}}, &State{}
	a.T.Reset()
	a.entry(s)
	return a, s
}

func TestSlots(t *testing.T) {
	a, s := fresh()
	c := func(n int64) Val { return a.T.Const(n) }
	param := func(k int32) Val { return a.T.Intern(Expr{Kind: Param, A: k}) }
	expect := func(what string, off int32, size uint8, want Val) {
		t.Helper()
		if got := a.Slot(s, off, size); got != want {
			t.Errorf("%s: %d bytes at %d hold %s, want %s", what, size, off, describe(&a.T, got), describe(&a.T, want))
		}
	}
	expect("untouched", -8, 8, 0)
	expect("return address", 0, 8, 0)
	expect("first argument on the stack", 8, 8, param(6))
	expect("second argument on the stack", 16, 4, param(7))
	expect("half of an argument", 12, 4, 0)
	expect("beyond the arguments", 8+8*stackArgs, 8, 0)

	a.setSlot(s, -8, 8, c(1))
	a.setSlot(s, -16, 4, c(2))
	expect("stored", -8, 8, c(1))
	expect("lower half", -8, 4, c(1))
	expect("upper half", -4, 4, 0)
	expect("four bytes", -16, 4, c(2))
	expect("four bytes and more", -16, 8, 0)
	expect("across two", -12, 8, 0)
	a.setSlot(s, -12, 8, c(3)) // over both
	expect("overwritten below", -8, 8, 0)
	expect("overwritten above", -16, 4, c(2))
	expect("the new one", -12, 8, c(3))
	a.setSlot(s, -10, 1, c(4))
	expect("one byte in it overwritten", -12, 8, 0)

	a.setSlot(s, 8, 8, c(5))
	expect("argument overwritten", 8, 8, c(5))
	expect("its neighbour", 16, 8, param(7))
	a.setSlot(s, 8, 8, 0)
	expect("argument overwritten by something", 8, 8, 0)
	a.setSlot(s, 12, 8, c(6)) // parts of two arguments
	if a.setSlot(s, 8, 8, c(7)); a.Slot(s, 16, 8) != 0 {
		t.Error("an argument of which half was overwritten is known")
	}
	a, s = fresh()
	a.setSlot(s, -32, 8, c(1))
	a.setSlot(s, -8, 8, c(2))
	a.setSlot(s, -16, 0, 0) // an unknown number of bytes upwards
	expect("below an unknown store", -32, 8, c(1))
	expect("above an unknown store", -8, 8, 0)
	expect("argument above an unknown store", 8, 8, 0)

	a, s = fresh()
	for i := range int32(2 * maxSlots) {
		a.setSlot(s, -8*(i+1), 8, c(int64(i)))
	}
	if len(s.Slots) > maxSlots {
		t.Errorf("%d slots", len(s.Slots))
	}
	for i := range int32(2 * maxSlots) {
		if v := a.Slot(s, -8*(i+1), 8); v != 0 && v != c(int64(i)) {
			t.Errorf("slot %d holds %s", i, describe(&a.T, v))
		}
	}
}

func TestEscape(t *testing.T) {
	a, s := fresh()
	stack := a.T.Intern(Expr{Kind: Stack, Off: -8})
	global := a.T.Intern(Expr{Kind: Addr, Off: 0x1000})
	unknown := a.T.Intern(Expr{Kind: Param})
	one := a.T.Const(1)
	a.store(s, stack, 8, one)
	a.store(s, unknown, 8, one)
	a.store(s, 0, 8, one)
	a.call(s, 0)
	if a.Slot(s, -8, 8) != 0 { // below the stack pointer: calls write there
		t.Error("a place below the stack pointer survives a call")
	}
	s.Reg[decode.RSP] = a.T.Intern(Expr{Kind: Stack, Off: -32})
	a.store(s, stack, 8, one)
	a.store(s, unknown, 8, one)
	a.call(s, 0)
	if a.Slot(s, -8, 8) != one {
		t.Error("a frame whose address nobody has does not survive")
	}
	a.set(s, decode.RBP, 8, stack)
	a.set(s, decode.R12, 8, stack)
	a.call(s, 0)
	if s.Escaped || a.Slot(s, -8, 8) != one {
		t.Error("a register that callees keep makes the frame escape")
	}
	arg := a.T.Intern(Expr{Kind: Param, A: 3})
	a.setSlot(s, -24, 8, arg)
	a.setSlot(s, -16, 8, one)
	passed := &State{}
	passed.copyFrom(s)
	a.set(passed, decode.RSI, 8, stack)
	a.call(passed, 0)
	if !passed.Escaped || a.Slot(passed, -8, 8) != 0 || a.Slot(passed, -16, 8) != 0 {
		t.Error("an address of the frame is passed to a call, and the frame survives")
	}
	if a.Slot(passed, -24, 8) != arg {
		t.Error("a copy of a parameter below all that was passed on does not survive")
	}
	a.setSlot(s, -24, 8, 0)
	a.setSlot(s, -16, 8, 0)
	a.store(s, global, 8, stack)
	if !s.Escaped || a.Slot(s, -8, 8) != one {
		t.Error("storing an address of the frame: it has to escape, and to keep what it holds")
	}
	a.call(s, 0)
	if a.Slot(s, -8, 8) != 0 || a.Slot(s, 8, 8) != 0 {
		t.Error("an escaped frame survives a call")
	}
	a.store(s, stack, 8, one)
	a.store(s, unknown, 8, one)
	if a.Slot(s, -8, 8) != 0 {
		t.Error("an escaped frame survives a store through an unknown pointer")
	}
	a.store(s, stack, 8, one)
	a.store(s, a.T.Join(stack, global), 8, a.T.Const(2))
	if a.Slot(s, -8, 8) != 0 {
		t.Error("a frame survives a store that may go there")
	}
}

func TestStateJoin(t *testing.T) {
	a, s := fresh()
	o := &State{}
	a.entry(o)
	c := a.T.Const
	s.live = true
	s.Reg[decode.RAX], o.Reg[decode.RAX] = c(1), c(2)
	s.Reg[decode.RBX], o.Reg[decode.RBX] = c(1), 0
	a.setSlot(s, -8, 8, c(1))
	a.setSlot(o, -8, 8, c(2))
	a.setSlot(s, -16, 8, c(1)) // one side only
	a.setSlot(o, -24, 8, c(1))
	a.setSlot(s, -32, 8, c(1)) // other widths
	a.setSlot(o, -32, 4, c(1))
	a.setSlot(s, 8, 8, c(9)) // an argument that one side overwrites
	a.setSlot(o, 20, 4, c(9))
	if !a.join(s, o, allRegs) {
		t.Error("nothing changed")
	}
	both := a.T.Join(c(1), c(2))
	if s.Reg[decode.RAX] != both || s.Reg[decode.RBX] != 0 {
		t.Errorf("registers: %s, %s", describe(&a.T, s.Reg[decode.RAX]), describe(&a.T, s.Reg[decode.RBX]))
	}
	for off, want := range map[int32]Val{-8: both, -16: 0, -24: 0, -32: 0, 8: a.T.Join(c(9), a.T.Intern(Expr{Kind: Param, A: 6})), 16: 0} {
		if got := a.Slot(s, off, 8); got != want {
			t.Errorf("slot %d: %s, want %s", off, describe(&a.T, got), describe(&a.T, want))
		}
	}
	if a.join(s, o, allRegs) {
		t.Error("joined once more it changed")
	}
	// A stack address that a union loses may be anywhere.
	s.Reg[decode.RBP], o.Reg[decode.RBP] = a.T.Intern(Expr{Kind: Stack, Off: -8}), 0
	if a.join(s, o, allRegs); !s.Escaped {
		t.Error("a frame pointer is lost in a union and the frame has not escaped")
	}
}
