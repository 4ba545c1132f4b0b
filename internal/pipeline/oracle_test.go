package pipeline

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/testbin"
	"syspart/profile"
)

// TestOracle profiles servers in the configuration, and under the load, of the drivers in eval/oracle: the serving sets hold
// every call that was ever seen there after the transition.
func TestOracle(t *testing.T) {
	oracle := filepath.Join(testbin.Root(t), "eval", "oracle")
	if _, err := os.Stat(filepath.Join(oracle, "observed")); err != nil {
		testbin.Skip(t, "the observations of eval/oracle are missing: %v", err)
	}
	testbin.NeedRoot(t)
	for _, tool := range [][2]string{{"bash", "bash"}, {"curl", "curl"}, {"openssl", "openssl"}, {"python3", "python3"}, {"socat", "socat"}, {"nc", "netcat-openbsd"}, {"go", "golang"}} {
		testbin.Need(t, tool[0], tool[1])
	}
	bin := filepath.Join(t.TempDir(), "syspart")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "syspart/cmd/syspart")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, text)
	}
	for _, s := range []struct{ name, program, pkg string }{{"nginx", "nginx", "nginx"}, {"redis", "redis-server", "redis-server"}} {
		t.Run(s.name, func(t *testing.T) {
			testbin.Need(t, s.program, s.pkg)
			out := filepath.Join(t.TempDir(), "profile.json")
			run := exec.Command(filepath.Join(oracle, "run"), s.name, bin, "profile", "-o", out, "--")
			// Ports and directories of our own: other runs of the drivers do not meet them.
			run.Env = append(os.Environ(), "ORACLE_PORT=26400", "ORACLE_TMP="+shared(t))
			text, err := run.CombinedOutput()
			if err != nil {
				t.Errorf("the load fails while the server is profiled: %v\n%s", err, text)
			}
			p, err := profile.Load(out)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			observed, err := os.ReadFile(filepath.Join(oracle, "observed", s.name+".serving.txt"))
			if err != nil {
				t.Fatal(err)
			}
			open, calls := p.Union(profile.SetAll, ""), strings.Fields(string(observed))
			if len(calls) < 20 {
				t.Fatalf("only %d calls were observed", len(calls))
			}
			for _, call := range calls {
				if !slices.Contains(open, call) {
					t.Errorf("%s was called while serving, but is closed", call)
				}
			}
			t.Logf("%d calls observed while serving, %d of %d kinds allowed", len(calls), len(open), len(p.Threads))
			for i := range p.Threads {
				th := &p.Threads[i]
				t.Logf("%s (%s, %d): %d own", th.Kind, th.Role, th.Instances, len(th.Serving.Own))
			}
		})
	}
}

// shared is a temporary directory that servers without privileges can reach.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "syspart-oracle-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
