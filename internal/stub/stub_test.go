package stub

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"syspart/internal/decode"
	"syspart/internal/filter"
)

const (
	site  = 0x401000
	base  = 0x3f0000
	bias  = 0x100000
	stack = 0x7ffd00001000
)

// shape is displaced code: the bytes at site, how many of them are displaced, and where the filter goes in.
type shape struct {
	name   string
	code   string // hex
	n      int    // bytes displaced; all if 0
	header bool
	to     uint64 // edges; behind the displaced bytes if 0
	also   uint64
	err    string // part of the error expected
}

var shapes = []shape{
	{name: "one jump of five bytes", code: "e9 fb0f0000", to: 0x402000},
	{name: "move and short jump", code: "4889d8 eb10", to: site + 5 + 0x10},
	{name: "short jump and padding", code: "eb10 0f1f00", to: site + 2 + 0x10},
	{name: "falls in", code: "31c0 48ffc3", to: 0},
	{name: "conditional, long", code: "0f84 fa0f0000", to: 0x402000},
	{name: "conditional, short, taken edge", code: "4885c0 7410", to: site + 5 + 0x10},
	{name: "conditional, short, falls in", code: "4885c0 7410", to: site + 5},
	{name: "conditional backwards", code: "4839d8 72f0", to: site + 5 - 0x10},
	{name: "two conditional jumps to the edge", code: "4885c0 7410 4839d8 730b", to: site + 5 + 0x10},
	{name: "conditional jump elsewhere, then the edge", code: "4885c0 7420 eb10", to: site + 7 + 0x10},
	{name: "jump elsewhere by the edge's condition", code: "4885c0 7420 4801d8", to: site + 8},
	{name: "rip-relative load", code: "488b05 f90f0000 eb02", to: site + 9 + 2},
	{name: "rip-relative store of an immediate", code: "c705 f60f0000 05000000 eb02", to: site + 12 + 2},
	{name: "rip-relative byte compare", code: "803d f90f0000 01 7402", to: site + 9 + 2},
	{name: "rip-relative lea", code: "488d0d f90f0000", to: 0},
	{name: "push and pop", code: "53 5b 4154 415c", to: 0},
	{name: "stack pointer moves", code: "4883ec28 4c8d2424", to: 0},
	{name: "red zone is used", code: "48894424f8 488b5c24f0", to: 0},
	{name: "jrcxz to the edge", code: "4801d8 e310", to: site + 5 + 0x10},
	{name: "jrcxz elsewhere", code: "4801d8 e320", to: site + 5},
	{name: "loop to the edge", code: "4801d8 e2e0", to: site + 5 - 0x20},
	{name: "loopne to the edge", code: "4801d8 e0e0", to: site + 5 - 0x20},
	{name: "endbr64", code: "f30f1efa 31db", to: 0},
	{name: "prefixes", code: "66 4889d8 2e31c0", to: 0},

	{name: "both ways of a conditional jump", code: "4885c0 7410", to: site + 5 + 0x10, also: site + 5},
	{name: "both ways of a conditional jump, padded", code: "4885c0 0f8410000000", to: site + 9 + 0x10, also: site + 9},

	{name: "header", code: "31c0 48ffc3", header: true},
	{name: "header with a jump out", code: "4885c0 7430", header: true},
	{name: "header with a jump to itself", code: "48ffcb 75fb", header: true},
	{name: "header that ends in a jump", code: "4801d8 eb30", header: true},
	{name: "header that returns", code: "4801d8 5b c3", header: true},
	{name: "header with an indirect jump", code: "4801d8 ffe3", header: true},

	{name: "call is displaced", code: "e8 fb0f0000", err: "call"},
	{name: "call behind others", code: "4801d8 ffd3", err: "call"},
	{name: "system call", code: "4801d8 0f05", err: "system call"},
	{name: "int 0x80", code: "4801d8 cd80", err: "system call"},
	{name: "trap", code: "4801d8 0f0b 90", err: "trap"},
	{name: "jump inside", code: "4801d8 75fd 4801d8", header: true, err: "jumps into"},
	{name: "transaction", code: "c7f8 00000000", err: "transaction"},
	{name: "32-bit rip", code: "67488b05 f80f0000", err: "32-bit"},
	{name: "too short", code: "4801d8", err: "shorter"},
	{name: "half an instruction", code: "4801d8 e9fb", err: "not decoded"},
	{name: "does not lead there", code: "4801d8 eb10", to: 0x402000, err: "does not lead to"},
}

