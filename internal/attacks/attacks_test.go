package attacks

import (
	"slices"
	"strings"
	"testing"
)

func only(calls ...string) Open { return func(c string) bool { return slices.Contains(calls, c) } }

// TestData: names of the lists that are no call of x86-64 are kept apart, and only payloads of code have such.
func TestData(t *testing.T) {
	if len(CVEs()) != 36 || len(Shellcode()) != 535 || len(ROP()) != 17 {
		t.Errorf("%d CVEs, %d shellcodes, %d return-oriented payloads", len(CVEs()), len(Shellcode()), len(ROP()))
	}
	with, numbers := 0, 0
	for _, a := range Shellcode() {
		named := false
		for _, u := range a.Unknown {
			if strings.HasPrefix(u, "syscall_") {
				numbers++
			} else {
				named = true
			}
		}
		if named {
			with++
		}
	}
	if with != 17 || numbers != 35 {
		t.Errorf("%d payloads with names that are no calls, %d numbers; want 17, 35", with, numbers)
	}
	for _, a := range slices.Concat(CVEs(), ROP()) {
		if len(a.Unknown) > 0 || len(a.Calls) == 0 {
			t.Errorf("%s: %v, %v", a.ID, a.Calls, a.Unknown)
		}
	}
}

func TestShut(t *testing.T) {
	a := Attack{Calls: []string{"fork", "ptrace"}}
	if a.Shut(only("fork")) || a.Shut(only("ptrace", "fork")) || !a.Shut(only("read")) {
		t.Error("a defect is shut if all calls that reach it are closed, and only then")
	}
}

// TestStopped: what stops a payload.
func TestStopped(t *testing.T) {
	for _, c := range []struct {
		calls, open string
		alone, both bool // stopped without equivalents, and with
	}{
		{"read", "read", false, false},
		{"close", "write", true, true},
		{"close write", "close", true, true},
		{"open", "openat", true, false},
		{"open execve", "openat", true, true},
		{"", "read", false, false},
	} {
		a := Attack{Calls: strings.Fields(c.calls), Unknown: []string{"syscall_0xffffffffffffff03"}}
		open := only(strings.Fields(c.open)...)
		if alone, both := a.Stopped(open, false), a.Stopped(open, true); alone != c.alone || both != c.both {
			t.Errorf("%q with %q open: %v and %v, want %v and %v", c.calls, c.open, alone, both, c.alone, c.both)
		}
	}
}

// TestClass: every class has payloads, and the first that fits is taken.
func TestClass(t *testing.T) {
	n := map[string]int{}
	for _, a := range slices.Concat(shellcode, rop) {
		n[a.Class()]++
	}
	for _, c := range Classes() {
		if n[c] == 0 {
			t.Errorf("%s: no payload", c)
		}
	}
	if got := (&Attack{Calls: []string{"execve", "socket", "connect"}}).Class(); got != Connect {
		t.Errorf("a reverse shell: %s", got)
	}
	if plain(" send") != "sendto" || plain("fstat64") != "fstat" || plain("getdents64") != "getdents64" {
		t.Error("names of other architectures")
	}
}
