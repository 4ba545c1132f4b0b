package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"syspart/internal/testbin"
	"syspart/profile"
)

// TestArriveLater: what a server loads and executes for the first time behind its filter, and what no run has shown, works:
// modules of the name service, and a program that it executes by a constant name.
func TestArriveLater(t *testing.T) {
	testbin.NeedRoot(t)
	for _, c := range []struct{ name, word string }{{"resolve", "name"}, {"execs", "true"}} {
		t.Run(c.name, func(t *testing.T) {
			bin, _ := testbin.Server(t, c.name, "-O2")
			p, path := fixtureProfile(t, c.name, bin)
			srv, addr := testbin.StartServer(t, syspart, "run", "-p", path, "--", bin)
			leader := server(t, srv.PID, bin)
			testbin.Until(t, "every thread has a filter", func() bool { return allFiltered([]int{leader}) })
			testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
			readBack(t, p, []int{leader})
			for range 3 {
				if got, err := testbin.Ask(addr, c.word); err != nil || got != "ok" {
					t.Fatalf("answer %q, %v\n%s", got, err, srv.Output())
				}
			}
		})
	}
}

// outdated saves a profile as if it had been made with another vDSO.
func outdated(t *testing.T, p *profile.Profile) (path string) {
	t.Helper()
	for i := range p.Modules {
		if p.Modules[i].Found == profile.FoundVDSO {
			p.Modules[i].SHA256 = strings.Repeat("0", 64)
			p.Modules[i].BuildID = strings.Repeat("0", 40)
		}
	}
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "old.json")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMismatch: run with a profile that another vDSO was profiled with, as after an upgrade of the kernel.
func TestMismatch(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "cleanup", "-O2")
	p, _ := fixtureProfile(t, "cleanup", bin)
	path := outdated(t, p)

	out, msg, code := call(t, "run", "--on-mismatch", "refuse", "-p", path, "--", bin)
	if code != 125 && code != 1 || out != "" || !strings.Contains(msg, "[vdso]") || strings.Count(msg, "\n") != 1 {
		t.Errorf("refuse: status %d, output %q, error %q", code, out, msg)
	}
	for _, what := range []string{"reanalyse", "unfiltered"} {
		t.Run(what, func(t *testing.T) {
			srv, addr := testbin.StartServer(t, syspart, "run", "--on-mismatch", what, "-p", path, "--", bin)
			leader := server(t, srv.PID, bin)
			if what == "reanalyse" {
				testbin.Until(t, "every thread has a filter", func() bool { return allFiltered([]int{leader}) })
				testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
				readBack(t, p, []int{leader})
			} else if allFiltered([]int{leader}) {
				t.Error("there is a filter")
			}
			if got, err := testbin.Ask(addr, "!"); err != nil || got != "ok" {
				t.Errorf("answer %q, %v", got, err)
			}
			if text := srv.Output(); !strings.Contains(text, "[vdso]: changed since it was profiled") || strings.Contains(text, "WITHOUT") != (what == "unfiltered") {
				t.Errorf("it says %q", text)
			}
			srv.End()
		})
	}
	if _, msg, code := call(t, "run", "--on-mismatch", "perhaps", "-p", path, "--", bin); code == 0 || !strings.Contains(msg, "perhaps") {
		t.Errorf("a wrong word: status %d, %q", code, msg)
	}
}
