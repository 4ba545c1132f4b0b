package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// TestVerifyStrace: what strace writes of a real server is read with whatever options it is written, and its profile allows it.
func TestVerifyStrace(t *testing.T) {
	strace := testbin.Need(t, "strace", "strace")
	argv, addr := testbin.Redis(t, t.TempDir())
	cli := testbin.Need(t, "redis-cli", "redis-tools")
	_, port, _ := strings.Cut(addr, ":")
	work := fmt.Sprintf("for i in $(seq 100); do %[1]s -p %[2]s set greeting hello && break; sleep 0.1; done; %[1]s -p %[2]s get greeting", cli, port)
	_, path := profileOf(t, work, argv...)
	for _, options := range [][]string{{"-f"}, {"-f", "-n", "-i", "-r"}, {"-f", "-tt", "-T", "-y"}, {"-f", "-c"}} {
		t.Run(strings.Join(options, ""), func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			srv := testbin.Start(t, append(append([]string{strace, "-qq", "-o", log}, options...), argv...)...)
			if out, err := exec.Command("sh", "-c", work+fmt.Sprintf("; %s -p %s shutdown nosave", cli, port)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			srv.Wait()
			if out, msg, code := call(t, "verify", "--phase", "entry", path, log); code != 0 || out != "" {
				t.Errorf("status %d, %s%s", code, out, msg)
			}
			// The same log with one call more.
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			more := strings.Replace(string(text), "epoll_wait", "ptrace", 1)
			if more == string(text) {
				t.Fatal("the log has no epoll_wait")
			}
			if err := os.WriteFile(log, []byte(more), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, _, code := call(t, "verify", "--phase", "entry", path, log); code != 2 || !strings.HasPrefix(out, "ptrace\t") {
				t.Errorf("with ptrace: status %d, %s", code, out)
			}
		})
	}
}

// TestCheckInstalled: a profile fits the files that it was made of, and no longer when one of them is another.
func TestCheckInstalled(t *testing.T) {
	argv, _ := testbin.Redis(t, t.TempDir())
	prog := testbin.Copy(t, argv[0])
	p, path := profileOf(t, "sleep 1", append([]string{prog}, argv[1:]...)...)
	if out := must(t, "check", path); !strings.HasPrefix(out, "fits "+prog+" and its ") {
		t.Errorf("%s", out)
	}
	data, err := os.ReadFile(prog)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(prog); err != nil {
		t.Fatal(err)
	}
	if out, _, code := call(t, "check", path); code != 2 || !strings.HasPrefix(out, "changed "+prog+": was there") {
		t.Errorf("without the program: status %d, %s", code, out)
	}
	if err := os.WriteFile(prog, append(data, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, _, code := call(t, "check", path); code != 2 || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "changed "+prog+": changed since it was profiled") {
		t.Errorf("with another: status %d, %s", code, out)
	}
	// A library that is no more.
	lib := &p.Modules[0]
	for i := range p.Modules {
		if strings.Contains(p.Modules[i].Path, "libjemalloc") {
			lib = &p.Modules[i]
		}
	}
	gone := lib.Path
	if err := os.WriteFile(prog, data, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), gone, gone+".gone")), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, _, code := call(t, "check", path); code != 2 || out != "changed "+gone+".gone: was there when the server was profiled and is missing now; install it or profile the server again\n" {
		t.Errorf("without a library: status %d, %s", code, out)
	}
}
