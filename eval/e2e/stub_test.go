package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// TestStubs: a child that is made when nobody watches any more gets its filter by itself, with all registers, flags, red
// zone and vector registers as they were, by every way into its loop.
func TestStubs(t *testing.T) {
	testbin.NeedRoot(t)
	for way := range 4 {
		t.Run(fmt.Sprint(way), func(t *testing.T) {
			bin, _ := testbin.Server(t, "registers", "-O2", fmt.Sprintf("-DWAY=%d", way))
			p, path := fixtureProfile(t, "registers", bin)
			if len(p.Threads) != 2 {
				t.Fatalf("kinds: %+v", p.Threads)
			}
			srv, addr := testbin.StartServer(t, syspart, "run", "-p", path, "--", bin)
			leader := server(t, srv.PID, bin)
			testbin.Until(t, "every thread has a filter", func() bool { return allFiltered(family(leader)) })
			testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
			old := family(leader)
			for range 3 {
				if got, err := testbin.Ask(addr, "new"); err != nil || got != "ok" {
					t.Fatalf("the child has found: %q, %v\n%s", got, err, srv.Output())
				}
				now := family(leader)
				if slices.Equal(now, old) {
					t.Fatalf("no new child: %v", now)
				}
				old = now
				readBack(t, p, now)
				for _, pid := range now {
					if s := status(t, pid, "TracerPid"); s != "0" {
						t.Errorf("process %d is traced by %s", pid, s)
					}
				}
			}
		})
	}
}

// watchers returns processes of syspart that were told of a server: they run our program and are nobody's child.
func watchers(t *testing.T) (pids []int) {
	t.Helper()
	ours, err := os.Stat(syspart)
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		cmd, _ := os.ReadFile(d + "/cmdline")
		if fi, err := os.Stat(d + "/exe"); err == nil && os.SameFile(fi, ours) && strings.Contains(string(cmd), "guard") {
			var pid int
			fmt.Sscan(filepath.Base(d), &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// status returns a field of /proc/PID/status.
func status(t *testing.T, pid int, field string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
