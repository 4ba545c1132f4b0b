package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"syspart/internal/testbin"
)

// TestLimits: the server runs with the limit of open files that run was started with, which Go's run time raises for itself.
func TestLimits(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "branch", "-O2")
	_, path := fixtureProfile(t, "branch", bin)
	for how, front := range map[string]string{"in place": "", "PID 1": "unshare -pf --mount-proc "} {
		t.Run(how, func(t *testing.T) {
			script := fmt.Sprintf("ulimit -Sn 57; exec %s%s run -p %s -- %s", front, syspart, path, bin)
			srv, _ := testbin.StartServer(t, "sh", "-c", script)
			leader := server(t, srv.PID, bin)
			testbin.Until(t, "it has its filter", func() bool { return allFiltered([]int{leader}) })
			var have unix.Rlimit
			if err := unix.Prlimit(leader, unix.RLIMIT_NOFILE, nil, &have); err != nil || have.Cur != 57 {
				t.Errorf("it may open %d files, %v", have.Cur, err)
			}
		})
	}
}

// TestSubreaper: whoever starts run in place ends before the server serves, and a subreaper becomes the parent of the server,
// and of what watches it: nothing of that is left.
func TestSubreaper(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "prefork", "-O2")
	p, path := fixtureProfile(t, "prefork", bin)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	file := t.TempDir() + "/pid"
	srv := testbin.Start(t, "sh", "-c", fmt.Sprintf("%s run -p %s -- %s & echo $! >%s", syspart, path, bin, file))
	addr := "127.0.0.1:" + strings.TrimPrefix(srv.Line("READY "), "READY ")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var leader int
	if _, err := fmt.Sscan(string(text), &leader); err != nil {
		t.Fatal(err)
	}
	testbin.Until(t, "every thread has a filter", func() bool { return allFiltered(family(leader)) })
	testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
	if parent := status(t, leader, "PPid"); parent != fmt.Sprint(os.Getpid()) {
		t.Errorf("the server's parent is %s", parent)
	}
	readBack(t, p, family(leader))
	if got, err := testbin.Ask(addr, "!"); err != nil || got != "ok" {
		t.Errorf("answer %q, %v", got, err)
	}
	if out := srv.Output(); strings.Contains(out, "syspart:") {
		t.Errorf("it complains: %s", out)
	}
	for _, pid := range family(leader) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	_, _ = unix.Wait4(leader, nil, 0, nil)
}
