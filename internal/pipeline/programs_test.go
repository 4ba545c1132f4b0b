package pipeline

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/syscalls"
	"syspart/internal/testbin"
	"syspart/profile"
)

// TestExecPolicy: a program that is executed by a constant name is allowed for though no run showed it; what a name that
// is not known means is the policy's word.
func TestExecPolicy(t *testing.T) {
	bin, src := testbin.Server(t, "execs", "-O2")
	obs := observedServer(t, "execs", bin, 1)
	for _, policy := range []ExecPolicy{ExecKnown, ExecAny, ExecNone} {
		o := opt
		o.ExecPolicy = policy
		p := profiled(t, bin, obs, o)
		th := &p.Threads[0]
		open := th.Serving.Union(profile.SetAll)
		if !slices.ContainsFunc(p.Unresolved, func(u profile.Unresolved) bool {
			return u.What == "execve" && filepath.Base(u.Module) == filepath.Base(bin)
		}) {
			t.Errorf("policy %d: the place that executes a program from the command line is not listed: %+v", policy, p.Unresolved)
		}
		switch policy {
		case ExecKnown:
			judge(t, testbin.Wants(t, src), p)
			i := slices.IndexFunc(p.Executes, func(e profile.Execute) bool { return e.Path == "/usr/bin/true" })
			if i < 0 || p.Executes[i].Found != profile.FoundStatic {
				t.Fatalf("true is not among the programs executed: %+v", p.Executes)
			}
			for _, n := range p.Executes[i].Needs {
				if !slices.Contains(open, n) {
					t.Errorf("%s is closed, but true needs it", n)
				}
			}
			if !slices.Contains(th.Serving.Exec, "arch_prctl") || slices.Contains(th.Serving.Own, "arch_prctl") {
				t.Errorf("own %v, exec %v: arch_prctl is the loader's of the executed program", th.Serving.Own, th.Serving.Exec)
			}
		case ExecAny:
			if len(open) != syscalls.All().Len() {
				t.Errorf("any: %d calls are open", len(open))
			}
		case ExecNone:
			if slices.Contains(open, "execve") || slices.Contains(open, "execveat") || len(th.Serving.Exec) > 0 {
				t.Errorf("none: open %v", open)
			}
		}
	}
}

// TestPrivileges: a set-user-ID program is said to run without.
func TestPrivileges(t *testing.T) {
	su := testbin.NeedFile(t, "/usr/bin/su", "login")
	l := newLoader(&Options{})
	defer l.close()
	if got := l.privileges(su); !strings.Contains(got, "set-user-ID 0") || !strings.Contains(got, "NO_NEW_PRIVS") {
		t.Errorf("%s: %q", su, got)
	}
	if got := l.privileges("/usr/bin/true"); got != "" {
		t.Errorf("true: %q", got)
	}
}
