package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// TestExecutedByThread: a server is found that a thread executes whose process was a zombie before, as it is for a moment
// whenever another thread than the first one executes a program. Once in our place, once as our child.
func TestExecutedByThread(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "branch", "-O2")
	_, path := fixtureProfile(t, "branch", bin)
	launcher := testbin.Build(t, filepath.Join("testdata", "launcher.c"), "-O1", "-pthread")
	for name, argv := range map[string][]string{
		"in place": {syspart, "run", "-p", path, "--", launcher, bin},
		"child":    {"unshare", "-pf", "--mount-proc", syspart, "run", "-p", path, "--", launcher, bin},
	} {
		t.Run(name, func(t *testing.T) {
			srv, addr := testbin.StartServer(t, argv[0], argv[1:]...)
			leader := server(t, srv.PID, bin)
			testbin.Until(t, "it has its filter", func() bool { return allFiltered([]int{leader}) })
			if got, err := testbin.Ask(addr, "!"); err != nil || got != "ok" {
				t.Errorf("answer %q, %v", got, err)
			}
		})
	}
}

// TestFirstThreadRuns: run executes the server from its first thread; from another one the process would be a zombie, for
// those who watch it, until the threads have changed places. Nobody watches here, for strace does.
func TestFirstThreadRuns(t *testing.T) {
	bin, _ := testbin.Server(t, "branch", "-O2")
	p, _ := fixtureProfile(t, "branch", bin)
	path := outdated(t, p)
	strace := testbin.Need(t, "strace", "strace")
	log := filepath.Join(t.TempDir(), "log")
	for range 5 {
		srv, _ := testbin.StartServer(t, strace, "-f", "-qq", "-e", "trace=execve", "-e", "signal=none", "-o", log, syspart, "run", "--on-mismatch", "unfiltered", "-p", path, "--", bin)
		leader := server(t, srv.PID, bin)
		srv.End()
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(fmt.Sprintf(`(?m)^%d +execve\("%s"`, leader, regexp.QuoteMeta(bin)))
		if !want.Match(text) || strings.Contains(string(text), "superseded") {
			t.Errorf("no line %v:\n%s", want, text)
		}
	}
}