func (s *shape) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s.code, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// point is what is displaced, in a file whose addresses differ from those at run time by bias.
func (s *shape) point(t testing.TB) *Point {
	b := s.bytes(t)
	p := &Point{Addr: site - bias, Old: b, Header: s.header}
	if !s.header {
		to := s.to
		if to == 0 {
			to = site + uint64(len(b))
		}
		p.To = []uint64{to - bias}
		if s.also != 0 {
			p.Merge(&Point{Addr: p.Addr, Old: b, To: []uint64{s.also - bias}})
		}
	}
	return p
}

// stub makes the stub at base.
func (s *shape) stub(t testing.TB, failure Failure, installs ...Install) (code, patch []byte) {
	t.Helper()
	p := s.point(t)
	code, err := p.Code(bias, base, installs, failure)
	if err != nil {
		t.Fatal(err)
	}
	if patch, err = p.Patch(bias, base); err != nil {
		t.Fatal(err)
	}
	return code, patch
}

// TestShapes: errors are what they should be, and every stub that is made behaves as the displaced code does.
func TestShapes(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			if s.err != "" {
				b := s.bytes(t)
				room := Room{Start: site - bias, Code: b}
				to := s.to
				if to == 0 {
					to = site + uint64(len(b))
				}
				_, err := room.Edge(to - bias)
				if s.header {
					_, err = room.Head()
				}
				if !errors.Is(err, ErrPoint) || !strings.Contains(err.Error(), s.err) {
					t.Fatalf("error %v, want one with %q", err, s.err)
				}
				return
			}
			for seed := range uint64(60) {
				equivalent(t, &s, seed)
			}
		})
	}
}

// kernel is what system calls of a stub do.
type kernel struct {
	marks   []uint32 // of filters installed
	calls   []string
	refuse  uint64 // result of PR_SET_SECCOMP
	written string
	ended   bool
}

func (k *kernel) call(c *cpu) uint64 {
	r := c.regs
	nr, args := r[decode.RAX], [5]uint64{r[decode.RDI], r[decode.RSI], r[decode.RDX], r[decode.R10], r[decode.R8]}
	k.calls = append(k.calls, fmt.Sprintf("%d%x", nr, args))
	switch {
	case nr == unix.SYS_PRCTL && args[0] == uint64(filter.MarkOption) && args[2]|args[3]|args[4] == 0:
		if slices.Contains(k.marks, uint32(args[1])) {
			n := int64(filter.MarkErrno)
			return uint64(-n)
		}
		n := int64(unix.EINVAL)
		return uint64(-n)
	case nr == unix.SYS_PRCTL && args == [5]uint64{unix.PR_SET_NO_NEW_PRIVS, 1}:
		return 0
	case nr == unix.SYS_PRCTL && args == [5]uint64{unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, args[2]}:
		if k.refuse == 0 {
			k.marks = append(k.marks, uint32(args[2])) // tests give filters their mark as address
		}
		return k.refuse
	case nr == unix.SYS_WRITE && args[0] == 2:
		k.written += string(c.read(args[1], int(args[2])))
		return args[2]
	case nr == unix.SYS_EXIT_GROUP && args[0] == FailStatus:
		k.ended = true
		return 0
	}
	panic(fmt.Sprintf("call %d%x", nr, args))
}

// machine is a state from a seed, with code at site.
func machine(code []byte, seed uint64) (*cpu, *rand.Rand) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	c := &cpu{mem: make(map[uint64]byte), rip: site}
	for i := range c.regs {
		c.regs[i] = rnd.Uint64() >> rnd.IntN(64)
		if rnd.IntN(3) == 0 {
			c.regs[i] = uint64(rnd.IntN(3))
		}
	}
	c.regs[decode.RSP] = stack + 8*uint64(rnd.IntN(16))
	if seed%5 == 0 {
		c.regs[decode.RSP] += uint64(rnd.IntN(16)) // nobody says that it is aligned
	}
	c.regs[decode.RBX] = 0x402100 // where the indirect jump goes
	c.flags = 0x202 | rnd.Uint64()&(flagC|flagP|flagA|flagZ|flagS|flagO|flagD)
	for a := uint64(stack - 1024); a < stack+1024; a++ {
		c.mem[a] = byte(rnd.Uint32())
	}
	for a := uint64(0x401800); a < 0x402800; a++ {
		c.mem[a] = byte(rnd.Uint32())
	}
	c.store(c.regs[decode.RSP]+8, 8, 0x402200) // return address, for code that pops one word and returns
	c.write(site, code)
	return c, rnd
}

