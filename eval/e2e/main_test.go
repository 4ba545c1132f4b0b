// Package e2e tests the program as a user sees it: the built command on real processes, its profiles against what is known
// of the fixtures in testdata/servers, and the kernel's own word on the filters.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"syspart/internal/testbin"
	"syspart/profile"
)

// syspart is the program under test, built for this run.
var syspart string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "syspart-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	syspart = filepath.Join(dir, "syspart")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", syspart, "syspart/cmd/syspart")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, text)
		return 1
	}
	return m.Run()
}

// call runs syspart and returns its standard output, standard error and exit status.
func call(t *testing.T, args ...string) (string, string, int) {
	t.Helper()
	var out, msg bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), testbin.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, syspart, args...)
	cmd.Stdout, cmd.Stderr = &out, &msg
	// With the servers that it started, all of them in one process group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	// Nothing that syspart started may hold these open for longer than it lives.
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("syspart %v does not end\n%s%s", args, out.String(), msg.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("syspart %v: %v", args, err)
	}
	return out.String(), msg.String(), cmd.ProcessState.ExitCode()
}

// must is call for a command that has to succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, msg, code := call(t, args...)
	if code != 0 {
		t.Fatalf("syspart %v: status %d\n%s%s", args, code, out, msg)
	}
	return out
}

// ask is a workload of n requests to a fixture.
func ask(port, n int) string {
	return fmt.Sprintf(`for i in $(seq %d); do bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d && echo x >&3 && read -r a <&3 && [ "$a" = ok ]' || exit 1; done`, n, port)
}

// profileOf profiles a command under a workload.
func profileOf(t *testing.T, workload string, argv ...string) (*profile.Profile, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "profile.json")
	must(t, append([]string{"profile", "-o", path, "--workload", workload, "--"}, argv...)...)
	p, err := profile.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return p, path
}

// fixtureProfile profiles a fixture under three requests; one that answers none gets no work.
func fixtureProfile(t *testing.T, name, bin string) (*profile.Profile, string) {
	t.Helper()
	testbin.Need(t, "bash", "bash")
	port := testbin.Port(t)
	work := ask(port, 3)
	if name == "handler" {
		work = "sleep 0.5"
	}
	return profileOf(t, work, bin, fmt.Sprint(port))
}
