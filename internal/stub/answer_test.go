package stub

import (
	"testing"

	"syspart/internal/decode"
)

// TestAnswer: for its arguments a patched function returns 0 to its caller at once; for all others it does what it did.
func TestAnswer(t *testing.T) {
	s := shape{name: "entry", code: "488b15 f90f0000 488b8268030000", header: true} // dlclose's first instructions
	code := s.bytes(t)
	room := Room{Start: site - bias, Code: code}
	p, err := room.Head()
	if err != nil {
		t.Fatal(err)
	}
	const first, second = 0x7f0012345678, 0x55aa00001000
	st, err := p.Answer(bias, base, []uint64{first, second})
	if err != nil {
		t.Fatal(err)
	}
	patch, err := p.Patch(bias, base)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(40) {
		for _, arg := range []uint64{first, second, first + 1, 0, first & 0xffffffff} {
			before, _ := machine(code, seed)
			before.regs[decode.RDI] = arg
			before.regs[decode.RDX] = 0x402000
			before.syscall = func(*cpu) uint64 { panic("no calls") }
			before.store(before.regs[decode.RSP], 8, 0x402200)
			plain, patched := before.clone(), before.clone()
			next := site + uint64(len(p.Old))
			if err := plain.run(func(rip uint64) bool { return rip >= next }); err != nil {
				t.Fatal(err)
			}
			patched.write(base, st)
			patched.write(site, patch)
			if err := patched.run(func(rip uint64) bool { return rip == next || rip == 0x402200 }); err != nil {
				t.Fatal(err)
			}
			if arg == first || arg == second {
				sp := before.regs[decode.RSP] + 8
				if patched.rip != 0x402200 || patched.regs[decode.RAX] != 0 || patched.regs[decode.RSP] != sp || patched.regs[decode.RBX] != before.regs[decode.RBX] {
					t.Fatalf("argument %#x: at %#x with %x", arg, patched.rip, patched.regs)
				}
				continue
			}
			patched.regs[decode.RAX] = plain.regs[decode.RAX]
			if patched.rip != plain.rip || patched.regs != plain.regs {
				t.Fatalf("argument %#x: at %#x with %x, original %#x with %x", arg, patched.rip, patched.regs, plain.rip, plain.regs)
			}
		}
	}
}
