package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"syspart/internal/testbin"
)

// TestReload: a module with a main loop that the server unloads and loads again stays where it is, with the jumps in it, so
// that workers made afterwards get their filter when nobody watches any more.
func TestReload(t *testing.T) {
	testbin.NeedRoot(t)
	module := testbin.Build(t, filepath.Join("testdata", "reloadmod.c"), "-O2", "-shared", "-fPIC")
	bin := testbin.Build(t, filepath.Join("testdata", "reload.c"), "-O2", "-pthread", fmt.Sprintf("-DMODULE=%q", module))
	p, path := fixtureProfile(t, "reload", bin)
	if len(p.Threads) != 2 || p.Threads[1].Transition.Module != module {
		t.Fatalf("kinds: %+v", p.Threads)
	}
	for _, how := range []string{"run", "attach"} {
		t.Run(how, func(t *testing.T) {
			argv := []string{bin}
			if how == "run" {
				argv = []string{syspart, "run", "-p", path, "--", bin}
			}
			srv, addr := testbin.StartServer(t, argv[0], argv[1:]...)
			leader := server(t, srv.PID, bin)
			if how == "attach" {
				if got, err := testbin.Ask(addr, "again"); err != nil || got != "ok" {
					t.Fatalf("unprotected: %q, %v: it does not move when it is loaded again, and shows nothing", got, err)
				}
				must(t, "attach", "--strict", "--wait", "10s", "-p", path, fmt.Sprint(leader))
			}
			testbin.Until(t, "every thread has a filter", func() bool { return allFiltered(family(leader)) })
			testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
			for range 3 {
				readBack(t, p, family(leader))
				if got, err := testbin.Ask(addr, "again"); err != nil || got != "ok kept" {
					t.Fatalf("answer %q, %v\n%s", got, err, srv.Output())
				}
			}
			readBack(t, p, family(leader))
		})
	}
}