// equivalent compares original and patched code from one state: the same place is reached with the same registers, flags
// and memory, whatever signals interrupt the stub, and the filter goes in exactly when the hook's place is passed.
func equivalent(t *testing.T, s *shape, seed uint64) {
	t.Helper()
	code := s.bytes(t)
	arms, matching := someArms(seed)
	st, patch := s.stub(t, Ends, arms...)
	before, rnd := machine(code, seed)
	sp := before.regs[decode.RSP]
	if !s.header { // the base of the steps is the stack pointer at the edge
		sp += shiftOf(s.name)
	}
	before.store(sp+40, 8, 0x1111)
	before.store(sp+24, 8, sp+64)
	before.store(sp+56, 8, 0x2222)
	k := &kernel{}
	before.syscall = k.call

	// The original, until it leaves the displaced bytes; what it does behind a jump to itself is done again.
	end := uint64(site + len(code))
	left := func(rip uint64) bool { return rip < site || rip >= end }
	plain := before.clone()
	passes := 0
	plain.syscall = func(*cpu) uint64 { panic("the original makes no calls") }
	err := plain.run(func(rip uint64) bool {
		if s.header && rip == site {
			passes++
		}
		return left(rip) || passes == 2
	})
	if err != nil {
		t.Fatalf("seed %d: original: %v", seed, err)
	}
	if !s.header && slices.Contains(s.point(t).To, plain.rip-bias) {
		passes = 1
	}

	patched := before.clone()
	patched.write(base, st)
	patched.write(site, patch)
	stub := func(rip uint64) bool { return rip >= base && rip < base+uint64(len(st)) }
	if seed%2 == 0 {
		patched.signal = func(c *cpu) { // a handler runs below the red zone of whatever is running
			for a := c.regs[decode.RSP] - 128 - 64; a < c.regs[decode.RSP]-128; a++ {
				c.mem[a] = byte(rnd.Uint32())
			}
		}
	}
	first := true
	err = patched.run(func(rip uint64) bool {
		if first || stub(rip) {
			first = false
			return false
		}
		return true
	})
	if err != nil {
		t.Fatalf("seed %d: patched: %v", seed, err)
	}
	if patched.rip != plain.rip {
		t.Fatalf("seed %d: goes to %#x, original to %#x", seed, patched.rip, plain.rip)
	}
	if patched.regs != plain.regs || patched.flags != plain.flags {
		t.Fatalf("seed %d: registers %x flags %#x, original %x %#x", seed, patched.regs, patched.flags, plain.regs, plain.flags)
	}
	// What a handler may overwrite anyway.
	lowest := max(before.regs[decode.RSP], plain.regs[decode.RSP]) - 128
	if patched.low+320 < lowest {
		t.Errorf("seed %d: %d bytes of stack below the red zone", seed, lowest-patched.low)
	}
	for _, m := range []*cpu{plain, patched} {
		for a := range m.mem {
			if a >= stack-4096 && a < lowest || a >= base && a < base+uint64(len(st)) || a >= site && a < end {
				delete(m.mem, a)
			}
		}
	}
	for a, v := range plain.mem {
		if patched.mem[a] != v {
			t.Fatalf("seed %d: byte at %#x is %#x, original %#x", seed, a, patched.mem[a], v)
		}
	}
	if len(plain.mem) != len(patched.mem) {
		t.Fatalf("seed %d: writes elsewhere", seed)
	}
	want := []uint32(nil)
	if passes > 0 && matching >= 0 {
		want = []uint32{arms[matching].Mark}
	}
	if !slices.Equal(k.marks, want) {
		t.Fatalf("seed %d: filters %x installed, want %x (calls %v)", seed, k.marks, want, k.calls)
	}
}

// shiftOf is how far the displaced instructions of a shape have moved the stack pointer at the edge.
func shiftOf(name string) uint64 {
	if name == "stack pointer moves" {
		n := uint64(0x28)
		return -n
	}
	return 0
}

// someArms returns arms of which the one with the index given, or none (-1), fits the stack that equivalent makes.
func someArms(seed uint64) ([]Install, int) {
	fits := Install{Name: "fits", Mark: 0x111, Program: 0x111, Frames: []Frame{
		{Return: 0x1111, Off: 48, Saved: true, At: -24},
		{Return: 0x2222, RBP: true},
	}}
	near := Install{Name: "near", Mark: 0x222, Program: 0x222, Frames: []Frame{
		{Return: 0x1111, Off: 48, Saved: true, At: -24},
		{Return: 0x2222 | 1<<40, RBP: true},
	}}
	far := Install{Name: "far", Mark: 0x333, Program: 0x333, Frames: []Frame{
		{Return: 0x1110, Off: 48, Saved: true, At: -24},
		{Any: true, Off: 16},
	}}
	always := Install{Name: "always", Mark: 0x444, Program: 0x444}
	switch seed % 6 {
	case 0:
		return []Install{always}, 0
	case 1:
		return []Install{far, near, fits}, 2
	case 2:
		return []Install{far, near}, -1
	case 3:
		return []Install{fits, always}, 0
	case 4:
		return []Install{near, always, fits}, 1
	}
	return []Install{fits}, 0
}

