package enforce

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/proc"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
)

// demo is a plan of a server like nginx: a master with its loop in main's callee, a worker forked within it whose function
// never returns, and threads.
func demo(t testing.TB) *Plan {
	t.Helper()
	p := &Plan{
		Program: "/srv", Action: filter.KillProcess,
		Modules: []PlanModule{{Path: "/srv"}, {Path: "/libc"}},
		Kinds: []Kind{
			{Name: "master", Role: "main", Module: "/srv", Loop: []image.Range{{Start: 0x1000, End: 0x1100}, {Start: 0x1200, End: 0x1210}},
				Stack: []Frame{{"/srv", 0x2005}, {"/libc", 0x9005}}, Bottom: true, Allow: syscalls.Of(0, 1, 2)},
			{Name: "worker", Role: "child", Module: "/srv", Loop: []image.Range{{Start: 0x3000, End: 0x3100}}, Allow: syscalls.Of(0, 1)},
			{Name: "thread", Role: "thread", Module: "/srv", Loop: []image.Range{{Start: 0x4000, End: 0x4100}},
				Stack: []Frame{{"/srv", 0x5005}}, Allow: syscalls.Of(0)},
			{Name: "other thread", Role: "thread", Module: "/srv", Loop: []image.Range{{Start: 0x4000, End: 0x4100}},
				Stack: []Frame{{"/srv", 0x5005}, {"/libc", 0x8005}}, Bottom: true, Allow: syscalls.Of(0, 3)},
		},
	}
	if err := p.Compile(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMatch(t *testing.T) {
	p := demo(t)
	f := func(module string, pc uint64) observe.Frame { return observe.Frame{Module: module, PC: pc} }
	sig := func(module string, pc uint64) observe.Frame {
		return observe.Frame{Module: module, PC: pc, Signal: true}
	}
	wait := f("/libc", 0x7777)
	for _, c := range []struct {
		name   string
		frames []observe.Frame
		kind   string
		at     int
	}{
		{"nothing", nil, "", -1},
		{"waiting in the loop", []observe.Frame{wait, f("/srv", 0x1050), f("/srv", 0x2005), f("/libc", 0x9005)}, "master", 1},
		{"running in the loop", []observe.Frame{f("/srv", 0x1000), f("/srv", 0x2005), f("/libc", 0x9005)}, "master", 0},
		{"call at the loop's end", []observe.Frame{wait, f("/srv", 0x1100), f("/srv", 0x2005), f("/libc", 0x9005)}, "master", 1},
		{"behind the loop", []observe.Frame{f("/srv", 0x1100), f("/srv", 0x2005), f("/libc", 0x9005)}, "", -1},
		{"call before the loop", []observe.Frame{wait, f("/srv", 0x1000), f("/srv", 0x2005), f("/libc", 0x9005)}, "", -1},
		{"second block", []observe.Frame{wait, f("/srv", 0x1205), f("/srv", 0x2005), f("/libc", 0x9005)}, "master", 1},
		{"between the blocks", []observe.Frame{wait, f("/srv", 0x1150), f("/srv", 0x2005), f("/libc", 0x9005)}, "", -1},
		{"another caller", []observe.Frame{wait, f("/srv", 0x1050), f("/srv", 0x2006), f("/libc", 0x9005)}, "", -1},
		{"another module", []observe.Frame{wait, f("/libc", 0x1050), f("/srv", 0x2005), f("/libc", 0x9005)}, "", -1},
		{"deeper than planned", []observe.Frame{wait, f("/srv", 0x1050), f("/srv", 0x2005), f("/libc", 0x9005), f("/libc", 1)}, "", -1},
		{"not unwound to the bottom", []observe.Frame{wait, f("/srv", 0x1050), f("/srv", 0x2005)}, "", -1},
		{"a signal below the loop", []observe.Frame{wait, f("/srv", 0x1050), sig("/srv", 0x2005), f("/libc", 0x9005)}, "", -1},
		{"a handler on top of the loop", []observe.Frame{f("/srv", 0x6000), sig("/srv", 0x1000), f("/srv", 0x2005), f("/libc", 0x9005)}, "master", 1},
		{"a handler behind the loop", []observe.Frame{f("/srv", 0x6000), sig("/srv", 0x1100), f("/srv", 0x2005), f("/libc", 0x9005)}, "", -1},
		{"worker", []observe.Frame{wait, f("/srv", 0x3050), f("/srv", 0xaaaa)}, "worker", 1},
		{"worker forked inside the master's loop", []observe.Frame{wait, f("/srv", 0x3050), f("/srv", 0x1050), f("/srv", 0x2005), f("/libc", 0x9005)}, "worker", 1},
		{"child before its loop", []observe.Frame{wait, f("/srv", 0x3fff), f("/srv", 0x1050), f("/srv", 0x2005), f("/libc", 0x9005)}, "master", 2},
		{"loop inside an outer loop", []observe.Frame{wait, f("/srv", 0x1050), f("/srv", 0x2005), f("/libc", 0x9005)}, "master", 1},
		{"thread, cut", []observe.Frame{wait, f("/srv", 0x4050), f("/srv", 0x5005), f("/libc", 0x8006)}, "thread", 1},
		{"thread, in full", []observe.Frame{wait, f("/srv", 0x4050), f("/srv", 0x5005), f("/libc", 0x8005)}, "other thread", 1},
	} {
		k, at := p.Match(c.frames)
		got := ""
		if k != nil {
			got = k.Name
		}
		if got != c.kind || at != c.at {
			t.Errorf("%s: %q at %d, want %q at %d", c.name, got, at, c.kind, c.at)
		}
	}
}

// TestMatchOutermost: of two loops that are both active and both return, the outer one is meant.
func TestMatchOutermost(t *testing.T) {
	p := demo(t)
	inner := Kind{Name: "inner", Module: "/srv", Loop: []image.Range{{Start: 0x6000, End: 0x6100}}, Bottom: true,
		Stack: append([]Frame{{"/srv", 0x1051}}, p.Kinds[0].Stack...)}
	frames := []observe.Frame{{Module: "/srv", PC: 0x6010}, {Module: "/srv", PC: 0x1051}, {Module: "/srv", PC: 0x2005}, {Module: "/libc", PC: 0x9005}}
	p.Kinds = append(p.Kinds, inner)
	if k, at := p.Match(frames); k == nil || k.Name != "master" || at != 1 {
		t.Errorf("%+v at %d", k, at)
	}
	p.Kinds = p.Kinds[1:]
	if k, at := p.Match(frames); k == nil || k.Name != "inner" || at != 0 {
		t.Errorf("%+v at %d", k, at)
	}
}

func TestValidate(t *testing.T) {
	for name, spoil := range map[string]func(p *Plan){
		"no program":      func(p *Plan) { p.Program = "" },
		"no kinds":        func(p *Plan) { p.Kinds = nil },
		"no name":         func(p *Plan) { p.Kinds[1].Name = "" },
		"name twice":      func(p *Plan) { p.Kinds[1].Name = "master" },
		"no loop":         func(p *Plan) { p.Kinds[1].Loop = nil },
		"empty block":     func(p *Plan) { p.Kinds[1].Loop[0].End = 0x3000 },
		"unknown module":  func(p *Plan) { p.Kinds[1].Module = "/x" },
		"unknown caller":  func(p *Plan) { p.Kinds[0].Stack[1].Module = "/x" },
		"filter too wide": func(p *Plan) { p.Kinds[1].Filter = p.Kinds[0].Filter },
		"filter narrower": func(p *Plan) { p.Kinds[0].Filter = p.Kinds[1].Filter },
	} {
		p := demo(t)
		spoil(p)
		if err := p.Validate(); !errors.Is(err, ErrPlan) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := demo(t)
	p.Kinds[0].Filter = nil
	if err := p.Validate(); !errors.Is(err, filter.ErrInvalid) {
		t.Errorf("no filter: %v", err)
	}
}

func TestCheck(t *testing.T) {
	k, err := ThisKernel()
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []filter.Action{filter.KillProcess, filter.ErrnoAuto, filter.Log, filter.Trap} {
		p := demo(t)
		p.Action = action
		if err := p.Compile(); err != nil {
			t.Fatal(err)
		}
		if err := Check(p, k); err != nil {
			t.Errorf("%v on this kernel: %v", action, err)
		}
	}
	for name, c := range map[string]struct {
		spoil func(k *Kernel)
		want  string
	}{
		"architecture": {func(k *Kernel) { k.Arch = "arm64" }, "arm64"},
		"no seccomp":   {func(k *Kernel) { k.Seccomp = false }, "CONFIG_SECCOMP_FILTER"},
		"old":          {func(k *Kernel) { k.Actions = []uint32{filter.RetErrno} }, "4.14"},
	} {
		bad := k
		c.spoil(&bad)
		err := Check(demo(t), bad)
		var e *KernelError
		if !errors.Is(err, ErrKernel) || !errors.As(err, &e) || e.Remedy == "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := demo(t)
	p.Kinds = nil
	if err := Check(p, k); !errors.Is(err, ErrPlan) {
		t.Errorf("empty plan: %v", err)
	}
}

func TestVerify(t *testing.T) {
	// A copy, so that it can be replaced while it runs.
	bin := testbin.Copy(t, testbin.Need(t, "sleep", "coreutils"))
	cmd := exec.Command(bin, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	pid := cmd.Process.Pid
	var p *Plan
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // until the loader has mapped all
		if p = planOf(t, pid); len(p.Modules) >= 3 && blocked(pid) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("modules %v", p.Modules)
		}
	}
	v := NewVerifier(p)
	for range 2 {
		if err := v.Verify(pid); err != nil {
			t.Error(err)
		}
	}
	if err := NewVerifier(&Plan{}).Verify(pid); !errors.Is(err, ErrModule) {
		t.Errorf("empty plan: %v", err)
	}
	other := *p
	other.Modules = slices.Clone(p.Modules)
	other.Modules[0].SHA256 = strings.Repeat("1", 64)
	var e *ModuleError
	if err := NewVerifier(&other).Verify(pid); !errors.As(err, &e) || e.Path != bin || e.PID != pid {
		t.Errorf("another build: %v", err)
	}
	if err := os.Remove(bin); err != nil {
		t.Fatal(err)
	}
	switch err := NewVerifier(p).Verify(pid); {
	case os.Geteuid() == 0 && err != nil: // the mapped file can be read still
		t.Errorf("removed file: %v", err)
	case os.Geteuid() != 0 && !errors.Is(err, ErrModule):
		t.Errorf("removed file: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if err := v.Verify(pid); !errors.Is(err, proc.ErrGone) {
		t.Errorf("vanished: %v", err)
	}
}

// TestVerifyAnonymous: executable memory without a file is refused, unless it is said to be expected.
func TestVerifyAnonymous(t *testing.T) {
	mem, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	v := NewVerifier(planOf(t, os.Getpid()))
	if err := v.Verify(os.Getpid()); !errors.Is(err, ErrModule) || !strings.Contains(err.Error(), "without a file") {
		t.Errorf("%v", err)
	}
	v.Anonymous = true
	if err := v.Verify(os.Getpid()); err != nil {
		t.Error(err)
	}
}

// TestVerifyNotELF: so is executable memory of a file that is no ELF file, even if it is written to meanwhile.
func TestVerifyNotELF(t *testing.T) {
	fd, err := unix.MemfdCreate("code", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, bytes.Repeat([]byte{0xc3}, 4096)); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	plan := planOf(t, os.Getpid())
	verify := func(anonymous bool, want string) {
		t.Helper()
		v := NewVerifier(plan)
		v.Anonymous = anonymous
		v.Admit = func(string, []byte) error { return errors.New("judged") }
		if err := v.Verify(os.Getpid()); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("anonymous %t: %v, want %q", anonymous, err, want)
		}
	}
	verify(false, "judged")
	verify(true, "")
	if _, err := unix.Pwrite(fd, []byte(elfMagic), 0); err != nil {
		t.Fatal(err)
	}
	verify(true, "judged")

	// Without privilege it cannot be opened: as behind a mapping that is not there.
	maps, err := proc.ReadMaps(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(maps, func(m proc.Mapping) bool { return m.Exec && m.Path == "/memfd:code" })
	closed := maps[i]
	closed.Start++
	v := NewVerifier(plan)
	if elf, err := v.elf(os.Getpid(), maps, &closed); !elf || err != nil {
		t.Errorf("closed: ELF %t, %v", elf, err)
	}
	if _, err := unix.Pwrite(fd, []byte("code"), 0); err != nil {
		t.Fatal(err)
	}
	if elf, err := v.elf(os.Getpid(), maps, &closed); elf || err != nil {
		t.Errorf("closed: ELF %t, %v", elf, err)
	}
	if _, err := v.elf(os.Getpid(), maps[:i], &closed); !errors.Is(err, ErrModule) {
		t.Errorf("closed and not mapped from its beginning: %v", err)
	}
}

func blocked(pid int) bool {
	s, err := proc.ReadSyscall(pid, pid)
	return err == nil && s.Nr == unix.SYS_CLOCK_NANOSLEEP
}

// planOf makes a plan of what a process has mapped.
func planOf(t *testing.T, pid int) *Plan {
	t.Helper()
	maps, err := proc.ReadMaps(pid)
	if err != nil {
		t.Fatal(err)
	}
	p := &Plan{}
	for _, m := range maps {
		if m.Exec && m.Inode != 0 && !strings.HasPrefix(m.Path, "/memfd:") {
			data, err := os.ReadFile(m.Path)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(data)
			p.Modules = append(p.Modules, PlanModule{Path: m.Path, SHA256: hex.EncodeToString(sum[:])})
		}
	}
	return p
}
