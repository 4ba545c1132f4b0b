package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"syspart/internal/enforce/attach"
	"syspart/internal/filter"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
	"syspart/profile"
)

// TestRun serves from behind the filters: requests are answered, the kernel confirms a filter for every thread, a closed
// call kills, and what runs after the loop still works.
func TestRun(t *testing.T) {
	testbin.NeedRoot(t)
	for _, name := range []string{"branch", "cleanup", "threads", "prefork"} {
		t.Run(name, func(t *testing.T) {
			bin, _ := testbin.Server(t, name, "-O2")
			p, path := fixtureProfile(t, name, bin)
			srv, addr := testbin.StartServer(t, syspart, "run", "-p", path, "--", bin)
			leader := server(t, srv.PID, bin)
			pids := family(leader)
			testbin.Until(t, "every thread has a filter", func() bool { return allFiltered(pids) })
			testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
			readBack(t, p, pids)
			for range 10 {
				if got, err := testbin.Ask(addr, "!"); err != nil || got != "ok" {
					t.Fatalf("answer %q, %v\n%s", got, err, srv.Output())
				}
			}
			if name == "cleanup" {
				srv.Signal(syscall.SIGTERM)
				srv.Line("BYE")
				if st := srv.Wait(); st.ExitStatus() != 0 {
					t.Errorf("status %v\n%s", st, srv.Output())
				}
				return
			}
			if slices.Contains(p.Union(profile.SetAll, ""), "mount") {
				t.Fatal("mount is open")
			}
			if out, msg, code := call(t, "inject", "--pid", fmt.Sprint(leader), "mount", "0", "0", "0", "0", "0"); code == 0 {
				t.Errorf("mount returned %q %q behind the filter", out, msg)
			}
			if name == "prefork" {
				// The workers live on, and run with them.
				for _, pid := range pids {
					if pid != leader && !testbin.Running(pid) {
						t.Errorf("worker %d has ended with its master", pid)
					}
				}
				srv.End()
			}
			if st := srv.Wait(); !(st.Exited() && st.ExitStatus() == 128+int(syscall.SIGSYS) || st.Signaled() && st.Signal() == syscall.SIGSYS) {
				t.Errorf("ended with %v, want SIGSYS", st)
			}
		})
	}
}

// readBack checks that what the kernel holds for each thread is the serving set of one of the profile's kinds, and that no
// kind is left out.
func readBack(t *testing.T, p *profile.Profile, pids []int) {
	t.Helper()
	readBackAbove(t, p, pids, 0)
}

// readBackAbove is readBack beside so many filters that the server was started with.
func readBackAbove(t *testing.T, p *profile.Profile, pids []int, inherited int) {
	t.Helper()
	seen := make([]bool, len(p.Threads))
	for _, pid := range pids {
		for _, tid := range threadIDs(pid) {
			filters, err := attach.ReadFilters(pid, tid)
			if err != nil {
				t.Fatal(err)
			}
			allowed, err := filter.Allowed(filters[:max(0, len(filters)-inherited)]...)
			if err != nil {
				t.Fatal(err)
			}
			known := false
			for i := range p.Threads {
				want, err := syscalls.FromNames(p.Threads[i].Serving.Union(profile.SetAll)...)
				if err != nil {
					t.Fatal(err)
				}
				if allowed == want.Union(syscalls.Always()) {
					known, seen[i] = true, true
				}
			}
			if !known {
				t.Errorf("thread %d of process %d: its %d filters allow %v, which no kind does", tid, pid, len(filters), allowed.Names())
			}
		}
	}
	for i, ok := range seen {
		if !ok {
			t.Errorf("no thread has the filter of kind %s", p.Threads[i].Kind)
		}
	}
}

// TestStatus: run is transparent.
func TestStatus(t *testing.T) {
	old, _ := testbin.Server(t, "cleanup", "-O2")
	bin := testbin.Copy(t, old)
	_, path := fixtureProfile(t, "cleanup", bin)

	// Another build of the same program in its place.
	other, _ := testbin.Server(t, "cleanup", "-O1")
	upgrade(t, other, bin)
	stdout, msg, code := call(t, "run", "-p", path, "--", bin)
	if code != 125 && code != 1 || strings.Contains(stdout, "READY") || strings.Count(msg, "\n") != 1 || !strings.Contains(msg, bin) {
		t.Errorf("another build: status %d, output %q, error %q", code, stdout, msg)
	}
	if out, msg, code := call(t, "check", path); code != 2 || !strings.Contains(out, bin) {
		t.Errorf("check of another build: status %d, output %q, error %q", code, out, msg)
	}
	upgrade(t, old, bin)
	must(t, "check", path)

	if _, _, code := call(t, "run", "-p", path, "--", filepath.Join(t.TempDir(), "missing")); code != 127 {
		t.Errorf("missing program: status %d", code)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, code := call(t, "run", "-p", path, "--", plain); code != 126 {
		t.Errorf("program that is not executable: status %d", code)
	}
}

// upgrade puts one program in another's place, as a package manager does.
func upgrade(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(testbin.Copy(t, from), to); err != nil {
		t.Fatal(err)
	}
}

// server finds the process below root that runs bin.
func server(t *testing.T, root int, bin string) int {
	t.Helper()
	want, err := filepath.EvalSymlinks(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range family(root) {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && exe == want {
			return pid
		}
	}
	t.Fatalf("no process below %d runs %s", root, bin)
	return 0
}

// family returns a process and all below it, parents first.
func family(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, family(child)...)
			}
		}
	}
	return all
}

func threadIDs(pid int) []int {
	var ids []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, path := range tasks {
		if id, err := strconv.Atoi(filepath.Base(path)); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func allFiltered(pids []int) bool {
	threads := 0
	for _, pid := range pids {
		for _, tid := range threadIDs(pid) {
			threads++
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", pid, tid)); err != nil || !strings.Contains(string(text), "\nSeccomp:\t2\n") {
				return false
			}
		}
	}
	return threads > 0
}
