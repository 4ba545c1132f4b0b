package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"syspart/internal/filter"
	"syspart/internal/testbin"
	"syspart/profile"
)

// TestRemoved: a library that a server has loaded and whose file is gone when the profile is made counts as it was mapped. A
// profile made anew still counts it, and what is there in its stead is judged by what it needs.
func TestRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("reading a removed file through its mapping needs root")
	}
	bin := testbin.Build(t, filepath.Join("testdata", "removes.c"), "-O2")
	made := func(name, text string) []byte {
		data, err := os.ReadFile(testbin.BuildText(t, name, "#include <sys/times.h>\n#include <unistd.h>\n#include <sys/stat.h>\n"+text, "-shared", "-fPIC", "-O1"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	lib := filepath.Join(t.TempDir(), "made.so")
	if err := os.WriteFile(lib, made("made.c", "void made(void) { times(0); getppid(); }"), 0o755); err != nil {
		t.Fatal(err)
	}
	addr := ""
	obs := observed(t, []string{bin, lib}, 120, func(line string) bool {
		port, ok := strings.CutPrefix(line, "READY ")
		addr = "127.0.0.1:" + port
		return ok
	}, func() {
		if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
			t.Errorf("answer %q, %v", got, err)
		}
	})
	p := profiled(t, bin, obs, opt)
	i := slices.IndexFunc(p.Modules, func(m profile.Module) bool { return m.Path == lib })
	if i < 0 || !p.Modules[i].Removed || p.Modules[i].Found != profile.FoundObserved {
		t.Fatalf("modules %+v", p.Modules)
	}
	for j := range p.Modules {
		if p.Modules[j].Removed != (i == j) {
			t.Errorf("%+v", p.Modules[j])
		}
	}
	own := p.Threads[0].Serving.Own
	if !slices.Contains(own, "times") || !slices.Contains(own, "getppid") || slices.Contains(own, "umask") {
		t.Errorf("own %v", own)
	}
	if _, err := Plan(context.Background(), p, filter.KillProcess, opt); err != nil {
		t.Error(err)
	}
	x, err := Explain(context.Background(), p, Question{Syscall: "times"}, opt)
	if err != nil || len(x.Open) != 1 || !strings.Contains(x.Open[0].Steps[len(x.Open[0].Steps)-1].Module, "libc.so") {
		t.Errorf("explained by %+v, %v", x, err)
	}

	t.Run("renewed", func(t *testing.T) {
		got, err := Renew(context.Background(), p, opt)
		if err != nil {
			t.Fatal(err)
		}
		got.Threads[0].Init = p.Threads[0].Init
		if d := cmp.Diff(p, got); d != "" {
			t.Errorf("with the cache (-old +renewed):\n%s", d)
		}
		bare := opt
		bare.NoCache = true
		if got, err = Renew(context.Background(), p, bare); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p.Threads[0].Serving, got.Threads[0].Serving); d != "" {
			t.Errorf("without (-old +renewed):\n%s", d)
		}
		if !slices.Contains(got.Modules, p.Modules[i]) || !slices.ContainsFunc(got.Unresolved, func(u profile.Unresolved) bool { return u.What == "module" && u.Module == lib }) {
			t.Errorf("nothing is said of the module: %+v", got.Unresolved)
		}
		if x, err = Explain(context.Background(), p, Question{Syscall: "times"}, bare); err != nil || len(x.Open) != 1 || x.Open[0].Steps[0].Module != lib {
			t.Errorf("explained by %+v, %v", x, err)
		}
	})

	t.Run("admitted", func(t *testing.T) {
		n := Newcomers{Profile: p, Options: opt}
		for _, c := range []struct{ text, want string }{
			{"void made(void) { getppid(); times(0); times(0); }", ""},
			{"void made(void) { umask(0); }", "needs umask for it"},
			{"int nice(int); void made(void) { nice(getppid()); }", "priority for it"},
			{"void absent(void); void made(void) { absent(); times(0); }", ""},
		} {
			err := n.Admit(context.Background(), "/elsewhere/made.so", made("other.c", c.text))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %v, want %q", c.text, err, c.want)
			}
		}
		if len(n.admitted) != 2 {
			t.Errorf("%d are counted on", len(n.admitted))
		}
	})
}