// TestOnce: a thread that carries the filter does not install it again; one that carries another does.
func TestOnce(t *testing.T) {
	s := shapes[slices.IndexFunc(shapes, func(s shape) bool { return s.name == "header" })]
	for _, c := range []struct {
		carries []uint32
		want    []uint32
	}{
		{nil, []uint32{0x444}},
		{[]uint32{0x444}, []uint32{0x444}},
		{[]uint32{0x444, 0x555}, []uint32{0x444, 0x555}},
		{[]uint32{0x555}, []uint32{0x555, 0x444}},
	} {
		st, _ := s.stub(t, Ends, Install{Name: "k", Mark: 0x444, Program: 0x444})
		m, _ := machine(s.bytes(t), 3)
		k := &kernel{marks: slices.Clone(c.carries)}
		m.syscall = k.call
		m.write(base, st)
		m.rip = base
		if err := m.run(func(rip uint64) bool { return rip >= site }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(k.marks, c.want) {
			t.Errorf("carrying %x: %x, want %x", c.carries, k.marks, c.want)
		}
	}
}

// TestRefused: if the kernel refuses, the process ends, or with Serves goes on with everything as it was.
func TestRefused(t *testing.T) {
	s := shapes[slices.IndexFunc(shapes, func(s shape) bool { return s.name == "header" })]
	for _, failure := range []Failure{Ends, Serves} {
		warn := failure == Serves
		st, _ := s.stub(t, failure, Install{Name: "worker", Mark: 1, Program: 1}, Install{Name: "other", Mark: 2, Program: 2})
		m, _ := machine(s.bytes(t), 3)
		eperm := int64(unix.EPERM)
		k := &kernel{refuse: uint64(-eperm)}
		m.syscall = k.call
		plain := m.clone()
		m.write(base, st)
		m.rip = base
		if err := m.run(func(rip uint64) bool { return rip >= site || k.ended }); err != nil {
			t.Fatal(err)
		}
		if k.ended == warn {
			t.Errorf("warn %v: ended %v", warn, k.ended)
		}
		if !strings.Contains(k.written, "worker or other") || strings.Count(k.written, "\n") != 1 {
			t.Errorf("message %q", k.written)
		}
		if warn {
			if err := plain.run(func(rip uint64) bool { return rip >= site+5 }); err != nil {
				t.Fatal(err)
			}
			if m.regs != plain.regs || m.flags != plain.flags {
				t.Errorf("registers %x, want %x", m.regs, plain.regs)
			}
		}
	}
}

func TestFar(t *testing.T) {
	p := shapes[0].point(t)
	for _, far := range []uint64{site + 1<<31 + 1<<20, site + 1<<32} {
		if _, err := p.Patch(bias, far); !errors.Is(err, ErrPoint) {
			t.Errorf("stub at %#x: %v", far, err)
		}
		if _, err := p.Code(bias, far, []Install{{Program: 1}}, Ends); !errors.Is(err, ErrPoint) {
			t.Errorf("stub at %#x: %v", far, err)
		}
	}
	// The stub is in reach of the place, but not of what a displaced instruction refers to.
	p = (&shape{code: "488b05 0000f07f"}).point(t)
	if _, err := p.Code(bias, 0x100000, []Install{{Program: 1}}, Ends); !errors.Is(err, ErrPoint) {
		t.Errorf("operand: %v", err)
	}
}

// TestPatch: the bytes at the place lead to the stub, and the rest traps.
func TestPatch(t *testing.T) {
	for i := range shapes {
		s := &shapes[i]
		if s.err != "" {
			continue
		}
		_, patch := s.stub(t, Ends, Install{Name: "k", Program: 1})
		var in decode.Inst
		if !decode.Decode(patch, site, &in) || uint64(in.Imm) != base || in.Op != decode.OpJmp || len(patch) != len(s.bytes(t)) {
			t.Errorf("%s: patch % x", s.name, patch)
		}
		if rest := patch[in.Len:]; len(bytes.Trim(rest, "\xcc")) > 0 {
			t.Errorf("%s: rest % x", s.name, rest)
		}
	}
}

// TestRoom: a jump replaces as little as it can, of code or of the padding behind it.
func TestRoom(t *testing.T) {
	for _, c := range []struct {
		name, code, pad string
		to              uint64 // 0: the head
		at              uint64
		old             string // "": refused
	}{
		{"falls, long last", "90 488d0501000000", "", 0x1008, 0x1001, "488d0501000000"},
		{"falls, several", "53 31c0 89c3 31c9", "", 0x1007, 0x1001, "31c0 89c3 31c9"},
		{"jumps", "31c0 31c9 eb10", "", 0x1016, 0x1000, "31c0 31c9 eb10"},
		{"jumps far", "31c0 e900010000", "", 0x1107, 0x1002, "e900010000"},
		{"jumps, padded", "31c0 31c9 eb10", "0f1f00", 0x1016, 0x1004, "eb10 0f1f00"},
		{"jumps, padded little", "31c0 31c9 eb10", "6690", 0x1016, 0x1000, "31c0 31c9 eb10"},
		{"falls, padding is not behind it", "31c0 31c9", "0f1f00", 0x1004, 0, ""},
		{"short", "31c0 eb10", "", 0x1014, 0, ""},
		{"a call at the end", "e800010000", "", 0x1005, 0, ""},
		{"indirect", "31c0 31c9 ffe0", "", 0x1006, 0, ""},
		{"head", "31c0 31c9 31d2 31db", "", 0, 0x1000, "31c0 31c9 31d2"},
		{"head, padded", "31c0 eb10", "cc", 0, 0x1000, "31c0 eb10 cc"},
		{"head, falls", "31c0 31c9", "cccc", 0, 0, ""},
	} {
		s := shape{code: c.code}
		room := Room{Start: 0x1000, Code: s.bytes(t), Pad: (&shape{code: c.pad}).bytes(t)}
		p, err := room.Edge(c.to)
		if c.to == 0 {
			p, err = room.Head()
		}
		switch old := (&shape{code: c.old}).bytes(t); {
		case c.old == "" && !errors.Is(err, ErrPoint):
			t.Errorf("%s: %+v, %v", c.name, p, err)
		case c.old != "" && (err != nil || p.Addr != c.at || !bytes.Equal(p.Old, old) || p.Header != (c.to == 0)):
			t.Errorf("%s: %+v, %v", c.name, p, err)
		}
	}
}

// TestOverlaps: two points that replace the same bytes are one only if they are the same.
func TestOverlaps(t *testing.T) {
	p := Point{Module: "m", Addr: 0x1000, Old: make([]byte, 6), To: []uint64{0x1006}}
	for name, c := range map[string]struct {
		change func(q *Point)
		want   bool
	}{
		"same":    {func(*Point) {}, false},
		"module":  {func(q *Point) { q.Module = "n"; q.Addr++ }, false},
		"behind":  {func(q *Point) { q.Addr += 6 }, false},
		"inside":  {func(q *Point) { q.Addr += 5 }, true},
		"before":  {func(q *Point) { q.Addr -= 5 }, true},
		"header":  {func(q *Point) { q.Header = true }, true},
		"to":      {func(q *Point) { q.To = []uint64{0x1010} }, true},
		"shorter": {func(q *Point) { q.Old = q.Old[1:] }, true},
	} {
		q := p
		c.change(&q)
		if got := p.Overlaps(&q); got != c.want || q.Overlaps(&p) != got {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestFilterBehind: a filter may lie behind the stub, which then puts its struct sock_fprog on the stack.
func TestFilterBehind(t *testing.T) {
	own := []byte("12345678abcdefgh")
	s := shapes[0]
	st, _ := s.stub(t, Ends, Install{Name: "k", Mark: 7, Filter: own})
	m, _ := machine(s.bytes(t), 4)
	plain := m.regs
	installed := false
	m.syscall = func(c *cpu) uint64 {
		if c.regs[decode.RDI] != unix.PR_SET_SECCOMP {
			return 0
		}
		at := c.regs[decode.RDX]
		prog := c.load(at+8, 8)
		installed = c.load(at, 2) == 2 && bytes.Equal(c.read(prog, len(own)), own) && prog%8 == 0
		return 0
	}
	m.write(base, st)
	m.rip = base
	if err := m.run(func(rip uint64) bool { return rip < base || rip >= base+uint64(len(st)) }); err != nil {
		t.Fatal(err)
	}
	if !installed || m.regs != plain {
		t.Errorf("installed %v, registers %x, want %x", installed, m.regs, plain)
	}
}
