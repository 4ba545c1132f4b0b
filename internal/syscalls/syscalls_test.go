package syscalls

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestTableIsRegenerated(t *testing.T) {
	want, err := exec.Command("go", "run", "gen/main.go").Output()
	if err != nil {
		t.Fatalf("go run gen/main.go: %v", err)
	}
	got, err := os.ReadFile("zsyscalls.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("zsyscalls.go differs from what gen/main.go writes: run go generate")
	}
}

func TestNames(t *testing.T) {
	// Numbers from arch/x86/entry/syscalls/syscall_64.tbl.
	for _, c := range []struct {
		nr   int
		name string
	}{
		{0, "read"}, {15, "rt_sigreturn"}, {59, "execve"}, {60, "exit"}, {101, "ptrace"}, {157, "prctl"},
		{219, "restart_syscall"}, {231, "exit_group"}, {317, "seccomp"}, {334, "rseq"}, {335, "uretprobe"},
		{336, "uprobe"}, {424, "pidfd_send_signal"}, {462, "mseal"}, {471, "rseq_slice_yield"},
		{337, "syscall_337"}, {600, "syscall_600"}, {639, "syscall_639"},
	} {
		if got := Name(c.nr); got != c.name {
			t.Errorf("Name(%d) = %q, want %q", c.nr, got, c.name)
		}
		if got, ok := Number(c.name); !ok || got != c.nr {
			t.Errorf("Number(%q) = %d, %v, want %d", c.name, got, ok, c.nr)
		}
	}
	for _, name := range []string{"", "READ", "syscall_0", "syscall_640", "syscall_-1", "syscall_", "syscall_0337", "reads", "zzz"} {
		if nr, ok := Number(name); ok {
			t.Errorf("Number(%q) = %d, want none", name, nr)
		}
	}
	if Known(-1) || Known(337) || Known(Max+1) || !Known(Max) {
		t.Error("Known is wrong at the table's edges")
	}
	for nr := range Limit {
		if got, ok := Number(Name(nr)); !ok || got != nr {
			t.Errorf("Number(Name(%d)) = %d, %v", nr, got, ok)
		}
	}
}

func TestFromNames(t *testing.T) {
	s, err := FromNames("write", "read", "mount")
	if err != nil || !slices.Equal(s.Numbers(), []int{0, 1, 165}) || !slices.Equal(s.Names(), []string{"mount", "read", "write"}) {
		t.Errorf("got %v, %v", s.Names(), err)
	}
	if _, err := FromNames("read", "nonesuch"); !errors.Is(err, ErrUnknown) {
		t.Errorf("unknown name: error %v", err)
	}
}

func TestSetAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() (Set, map[int]bool) {
		var s Set
		m := map[int]bool{}
		for range rng.IntN(200) {
			nr := rng.IntN(Limit)
			s.Add(nr)
			m[nr] = true
		}
		return s, m
	}
	for range 200 {
		a, ma := random()
		b, mb := random()
		u, d, i := a.Union(b), a.Minus(b), a.Intersect(b)
		merged := a
		grew := merged.Merge(&b)
		if merged != u || grew != (u.Len() > a.Len()) {
			t.Fatalf("Merge: %v, grew %v", merged.Numbers(), grew)
		}
		if a.Len() != len(ma) || a.Empty() != (len(ma) == 0) || len(a.Numbers()) != len(ma) || !slices.IsSorted(a.Numbers()) {
			t.Fatalf("length of %v", a.Numbers())
		}
		if a.Equal(b) != slices.Equal(a.Numbers(), b.Numbers()) || !a.Equal(Of(a.Numbers()...)) {
			t.Fatal("Equal")
		}
		for nr := -2; nr < Limit+2; nr++ {
			if a.Has(nr) != ma[nr] || u.Has(nr) != (ma[nr] || mb[nr]) || d.Has(nr) != (ma[nr] && !mb[nr]) ||
				i.Has(nr) != (ma[nr] && mb[nr]) {
				t.Fatalf("member %d", nr)
			}
		}
		for nr := range ma {
			a.Remove(nr)
		}
		if !a.Empty() {
			t.Fatalf("after removing all: %v", a.Numbers())
		}
	}
}

func TestAddOutside(t *testing.T) {
	var s Set
	for _, nr := range []int{-1, Limit, 1 << 30, 0x40000000} {
		if s.Add(nr) {
			t.Errorf("Add(%d) = true", nr)
		}
		s.Remove(nr)
	}
	if !s.Empty() {
		t.Errorf("members %v", s.Numbers())
	}
}

func TestGroups(t *testing.T) {
	seen := map[int]string{}
	for _, g := range Groups() {
		if g.Name == "" || g.Why == "" || g.Calls.Empty() {
			t.Errorf("group %+v lacks something", g)
		}
		for nr := range g.Calls.All() {
			if seen[nr] != "" {
				t.Errorf("%s is in %s and in %s", Name(nr), seen[nr], g.Name)
			}
			seen[nr] = g.Name
		}
	}
	for name, want := range map[string]bool{"execve": true, "ptrace": true, "mount": true, "io_uring_enter": true, "socket": false, "read": false} {
		nr, _ := Number(name)
		if Danger().Has(nr) != want {
			t.Errorf("Danger has %s: %v, want %v", name, !want, want)
		}
	}
	if got := Always().Names(); !slices.Equal(got, []string{"exit", "exit_group", "restart_syscall", "rt_sigreturn"}) {
		t.Errorf("Always: %v", got)
	}
	if All().Len() != len(byName) || All().Has(337) || !All().Has(Max) {
		t.Error("All is not the table")
	}
}

func TestFallback(t *testing.T) {
	for name, want := range map[string]string{"__vdso_clock_gettime": "clock_gettime", "gettimeofday": "gettimeofday", "__vdso_getrandom": "getrandom"} {
		s, ok := Fallback(name)
		if !ok || !slices.Equal(s.Names(), []string{want}) {
			t.Errorf("Fallback(%s) = %v, %v", name, s.Names(), ok)
		}
	}
	if _, ok := Fallback("__vdso_new"); ok {
		t.Error("an unknown function has a fallback")
	}
	if got := Fallbacks().Names(); !slices.Equal(got, []string{"clock_getres", "clock_gettime", "getcpu", "getrandom", "gettimeofday", "time"}) {
		t.Errorf("Fallbacks: %v", got)
	}
}
