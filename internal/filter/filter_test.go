package filter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"syspart/internal/syscalls"
)

// actions are all forms of an action.
var actions = []Action{KillProcess, ErrnoAuto, Errno(unix.EACCES), Errno(1234), Log, Trap}

// foreign are architectures other than x86-64, the closest ones included.
var foreign = []uint32{ArchI386, 0, 0xffffffff, ArchX86_64 + 1, ArchX86_64 - 1, 0xc00000b7, 0x4000003e, 0x8000003e, 1 << 31}

// expect is the specification: what the filter of an allow-list must say.
func expect(allow syscalls.Set, a Action, d Data) uint32 {
	if d.Arch != ArchX86_64 {
		return a.Verdict(uint32(d.Nr), true)
	}
	if d.Nr >= 0 && d.Nr < syscalls.Limit && (allow.Has(int(d.Nr)) || syscalls.Always().Has(int(d.Nr))) {
		return RetAllow
	}
	return a.Verdict(uint32(d.Nr), false)
}

// linear compiles without ranges and tree: one comparison a number.
func linear(allow syscalls.Set, a Action) Program {
	p := Program{{opLoad, 0, 0, offArch}, {opJeq, 1, 0, ArchX86_64}, {opRet, 0, 0, a.Verdict(0, true)}, {opLoad, 0, 0, offNr}}
	for nr := range allow.Union(syscalls.Always()).All() {
		p = append(p, Inst{opJeq, 0, 1, uint32(nr)}, Inst{opRet, 0, 0, RetAllow})
	}
	return append(p,
		Inst{opJge, 0, 1, firstProbed}, Inst{opRet, 0, 0, a.Verdict(firstProbed, false)},
		Inst{opRet, 0, 0, a.Verdict(0, false)})
}

// numbers are all interesting call numbers: 0..Limit and what lies near the edges of the 32-bit range and the x32 bit.
func numbers() []int32 {
	var list []int32
	for nr := range int32(syscalls.Limit + 2) {
		list = append(list, nr, nr|0x40000000)
	}
	return append(list, -1, -2, -1<<31, 1<<31-1, 1<<30-1, 0x20000000, 1024, 4096, 65535, 65536)
}

// verify compares a compiled filter with the specification and returns the most steps taken. Every instruction must be
// executed at least once.
func verify(t testing.TB, allow syscalls.Set, a Action) (p Program, maxSteps int) {
	t.Helper()
	p, err := Compile(allow, a)
	if err != nil {
		t.Fatal(err)
	}
	plain := linear(allow, a)
	hit := make([]bool, len(p))
	check := func(d Data) {
		want := expect(allow, a, d)
		got, steps := p.run(&d, hit)
		if got != want {
			t.Fatalf("%v: nr %#x, arch %#x: %s, want %s\nallowed %v\n%s", a, d.Nr, d.Arch, VerdictName(got), VerdictName(want),
				allow.Names(), p.Disassemble())
		}
		if lin, _ := plain.run(&d, nil); lin != got {
			t.Fatalf("%v: nr %#x, arch %#x: %s, linear %s", a, d.Nr, d.Arch, VerdictName(got), VerdictName(lin))
		}
		maxSteps = max(maxSteps, steps)
	}
	for _, nr := range numbers() {
		check(Data{Nr: nr, Arch: ArchX86_64, IP: ^uint64(0), Args: [6]uint64{1, 2, 3, 4, 5, ^uint64(0)}})
	}
	for _, arch := range foreign {
		for _, nr := range []int32{0, 1, 60, 231, 500, 0x40000000} {
			check(Data{Nr: nr, Arch: arch})
		}
	}
	for i, h := range hit {
		if !h {
			t.Fatalf("instruction %d is never executed\n%s", i, p.Disassemble())
		}
	}
	for _, in := range p {
		if in.Code == opLoad && in.K != offNr && in.K != offArch {
			t.Fatalf("reads offset %d", in.K)
		}
	}
	return p, maxSteps
}

func every(step int) syscalls.Set {
	var s syscalls.Set
	for nr := 0; nr < syscalls.Limit; nr += step {
		s.Add(nr)
	}
	return s
}

