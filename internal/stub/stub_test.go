package stub

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"syspart/internal/decode"
)

// TestFind: blocks that go on into a loop in each way, and those that offer no place.
func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		code   []byte
		header uint64
		at     uint64 // 0: refused
	}{
		"falls, long last":   {[]byte{0x90, 0x48, 0x8d, 0x05, 1, 0, 0, 0}, 0x1008, 0x1001},
		"falls, several":     {[]byte{0x50 + 3, 0x31, 0xc0, 0x89, 0xc3, 0x31, 0xc9}, 0x1007, 0x1001},
		"jumps":              {[]byte{0x31, 0xc0, 0x31, 0xc9, 0xeb, 0x10}, 0x1016, 0x1000},
		"jumps far":          {[]byte{0x31, 0xc0, 0xe9, 0, 1, 0, 0}, 0x1107, 0x1002},
		"taken":              {[]byte{0x48, 0x85, 0xc0, 0x75, 0x20}, 0x1025, 0x1000},
		"through":            {[]byte{0x48, 0x85, 0xc0, 0x74, 0x20}, 0x1005, 0x1000},
		"short":              {[]byte{0x31, 0xc0, 0xeb, 0x10}, 0x1014, 0},
		"a call at the end":  {[]byte{0xe8, 0, 1, 0, 0}, 0x1005, 0},
		"a call inside":      {[]byte{0xff, 0xd0, 0x31, 0xc0, 0xeb, 0x10}, 0x1016, 0},
		"moves the stack":    {[]byte{0x58, 0x31, 0xc0, 0x31, 0xc9}, 0x1005, 0},
		"elsewhere":          {[]byte{0x48, 0x8d, 0x05, 1, 0, 0, 0, 0xeb, 0x10}, 0x1050, 0},
		"jrcxz":              {[]byte{0x31, 0xc0, 0x31, 0xc9, 0xe3, 0x10}, 0x1016, 0},
		"indirect":           {[]byte{0x31, 0xc0, 0x31, 0xc9, 0xff, 0xe0}, 0x1006, 0},
		"not an instruction": {[]byte{0x06, 0x06, 0x06, 0x06, 0x06}, 0x1005, 0},
		"system call":        {[]byte{0x31, 0xc0, 0x90, 0x0f, 0x05}, 0x1005, 0},
	} {
		p, err := Find(c.code, 0x1000, 0x1000+uint64(len(c.code)), c.header)
		switch {
		case c.at == 0 && !errors.Is(err, ErrPoint):
			t.Errorf("%s: %+v, %v", name, p, err)
		case c.at != 0 && (err != nil || p.Addr != c.at || p.Loop != c.header || len(p.Old) < jumpLen || !bytes.HasSuffix(c.code, p.Old)):
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// TestCode reads stubs back: all of it is instructions up to the message, relative addresses are kept, and every way leads
// where the block led.
func TestCode(t *testing.T) {
	const bias, at = 0x7f0000000000, 0x7f0000100000
	own := []byte("12345678abcdefgh")
	installs := []Install{{Program: 0x1122334455667788, Frames: []Frame{{Return: 0x7f0000001234, Off: 72, Saved: true, At: -16}, {Return: 0x7f0000004321, RBP: true, Off: 16}}},
		{Program: 0x99}, {Filter: own, Frames: []Frame{{Return: bias + 0x2000, Here: true, Off: 8}, {Any: true, Off: 8}}}}
	for name, c := range map[string]struct {
		p    Point
		exit map[uint64]bool // where control may go
	}{
		"falls": {Point{Addr: 0x1000, Old: []byte{0x48, 0x8d, 0x05, 1, 0, 0, 0}, Loop: 0x1007}, map[uint64]bool{bias + 0x1007: true}},
		"jumps": {Point{Addr: 0x1000, Old: []byte{0x31, 0xc0, 0x31, 0xc9, 0xeb, 0x10}, Loop: 0x1016}, map[uint64]bool{bias + 0x1016: true}},
		"taken": {Point{Addr: 0x1000, Old: []byte{0x48, 0x85, 0xc0, 0x75, 0x20}, Loop: 0x1025}, map[uint64]bool{bias + 0x1025: true, bias + 0x1005: true}},
		"through": {Point{Addr: 0x1000, Old: []byte{0x48, 0x85, 0xc0, 0x74, 0x20}, Loop: 0x1005},
			map[uint64]bool{bias + 0x1025: true, bias + 0x1005: true}},
		"both": {Point{Addr: 0x1000, Old: []byte{0x48, 0x85, 0xc0, 0x74, 0x20}, Loop: 0x1005, Also: 0x1025},
			map[uint64]bool{bias + 0x1025: true, bias + 0x1005: true}},
	} {
		b, err := c.p.Code(bias, at, installs)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		end := bytes.Index(b, []byte(message))
		if filter := bytes.Index(b, own); filter < end || filter%8 != 0 {
			t.Errorf("%s: the filter lies at %d", name, filter)
		}
		if end < 0 {
			t.Fatalf("%s: no message", name)
		}
		starts := map[uint64]bool{}
		inside := map[uint64]bool{}
		outside := map[uint64]bool{}
		lea := false
		for va := uint64(at); va < at+uint64(end); {
			var in decode.Inst
			if !decode.Decode(b[va-at:], va, &in) || in.Op == decode.OpBad {
				t.Fatalf("%s: no instruction at %#x", name, va)
			}
			starts[va] = true
			if in.Op == decode.OpJmp || in.Op == decode.OpJcc {
				if to := uint64(in.Imm); to >= at && to < at+uint64(end) {
					inside[to] = true
				} else {
					outside[to] = true
				}
			}
			lea = lea || in.Op == decode.OpLea && in.Base == decode.RIP && uint64(in.Disp) == bias+0x1008
			va = in.Next()
		}
		for to := range inside {
			if !starts[to] {
				t.Errorf("%s: a jump into an instruction, %#x", name, to)
			}
		}
		for to := range outside {
			if !c.exit[to] {
				t.Errorf("%s: leads to %#x", name, to)
			}
			delete(c.exit, to)
		}
		if len(c.exit) > 0 {
			t.Errorf("%s: does not lead to %v", name, c.exit)
		}
		if name == "falls" && !lea {
			t.Errorf("%s: the relative address is not kept", name)
		}
		jump, err := c.p.Patch(bias, at)
		if err != nil || len(jump) != len(c.p.Old) || uint64(int64(int32(binary.LittleEndian.Uint32(jump[1:])))+int64(bias)+0x1005) != at {
			t.Errorf("%s: jump % x, %v", name, jump, err)
		}
	}
	far := Point{Addr: 0x1000, Old: []byte{0x48, 0x8d, 0x05, 1, 0, 0, 0}, Loop: 0x1007}
	if _, err := far.Code(bias, bias+1<<32, installs); !errors.Is(err, ErrPoint) {
		t.Errorf("out of reach: %v", err)
	}
	if _, err := far.Patch(bias, bias+1<<32); !errors.Is(err, ErrPoint) {
		t.Errorf("out of reach: %v", err)
	}
}
