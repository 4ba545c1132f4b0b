package callgraph

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"syspart/internal/testbin"
)

// goProgram builds the fixture of testdata/golang.
func goProgram(t *testing.T, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "golang")
	cmd := exec.Command(testbin.Need(t, "go", "golang-go"), append(append([]string{"build", "-trimpath", "-o", out}, flags...), ".")...)
	cmd.Dir = "testdata/golang"
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %v: %v\n%s", flags, err, text)
	}
	return out
}

// entryReach is what can be reached from a program's entry.
func entryReach(t *testing.T, exe string) *Reach {
	t.Helper()
	g := New(load(t, exe), Best)
	m := g.P.Modules[0]
	starts := append(g.Started(), Start{Func: int32(g.P.Func(0, m.Entry)), Why: "entry", Site: m.Entry})
	return g.WalkSignals(starts)
}

// TestGo: the numbers that a Go program passes to its wrappers are known, wherever the code that does so is found, and no
// others; also in a program without symbols, and in one that can lie at any address.
func TestGo(t *testing.T) {
	for name, flags := range map[string][]string{"plain": nil, "stripped": {"-ldflags=-s -w"}, "pie": {"-buildmode=pie"}} {
		t.Run(name, func(t *testing.T) {
			r := entryReach(t, goProgram(t, flags...))
			for _, u := range r.Unknown {
				t.Errorf("unknown number at %#x of %s: %s", u.Site, r.G.Name(u.Func), u.Why)
			}
			for _, nr := range []int{140, 141, 145, 146, 147, 124, 121} {
				if !r.Calls.Has(nr) {
					t.Errorf("call %d is missing", nr)
				}
			}
			for _, nr := range []int{169, 170, 175} { // reboot, sethostname, init_module
				if r.Calls.Has(nr) {
					t.Errorf("call %d cannot be made", nr)
				}
			}
		})
	}
}

// TestGoAny: a number that is computed opens everything.
func TestGoAny(t *testing.T) {
	r := entryReach(t, goProgram(t, "-tags=any"))
	if len(r.Unknown) == 0 || !r.Calls.Has(169) {
		t.Errorf("no unknown number; calls: %v", r.Calls.Names())
	}
}
