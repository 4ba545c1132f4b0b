package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/syscalls"
	"syspart/internal/testbin"
	"syspart/profile"
)

// serverNames are the fixtures that serve; noloop has a test of its own.
var serverNames = []string{"branch", "anynumber", "cleanup", "threads", "prefork", "handler", "stackarg", "wrapper"}

// TestServers compares profiles with the expectations in the fixtures' sources.
func TestServers(t *testing.T) {
	variants := []struct {
		name  string
		flags []string
	}{
		{"O2", []string{"-O2"}},
		{"O0", []string{"-O0"}},
		{"static", []string{"-O2", "-static"}},
		{"no-pie", []string{"-O3", "-no-pie", "-fno-pie"}},
	}
	for _, v := range variants {
		for _, name := range serverNames {
			t.Run(v.name+"/"+name, func(t *testing.T) {
				bin, src := testbin.Server(t, name, v.flags...)
				p, path := fixtureProfile(t, name, bin)
				judge(t, testbin.Wants(t, src), p)
				if name == "anynumber" {
					if text := must(t, "show", path); !strings.Contains(strings.ToLower(text), "all") {
						t.Errorf("show does not say that all calls are open:\n%s", text)
					}
				}
			})
		}
	}
}

// judge compares one profile with the expectations; testdata/servers/README.md describes them.
func judge(t *testing.T, wants map[string][]string, p *profile.Profile) {
	t.Helper()
	byKind := make(map[string]*profile.Thread)
	var kinds []string
	for i := range p.Threads {
		th := &p.Threads[i]
		name, _, _ := strings.Cut(th.Transition.Function, "+")
		if byKind[name] != nil {
			t.Errorf("two kinds have their main loop in %s", name)
		}
		byKind[name] = th
		kinds = append(kinds, name)
	}
	slices.Sort(kinds)
	if loops := slices.Sorted(slices.Values(wants["loop"])); !slices.Equal(kinds, loops) {
		t.Errorf("main loops in %v, want %v", kinds, loops)
	}
	for key, values := range wants {
		verb, kind, of := strings.Cut(key, ".")
		if !of {
			if verb == "unknown" && !slices.ContainsFunc(p.Unresolved, func(u profile.Unresolved) bool {
				return u.What == "syscall number" && strings.HasPrefix(u.Function, values[0])
			}) {
				t.Errorf("no unknown system-call number in %s is listed: %v", values[0], p.Unresolved)
			}
			continue
		}
		th := byKind[kind]
		if th == nil {
			continue // told above
		}
		serving := th.Serving.Union(profile.SetAll)
		for _, v := range values {
			switch open := slices.Contains(serving, v); {
			case verb == "open" && !open:
				t.Errorf("%s: %s is closed, but needed", kind, v)
			case verb == "closed" && open:
				t.Errorf("%s: %s is open, but cannot be reached", kind, v)
			case verb == "tight" && open:
				t.Logf("%s: %s is open; only a finer call graph can close it", kind, v)
			case verb == "init" && !slices.Contains(th.Init, v):
				t.Errorf("%s: %s is missing from init", kind, v)
			case verb == "role" && th.Role != v:
				t.Errorf("%s: role %s, want %s", kind, th.Role, v)
			case verb == "instances" && strconv.Itoa(th.Instances) != v:
				t.Errorf("%s: %d instances, want %s", kind, th.Instances, v)
			}
		}
		if all := syscalls.All().Names(); verb == "all" && !slices.Equal(serving, all) {
			t.Errorf("%s: %d calls open, want all %d", kind, len(serving), len(all))
		}
	}
}

// sets are the serving sets of a profile without the names of kinds, which symbols decide.
func sets(p *profile.Profile) []string {
	var out []string
	for i := range p.Threads {
		s := &p.Threads[i].Serving
		out = append(out, fmt.Sprint(s.Own, s.Exec, s.Enforcer))
	}
	slices.Sort(out)
	return out
}

// wider reports whether each of the sets has all that the one of the same place has.
func wider(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		have := strings.Fields(strings.NewReplacer("[", " ", "]", " ").Replace(got[i]))
		for _, call := range strings.Fields(strings.NewReplacer("[", " ", "]", " ").Replace(want[i])) {
			if !slices.Contains(have, call) {
				return false
			}
		}
	}
	return true
}

// TestSameSets: what is allowed depends on the program alone, not on its name, its symbols, or the load.
func TestSameSets(t *testing.T) {
	for _, name := range []string{"cleanup", "threads", "prefork"} {
		t.Run(name, func(t *testing.T) {
			bin, _ := testbin.Server(t, name, "-O2")
			first, _ := fixtureProfile(t, name, bin)
			want := sets(first)
			if len(want) == 0 {
				t.Fatal("no thread kinds")
			}

			renamed := filepath.Join(t.TempDir(), "other-name")
			data, err := os.ReadFile(bin)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(renamed, data, 0o755); err != nil {
				t.Fatal(err)
			}
			for what, path := range map[string]string{"renamed": renamed, "stripped": testbin.Strip(t, bin), "without sections": testbin.NoSections(t, bin)} {
				p, _ := fixtureProfile(t, name, path)
				// Without section headers data objects are told apart less well: the sets may be wider, never narrower.
				if got := sets(p); !slices.Equal(got, want) && !(what == "without sections" && wider(got, want)) {
					t.Errorf("%s: other sets\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
			port := testbin.Port(t)
			idle, _ := profileOf(t, "sleep 1", bin, fmt.Sprint(port))
			if got := sets(idle); !slices.Equal(got, want) {
				t.Errorf("idle: other sets\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestNoLoop: a server that never enters a loop is one clear error, and leaves no profile.
func TestNoLoop(t *testing.T) {
	bin, _ := testbin.Server(t, "noloop")
	out := filepath.Join(t.TempDir(), "profile.json")
	stdout, msg, code := call(t, "profile", "-o", out, "--workload", "sleep 0.5", "--", bin)
	if code != 1 || strings.Count(msg, "\n") != 1 || !strings.Contains(msg, "loop") {
		t.Errorf("status %d, standard output %q, standard error %q", code, stdout, msg)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
