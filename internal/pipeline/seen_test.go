package pipeline

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