func TestCompile(t *testing.T) {
	full := every(1)
	for _, c := range []struct {
		name     string
		allow    syscalls.Set
		maxLen   int
		maxSteps int
	}{
		{"empty", syscalls.Set{}, 24, 9},
		{"read", syscalls.Of(0), 26, 9},
		{"last number", syscalls.Of(syscalls.Limit - 1), 30, 9},
		{"table", syscalls.All(), 30, 9},
		{"all numbers", full, 9, 6},
		{"every other", every(2), 2*syscalls.Limit + 8, 16},
		{"every third", every(3), 2*syscalls.Limit + 8, 16},
	} {
		for _, a := range actions {
			t.Run(fmt.Sprintf("%s/%v", c.name, a), func(t *testing.T) {
				p, steps := verify(t, c.allow, a)
				if len(p) > c.maxLen || steps > c.maxSteps {
					t.Errorf("%d instructions, %d steps; want at most %d and %d", len(p), steps, c.maxLen, c.maxSteps)
				}
			})
		}
	}
}

// TestServerSets: sets of the size that servers have, drawn at random, need at most 12 steps a call.
func TestServerSets(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	all := syscalls.All().Numbers()
	for range 60 {
		var s syscalls.Set
		for range 20 + rng.IntN(100) {
			s.Add(all[rng.IntN(len(all))])
		}
		if p, steps := verify(t, s, actions[rng.IntN(len(actions))]); steps > 12 {
			t.Errorf("%d calls: %d steps, %d instructions", s.Len(), steps, len(p))
		}
	}
}

func TestActions(t *testing.T) {
	for text, want := range map[string]Action{
		"kill-process": KillProcess, "errno": ErrnoAuto, "errno:ENOSYS": Errno(unix.ENOSYS), "errno:EPERM": Errno(1),
		"errno:1": Errno(1), "errno:4095": Errno(4095), "log": Log, "trap": Trap,
	} {
		a, err := ParseAction(text)
		if err != nil || a != want {
			t.Errorf("ParseAction(%q) = %v, %v", text, a, err)
		}
		if again, err := ParseAction(a.String()); err != nil || again != a {
			t.Errorf("%v: String does not read back: %v, %v", a, again, err)
		}
	}
	for _, text := range []string{"", "kill", "errno:", "errno:0", "errno:4096", "errno:70000", "errno:ENONSUCH", "errno:enosys", "allow", "Log"} {
		if a, err := ParseAction(text); !errors.Is(err, ErrAction) {
			t.Errorf("ParseAction(%q) = %v, %v", text, a, err)
		}
	}
	for _, a := range []Action{Errno(0), Errno(4096), Errno(1 << 20), {kind: 99}} {
		if _, err := Compile(syscalls.Set{}, a); !errors.Is(err, ErrAction) {
			t.Errorf("Compile with %v: error %v", a, err)
		}
	}
	clone3, _ := syscalls.Number("clone3")
	mount, _ := syscalls.Number("mount")
	p, err := Compile(syscalls.Of(0), ErrnoAuto)
	if err != nil {
		t.Fatal(err)
	}
	for nr, want := range map[int]unix.Errno{clone3: unix.ENOSYS, mount: unix.EPERM, 600: unix.ENOSYS, 0x40000000: unix.ENOSYS} {
		if v, _, _ := Simulate(p, Data{Nr: int32(nr), Arch: ArchX86_64}); v != RetErrno|uint32(want) {
			t.Errorf("errno: call %d gets %s", nr, VerdictName(v))
		}
	}
}

func TestEncode(t *testing.T) {
	p, err := Compile(syscalls.Of(0, 1, 2), KillProcess)
	if err != nil {
		t.Fatal(err)
	}
	b := p.Encode()
	// struct sock_filter { __u16 code; __u8 jt; __u8 jf; __u32 k; }
	if got := fmt.Sprintf("% x", b[:16]); got != "20 00 00 00 04 00 00 00 15 00 01 00 3e 00 00 c0" {
		t.Errorf("encoded: %s", got)
	}
	q, err := Decode(b)
	if err != nil || !q.Equal(p) {
		t.Errorf("decoded %v, %v", q, err)
	}
	for _, bad := range [][]byte{nil, b[:7], b[:8], make([]byte, 8*(MaxLen+1)), {0xff, 0xff, 0, 0, 0, 0, 0, 0}} {
		if _, err := Decode(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes: error %v", len(bad), err)
		}
	}
	if again, _ := Compile(syscalls.Of(2, 1, 0), KillProcess); !again.Equal(p) {
		t.Error("the same set compiles to another program")
	}
}

