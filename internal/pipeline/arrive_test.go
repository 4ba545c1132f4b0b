package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/phase"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
	"syspart/profile"
)

// TestArrive: libraries and programs are found by every way in which their names come, and where they do not, the place
// is listed with the reason.
func TestArrive(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/usr/bin/env -S true\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	plugins := filepath.Join(dir, "plugins")
	if err := os.Mkdir(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"one.so": "int getppid(void); int arrive_plugin_init(void) { return getppid(); }", "two.so": "int other(void) { return 1; }"} {
		data, err := os.ReadFile(testbin.BuildText(t, strings.TrimSuffix(name, ".so")+".c", text, "-shared", "-fPIC"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(plugins, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []struct {
		modules, programs []string // file names
		found             string   // of the modules
		unresolved        string   // "what: word of the reason"
	}{
		1:  {modules: []string{"libz.so.1"}, found: profile.FoundStatic},
		2:  {modules: []string{"libresolv.so.2", "libz.so.1"}, found: profile.FoundStatic},
		3:  {unresolved: "dlopen: dlopen: which library is loaded is not known"},
		4:  {programs: []string{"true"}},
		5:  {programs: []string{"false", "true"}},
		6:  {programs: []string{"true"}},
		7:  {programs: []string{"true"}},
		8:  {programs: []string{"dash", "false", "true"}},
		9:  {programs: []string{"dash"}, unresolved: "execve: popen: which program is executed is not known"},
		10: {programs: []string{"dash"}, unresolved: "execve: system: which program is executed is not known (a command line"},
		11: {unresolved: "execve: execve: which program is executed is not known (relative/path depends"},
		12: {programs: []string{"env", "true"}},
		13: {modules: []string{"one.so"}, found: profile.FoundHeuristic, unresolved: "dlopen: dlopen: which library is loaded is not known (put together"},
		14: {unresolved: "execve: execve: which program is executed is not known"},
		15: {programs: []string{"false", "true"}},
		16: {programs: []string{"true"}},
		17: {unresolved: "execve: execve: which program is executed is not known (put together"},
		18: {unresolved: "execve: execve: which program is executed is not known (put together"},
	} {
		if i == 0 {
			continue
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			bin := testbin.Build(t, filepath.Join("testdata", "arrive.c"), "-O2", "-fno-builtin", fmt.Sprintf("-DCASE=%d", i), fmt.Sprintf("-DSCRIPT=%q", script), fmt.Sprintf("-DPLUGINS=%q", plugins))
			l := newLoader(&Options{})
			defer l.close()
			g, err := l.graph(context.Background(), bin, nil)
			if err != nil {
				t.Fatal(err)
			}
			w := newWidened(l, g)
			ps := l.newPrograms(context.Background(), w)
			r := g.WalkSignals(phase.NewFinder(g).Entry())
			w.add(r)
			paths, gaps, err := ps.given(g, r)
			if err != nil {
				t.Fatal(err)
			}
			var modules, programs []string
			for _, m := range g.P.Modules {
				if m.Found == profile.FoundStatic || m.Found == profile.FoundHeuristic {
					if m.Found != c.found {
						t.Errorf("%s: found %s, want %s", m.Path, m.Found, c.found)
					}
					modules = append(modules, filepath.Base(m.Path))
				}
			}
			for _, e := range ps.sorted() {
				programs = append(programs, filepath.Base(e.Path))
				if e.Found != profile.FoundStatic || !slices.Contains(e.Needs, "exit_group") {
					t.Errorf("%s: found %s, needs %v", e.Path, e.Found, e.Needs)
				}
			}
			slices.Sort(modules)
			slices.Sort(programs)
			if !slices.Equal(modules, c.modules) || !slices.Equal(programs, c.programs) {
				t.Errorf("modules %q, programs %q; want %q, %q", modules, programs, c.modules, c.programs)
			}
			if needs := ps.needs(paths); len(programs) > 0 != needs.Has(mustCall(t, "brk")) {
				t.Errorf("needs of the programs: %v", needs.Names())
			}
			own := []string{}
			for _, u := range w.list {
				if strings.HasSuffix(u.Module, filepath.Base(bin)) && u.What != "code" {
					own = append(own, u.What+": "+u.Effect)
				}
			}
			if c.unresolved == "" && len(own) > 0 || c.unresolved != "" && (len(own) != 1 || !strings.HasPrefix(own[0], c.unresolved)) {
				t.Errorf("unresolved %q; want %q", own, c.unresolved)
			}
			// two.so exports nothing that is looked up, so it is left out, which is said.
			if told := len(own) == 1 && strings.Contains(own[0], "others in "+plugins+", which"); told != (i == 13) {
				t.Errorf("unresolved %q: tells of what is left out: %v", own, told)
			}
			if want := strings.HasPrefix(c.unresolved, "execve"); want != (gaps > 0) {
				t.Errorf("%d gaps", gaps)
			}
		})
	}
}

// TestPlugins: asked for, all plug-ins in a directory that is compiled in count.
func TestPlugins(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.so", "b.so.1"} {
		data, err := os.ReadFile(testbin.BuildText(t, "plug.c", "int anything(void) { return 1; }", "-shared", "-fPIC"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bin := testbin.Build(t, filepath.Join("testdata", "arrive.c"), "-O2", "-DCASE=13", "-DSCRIPT=\"\"", fmt.Sprintf("-DPLUGINS=%q", dir))
	for _, on := range []bool{false, true} {
		l := newLoader(&Options{Plugins: on})
		g, err := l.graph(context.Background(), bin, nil)
		l.close()
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, m := range g.P.Modules {
			if m.Found == profile.FoundHeuristic {
				found++
			}
		}
		if want := map[bool]int{false: 0, true: 2}[on]; found != want {
			t.Errorf("plugins %v: %d found, want %d", on, found, want)
		}
	}
}

func mustCall(t *testing.T, name string) int {
	nr, ok := syscalls.Number(name)
	if !ok {
		t.Fatalf("no call %s", name)
	}
	return nr
}

// TestPAM: modules of PAM are those that the configuration of any service names.
func TestPAM(t *testing.T) {
	lib := testbin.NeedFile(t, "/lib/x86_64-linux-gnu/libpam.so.0", "libpam0g")
	bin := testbin.BuildText(t, "pam.c", "int pam_start(const char *, const char *, void *, void **); int main(void) { void *h; return pam_start(\"login\", 0, 0, &h); }",
		"-O1", lib)
	l := newLoader(&Options{})
	defer l.close()
	g, err := l.graph(context.Background(), bin, nil)
	if err != nil {
		t.Fatal(err)
	}
	i := moduleOf(g.P, "/usr/lib/x86_64-linux-gnu/security/pam_unix.so")
	if i < 0 || g.P.Modules[i].Found != profile.FoundStatic {
		t.Errorf("pam_unix.so is not in the program: %d", i)
	}
}
