package stub

import (
	"bytes"
	"errors"
	"testing"

	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/testbin"
)

// TestMoveReal moves every instruction that unwind entries of real libraries cover: what is moved refers to the same addresses
// and is otherwise the same instruction, and what is refused is refused for a reason that holds.
func TestMoveReal(t *testing.T) {
	for _, lib := range []struct{ path, pkg string }{
		{"/usr/lib/x86_64-linux-gnu/libc.so.6", "libc6"},
		{"/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "libssl3"}, // vector instructions of all kinds
	} {
		path := testbin.NeedFile(t, lib.path, lib.pkg)
		f, err := image.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		frames, err := f.Frames()
		if err != nil {
			t.Fatal(err)
		}
		moved, relative, jumps, refused := 0, 0, 0, 0
		for i := range frames.FDEs {
			fde := &frames.FDEs[i]
			code, ok := f.Bytes(fde.Start, fde.End-fde.Start)
			if !ok {
				continue
			}
			for len(code) > 0 {
				va := fde.End - uint64(len(code))
				var in decode.Inst
				if !decode.Decode(code, va, &in) {
					break // data
				}
				b := code[:in.Len]
				code = code[in.Len:]
				a := &assembler{base: va + 0x123457}
				err := a.move(b, &in, 0, func(uint64) (label, bool) { return 0, false }, func(uint64) bool { return false })
				if err != nil {
					refused++
					if !errors.Is(err, ErrPoint) {
						t.Fatal(err)
					}
					switch {
					case in.Op == decode.OpCall, in.Op == decode.OpSyscall, in.Op == decode.OpTrap, in.Flags&decode.Opaque != 0:
					case in.Op == decode.OpJcc && in.Cond == 0xff && in.Len > 2: // xbegin
					default:
						t.Fatalf("%v: why?", err)
					}
					continue
				}
				moved++
				var now decode.Inst
				if !decode.Decode(a.b, a.base, &now) {
					t.Fatalf("% x at %#x becomes % x", b, va, a.b)
				}
				if in.Op == decode.OpJmp && in.Flags&decode.Indirect == 0 || in.Op == decode.OpJcc {
					jumps++
					if in.Cond == 0xff && in.Op == decode.OpJcc { // three instructions: over, around, there
						var over, there decode.Inst
						if !decode.Decode(a.b[2:], now.Next(), &over) || !decode.Decode(a.b[4:], over.Next(), &there) ||
							uint64(now.Imm) != over.Next() || uint64(over.Imm) != there.Next() || there.Imm != in.Imm || len(a.b) != 9 {
							t.Fatalf("% x at %#x becomes % x", b, va, a.b)
						}
						continue
					}
					if now.Op != in.Op || now.Cond != in.Cond || now.Imm != in.Imm || int(now.Len) != len(a.b) {
						t.Fatalf("% x at %#x becomes % x", b, va, a.b)
					}
					continue
				}
				if in.Base == decode.RIP && in.Flags&decode.HasMem != 0 {
					relative++
				} else if !bytes.Equal(a.b, b) {
					t.Fatalf("% x at %#x becomes % x", b, va, a.b)
				}
				now.Addr = in.Addr
				if now != in {
					t.Fatalf("% x at %#x becomes % x: %+v, was %+v", b, va, a.b, now, in)
				}
			}
		}
		t.Logf("%s: %d moved, of them %d relative to rip and %d jumps; %d refused", path, moved, relative, jumps, refused)
		if moved < 100000 || relative < 1000 || jumps < 10000 || refused < 1000 {
			t.Errorf("%s: hardly anything was looked at", path)
		}
	}
}

// TestMoveCounted: loop and jrcxz do what they did; libraries have next to none of them.
func TestMoveCounted(t *testing.T) {
	for _, op := range []byte{0xe0, 0xe1, 0xe2, 0xe3} {
		b := []byte{op, 0x40}
		var in decode.Inst
		if !decode.Decode(b, 0x1000, &in) {
			t.Fatalf("%#x", op)
		}
		a := &assembler{base: 0x9000}
		if err := a.move(b, &in, 0, func(uint64) (label, bool) { return 0, false }, func(uint64) bool { return false }); err != nil {
			t.Fatal(err)
		}
		for rcx := range uint64(3) {
			for _, flags := range []uint64{0, flagZ} {
				run := func(at uint64, code []byte) *cpu {
					c := &cpu{mem: make(map[uint64]byte), rip: at, flags: flags}
					c.regs[decode.RCX] = rcx
					c.write(at, code)
					if err := c.run(func(rip uint64) bool { return rip < at || rip >= at+uint64(len(code)) }); err != nil {
						t.Fatal(err)
					}
					return c
				}
				was, now := run(0x1000, b), run(0x9000, a.b)
				taken := was.rip != 0x1002
				if taken != (now.rip == was.rip) || !taken && now.rip != 0x9009 || was.regs != now.regs {
					t.Errorf("%#x with rcx %d: to %#x, was %#x", op, rcx, now.rip, was.rip)
				}
			}
		}
	}
}
