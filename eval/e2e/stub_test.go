package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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
func watchers(t *testing.T) (pids []int) { return watchersOf(t, syspart) }

// watchersOf is watchers of a copy of the program.
func watchersOf(t *testing.T, program string) (pids []int) {
	t.Helper()
	ours, err := os.Stat(program)
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

// TestStubsAttached: attach covers the children that come when it has gone; status tells what each thread carries.
func TestStubsAttached(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "registers", "-O2")
	p, path := fixtureProfile(t, "registers", bin)
	srv, addr := testbin.StartServer(t, bin)
	leader := server(t, srv.PID, bin)
	testbin.Until(t, "the child has started", func() bool { return len(family(leader)) == 2 })
	if out := must(t, "attach", "--dry-run", "-p", path, fmt.Sprint(leader)); !strings.Contains(out, "0 of 2 threads carry a filter") {
		t.Errorf("a dry run says %q", out)
	}
	must(t, "attach", "--strict", "--wait", "10s", "-p", path, fmt.Sprint(leader))
	readBack(t, p, family(leader))
	for range 3 {
		if got, err := testbin.Ask(addr, "new"); err != nil || got != "ok" {
			t.Fatalf("the child has found: %q, %v\n%s", got, err, srv.Output())
		}
		readBack(t, p, family(leader))
	}
	var doc struct {
		Threads []struct {
			PID, Filters, Open int
			Inside             string
			Kinds              []string
		}
	}
	testbin.Until(t, "each thread is seen in its loop, with its filter", func() bool {
		doc.Threads = nil
		if err := json.Unmarshal([]byte(must(t, "status", "-o", "json", "-p", path, fmt.Sprint(leader))), &doc); err != nil {
			t.Fatal(err)
		}
		if len(doc.Threads) != 2 {
			t.Fatalf("%+v", doc)
		}
		for _, th := range doc.Threads {
			if th.Filters == 0 || th.Open == 0 || th.Inside != "" && !slices.Contains(th.Kinds, th.Inside) {
				t.Fatalf("%+v: the filter is not that of the loop", th)
			}
			if th.Inside == "" { // on its way there
				return false
			}
		}
		return true
	})
	if out := must(t, "status", fmt.Sprint(leader)); !strings.Contains(out, "2 of 2 threads carry a filter") {
		t.Errorf("status says %q", out)
	}
}

// TestKilled: syspart is killed at some moment while it is at work; the server serves on, nobody is left stopped or traced,
// and those that have a filter have that of a kind.
func TestKilled(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "registers", "-O2")
	_, path := fixtureProfile(t, "registers", bin)
	for i := range 12 {
		srv, addr := testbin.StartServer(t, syspart, "run", "-p", path, "--", bin)
		leader := server(t, srv.PID, bin)
		time.Sleep(time.Duration(i) * 9 * time.Millisecond)
		for _, pid := range watchers(t) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				t.Fatal(err)
			}
		}
		testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
		for range 2 {
			if got, err := testbin.Ask(addr, "new"); err != nil || got != "ok" {
				t.Fatalf("round %d: answer %q, %v\n%s", i, got, err, srv.Output())
			}
		}
		for _, pid := range family(leader) {
			if s := status(t, pid, "State"); strings.HasPrefix(s, "t") || strings.HasPrefix(s, "T") || status(t, pid, "TracerPid") != "0" {
				t.Errorf("round %d: process %d: state %s", i, pid, s)
			}
		}
		srv.End()
	}
}
