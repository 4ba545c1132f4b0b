package link

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"syspart/internal/summary"
	"syspart/profile"
)

// plugins builds a program and modules that it could load later.
//
//	prog: host, shared        one.so: own, shared, needs dep.so: dep      two.so: own, twice
func plugins(t *testing.T) (dir, prog string) {
	dir = t.TempDir()
	prog = gcc(t, dir, "prog", "int host(void) { return 1; } int shared(void) { return 1; } int main(void) { return 0; }", "-rdynamic")
	dep := gcc(t, dir, "dep.so", "int dep(void) { return 1; } int twice(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,dep.so")
	gcc(t, dir, "one.so", "int host(void), dep(void), twice(void); int own(void) { return 1; } int shared(void) { return 2; }"+
		"int one(void) { return host() + dep() + own() + shared() + twice(); }", "-shared", "-fPIC", dep, "-Wl,-rpath,$ORIGIN")
	gcc(t, dir, "two.so", "int own(void) { return 2; } int twice(void) { return 2; } int one(void);"+
		"int two(void) { return own() + twice() + one(); }", "-shared", "-fPIC")
	return dir, prog
}

// names returns the files that targets are in.
func names(p *Program, targets []Target) []string {
	var list []string
	for _, target := range targets {
		list = append(list, filepath.Base(p.Modules[target.Module].Path))
	}
	return list
}

