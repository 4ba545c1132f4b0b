package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"syspart/internal/link"
	"syspart/internal/testbin"
	"syspart/internal/view"
	"syspart/profile"
)

// Whether a library exports a name is told without analysing it: a directory may hold all libraries of the system.
func TestExportsAny(t *testing.T) {
	lib := testbin.BuildText(t, "exports.c", `#include <string.h>
int plugin_start(const char *s) { return (int)strlen(s); }
`, "-O1", "-fno-builtin", "-shared", "-fPIC")
	for _, c := range []struct {
		names []string
		want  bool
	}{
		{[]string{"plugin_stop"}, false},
		{[]string{"plugin"}, false},
		{[]string{"strlen"}, false}, // imported
		{[]string{"plugin_stop", "plugin_start"}, true},
	} {
		l := newLoader(&Options{NoCache: true})
		if got := l.exportsAny(lib, c.names); got != c.want {
			t.Errorf("exports any of %q: %v", c.names, got)
		}
		if n := l.done.Load(); n > 0 && !c.want {
			t.Errorf("%q: the library was analysed", c.names)
		}
		l.close()
	}
	l := newLoader(&Options{NoCache: true})
	defer l.close()
	if l.exportsAny("/etc/passwd", []string{"root"}) || l.exportsAny(lib+".none", []string{"plugin_start"}) {
		t.Error("what is no library exports something")
	}
}

// Of a directory that a module names only the libraries count: what else comes and goes there changes no answer.
func TestDirectories(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root[1] *")
	dir := filepath.Join(root, "usr/plug-ins")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"a.so", "b.so.1", "c.sock", "d"} {
		write(n)
	}
	l := newLoader(&Options{NoCache: true, Root: root})
	defer l.close()
	l.view = view.New()
	s, err := l.summarize(testbin.BuildText(t, "names.c", `#include <dlfcn.h>
void *plug(const char *s) { return dlsym(dlopen(s, 1), "plugin_start"); }
const char *where[] = {"/usr/plug-ins", "/proc/"};
`, "-O1", "-shared", "-fPIC"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/usr/plug-ins/a.so", "/usr/plug-ins/b.so.1"}
	if got := l.directories(&link.Module{Module: s}); !slices.Equal(got, want) {
		t.Fatalf("libraries are %q, want %q", got, want)
	}
	notes, ok := l.view.Notes()
	if !ok {
		t.Fatal("a question was answered in two ways")
	}
	write("e")
	if !view.Hold(notes) {
		t.Error("another file makes another answer")
	}
	write("f.so")
	if view.Hold(notes) {
		t.Error("another library makes no other answer")
	}
}

// A library that a program loads from a directory beside its own, by a name that it puts together, is found (java and
// libjvm.so).
func TestFormatted(t *testing.T) {
	home := t.TempDir()
	install := func(file, from string) string {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(home, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	bin := install("bin/launcher", testbin.BuildText(t, "launcher.c", `#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	char home[4096], name[8192];
	if (readlink("/proc/self/exe", home, sizeof home) < 0)
		return 1;
	snprintf(name, sizeof name, "%s/lib/%s/libmachine.so", home, argv[1]);
	void *h = dlopen(name, RTLD_NOW);
	return h ? ((int (*)(void))dlsym(h, "machine"))() : 1;
}
`, "-O1"))
	lib := testbin.BuildText(t, "machine.c", `#include <sys/stat.h>
int machine(void) { return (int)umask(077); }
`, "-O1", "-shared", "-fPIC")
	install("lib/server/libmachine.so", lib)
	install("lib/server/libother.so", lib)
	a, err := Analyze(context.Background(), bin, []string{"entry"}, Options{NoCache: true})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range a.Modules {
		if rel, err := filepath.Rel(home, m.Path); err == nil && filepath.IsLocal(rel) {
			found = append(found, rel)
		}
	}
	if !slices.Equal(found, []string{"lib/server/libmachine.so"}) || !slices.Contains(a.Sets[0].Calls.Names(), "umask") {
		t.Errorf("found %v, calls %v", found, a.Sets[0].Calls.Names())
	}
}

// A module that loads libraries by unknown names finds those that were installed beside it and need what the program has of
// them, as Java's machine finds what Java code asks for.
func TestFamily(t *testing.T) {
	home := t.TempDir()
	build := func(name, text string, flags ...string) {
		t.Helper()
		data, err := os.ReadFile(testbin.BuildText(t, name+".c", text, append([]string{"-O1"}, flags...)...))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lib := func(name string, flags ...string) []string {
		return append([]string{"-shared", "-fPIC", "-Wl,-soname," + name, "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN"}, flags...)
	}
	build("libmachine.so", `#include <dlfcn.h>
#include <stdio.h>
int machine(const char *part, const char *what)
{
	char name[512];
	snprintf(name, sizeof name, "%s.so", part);
	void *h = dlopen(name, RTLD_NOW);
	snprintf(name, sizeof name, "Part_%s", what);
	return ((int (*)(void))dlsym(h, name))();
}
`, lib("libmachine.so")...)
	machine := filepath.Join(home, "libmachine.so")
	build("libpart.so", `#include <sys/stat.h>
int Part_one(void) { return (int)umask(077); }
`, lib("libpart.so", machine)...)
	build("libother.so", `#include <unistd.h>
int Part_two(void) { return (int)getppid(); }
`, lib("libother.so")...)
	build("launcher", `int machine(const char *, const char *);
int main(int argc, char **argv) { return machine(argv[1], argv[2]); }
`, machine, "-Wl,-rpath,$ORIGIN")
	a, err := Analyze(context.Background(), filepath.Join(home, "launcher"), []string{"entry"}, Options{NoCache: true})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range a.Modules {
		if filepath.Dir(m.Path) == home && m.Found == profile.FoundHeuristic {
			found = append(found, filepath.Base(m.Path))
		}
	}
	if calls := a.Sets[0].Calls.Names(); !slices.Equal(found, []string{"libpart.so"}) || !slices.Contains(calls, "umask") || slices.Contains(calls, "getppid") {
		t.Errorf("found %v, calls %v", found, calls)
	}
}

// A library that code names by another path is the one that is there already: the call graph is not made again for it.
func TestOtherPath(t *testing.T) {
	lib := testbin.BuildText(t, "late.c", `#include <unistd.h>
int late(void) { return (int)getppid(); }
`, "-O1", "-shared", "-fPIC", "-Wl,-soname,liblate.so")
	link := filepath.Join(t.TempDir(), "other.so")
	if err := os.Symlink(lib, link); err != nil {
		t.Fatal(err)
	}
	bin := testbin.BuildText(t, "opens.c", `#include <dlfcn.h>
int main(void) { return ((int (*)(void))dlsym(dlopen(OTHER, RTLD_NOW), "late"))(); }
`, "-O1", `-DOTHER="`+link+`"`)
	graphs := 0
	a, err := Analyze(context.Background(), bin, []string{"entry"}, Options{NoCache: true, Modules: []string{lib}, Progress: func(stage string, _, _ int) {
		if stage == "call graph" {
			graphs++
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if graphs != 1 || !slices.Contains(a.Sets[0].Calls.Names(), "getppid") {
		t.Errorf("%d call graphs, calls %v", graphs, a.Sets[0].Calls.Names())
	}
}