func TestValidate(t *testing.T) {
	ret := Inst{Code: opRet}
	for _, c := range []struct {
		p    Program
		want string
	}{
		{Program{{Code: opLoad, K: 2}, ret}, "load at offset 2"},
		{Program{{Code: opLoad, K: 64}, ret}, "load at offset 64"},
		{Program{{Code: opJa, K: 1}, ret}, "jump out"},
		{Program{{Code: opJa, K: 0xffffffff}, ret}, "jump out"},
		{Program{{Code: opJeq, Jt: 1}, ret}, "jump out"},
		{Program{{Code: opJeq, Jf: 1}, ret}, "jump out"},
		{Program{{Code: opSt, K: 16}, ret}, "scratch word"},
		{Program{{Code: 0x34}, ret}, "division"},
		{Program{{Code: 0x64, K: 32}, ret}, "shift"},
		{Program{{Code: 0x94}, ret}, "code 0x94"},
		{Program{{Code: 0x28}, ret}, "code 0x28"},
		{Program{ret, {Code: opTax}}, "no return"},
	} {
		if err := c.p.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", c.want, err)
		}
		if c.p.Disassemble() == "" {
			t.Error("no disassembly")
		}
	}
}

// TestForeignFilters: instructions that only others' filters have.
func TestForeignFilters(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Program
		want uint32
	}{
		{"arithmetic", Program{{Code: opImm, K: 100}, {Code: 0x04, K: 5}, {Code: 0x14, K: 1}, {Code: 0x24, K: 3}, {Code: 0x34, K: 2},
			{Code: 0x44, K: 0x100}, {Code: 0x54, K: 0x1f0}, {Code: 0x64, K: 4}, {Code: 0x74, K: 2}, {Code: 0xa4, K: 7}, {Code: opRetA}},
			(((100+5-1)*3/2|0x100)&0x1f0)<<4>>2 ^ 7},
		{"registers", Program{{Code: opImm, K: 9}, {Code: opTax}, {Code: opImm, K: 4}, {Code: 0x0c}, {Code: opSt, K: 3}, {Code: opStx, K: 4},
			{Code: opMem, K: 4}, {Code: opMemX, K: 3}, {Code: 0x1c}, {Code: opNeg}, {Code: opRetA}}, 4},
		{"division by x", Program{{Code: 0x3c}, {Code: opRet, K: RetAllow}}, 0},
		{"arguments", Program{{Code: opLoad, K: 16 + 8*2 + 4}, {Code: opJeq, Jt: 0, Jf: 1, K: 0x11223344}, {Code: opRet, K: RetAllow}, {Code: opRet}}, RetAllow},
		{"ip", Program{{Code: opLoad, K: 8}, {Code: 0x25, Jf: 1, K: 6}, {Code: opRet, K: RetLog}, {Code: opRet}}, RetLog},
		{"jset", Program{{Code: opLoad, K: 4}, {Code: 0x45, Jf: 1, K: 0x80000000}, {Code: opRet, K: RetTrap}, {Code: opRet}}, RetTrap},
		{"jump on x", Program{{Code: opImmX, K: 7}, {Code: opLoad, K: 8}, {Code: 0x1d, Jf: 1}, {Code: opRet, K: RetTrace}, {Code: opRet}}, RetTrace},
		{"length", Program{{Code: opLen}, {Code: opLenX}, {Code: opTxa}, {Code: opRetA}}, 64},
	} {
		d := Data{Nr: 5, Arch: ArchX86_64, IP: 7, Args: [6]uint64{2: 0x1122334455667788}}
		got, _, err := Simulate(c.p, d)
		if err != nil || got != c.want {
			t.Errorf("%s: %#x, %v; want %#x\n%s", c.name, got, err, c.want, c.p.Disassemble())
		}
		if strings.Contains(c.p.Disassemble(), ".inst") {
			t.Errorf("%s:\n%s", c.name, c.p.Disassemble())
		}
	}
}

