package testbin

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestServerFixtures builds every shared fixture in several ways, and checks that it serves and ends as its README says:
// the packages that analyse them rely on it.
func TestServerFixtures(t *testing.T) {
	sources, err := filepath.Glob(filepath.Join(Root(t), "testdata", "servers", "*.c"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	readme, err := os.ReadFile(filepath.Join(Root(t), "testdata", "servers", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"loop": true, "role": true, "instances": true, "open": true, "closed": true, "tight": true,
		"init": true, "all": true, "unknown": true, "noloop": true}
	for _, src := range sources {
		name := strings.TrimSuffix(filepath.Base(src), ".c")
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(string(readme), "`"+name+".c`") {
				t.Errorf("not described in README.md")
			}
			wants := Wants(t, src)
			kinds := make(map[string]bool)
			for _, kind := range wants["loop"] {
				kinds[kind] = true
			}
			for key := range wants {
				verb, kind, of := strings.Cut(key, ".")
				if !known[verb] || of && !kinds[kind] {
					t.Errorf("unknown expectation %q", key)
				}
			}
			for _, cc := range Compilers() {
				bin := BuildWith(t, cc, src, "-pthread", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function")
				checkServer(t, name, bin)
			}
			checkServer(t, name, Build(t, src, "-pthread", "-O0"))
			checkServer(t, name, Build(t, src, "-pthread", "-O3", "-no-pie", "-fno-pie", "-static"))
		})
	}
}

func checkServer(t *testing.T, name, bin string) {
	t.Helper()
	p, addr := StartServer(t, bin)
	switch name {
	case "noloop":
	case "handler":
		p.Signal(syscall.SIGUSR1)
		p.Line("USR1")
		p.Signal(syscall.SIGHUP)
		p.Line("HUP")
	default:
		for range 3 {
			if got, err := Ask(addr, "x"); err != nil || got != "ok" {
				t.Fatalf("%s answers %q, %v", bin, got, err)
			}
		}
	}
	p.Signal(syscall.SIGTERM)
	st := p.Wait()
	if name == "cleanup" {
		p.Line("BYE")
	} else if clean := st.Exited() && st.ExitStatus() == 0; !clean && st.Signal() != syscall.SIGTERM {
		t.Errorf("%s ended with %v", bin, st)
	}
}
