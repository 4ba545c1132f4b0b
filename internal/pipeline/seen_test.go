package pipeline

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"syspart/internal/observe"
	"syspart/internal/testbin"
	"syspart/profile"
)

// TestSeen: what a run shows a place to be given is told with it, and counted; the place stays unresolved.
func TestSeen(t *testing.T) {
	bin := testbin.Build(t, filepath.Join("testdata", "asks.c"), "-O2", "-rdynamic")
	addr := ""
	obs := observed(t, []string{bin, "hidden_from_analysis", "libz.so.1", "true && exit 0; echo secret"}, 120, func(line string) bool {
		port, ok := strings.CutPrefix(line, "READY ")
		addr = "127.0.0.1:" + port
		return ok
	}, func() {
		if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
			t.Errorf("answer %q, %v", got, err)
		}
	})
	places := func(p *profile.Profile) map[string]string {
		got := map[string]string{}
		for _, u := range p.Unresolved {
			if u.Module == bin {
				got[u.What] += u.Seen
			}
		}
		return got
	}
	p := profiled(t, bin, obs, opt)
	want := map[string]string{"dlopen": "libz.so.1", "dlsym": "hidden_from_analysis", "execve": "/bin/sh, echo, exit, true"}
	if d := cmp.Diff(want, places(p)); d != "" {
		t.Errorf("places (-want +got):\n%s", d)
	}
	own := func(p *profile.Profile, call string) bool { return slices.Contains(p.Threads[0].Serving.Own, call) }
	if !own(p, "umask") || own(p, "personality") {
		t.Errorf("own %v", p.Threads[0].Serving.Own)
	}
	renewed, err := Renew(context.Background(), p, opt)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, places(renewed)); d != "" || !own(renewed, "umask") {
		t.Errorf("renewed: own %v, places (-want +got):\n%s", renewed.Threads[0].Serving.Own, d)
	}
	x, err := Explain(context.Background(), p, Question{Syscall: "umask"}, opt)
	if err != nil || len(x.Open) != 1 || len(x.Open[0].Steps) < 2 {
		t.Errorf("explained by %+v, %v", x, err)
	} else if rule := x.Open[0].Steps[1].Rule; !strings.Contains(rule, "looked up by name in a run, "+bin+"; ") {
		t.Errorf("rule %q", rule)
	}
	obs.Arguments = nil
	p = profiled(t, bin, obs, opt)
	if d := cmp.Diff(map[string]string{"dlopen": "", "dlsym": "", "execve": ""}, places(p)); d != "" || own(p, "umask") {
		t.Errorf("nothing seen: own %v, places (-want +got):\n%s", p.Threads[0].Serving.Own, d)
	}
}

// TestOpens: a library that others need too counts as opened by its name if a module other than libc was seen to open it, or if it
// was given.
func TestOpens(t *testing.T) {
	const libc = "/usr/lib/x86_64-linux-gnu/libc.so.6"
	args := []observe.Argument{{What: "dlopen", Module: "/opt/host", Name: "libinner.so"}, {What: "dlmopen", Module: "/opt/host", Name: "/opt/lib/libouter.so"},
		{What: "dlopen", Module: libc, Name: "libgcc_s.so.1"}, {What: "dlsym", Module: "/opt/host", Name: "libz.so.1"}}
	p := &profile.Profile{Unresolved: []profile.Unresolved{{What: "dlopen", Module: "/opt/host", Seen: "/opt/lib/libouter.so, libinner.so"},
		{What: "dlopen", Module: libc, Seen: "libgcc_s.so.1"}, {What: "dlsym", Module: "/opt/host", Seen: "libz.so.1"}}}
	for _, f := range []string{"/opt/lib/libinner.so", "/opt/lib/libouter.so", "/usr/lib/libgcc_s.so.1", "/usr/lib/libz.so.1", "/opt/lib/libother.so"} {
		p.Modules = append(p.Modules, profile.Module{Path: f, Found: profile.FoundObserved})
	}
	p.Modules = append(p.Modules, profile.Module{Path: "/opt/lib/libgiven.so", Found: profile.FoundGiven})
	l := newLoader(&Options{NoCache: true})
	defer l.close()
	names := openedNames(args)
	for _, e := range l.extras(p) {
		if e.Found == profile.FoundGiven {
			if !e.Opened {
				t.Errorf("%s: not opened", e.Path)
			}
			continue
		}
		want := strings.HasSuffix(e.Path, "/libinner.so") || strings.HasSuffix(e.Path, "/libouter.so")
		if e.Opened != want || means(names, e.Path) != want {
			t.Errorf("%s: opened %v in a profile, %v in a run, want %v", e.Path, e.Opened, means(names, e.Path), want)
		}
	}
}
