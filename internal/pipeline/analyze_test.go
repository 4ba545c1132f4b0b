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
	"strings"
	"testing"

	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/summary"
	"syspart/internal/testbin"
	"syspart/profile"
)

// symbol returns the address of a function of a file that is not stripped.
func symbol(t *testing.T, path, name string) uint64 {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Symtab {
		if s.Name == name && !s.Undefined {
			return s.Value
		}
	}
	t.Fatalf("%s has no symbol %s", path, name)
	return 0
}

// TestAnalyzeFrom: starting points by name, with offset, and by address; less can be reached from a later one.
func TestAnalyzeFrom(t *testing.T) {
	bin, _ := testbin.Server(t, "branch", "-O2", "-static")
	serve := symbol(t, bin, "serve")
	from := []string{"entry", "main", "serve", "serve+0x0", fmt.Sprintf("%#x", serve), "rare"}
	a, err := Analyze(context.Background(), bin, from, opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Sets) != len(from) || a.Functions == 0 || a.AddressTaken == 0 || a.IndirectSites == 0 || a.Edges <= a.IndirectSites {
		t.Fatalf("%+v", a)
	}
	has := func(i int, call string) bool { return slices.Contains(a.Sets[i].Calls.Names(), call) }
	for i, s := range a.Sets {
		if s.From != from[i] || s.Functions == 0 {
			t.Errorf("set %d: from %s, %d functions", i, s.From, s.Functions)
		}
	}
	for _, call := range []string{"accept", "getpriority", "times", "umask", "write", "exit_group"} {
		if !has(0, call) || !has(1, call) {
			t.Errorf("%s: from entry %v, from main %v", call, has(0, call), has(1, call))
		}
	}
	for i := 2; i < 5; i++ {
		if !has(i, "times") || !has(i, "umask") {
			t.Errorf("from %s: %v", from[i], a.Sets[i].Calls.Names())
		}
		if a.Sets[i].Calls != a.Sets[2].Calls || a.Sets[i].Functions != a.Sets[2].Functions {
			t.Errorf("from %s: %d functions, from serve %d", from[i], a.Sets[i].Functions, a.Sets[2].Functions)
		}
	}
	if !has(5, "umask") || has(5, "mkdir") {
		t.Errorf("from rare: %v", a.Sets[5].Calls.Names())
	}
	if rest := a.Sets[1].Calls.Minus(a.Sets[0].Calls); !rest.Empty() {
		t.Errorf("reached from main but not from entry: %v", rest.Names())
	}

	// Stripped, main is what the entry code hands to libc: the same sets.
	stripped, err := Analyze(context.Background(), testbin.Strip(t, bin), nil, opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(stripped.Sets) != 2 || stripped.Sets[0].From != "entry" || stripped.Sets[1].From != "main" {
		t.Fatalf("sets of a stripped file: %+v", stripped.Sets)
	}
	if more := stripped.Sets[1].Calls.Minus(a.Sets[1].Calls); !more.Empty() || !slices.Contains(stripped.Sets[1].Calls.Names(), "umask") {
		t.Errorf("stripped, from main: %v more, %v", more.Names(), stripped.Sets[1].Calls.Names())
	}
}

// TestBadStart: a starting point that there is not is one clear error that names it.
func TestBadStart(t *testing.T) {
	bin, _ := testbin.Server(t, "branch", "-O2", "-static")
	stripped := testbin.Strip(t, bin)
	for _, c := range []struct{ bin, from string }{
		{bin, "nonsense"}, {bin, "nonsense+0x10"}, {bin, "serve+zz"}, {bin, "serve+0xffffffffff"}, {bin, "0xzz"}, {bin, "0x1"}, {bin, "0x"}, {bin, ""},
		{bin, "0xffffffffffffffffff"}, {stripped, "serve"},
	} {
		_, err := Analyze(context.Background(), c.bin, []string{c.from}, opt)
		if !errors.Is(err, ErrStart) || !strings.Contains(err.Error(), c.from) || strings.Contains(err.Error(), "\n") {
			t.Errorf("from %q: error %v", c.from, err)
		}
	}
}

// TestBadFiles: what is no program for us is one clear error that names the file.
func TestBadFiles(t *testing.T) {
	bin, _ := testbin.Server(t, "branch", "-O2")
	data, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	arm := bytes.Clone(data)
	arm[0x12] = 0xb7 // e_machine: EM_AARCH64
	for _, c := range []struct {
		path string
		want error
	}{
		{write("script", []byte("#!/bin/sh\nexit 0\n")), image.ErrScript},
		{write("truncated", data[:len(data)/3]), nil},
		{write("empty", nil), nil},
		{write("text", []byte(strings.Repeat("text ", 100))), image.ErrNotELF},
		{write("arm", arm), image.ErrArch},
		{t.TempDir(), nil},
		{"/nonexistent/server", os.ErrNotExist},
	} {
		for what, f := range map[string]func() error{
			"analyze": func() error { _, err := Analyze(context.Background(), c.path, nil, opt); return err },
			"loops":   func() error { _, err := Loops(context.Background(), c.path, opt); return err },
		} {
			err := f()
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), filepath.Base(c.path)) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s %s: error %v", what, filepath.Base(c.path), err)
			}
		}
	}
}

