package unwind

import (
	"bytes"
	"errors"
	"testing"

	"syspart/internal/image"
)

// TestGoRow: a frame of Go's gives the return address and the stack pointer, and no frame pointer to go on by.
func TestGoRow(t *testing.T) {
	stack := make([]byte, 0x1020)
	stack[0x1018] = 0x77
	var regs Regs
	regs.set(RSP, 0x1000)
	regs.set(RBP, 0x2000)
	tab := &Table{file: &image.File{}, frames: &image.Frames{}, rows: map[uint64]*row{0x10: goRow(image.GoFrame{Func: 8, Size: 24})}}
	if s, err := tab.Simple(0x10); err != nil || s != (Simple{Off: 32, Lost: true}) {
		t.Errorf("simple: %+v, %v", s, err)
	}
	next, cfa, bottom, err := tab.rows[0x10].apply(&regs, &memory{r: bytes.NewReader(stack)})
	if err != nil || bottom || cfa != 0x1020 || next.Val[RSP] != 0x1020 || next.Val[RA] != 0x77 {
		t.Errorf("cfa %#x, bottom %v, %v: %+v", cfa, bottom, err, next)
	}
	var u UnknownError
	if _, err := next.get(RBP); !errors.As(err, &u) {
		t.Errorf("the frame pointer is known: %v", err)
	}
	if _, _, bottom, err := goRow(image.GoFrame{Outermost: true}).apply(&regs, &memory{r: bytes.NewReader(nil)}); err != nil || !bottom {
		t.Errorf("outermost: %v, %v", bottom, err)
	}
}
