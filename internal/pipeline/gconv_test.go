package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"syspart/internal/link"
	"syspart/internal/testbin"
	"syspart/profile"
)

// TestCharsets: modules of gconv join a program by the constant names that it gives iconv_open.
func TestCharsets(t *testing.T) {
	for i, want := range [][]string{nil, {"ISO8859-2.so"}, {"ISO8859-2.so", "SJIS.so"}, nil} {
		bin := testbin.Build(t, filepath.Join("testdata", "convert.c"), "-O1", fmt.Sprintf("-DCASE=%d", i))
		l := newLoader(&opt)
		g, err := l.graph(context.Background(), bin, nil)
		l.close()
		if err != nil {
			t.Fatal(err)
		}
		if dir := l.gconvDir(g.P); i == 0 && !exists(filepath.Join(dir, "ISO8859-2.so")) {
			t.Skipf("%s: no modules of gconv", dir)
		}
		var got []string
		for _, m := range g.P.Modules {
			if m.Later {
				got = append(got, filepath.Base(m.Path))
				if m.Found != profile.FoundStatic {
					t.Errorf("%s: found %s", m.Path, m.Found)
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("case %d: %q, want %q", i, got, want)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestNotPlain: of a directory of modules, those that libc's own conversions do not stand for join every program.
func TestNotPlain(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plain":  "#include <stdlib.h>\n#include <string.h>\nint gconv_init(void *s) { return malloc(strlen(s)) != 0; }",
		"uses":   "int shared(void); int gconv(void) { return shared(); }",
		"shared": "int shared(void) { return 1; }",
		"enters": "int gconv(void) { int r; __asm__ volatile(\"syscall\" : \"=a\"(r) : \"a\"(110) : \"rcx\", \"r11\"); return r; }",
		"calls":  "int getppid(void); int gconv(void) { return getppid(); }",
	} {
		data, err := os.ReadFile(testbin.BuildText(t, name+".c", text, "-shared", "-fPIC", "-O1"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".so"), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l := newLoader(&opt)
	defer l.close()
	want := []string{filepath.Join(dir, "calls.so"), filepath.Join(dir, "enters.so")}
	if got := l.notPlain(dir); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// Whoever runs libc may convert.
	bin := testbin.Build(t, filepath.Join("testdata", "convert.c"), "-O1", "-DCASE=0")
	p, err := l.load(context.Background(), bin, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.gconv[l.gconvDir(p)] = want
	if p, err = l.load(context.Background(), bin, nil); err != nil {
		t.Fatal(err)
	}
	for _, path := range want {
		if !slices.ContainsFunc(p.Modules, func(m *link.Module) bool { return m.Path == path && m.Later }) {
			t.Errorf("%s is not in the program: %v", path, p.Skipped)
		}
	}
}

// TestGconvModules: charsets lead to modules by the configuration, by way of aliases and of other charsets.
func TestGconvModules(t *testing.T) {
	root := t.TempDir()
	dir := "/lib/gconv"
	for name, text := range map[string]string{
		"gconv-modules":           "alias OLD// NEW//\nmodule NEW// INTERNAL one 1\nmodule INTERNAL NEW// two 1 # both ways\n",
		"gconv-modules.d/x.conf":  "module NEW// OTHER// direct 1\nmodule OTHER// INTERNAL /abs/three.so 1\nmodule APART// INTERNAL four 1\n",
		"gconv-modules.d/ignored": "module NEW// INTERNAL four 1\n",
		"one.so":                  "", "two.so": "", "direct.so": "", "four.so": "", "../../abs/three.so": "",
	} {
		path := filepath.Join(root, dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := newLoader(&Options{Root: root, NoCache: true})
	for name, want := range map[string][]string{
		"old//IGNORE": {"/abs/three.so", "/lib/gconv/direct.so", "/lib/gconv/one.so", "/lib/gconv/two.so"},
		"UTF-8":       nil,
		"apart":       {"/lib/gconv/four.so"},
	} {
		if got := l.gconvModules(dir, []string{name}); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
