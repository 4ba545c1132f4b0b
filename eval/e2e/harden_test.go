package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/testbin"
	"syspart/profile"
)

// TestHarden: a hardened copy filters itself, without syspart: each thread gets the filter of its kind, what is open works,
// a closed call kills. Position-independent or not, static or not, stripped.
func TestHarden(t *testing.T) {
	testbin.NeedRoot(t)
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"registers", []string{"-O2"}}, {"registers", []string{"-O2", "-no-pie", "-fno-pie"}}, {"registers", []string{"-O2", "-DWAY=1", "-static"}},
		{"registers", []string{"-O2", "-DWAY=2", "-static-pie"}}, {"registers", []string{"-O2", "-DWAY=3"}}, {"prefork", []string{"-O2"}},
		{"threads", []string{"-O2"}}, // a jump at the header
	} {
		t.Run(c.name+strings.Join(c.flags, ""), func(t *testing.T) {
			bin, _ := testbin.Server(t, c.name, c.flags...)
			bin = testbin.Strip(t, bin)
			p, path := fixtureProfile(t, c.name, bin)
			dir := t.TempDir()
			args := []string{"harden", "-p", path, "-o", dir, "--print"}
			out := must(t, args...)
			hard := filepath.Join(dir, filepath.Base(bin))
			if !strings.Contains(out, hard) || !strings.Contains(out, " -> e9 ") {
				t.Errorf("it prints %q", out)
			}
			before, err := os.ReadFile(hard)
			if err != nil {
				t.Fatal(err)
			}
			must(t, args...)
			if again, err := os.ReadFile(hard); err != nil || !slices.Equal(before, again) {
				t.Errorf("another time it writes another file: %v", err)
			}
			if fi, err := os.Stat(hard); err != nil || fi.Mode().Perm()&0o111 == 0 {
				t.Fatalf("mode: %v, %v", fi.Mode(), err)
			}
			srv, addr := testbin.StartServer(t, hard)
			leader := server(t, srv.PID, hard)
			testbin.Until(t, "every thread has a filter", func() bool { return allFiltered(family(leader)) })
			readBack(t, p, family(leader))
			carried := filters(t, leader)
			word := "x"
			if c.name == "registers" {
				word = "new"
			}
			for range 3 {
				if got, err := testbin.Ask(addr, word); err != nil || got != "ok" {
					t.Fatalf("answer %q, %v\n%s", got, err, srv.Output())
				}
			}
			readBack(t, p, family(leader))
			for tid, n := range filters(t, leader) {
				if was, ok := carried[tid]; ok && n != was {
					t.Errorf("thread %d carries %d filters, and had %d: once is enough", tid, n, was)
				}
			}
			if slices.Contains(p.Union(profile.SetAll, ""), "mount") {
				t.Fatal("mount is open")
			}
			if _, _, code := call(t, "inject", "--pid", strconv.Itoa(leader), "mount", "0", "0", "0", "0", "0"); code == 0 {
				t.Error("mount works behind the filter")
			}
			// strip keeps what was added.
			stripped := filepath.Join(dir, "stripped")
			if out, err := exec.Command("strip", "-o", stripped, hard).CombinedOutput(); err != nil {
				t.Fatalf("strip: %v\n%s", err, out)
			}
			srv2, addr2 := testbin.StartServer(t, stripped)
			leader2 := server(t, srv2.PID, stripped)
			testbin.Until(t, "every thread of the stripped one has a filter", func() bool { return allFiltered(family(leader2)) })
			if got, err := testbin.Ask(addr2, word); err != nil || got != "ok" {
				t.Errorf("stripped: answer %q, %v", got, err)
			}
		})
	}
}

// TestHardenRefuses: a loop in a library, files that are none, and the program itself as the output.
func TestHardenRefuses(t *testing.T) {
	bin, _ := testbin.Server(t, "branch", "-O2") // its loop begins between two calls
	_, path := fixtureProfile(t, "branch", bin)
	dir := t.TempDir()
	if _, msg, code := call(t, "harden", "-p", path, "-o", dir); code != 1 || !strings.Contains(msg, "cannot be hardened") || !strings.Contains(msg, "syspart run") {
		t.Errorf("branch: %d, %q", code, msg)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("branch: it leaves %v", left)
	}
	bin, _ = testbin.Server(t, "prefork", "-O2")
	_, path = fixtureProfile(t, "prefork", bin)
	if _, msg, code := call(t, "harden", "-p", path, "-o", filepath.Dir(bin)); code != 1 || !strings.Contains(msg, "is the program itself") {
		t.Errorf("onto itself: %d, %q", code, msg)
	}
	if _, msg, code := call(t, "harden", "-p", path); code != 1 || !strings.Contains(msg, "no directory") {
		t.Errorf("without directory: %d, %q", code, msg)
	}
	if _, msg, code := call(t, "harden", "-p", path, "-o", "/proc/none"); code != 1 || strings.Count(msg, "\n") != 1 {
		t.Errorf("into /proc: %d, %q", code, msg)
	}
}

// filters returns how many filters each thread of a server carries.
func filters(t *testing.T, leader int) map[int]int {
	t.Helper()
	var doc struct{ Threads []struct{ TID, Filters int } }
	if err := json.Unmarshal([]byte(must(t, "status", "-o", "json", fmt.Sprint(leader))), &doc); err != nil {
		t.Fatal(err)
	}
	out := map[int]int{}
	for _, th := range doc.Threads {
		out[th.TID] = th.Filters
	}
	if len(out) == 0 {
		t.Fatal("status shows no threads")
	}
	return out
}