func TestModulesLoadedLater(t *testing.T) {
	dir, prog := plugins(t)
	for _, test := range []struct {
		name  string
		local bool
		want  map[[2]string][]string // module and symbol: where it may be
	}{
		{"local", true, map[[2]string][]string{
			{"one.so", "host"}:   {"prog"},
			{"one.so", "shared"}: {"prog"}, // the global scope comes first
			{"one.so", "dep"}:    {"dep.so"},
			{"one.so", "own"}:    {"one.so"},
			{"one.so", "twice"}:  {"dep.so"},
			{"two.so", "own"}:    {"two.so"},
			{"two.so", "one"}:    nil,
		}},
		{"perhaps global", false, map[[2]string][]string{
			{"one.so", "host"}:   {"prog"},
			{"one.so", "shared"}: {"prog"},
			{"one.so", "dep"}:    {"dep.so"},
			{"one.so", "own"}:    {"one.so", "two.so"}, // two.so may have been loaded before
			{"one.so", "twice"}:  {"dep.so", "two.so"},
			{"two.so", "own"}:    {"two.so", "one.so"},
			{"two.so", "one"}:    {"one.so"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := load(t, prog, Options{NoVDSO: true, Modules: []Extra{
				{Path: dir + "/one.so", Found: profile.FoundObserved, Local: test.local},
				{Path: dir + "/two.so", Found: profile.FoundStatic, Local: test.local},
			}})
			for key, want := range test.want {
				m := byBase(t, p, key[0])
				got := names(p, p.Lookup(m.Index, symbol(t, m, key[1], "")))
				if !slices.Equal(got, want) {
					t.Errorf("%v: %q, want %q", key, got, want)
				}
			}
			var found []string
			for _, m := range p.Modules {
				if m.Later {
					found = append(found, filepath.Base(m.Path)+" "+m.Found)
				}
				if m.Later == m.Global {
					t.Errorf("%s: later %v, global %v", m.Path, m.Later, m.Global)
				}
			}
			if want := []string{"one.so observed", "dep.so observed", "two.so static"}; !slices.Equal(found, want) {
				t.Errorf("later: %q, want %q", found, want)
			}
			one := byBase(t, p, "one.so").Index
			for _, test := range []struct {
				name  string
				scope int
				want  []string
			}{
				{"dep", one, []string{"dep.so"}},
				{"shared", one, []string{"one.so"}},
				{"host", one, nil},
				{"shared", ScopeGlobal, []string{"prog"}},
				{"own", ScopeAny, []string{"one.so", "two.so"}},
				{"nothing", ScopeAny, nil},
			} {
				if got := names(p, p.LookupName(test.name, "", test.scope)); !slices.Equal(got, test.want) {
					t.Errorf("dlsym(%d, %s): %q, want %q", test.scope, test.name, got, test.want)
				}
			}
			if got := names(p, p.LookupNext("shared", "", 0)); !slices.Equal(got, []string{"one.so"}) {
				t.Errorf("RTLD_NEXT shared: %q", got)
			}
		})
	}
}

func TestOptionalModules(t *testing.T) {
	dir, prog := plugins(t)
	lost := gcc(t, dir, "lost.so", "int lost(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,lost.so")
	broken := gcc(t, dir, "broken.so", "int f(void) { return 1; }", "-shared", "-fPIC", "-Wl,--no-as-needed", lost)
	// lost.so is named by its soname, and broken.so has no path to it.
	opt := Options{NoVDSO: true, Summarize: summarize, Modules: []Extra{{Path: broken}}}
	if _, err := Load(t.Context(), prog, opt); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
	opt.Modules = []Extra{{Path: broken, Optional: true}, {Path: dir + "/none.so", Optional: true}, {Path: dir + "/one.so"}}
	p := load(t, prog, opt)
	if len(p.Skipped) != 2 || p.Skipped[0].What != broken || !errors.Is(p.Skipped[0].Err, ErrMissing) {
		t.Errorf("skipped %v", p.Skipped)
	}
	if got := bases(p); got != "one.so dep.so" {
		t.Errorf("modules: %s", got)
	}
	for i, m := range p.Modules {
		if m.Index != i {
			t.Errorf("%s: index %d, is %d", m.Path, m.Index, i)
		}
	}
}

// TestNeededByEarlier: what a module needs may be there by its name alone, from a module that comes behind it in the list.
func TestNeededByEarlier(t *testing.T) {
	dir, prog := plugins(t)
	last := gcc(t, dir, "last.so", "int last(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,named.so")
	middle := gcc(t, dir, "middle.so", "int middle(void) { return 1; }", "-shared", "-fPIC", "-Wl,--no-as-needed", last, "-Wl,-soname,other.so")
	first := gcc(t, dir, "first.so", "int first(void) { return 1; }", "-shared", "-fPIC", "-Wl,--no-as-needed", middle)
	for _, optional := range []bool{false, true} {
		p := load(t, prog, Options{NoVDSO: true, Modules: []Extra{{Path: first, Optional: optional}, {Path: middle, Optional: optional}, {Path: last}}})
		if got := bases(p); got != "last.so middle.so first.so" || len(p.Skipped) > 0 {
			t.Errorf("modules: %s, skipped %v", got, p.Skipped)
		}
		if m := byBase(t, p, "first.so"); len(m.Needed) == 0 || p.Modules[m.Needed[0]].Path != middle {
			t.Errorf("first.so needs %v", m.Needed)
		}
	}
}

func TestResolve(t *testing.T) {
	dir, prog := plugins(t)
	p := load(t, prog, Options{Modules: []Extra{{Path: dir + "/one.so"}}})
	one := byBase(t, p, "one.so").Index
	if file, err := p.Resolve("two.so", one); err != nil || file != dir+"/two.so" {
		t.Errorf("two.so from one.so, by its RUNPATH: %q, %v", file, err)
	}
	if file, err := p.Resolve("two.so", 0); !errors.Is(err, ErrMissing) {
		t.Errorf("two.so from the executable: %q, %v", file, err)
	}
	if file, err := p.Resolve("dep.so", 0); err != nil || file != dir+"/dep.so" {
		t.Errorf("dep.so is loaded, but: %q, %v", file, err)
	}
	if file, err := p.Resolve(dir+"/two.so", 0); err != nil || file != dir+"/two.so" {
		t.Errorf("two.so by path: %q, %v", file, err)
	}
	if file, err := p.Resolve("libm.so.6", 0); err != nil || filepath.Base(file) != "libm.so.6" {
		t.Errorf("libm.so.6: %q, %v", file, err)
	}
}

// TestLazyBinding: what nothing defines at start may be bound to a module that was loaded before the first call.
func TestLazyBinding(t *testing.T) {
	dir := t.TempDir()
	late := gcc(t, dir, "late.so", "int late(void) { return 1; }", "-shared", "-fPIC")
	const src = "int late(void) __attribute__((weak)); int main(int n, char **v) { return n > 1 ? late() : 0; }"
	for _, test := range []struct {
		flag  string
		local bool
		want  []string
	}{
		{"lazy", false, []string{"late.so"}},
		{"lazy", true, nil},
		{"now", false, nil},
	} {
		exe := gcc(t, dir, "prog", src, "-Wl,-z,"+test.flag, "-no-pie", "-fno-pie", "-fplt")
		p := load(t, exe, Options{Modules: []Extra{{Path: late, Local: test.local}}})
		if i := symbol(t, p.Modules[0], "late", ""); !slices.Equal(names(p, p.Lookup(0, i)), test.want) {
			t.Errorf("%s, local %v: %q, want %q", test.flag, test.local, names(p, p.Lookup(0, i)), test.want)
		}
	}
}

// TestFunctionNumbers numbers functions of modules of which some have none.
func TestFunctionNumbers(t *testing.T) {
	_, prog := plugins(t)
	counts := map[string]int{"prog": 3, "libc.so.6": 0, "ld-linux-x86-64.so.2": 2}
	p := load(t, prog, Options{NoVDSO: true, Summarize: func(path string, data []byte) (*summary.Module, error) {
		m, err := summarize(path, data)
		if err == nil {
			for i := range counts[filepath.Base(path)] {
				m.Funcs = append(m.Funcs, summary.Func{Entry: uint64(0x100 * (i + 1))})
			}
		}
		return m, err
	}})
	if p.Funcs() != 5 || len(p.Modules) != 3 {
		t.Fatalf("%d functions in %d modules", p.Funcs(), len(p.Modules))
	}
	seen := 0
	for i, m := range p.Modules {
		for j, f := range m.Funcs {
			global := p.Func(i, f.Entry)
			if global != seen {
				t.Errorf("function %d of %s has number %d, want %d", j, m.Path, global, seen)
			}
			if mod, index := p.Where(global); mod != i || index != j {
				t.Errorf("number %d is function %d of module %d, want %d of %d", global, index, mod, j, i)
			}
			seen++
		}
		if got := p.Func(i, 0x101); got != -1 {
			t.Errorf("%s: no function at 0x101, but %d", m.Path, got)
		}
	}
}

// TestGone: a module whose file is gone is loaded from its summary, with what it needs, once for each contents.
func TestGone(t *testing.T) {
	dir, prog := plugins(t)
	var sums []*summary.Module
	for _, name := range []string{"one.so", "two.so"} {
		sum, err := summarize(filepath.Join(dir, name), nil)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	gone := filepath.Join(dir, "gone", "one.so")
	extra := func(i int) Extra { return Extra{Path: gone, Found: profile.FoundObserved, Summary: sums[i]} }
	p, err := Load(t.Context(), prog, Options{Summarize: summarize, LibraryPath: []string{dir}, Modules: []Extra{extra(0), extra(1), extra(0), extra(1)}})
	if err != nil {
		t.Fatal(err)
	}
	var later []string
	for _, m := range p.Modules {
		if m.Later {
			later = append(later, filepath.Base(m.Path))
			if m.Path == gone && (m.File != "" || m.Real != gone || m.Found != profile.FoundObserved) {
				t.Errorf("%+v", m)
			}
		}
	}
	if want := []string{"one.so", "dep.so", "one.so"}; !slices.Equal(later, want) {
		t.Errorf("modules %q, want %q", later, want)
	}
}
