package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/observe"
	"syspart/internal/phase"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
	"syspart/profile"
)

// fixtures are the sources in testdata/servers that serve.
var fixtures = []string{"branch", "anynumber", "cleanup", "threads", "prefork", "handler", "stackarg", "wrapper"}

// TestServers observes every fixture, compares its profile with what its source says, and with that of a stripped copy
// under another name, which has to have the same sets.
func TestServers(t *testing.T) {
	for _, v := range []struct {
		name  string
		flags []string
	}{{"O2", []string{"-O2"}}, {"static", []string{"-O2", "-static"}}} {
		for _, name := range fixtures {
			t.Run(v.name+"/"+name, func(t *testing.T) {
				bin, src := testbin.Server(t, name, v.flags...)
				p := profiled(t, bin, observedServer(t, name, bin, 3), opt)
				judge(t, testbin.Wants(t, src), p)
				other := filepath.Join(t.TempDir(), "another-name")
				data, err := os.ReadFile(testbin.Strip(t, bin))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(other, data, 0o755); err != nil {
					t.Fatal(err)
				}
				sameSets(t, "stripped and renamed", profiled(t, other, observedServer(t, name, other, 0), opt), p)
			})
		}
	}
}

// judge compares a profile with the expectations; testdata/servers/README.md describes them.
func judge(t *testing.T, wants map[string][]string, p *profile.Profile) {
	t.Helper()
	byKind := map[string]*profile.Thread{}
	var kinds []string
	for i := range p.Threads {
		name, _, _ := strings.Cut(p.Threads[i].Transition.Function, "+")
		byKind[name] = &p.Threads[i]
		kinds = append(kinds, name)
	}
	slices.Sort(kinds)
	if loops := slices.Sorted(slices.Values(wants["loop"])); !slices.Equal(kinds, loops) {
		t.Errorf("main loops in %v, want %v", kinds, loops)
	}
	if f := wants["unknown"]; f != nil && !slices.ContainsFunc(p.Unresolved, func(u profile.Unresolved) bool {
		return u.What == "syscall number" && strings.HasPrefix(u.Function, f[0]) && strings.Contains(u.Effect, "every call is open")
	}) {
		t.Errorf("no unknown number in %s is listed: %+v", f[0], p.Unresolved)
	}
	if wants["unknown"] == nil && slices.ContainsFunc(p.Unresolved, func(u profile.Unresolved) bool { return u.What == "syscall number" }) {
		t.Errorf("a number is unknown: %+v", p.Unresolved)
	}
	for key, values := range wants {
		verb, kind, of := strings.Cut(key, ".")
		th := byKind[kind]
		if !of || th == nil {
			continue
		}
		open := th.Serving.Union(profile.SetAll)
		if all := syscalls.All().Names(); verb == "all" && !slices.Equal(open, all) {
			t.Errorf("%s: %d calls are open, want all %d", kind, len(open), len(all))
		}
		for _, v := range values {
			is := slices.Contains(open, v)
			switch {
			case verb == "open" && !is:
				t.Errorf("%s: %s is closed, but needed", kind, v)
			case verb == "closed" && is:
				t.Errorf("%s: %s is open, but cannot be reached", kind, v)
			case verb == "init" && !slices.Contains(th.Init, v):
				t.Errorf("%s: %s is missing from init", kind, v)
			case verb == "role" && th.Role != v:
				t.Errorf("%s: role %s, want %s", kind, th.Role, v)
			case verb == "instances" && strconv.Itoa(th.Instances) != v:
				t.Errorf("%s: %d instances, want %s", kind, th.Instances, v)
			}
		}
	}
}

// TestNoLoop: a program that never enters a loop is one clear error.
func TestNoLoop(t *testing.T) {
	bin, _ := testbin.Server(t, "noloop", "-O2")
	_, err := Profile(context.Background(), bin, observedServer(t, "noloop", bin, 0), opt)
	if !errors.Is(err, phase.ErrNoLoop) || !strings.Contains(err.Error(), bin) {
		t.Errorf("error %v", err)
	}
}

// TestProfileDark: a thread whose stack could not be read is named as one that gets no filter.
func TestProfileDark(t *testing.T) {
	bin, _ := testbin.Server(t, "threads", "-O2")
	obs := *observedServer(t, "threads", bin, 3)
	dark := func(p *profile.Profile) (list []profile.Unresolved) {
		for _, u := range p.Unresolved {
			if u.What == threadPlace {
				list = append(list, u)
			}
		}
		return list
	}
	if list := dark(profiled(t, bin, &obs, opt)); len(list) > 0 {
		t.Errorf("of the server itself: %+v", list)
	}
	obs.Threads = append(slices.Clone(obs.Threads), observe.Thread{Comm: "interpreter", Program: obs.Program, Samples: 9, Stacks: []observe.Stack{
		{Frames: []observe.Frame{{Module: bin, PC: 0x1234}}, Count: 9, LastSeen: obs.Seconds}}})
	if list := dark(profiled(t, bin, &obs, opt)); len(list) != 1 || list[0].Module != bin || list[0].Offset != "0x1234" || !strings.Contains(list[0].Effect, "interpreter") {
		t.Errorf("dark threads: %+v", list)
	}
}

