package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"syspart/internal/syscalls"
	"syspart/internal/testbin"
)

// restricted returns the command line that executes another one where calls are forbidden.
func restricted(t *testing.T, calls ...string) []string {
	t.Helper()
	argv := []string{testbin.Build(t, filepath.Join("testdata", "unit.c"), "-O1")}
	for _, name := range calls {
		nr, ok := syscalls.Number(name)
		if !ok {
			t.Fatalf("no call %s", name)
		}
		argv = append(argv, strconv.Itoa(nr))
	}
	return append(argv, "--")
}

// TestUnits: in a unit with a filter of its own run installs its filters all the same, without seccomp(); where the unit
// forbids what it needs it says so and starts nothing; and a hardened copy needs none of that.
func TestUnits(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "registers", "-O2")
	p, path := fixtureProfile(t, "registers", bin)
	for _, c := range []struct {
		forbidden string
		says      string // "": it serves
	}{
		{"seccomp", ""},
		{"process_vm_readv", ""},
		{"ptrace", "not permitted to trace"},
		{"prctl", "prctl(PR_SET_NO_NEW_PRIVS): operation not permitted"},
	} {
		for how, front := range map[string][]string{"in place": nil, "PID 1": {"unshare", "-pf", "--mount-proc"}} {
			if c.says != "" && how == "PID 1" {
				continue // the child has begun by then
			}
			t.Run(c.forbidden+"/"+how, func(t *testing.T) {
				argv := append(append(front, restricted(t, c.forbidden)...), syspart, "run", "-p", path, "--", bin)
				if c.says != "" {
					srv := testbin.Start(t, argv...)
					if st := srv.Wait(); st.ExitStatus() != 125 || !strings.Contains(srv.Output(), c.says) || !strings.Contains(srv.Output(), "syspart harden") ||
						strings.Contains(srv.Output(), "READY") {
						t.Errorf("%v:\n%s", st, srv.Output())
					}
					return
				}
				srv, addr := testbin.StartServer(t, argv[0], argv[1:]...)
				leader := server(t, srv.PID, bin)
				testbin.Until(t, "every thread has the unit's filter and its own", func() bool { return carry(t, family(leader), 2) })
				testbin.Until(t, "nobody watches", func() bool { return len(watchers(t)) == 0 })
				if got, err := testbin.Ask(addr, "new"); err != nil || got != "ok" {
					t.Errorf("the child has found: %q, %v\n%s", got, err, srv.Output())
				}
				if strings.Contains(srv.Output(), "syspart:") {
					t.Errorf("it complains:\n%s", srv.Output())
				}
				if how == "in place" {
					readBackAbove(t, p, family(leader), 1)
				}
			})
		}
	}
	t.Run("hardened", func(t *testing.T) {
		dir := t.TempDir()
		must(t, "harden", "-p", path, "-o", dir)
		argv := append(restricted(t, "ptrace", "seccomp", "process_vm_readv"), filepath.Join(dir, filepath.Base(bin)))
		srv, addr := testbin.StartServer(t, argv[0], argv[1:]...)
		testbin.Until(t, "every thread has the unit's filter and its own", func() bool { return carry(t, family(srv.PID), 2) })
		if got, err := testbin.Ask(addr, "new"); err != nil || got != "ok" {
			t.Errorf("the child has found: %q, %v\n%s", got, err, srv.Output())
		}
	})
}

// carry reports whether every thread carries at least so many filters.
func carry(t *testing.T, pids []int, want int) bool {
	t.Helper()
	for _, pid := range pids {
		for _, tid := range threadIDs(pid) {
			if n, err := strconv.Atoi(status(t, tid, "Seccomp_filters")); err != nil || n < want {
				return false
			}
		}
	}
	return len(pids) > 0
}

// TestRedisUnit: redis-server as Debian's unit runs it, whose user has no capabilities and which forbids the calls of the
// groups @privileged and @resources, seccomp and executable memory that is written; ptrace alone is left open for run.
func TestRedisUnit(t *testing.T) {
	testbin.NeedRoot(t)
	setpriv := testbin.Need(t, "setpriv", "util-linux")
	testbin.Need(t, "redis-cli", "redis-tools")
	dir, err := os.MkdirTemp("", "syspart-unit-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	argv, addr := testbin.Redis(t, dir)
	_, port, _ := strings.Cut(addr, ":")
	work := fmt.Sprintf("for i in 1 2 3; do redis-cli -p %s set a $i || exit 1; done; redis-cli -p %s bgsave; sleep 1", port, port)
	p, path := profileOf(t, work, argv...)
	// What root has made, for the other user: the profile, and the program that only root reaches.
	mine := filepath.Join(dir, "syspart")
	for to, from := range map[string]string{filepath.Join(dir, "profile.json"): path, mine: syspart} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dump.rdb", "redis.pid"} {
		os.Remove(filepath.Join(dir, name))
	}
	wrap := []string{setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"}
	unit := restricted(t, "seccomp", "bpf", "chroot", "mount", "setrlimit", "sched_setaffinity", "sched_setscheduler", "setpriority", "ioprio_set", "chown",
		"setuid", "setgid", "setgroups", "capset", "personality", "unshare", "setns", "init_module", "reboot", "swapon", "keyctl")
	// The cache of tests is closed to others.
	data, err := os.ReadFile(unit[0])
	if err == nil {
		unit[0] = filepath.Join(dir, "unit")
		err = os.WriteFile(unit[0], data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	full := append(append(append(wrap, unit...), mine, "run", "-p", filepath.Join(dir, "profile.json"), "--"), argv...)
	srv := testbin.Start(t, full...)
	testbin.Until(t, "redis-server answers", func() bool {
		if !srv.Alive() {
			t.Fatalf("it has ended:\n%s", srv.Output())
		}
		line, err := testbin.Ask(addr, "PING\r\n")
		return err == nil && line == "+PONG"
	})
	leader := server(t, srv.PID, argv[0])
	testbin.Until(t, "every thread has the unit's filter and its own", func() bool { return carry(t, family(leader), 2) })
	testbin.Until(t, "nobody watches", func() bool { return len(watchersOf(t, mine)) == 0 })
	readBackAbove(t, p, []int{leader}, 1)
	if line, err := testbin.Ask(addr, "SET a b\r\n"); err != nil || line != "+OK" {
		t.Errorf("answer %q, %v", line, err)
	}
	srv.Signal(syscall.SIGTERM)
	if st := srv.Wait(); st.ExitStatus() != 0 {
		t.Errorf("%v\n%s", st, srv.Output())
	}
}

// TestFileLimit: the server has the limit of open files that its starter gave it, which the language's runtime has raised for
// us meanwhile.
func TestFileLimit(t *testing.T) {
	testbin.NeedRoot(t)
	bin, _ := testbin.Server(t, "branch", "-O2")
	_, path := fixtureProfile(t, "branch", bin)
	for how, front := range map[string]string{"in place": "", "PID 1": "unshare -pf --mount-proc "} {
		t.Run(how, func(t *testing.T) {
			srv, _ := testbin.StartServer(t, "sh", "-c", `ulimit -Sn 77; exec `+front+`"$@"`, "sh", syspart, "run", "-p", path, "--", bin)
			leader := server(t, srv.PID, bin)
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", leader))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
					if f := strings.Fields(rest); f[0] != "77" {
						t.Errorf("%s", line)
					}
				}
			}
		})
	}
}
