package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"syspart/internal/testbin"
)

// TestTutorial runs the commands of docs/tutorial.md as they stand there.
func TestTutorial(t *testing.T) {
	testbin.NeedRoot(t)
	testbin.Need(t, "redis-server", "redis-server")
	testbin.Need(t, "redis-cli", "redis-tools")
	text, err := os.ReadFile(filepath.Join(testbin.Root(t), "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	blocks := strings.Split(string(text), "```sh\n")[1:]
	for _, b := range blocks {
		code, _, ok := strings.Cut(b, "```")
		if !ok {
			t.Fatal("a block has no end")
		}
		script.WriteString(code)
	}
	if len(blocks) < 6 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(syspart, filepath.Join(bin, "syspart")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*testbin.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euxo", "pipefail", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "equals") && !strings.Contains(string(out), "EQUALS") || !strings.Contains(string(out), "ptrace\t1") {
		t.Errorf("status or verify said nothing:\n%s", out)
	}
	for _, name := range []string{"50-syspart.conf", "seccomp.json", "redis.json"} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
