package unwind

import "fmt"

// Simple is where a frame lies by rules that need no expression: what compilers emit for nearly all code.
type Simple struct {
	// The canonical frame address is Off bytes above the stack pointer or, if FromRBP, above the frame pointer; the return
	// address lies eight bytes below it.
	FromRBP bool
	Off     int32
	// Saved: the caller's frame pointer lies At bytes from the canonical frame address; else it is in the register still.
	Saved bool
	At    int32
	// Lost: it is not known where the caller's frame pointer is.
	Lost bool
}

// Simple returns the rules for the instruction at va. The error is ErrNoFrame or ErrFormat as for every table, or says that
// the rules are of another kind.
func (t *Table) Simple(va uint64) (Simple, error) {
	r, err := t.row(va)
	if err != nil {
		return Simple{}, err
	}
	other := func(what string) (Simple, error) {
		return Simple{}, fmt.Errorf("%#x: %s: %w", va, what, ErrFormat)
	}
	s := Simple{FromRBP: r.cfaReg == RBP, Off: int32(r.cfaOff)}
	switch ret := r.find(r.ret); {
	case r.cfaExpr != nil || r.cfaReg != RBP && r.cfaReg != RSP || int64(s.Off) != r.cfaOff:
		return other("frame address by an expression")
	case r.signal || ret == nil || ret.kind != ruleOffset || ret.off != -8 || r.find(RSP) != nil:
		return other("return address in another place")
	}
	switch fp := r.find(RBP); {
	case fp == nil || fp.kind == ruleSame:
	case fp.kind == ruleOffset && int64(int32(fp.off)) == fp.off:
		s.Saved, s.At = true, int32(fp.off)
	case fp.kind == ruleUndefined:
		s.Lost = true
	default:
		return other("frame pointer in another place")
	}
	return s, nil
}