func TestEffective(t *testing.T) {
	compile := func(a Action, nrs ...int) Program {
		p, err := Compile(syscalls.Of(nrs...), a)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	filters := []Program{compile(ErrnoAuto, 0, 1), compile(KillProcess, 1, 2), compile(Log, 0, 1, 2)}
	for nr, want := range map[int32]uint32{0: RetKillProcess, 1: RetAllow, 2: RetErrno | 1, 3: RetKillProcess} {
		if got, err := Effective(filters, Data{Nr: nr, Arch: ArchX86_64}); err != nil || got != want {
			t.Errorf("call %d: %s, want %s", nr, VerdictName(got), VerdictName(want))
		}
	}
	if s, err := Allowed(filters...); err != nil || s != syscalls.Always().Union(syscalls.Of(1)) {
		t.Errorf("Allowed: %v, %v", s.Names(), err)
	}
	if s, err := Allowed(); err != nil || s.Len() != syscalls.Limit {
		t.Errorf("without filters %d calls are allowed", s.Len())
	}
	if _, err := Effective([]Program{{}}, Data{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("empty program: %v", err)
	}
}

func TestDisassemble(t *testing.T) {
	p, err := Compile(syscalls.Set{}, KillProcess)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
   0  ld arch
   1  jeq #0xc000003e, 3, 2   ; x86-64
   2  ret kill-process
   3  ld nr
   4  jge #0x3d, 12, 5   ; wait4
   5  jge #0x10, 9, 6   ; ioctl
   6  jge #0xf, 8, 7   ; rt_sigreturn
   7  ret kill-process
   8  ret allow
   9  jge #0x3c, 11, 10   ; exit
  10  ret kill-process
  11  ret allow
  12  jge #0xdc, 16, 13   ; semtimedop
  13  jge #0xdb, 15, 14   ; restart_syscall
  14  ret kill-process
  15  ret allow
  16  jeq #0xe7, 18, 17   ; exit_group
  17  ret kill-process
  18  ret allow
`, "\n")
	if got := p.Disassemble(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, uint8(0))
	f.Add(make([]byte, syscalls.Limit/8), uint8(1))
	f.Fuzz(func(t *testing.T, bits []byte, action uint8) {
		var s syscalls.Set
		for nr := range min(8*len(bits), syscalls.Limit) {
			if bits[nr/8]>>(nr%8)&1 != 0 {
				s.Add(nr)
			}
		}
		if _, steps := verify(t, s, actions[int(action)%len(actions)]); steps > 16 {
			t.Errorf("%d steps", steps)
		}
	})
}

func FuzzDecode(f *testing.F) {
	p, err := Compile(syscalls.Of(0, 5, 9), ErrnoAuto)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b)
		if err != nil {
			return
		}
		if string(p.Encode()) != string(b) {
			t.Fatal("does not encode back")
		}
		for nr := range int32(20) {
			if _, steps, err := Simulate(p, Data{Nr: nr, Arch: ArchX86_64}); err != nil || steps > len(p) {
				t.Fatalf("%d steps of %d, %v", steps, len(p), err)
			}
		}
		p.Disassemble()
	})
}

func BenchmarkCompile(b *testing.B) {
	s := syscalls.Of(0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 20, 28, 35, 39, 41, 42, 44, 45, 46, 47, 53, 56, 72, 202, 228, 232, 233, 257, 262, 281, 288, 291, 293, 302, 318)
	b.ReportAllocs()
	var p Program
	for b.Loop() {
		p, _ = Compile(s, KillProcess)
	}
	total, worst := 0, 0
	for nr := range s.All() {
		_, steps := p.run(&Data{Nr: int32(nr), Arch: ArchX86_64}, nil)
		total, worst = total+steps, max(worst, steps)
	}
	b.ReportMetric(float64(len(p)), "insts")
	b.ReportMetric(float64(total)/float64(s.Len()), "steps/call")
	b.ReportMetric(float64(worst), "max-steps")
}