// TestCancel: a cancelled analysis ends with the context's error.
func TestCancel(t *testing.T) {
	bin, _ := testbin.Server(t, "branch", "-O2")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Analyze(ctx, bin, nil, opt); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// cached lists the files of a cache.
func cached(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCache: a corrupt entry is ignored and replaced; without a cache nothing is written; all give equal results.
func TestCache(t *testing.T) {
	bin, _ := testbin.Server(t, "threads", "-O2", "-static")
	dir := t.TempDir()
	analyze := func(opt Options) *Analysis {
		t.Helper()
		a, err := Analyze(context.Background(), bin, nil, opt)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	want := analyze(Options{CacheDir: dir})
	files := cached(t, dir)
	if len(files) == 0 {
		t.Fatal("the cache is empty")
	}
	good := map[string][]byte{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		good[path] = data
	}
	if got := analyze(Options{CacheDir: dir}); !reflect.DeepEqual(got, want) {
		t.Error("a warm analysis has another result than a cold one")
	}
	for what, spoil := range map[string]func(data []byte) []byte{
		"one bit":   func(data []byte) []byte { data[len(data)/2] ^= 4; return data },
		"cut":       func(data []byte) []byte { return data[:len(data)/2] },
		"empty":     func([]byte) []byte { return nil },
		"no header": func(data []byte) []byte { return data[64:] },
	} {
		for path, data := range good {
			if err := os.WriteFile(path, spoil(bytes.Clone(data)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := analyze(Options{CacheDir: dir}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: another result with a corrupt cache", what)
		}
		for path, data := range good {
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
				t.Errorf("%s: %s was not replaced: %d bytes, %v", what, filepath.Base(path), len(now), err)
			}
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	if got := analyze(Options{CacheDir: none, NoCache: true}); !reflect.DeepEqual(got, want) {
		t.Error("another result without cache")
	}
	if _, err := os.Stat(none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cache was made: %v", err)
	}
	// One that cannot be made is as good as none.
	if got := analyze(Options{CacheDir: filepath.Join(bin, "below-a-file")}); !reflect.DeepEqual(got, want) {
		t.Error("another result with a cache that cannot be made")
	}
}

// TestPlanRefuses: a profile of another build is refused, and the error names the module that changed.
func TestPlanRefuses(t *testing.T) {
	built, _ := testbin.Server(t, "branch", "-O2")
	bin := testbin.Copy(t, built)
	p := profiled(t, bin, observedServer(t, "branch", bin, 1), opt)
	plan, err := Plan(context.Background(), p, filter.KillProcess, opt)
	if err != nil || len(plan.Kinds) != 1 {
		t.Fatalf("plan %+v, error %v", plan, err)
	}
	change := func(edit func(p *profile.Profile)) *profile.Profile {
		data, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		q, err := profile.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		edit(q)
		return q
	}
	p = change(func(*profile.Profile) {}) // in the order of a document
	libc := slices.IndexFunc(p.Modules, func(m profile.Module) bool { return strings.Contains(m.Path, "libc.so") })
	if libc < 0 {
		t.Fatalf("no libc among %v", p.Modules)
	}
	other := strings.Repeat("0123456789abcdef", 4)
	refused := func(what, module string, p *profile.Profile) {
		t.Helper()
		_, err := Plan(context.Background(), p, filter.KillProcess, opt)
		var changed *profile.ModuleChangedError
		if !errors.As(err, &changed) || changed.Path != module || !strings.Contains(err.Error(), module) {
			t.Errorf("%s: error %v, want one that names %s", what, err, module)
		}
	}
	refused("libc", p.Modules[libc].Path, change(func(p *profile.Profile) { p.Modules[libc].SHA256 = other }))
	refused("program", p.Program.Path, change(func(p *profile.Profile) { p.Program.SHA256 = other }))
	if _, err := Plan(context.Background(), change(func(p *profile.Profile) { p.Threads[0].Transition.Offset = "0x1" }), filter.KillProcess, opt); err == nil {
		t.Error("a transition that is no loop is accepted")
	}
	rebuilt, _ := testbin.Server(t, "branch", "-O0")
	data, err := os.ReadFile(rebuilt)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, data, 0o755); err != nil {
		t.Fatal(err)
	}
	refused("rebuilt", p.Program.Path, p)
}

// TestAnalyzeAssumptions: what rests on Go's compiler is said of programs that it made, and of no others. This test is one.
func TestAnalyzeAssumptions(t *testing.T) {
	c, _ := testbin.Server(t, "branch", "-O2", "-static")
	this, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, bin := range []string{c, this} {
		a, err := Analyze(context.Background(), bin, []string{"entry"}, opt)
		if err != nil {
			t.Fatal(err)
		}
		said := slices.ContainsFunc(a.Assumptions, func(s string) bool { return strings.HasPrefix(s, "Go's compiler") })
		if said != (bin == this) {
			t.Errorf("%s: says what rests on Go's compiler: %v", bin, said)
		}
	}
}

// TestSameFile: a file is analysed once, whatever paths lead to it, and so is an image in memory.
func TestSameFile(t *testing.T) {
	bin := testbin.NeedFile(t, "/usr/bin/true", "coreutils")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(bin, link); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	l := newLoader(&Options{NoCache: true})
	defer l.close()
	first, err := l.summarize(bin, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, get := range map[string]func() (*summary.Module, error){
		"another path": func() (*summary.Module, error) { return l.summarize(link, nil) },
		"memory":       func() (*summary.Module, error) { return l.summarize("[image]", data) },
	} {
		if again, err := get(); err != nil || again != first {
			t.Errorf("%s: analysed again (%v)", what, err)
		}
	}
}
