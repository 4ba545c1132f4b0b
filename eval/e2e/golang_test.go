package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"syspart/internal/testbin"
	"syspart/profile"
)

// TestGo serves from behind the filters with servers that Go's compiler has made: no call-frame information, several
// goroutines on a thread, threads that come and go.
func TestGo(t *testing.T) {
	testbin.NeedRoot(t)
	for name, flags := range map[string][]string{"stripped": {"-ldflags=-s -w"}, "pie": {"-buildmode=pie"}} {
		t.Run(name, func(t *testing.T) {
			bin := filepath.Join(t.TempDir(), "golang")
			cmd := exec.Command(testbin.Need(t, "go", "golang-go"), append(append([]string{"build", "-trimpath", "-o", bin}, flags...), ".")...)
			cmd.Dir = "testdata/golang"
			cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
			}
			p, path := fixtureProfile(t, name, bin)
			if !slices.ContainsFunc(p.Threads, func(th profile.Thread) bool { return strings.HasPrefix(th.Transition.Function, "runtime.") }) {
				t.Errorf("no kind serves in the scheduler: %v", p.Threads)
			}
			for i := range p.Threads {
				calls := p.Threads[i].Serving.Union(profile.SetAll)
				if len(calls) > 120 || slices.Contains(calls, "mount") || !slices.Contains(calls, "futex") {
					t.Errorf("%s: %d calls open: %v", p.Threads[i].Kind, len(calls), calls)
				}
			}
			dir := t.TempDir()
			must(t, "harden", "-p", path, "-o", dir)
			hard := filepath.Join(dir, filepath.Base(bin))
			t.Run("run", func(t *testing.T) { servesGo(t, bin, syspart, "run", "-p", path, "--", bin) })
			t.Run("hardened", func(t *testing.T) { servesGo(t, hard, hard) })
		})
	}
}

// servesGo starts the server bin by a command, and asks it before and after all of its threads have filters.
func servesGo(t *testing.T, bin string, argv ...string) {
	t.Helper()
	srv, addr := testbin.StartServer(t, argv[0], argv[1:]...)
	leader := server(t, srv.PID, bin)
	asked := func() {
		t.Helper()
		if got, err := testbin.Ask(addr, "!"); err != nil || got != "ok" {
			t.Fatalf("answer %q, %v\n%s", got, err, srv.Output())
		}
	}
	for range 20 {
		asked()
	}
	testbin.Until(t, "every thread has a filter", func() bool {
		asked() // a thread gets one when it runs again
		return allFiltered(family(leader))
	})
	asked()
	if out, msg, code := call(t, "inject", "--pid", fmt.Sprint(leader), "mount", "0", "0", "0", "0", "0"); code == 0 {
		t.Errorf("mount returned %q %q behind the filter", out, msg)
	}
	if st := srv.Wait(); !(st.Exited() && st.ExitStatus() == 128+int(syscall.SIGSYS) || st.Signaled() && st.Signal() == syscall.SIGSYS) {
		t.Errorf("ended with %v, want SIGSYS", st)
	}
}
