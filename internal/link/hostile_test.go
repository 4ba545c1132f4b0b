package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"syspart/internal/image"
	"syspart/internal/summary"
	"syspart/internal/testbin"
)

// patch copies a file with bytes changed.
func patch(t *testing.T, to, from string, at int, b ...byte) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[at:], b)
	write(t, to, string(data))
}

// TestForeignLibraries has files of the right name and the wrong architecture in front of the right one.
func TestForeignLibraries(t *testing.T) {
	dir := t.TempDir()
	lib := gcc(t, dir, "good/libb.so", "int b(void) { return 1; }", "-shared", "-fPIC")
	patch(t, dir+"/arm/libb.so", lib, 18, 183, 0) // e_machine: EM_AARCH64
	patch(t, dir+"/class/libb.so", lib, 4, 1)     // ELFCLASS32
	path := dir + "/arm:" + dir + "/class"
	exe := gcc(t, dir, "prog", mainB, "-L"+dir+"/good", "-lb", "-Wl,-rpath,"+path+":"+dir+"/good")
	if got := byBase(t, agree(t, exe, Options{}), "libb.so").Path; got != lib {
		t.Errorf("found %s", got)
	}
	exe = gcc(t, dir, "prog", mainB, "-L"+dir+"/good", "-lb", "-Wl,-rpath,"+path)
	_, err := Load(t.Context(), exe, Options{Summarize: summarize})
	var missing *MissingError
	if !errors.Is(err, ErrForeign) || !errors.As(err, &missing) || len(missing.Foreign) != 2 {
		t.Errorf("got %v", err)
	}
	if err != nil && !strings.Contains(err.Error(), "arm/libb.so") {
		t.Errorf("%v does not name the file", err)
	}
}

// TestDamagedLibraries: the loader gives up at a file that is no library, and so do we, naming it.
func TestDamagedLibraries(t *testing.T) {
	dir := t.TempDir()
	lib := gcc(t, dir, "good/libb.so", "int b(void) { return 1; }", "-shared", "-fPIC")
	exe := gcc(t, dir, "prog", mainB, "-L"+dir+"/good", "-lb", "-Wl,-rpath,"+dir+"/bad:"+dir+"/good")
	bad := dir + "/bad/libb.so"
	whole, err := os.ReadFile(lib)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text string
		want       error
	}{
		{"text", "INPUT(libx.so)\n", image.ErrNotELF},
		{"empty", "", nil},
		{"truncated", string(whole[:200]), nil},
	} {
		write(t, bad, test.text)
		_, err := Load(t.Context(), exe, Options{Summarize: summarize})
		if err == nil || !strings.Contains(err.Error(), bad) || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	// What is no regular file is not even opened.
	if err := syscall.Mkfifo(bad, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := byBase(t, load(t, exe, Options{}), "libb.so").Path; got != lib {
		t.Errorf("with a fifo: %s", got)
	}
}

func TestBadExecutables(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/script", "#!/bin/sh\n")
	for _, test := range []struct {
		file string
		want error
	}{
		{dir + "/none", fs.ErrNotExist},
		{dir, fs.ErrNotExist},
		{dir + "/script", image.ErrScript},
	} {
		if _, err := Load(t.Context(), test.file, Options{Summarize: summarize}); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.file) {
			t.Errorf("%s: %v", test.file, err)
		}
	}
	if _, err := Load(t.Context(), "/bin/true", Options{Root: dir + "/none", Summarize: summarize}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("root that is missing: %v", err)
	}
}

// TestManyModules: a chain of libraries without end is cut.
func TestManyModules(t *testing.T) {
	dir := t.TempDir()
	exe := gcc(t, dir, "prog", "int main(void) { return 0; }")
	once := cachingSummarize()
	endless := func(path string, data []byte) (*summary.Module, error) {
		known, err := once(exe, nil)
		if err != nil {
			return nil, err
		}
		m := new(summary.Module)
		*m = *known
		if base := filepath.Base(path); err == nil && base != "ld-linux-x86-64.so.2" {
			var n int
			if _, err := fmt.Sscanf(base, "l%d", &n); err == nil {
				m.Interp = ""
			}
			next := fmt.Sprintf("l%d", n+1)
			write(t, filepath.Join(dir, next), "x")
			m.Dyn.Needed, m.Dyn.Runpath, m.Dyn.Soname = []string{next}, dir, ""
		}
		return m, err
	}
	if _, err := Load(t.Context(), exe, Options{NoVDSO: true, Summarize: endless}); !errors.Is(err, ErrLimit) {
		t.Errorf("got %v", err)
	}
}

func TestStatic(t *testing.T) {
	dir := t.TempDir()
	for _, flag := range []string{"-static", "-static-pie"} {
		exe := gcc(t, dir, "prog"+flag, "int main(void) { return 0; }", flag)
		p := load(t, exe, Options{})
		want := 1
		if p.VDSO >= 0 {
			want = 2
		}
		if len(p.Modules) != want || p.Interp != -1 || p.LoaderFuncs() != nil || p.Assumptions() != nil {
			t.Errorf("%s: %q", flag, rootPaths(p))
		}
	}
}

// TestMusl compares with musl's own loader.
func TestMusl(t *testing.T) {
	const loader = "/lib/ld-musl-x86_64.so.1"
	testbin.NeedFile(t, loader, "musl")
	dir := t.TempDir()
	compile(t, "musl-gcc", dir, "lib/libb.so", "int b(void) { return 1; }", "-shared", "-fPIC")
	run(t, nil, "musl-gcc", "-shared", "-fPIC", "-o", dir+"/lib/liba.so", "-x", "c",
		source(t, "int b(void); int a(void) { return b(); }"), "-L"+dir+"/lib", "-lb")
	pre := compile(t, "musl-gcc", dir, "pre.so", "int b(void) { return 1; }", "-shared", "-fPIC")
	// Other than with glibc, RUNPATH serves what the libraries need, too.
	exe := compile(t, "musl-gcc", dir, "prog", "int a(void); int *p; int main(void) { return !a(); }",
		"-L"+dir+"/lib", "-la", "-Wl,-rpath-link,"+dir+"/lib", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib")
	p := load(t, exe, Options{Preload: []string{pre}})
	if !p.Musl {
		t.Fatal("not recognised")
	}
	var want []string
	for line := range strings.Lines(run(t, []string{"LD_PRELOAD=" + pre}, loader, "--list", exe)) {
		f := strings.Fields(line)
		file := f[0]
		if len(f) >= 3 && f[1] == "=>" {
			file = f[2]
		}
		if file != loader {
			want = append(want, filepath.Clean(file))
		}
	}
	if got := paths(p)[1:]; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	if p.Interp < 0 || !p.Modules[p.Interp].Global || p.Modules[p.Interp].Path != loader {
		t.Errorf("libc is module %d of %q", p.Interp, rootPaths(p))
	}
	a := byBase(t, p, "liba.so")
	if got := p.Lookup(a.Index, symbol(t, a, "b", "")); len(got) != 1 || p.Modules[got[0].Module].Path != pre {
		t.Errorf("b is bound to %v", got)
	}
	if got := p.Lookup(0, symbol(t, p.Modules[0], "__libc_start_main", "")); len(got) != 1 || got[0].Module != p.Interp {
		t.Errorf("__libc_start_main is bound to %v", got)
	}
	if m := p.known("libm.so.6"); m == nil || m.Index != p.Interp {
		t.Errorf("libm is %v", m)
	}
}