// TestProfileTwice: two profiles of one observation are the same bytes, with a full cache, an empty one, and none.
func TestProfileTwice(t *testing.T) {
	bin, _ := testbin.Server(t, "threads", "-O2")
	obs := observedServer(t, "threads", bin, 3)
	want, err := profiled(t, bin, obs, opt).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for what, opt := range map[string]Options{"again": opt, "with an empty cache": {CacheDir: t.TempDir()}, "without cache": {NoCache: true, CacheDir: "/nonexistent"}} {
		got, err := profiled(t, bin, obs, opt).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: another profile\n%s\nwant\n%s", what, got, want)
		}
	}
}

// TestExplainFixtures: the reason for a call that the loop makes goes through the functions of the source.
func TestExplainFixtures(t *testing.T) {
	bin, _ := testbin.Server(t, "cleanup", "-O2")
	p := profiled(t, bin, observedServer(t, "cleanup", bin, 1), opt)
	for call, want := range map[string]string{"unlink": "cycle", "rmdir": "main", "sync": "at_end", "getitimer": "fini"} {
		x, err := Explain(context.Background(), p, Question{Syscall: call}, opt)
		if err != nil || len(x.Open) != 1 || len(x.Closed) != 0 || x.Syscall != call {
			t.Fatalf("%s: %+v, %v", call, x, err)
		}
		path := x.Open[0]
		if last := path.Steps[len(path.Steps)-1]; last.Function != want || path.Syscall != call || !strings.HasPrefix(path.Site, bin+"+0x") {
			t.Errorf("%s is made at %s, by %s: %+v", call, path.Site, want, path.Steps)
		}
	}
	x, err := Explain(context.Background(), p, Question{Syscall: "personality"}, opt)
	if err != nil || len(x.Open) != 0 || len(x.Closed) != 1 || !strings.Contains(x.Closed[0], "main") {
		t.Errorf("personality: %+v, %v", x, err)
	}
	if len(x.Before) != 1 || x.Before[0].Phase != "init" || x.Before[0].Steps[0].Rule != "program entry" && x.Before[0].Steps[0].Function != "main" {
		t.Errorf("personality was needed for: %+v", x.Before)
	}
	if x, err := Explain(context.Background(), p, Question{Syscall: "mknod"}, opt); err != nil || len(x.Closed) != 1 || strings.Contains(x.Closed[0], "before it") || len(x.Before) != 0 {
		t.Errorf("mknod: %+v, %v", x, err)
	}
	if _, err := Explain(context.Background(), p, Question{Syscall: "nonsense"}, opt); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a call that there is not: %v", err)
	}
}

// TestExplainAll: several paths to a call are distinct, the shortest first, and each is one of the graph; --phase init gives those
// of the start of calls that stay open, too.
func TestExplainAll(t *testing.T) {
	bin, _ := testbin.Server(t, "threads", "-O2", "-static")
	p := profiled(t, bin, observedServer(t, "threads", bin, 3), opt)
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(context.Background(), bin, p)
	if err != nil {
		t.Fatal(err)
	}
	several := 0
	for _, call := range []string{"write", "mmap", "futex", "rt_sigprocmask"} {
		one, err1 := Explain(context.Background(), p, Question{Syscall: call}, opt)
		all, err2 := Explain(context.Background(), p, Question{Syscall: call, Paths: 4, Init: true}, opt)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for _, th := range p.Threads {
			for ph, list := range map[string][]Path{"serving": all.Open, "init": all.Before} {
				var paths []Path
				for _, x := range list {
					if x.Phase != ph {
						t.Errorf("%s: %+v among those of %s", call, x, ph)
					}
					if x.Kind == th.Kind {
						paths = append(paths, x)
					}
				}
				if len(paths) == 0 || len(paths) > 4 {
					t.Errorf("%s: %d paths of %s, %s", call, len(paths), th.Kind, ph)
				}
				seen := map[string]bool{}
				for i := range paths {
					checkPath(t, g, &paths[i])
					if key := fmt.Sprintf("%+v", paths[i]); seen[key] {
						t.Errorf("%s: the same path twice: %s", call, key)
					} else {
						seen[key] = true
					}
					if i > 0 && len(paths[i].Steps) < len(paths[i-1].Steps) && paths[i].Steps[0].Rule == paths[i-1].Steps[0].Rule {
						t.Errorf("%s: a shorter path behind a longer one: %+v", call, paths)
					}
				}
				if len(paths) > 1 {
					several++
				}
			}
			first := func(x *Explanation) Path {
				return x.Open[slices.IndexFunc(x.Open, func(p Path) bool { return p.Kind == th.Kind })]
			}
			if a, b := first(one), first(all); !reflect.DeepEqual(a, b) {
				t.Errorf("%s: the first of several is %+v, the one alone %+v", call, b, a)
			}
		}
	}
	if several == 0 {
		t.Error("no call has two paths")
	}
}

// TestExplainNumbers: a number that passes through functions is followed to the one that makes the call.
func TestExplainNumbers(t *testing.T) {
	bin, _ := testbin.Server(t, "wrapper", "-O2")
	p := profiled(t, bin, observedServer(t, "wrapper", bin, 1), opt)
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(context.Background(), bin, p)
	if err != nil {
		t.Fatal(err)
	}
	for call, want := range map[string]string{"times": "main outer my_syscall", "getpriority": "main stored my_syscall", "getsid": "main syscall"} {
		x, err := Explain(context.Background(), p, Question{Syscall: call}, opt)
		if err != nil || len(x.Open) != 1 {
			t.Fatalf("%s: %+v, %v", call, x, err)
		}
		var got []string
		for _, s := range x.Open[0].Steps {
			got = append(got, s.Function)
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s: path %q, want %q", call, g, want)
		}
		checkPath(t, g, &x.Open[0])
	}
}
