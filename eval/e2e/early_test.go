package e2e

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"syspart/internal/proc"
	"syspart/internal/testbin"
)

// slowServer starts the fixture slow under run, and returns its process once it waits for a byte from the FIFO.
func slowServer(t *testing.T, args ...string) (srv *testbin.Process, addr, profilePath string, pid int, fifo *os.File) {
	t.Helper()
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "slow", "-O2")
	_, profilePath = fixtureProfile(t, "slow", bin)
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	argv := append([]string{"run", "-v", "-p", profilePath, "--", bin, "0", name}, args...)
	srv, addr = testbin.StartServer(t, syspart, argv...)
	pid = server(t, srv.PID, bin)
	fifo, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fifo.Close() })
	return srv, addr, profilePath, pid, fifo
}

// jumped reports whether a process's code is not that of the program's file: jumps are in it.
func jumped(t *testing.T, pid int) bool {
	t.Helper()
	maps, err := proc.ReadMaps(pid)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maps {
		m := &maps[i]
		if !m.Exec || filepath.Base(m.Path) != "slow" {
			continue
		}
		file, err := elf.Open(m.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for _, p := range file.Progs {
			if p.Type != elf.PT_LOAD || p.Flags&elf.PF_X == 0 {
				continue
			}
			want, got := make([]byte, p.Filesz), make([]byte, p.Filesz)
			if _, err := p.ReadAt(want, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := proc.Memory(pid).ReadAt(got, int64(m.Start+p.Off-m.Off)); err != nil {
				t.Fatal(err)
			}
			return !bytes.Equal(got, want)
		}
	}
	t.Fatalf("process %d has no code of slow", pid)
	return false
}

// TestEarly: stubs are in before the server serves, so that its threads install their filters themselves and none is ever
// stopped in its loop.
func TestEarly(t *testing.T) {
	srv, addr, path, pid, fifo := slowServer(t)
	testbin.Until(t, "stubs are in", func() bool { return jumped(t, pid) })
	if s := status(t, pid, "Seccomp"); s != "0" {
		t.Errorf("before it serves it has filters: %s", s)
	}
	if _, err := fifo.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	testbin.Until(t, "it has its filter", func() bool { return status(t, pid, "Seccomp") == "2" })
	testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
	if out := must(t, "status", "-p", path, fmt.Sprint(pid)); !strings.HasSuffix(strings.Split(out, "\n")[1], " slow:serve") {
		t.Errorf("status says %q", out)
	}
	if out := srv.Output(); !strings.Contains(out, "already installed") || strings.Contains(out, "status=installed") {
		t.Errorf("it was stopped for its filter: %s", out)
	}
	if got, err := testbin.Ask(addr, "!"); err != nil || got != "ok" {
		t.Errorf("answer %q, %v", got, err)
	}
}

// TestEarlyModule: a library that the profile does not know is loaded after the stubs went in and before the server serves:
// they are taken out again. If the library needs a call that the filters close, the server serves without, and it is said;
// else stubs go in anew.
func TestEarlyModule(t *testing.T) {
	for _, c := range []struct {
		name, text string
		fits       bool
	}{
		{"fits", "int unknown;", true},
		{"needs more", "#include <unistd.h>\n__attribute__((destructor)) static void last(void) { acct(0); }", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			lib := testbin.BuildText(t, "unknown.c", c.text, "-shared", "-fPIC")
			srv, addr, _, pid, fifo := slowServer(t, lib)
			testbin.Until(t, "stubs are in", func() bool { return jumped(t, pid) })
			if _, err := fifo.WriteString("x"); err != nil {
				t.Fatal(err)
			}
			want := "0"
			if c.fits {
				testbin.Until(t, "stubs are in anew", func() bool { return strings.Count(srv.Output(), "stood still") == 2 && jumped(t, pid) })
				want = "2"
			} else {
				testbin.Until(t, "stubs are out", func() bool { return !jumped(t, pid) })
			}
			if _, err := fifo.WriteString("x"); err != nil {
				t.Fatal(err)
			}
			if got, err := testbin.Ask(addr, "!"); err != nil || got != "ok" {
				t.Errorf("answer %q, %v", got, err)
			}
			if s := status(t, pid, "Seccomp"); s != want {
				t.Errorf("Seccomp is %s, want %s\n%s", s, want, srv.Output())
			}
			srv.End()
			testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
			if strings.Contains(srv.Output(), "not in the plan") == c.fits {
				t.Errorf("it says: %s", srv.Output())
			}
		})
	}
}
