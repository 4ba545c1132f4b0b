package link

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/testbin"
	"syspart/profile"
)

const glibcLoader = "/lib64/ld-linux-x86-64.so.2"

// agree loads a program and compares modules and bindings with those of the loader in the same environment.
func agree(t *testing.T, exe string, opt Options, env ...string) *Program {
	t.Helper()
	testbin.NeedFile(t, glibcLoader, "libc6")
	p := load(t, exe, opt)
	var want []string
	out := run(t, append(env, "LD_TRACE_LOADED_OBJECTS=1"), exe)
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); strings.HasPrefix(f[0], "linux-vdso") || strings.HasPrefix(f[0], "/lib64/ld-linux") {
			continue
		} else if len(f) >= 3 && f[1] == "=>" {
			want = append(want, filepath.Clean(f[2]))
		} else {
			want = append(want, filepath.Clean(f[0]))
		}
	}
	if got := paths(p)[1:]; !slices.Equal(got, want) {
		t.Errorf("modules:\n got %q\nwant %q", got, want)
	}
	compareBindings(t, p, debugBindings(t, env, exe))
	return p
}

// bases returns the names of the modules' files, without the executable and the C library.
func bases(p *Program) string {
	var list []string
	for _, m := range paths(p)[1:] {
		if b := filepath.Base(m); b != "libc.so.6" {
			list = append(list, b)
		}
	}
	return strings.Join(list, " ")
}

const mainB = "int b(void); int main(void) { return !b(); }"

// chain builds liba.so, which needs libb.so, and a program that needs liba.so with the given path flags.
func buildChain(t *testing.T, flags ...string) (dir, exe string) {
	dir = t.TempDir()
	b := gcc(t, dir, "lib/libb.so", "int b(void) { return 1; }", "-shared", "-fPIC")
	a := gcc(t, dir, "lib/liba.so", "int b(void); int a(void) { return b(); }", "-shared", "-fPIC", b, "-Wl,-soname,liba.so")
	// libb.so has no soname, so liba.so names it by the path it was linked with; name it as a library would be.
	run(t, nil, "gcc", "-shared", "-o", a, "-fPIC", "-Wl,-soname,liba.so", "-L"+dir+"/lib", "-x", "c", source(t, "int b(void); int a(void) { return b(); }"), "-lb")
	exe = gcc(t, dir, "bin/prog", "int a(void); int main(void) { return !a(); }", append([]string{"-L" + dir + "/lib", "-la", "-Wl,-rpath-link," + dir + "/lib"}, flags...)...)
	return dir, exe
}

func source(t *testing.T, text string) string {
	file := filepath.Join(t.TempDir(), "s.c")
	write(t, file, text)
	return file
}

func TestRpathReachesDependencies(t *testing.T) {
	for _, rpath := range []string{"$ORIGIN/../lib", "${ORIGIN}/../lib/", "/nonexistent:$ORIGIN/../$LIB/../../lib:$ORIGIN/../lib"} {
		_, exe := buildChain(t, "-Wl,--disable-new-dtags,-rpath,"+rpath)
		if got := bases(agree(t, exe, Options{})); got != "liba.so libb.so" {
			t.Errorf("%s: %s", rpath, got)
		}
	}
}

func TestRunpathDoesNotReachDependencies(t *testing.T) {
	dir, exe := buildChain(t, "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib")
	_, err := Load(t.Context(), exe, Options{Summarize: summarize})
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Library != "libb.so" || filepath.Base(missing.NeededBy) != "liba.so" {
		t.Fatalf("got %v", err)
	}
	if !errors.Is(err, ErrMissing) || errors.Is(err, ErrForeign) || len(missing.Searched) == 0 {
		t.Errorf("%v: searched %q", err, missing.Searched)
	}
	if got := bases(agree(t, exe, Options{LibraryPath: []string{dir + "/lib"}}, "LD_LIBRARY_PATH="+dir+"/lib")); got != "liba.so libb.so" {
		t.Errorf("with LD_LIBRARY_PATH: %s", got)
	}
}

// TestOrigin starts a program through a symbolic link: $ORIGIN is that of the file, and for a library that of its name.
func TestOriginThroughLinks(t *testing.T) {
	dir, exe := buildChain(t, "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib")
	link := filepath.Join(dir, "elsewhere", "prog")
	write(t, filepath.Join(dir, "elsewhere", "x"), "")
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	p := agree(t, link, Options{})
	if m := p.Modules[0]; m.Path != link || m.Real != exe {
		t.Errorf("executable is %s, really %s", m.Path, m.Real)
	}
}

func TestSearchOrder(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"rpath", "env", "link"} {
		gcc(t, dir, d+"/libb.so", "int b(void) { return 1; }", "-shared", "-fPIC")
	}
	env := "LD_LIBRARY_PATH=/nonexistent:" + dir + "/env"
	for _, test := range []struct{ name, flag, want string }{
		{"RPATH before LD_LIBRARY_PATH", "-Wl,--disable-new-dtags,-rpath," + dir + "/rpath", "rpath"},
		{"LD_LIBRARY_PATH before RUNPATH", "-Wl,--enable-new-dtags,-rpath," + dir + "/rpath", "env"},
	} {
		t.Run(test.name, func(t *testing.T) {
			exe := gcc(t, dir, "prog", mainB, "-L"+dir+"/link", "-lb", test.flag)
			p := agree(t, exe, Options{LibraryPath: []string{"/nonexistent:" + dir + "/env"}}, env)
			if got := byBase(t, p, "libb.so").Path; got != dir+"/"+test.want+"/libb.so" {
				t.Errorf("found %s", got)
			}
		})
	}
}

func TestHwcaps(t *testing.T) {
	dir := t.TempDir()
	gcc(t, dir, "libb.so", "int b(void) { return 1; }", "-shared", "-fPIC")
	for _, sub := range []string{"x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v9"} {
		gcc(t, dir, "glibc-hwcaps/"+sub+"/libb.so", "int b(void) { return 1; }", "-shared", "-fPIC")
	}
	exe := gcc(t, dir, "prog", mainB, "-L"+dir, "-lb", "-Wl,-rpath,"+dir)
	agree(t, exe, Options{})
}

func TestNeededWithSlashAndSameFile(t *testing.T) {
	dir := t.TempDir()
	real := gcc(t, dir, "libreal.so", "int b(void) { return 1; }", "-shared", "-fPIC") // no soname
	for _, alias := range []string{"libb.so", "libc2.so"} {
		if err := os.Symlink("libreal.so", filepath.Join(dir, alias)); err != nil {
			t.Fatal(err)
		}
	}
	exe := gcc(t, dir, "prog", mainB, "-Wl,--no-as-needed", real, "-L"+dir, "-lb", "-lc2", "-Wl,-rpath,"+dir)
	p := agree(t, exe, Options{})
	if got := bases(p); got != "libreal.so" {
		t.Errorf("one file is %s", got)
	}
	if m := p.Modules[0]; len(m.Needed) != 4 || m.Needed[0] != 1 || m.Needed[1] != 1 || m.Needed[2] != 1 {
		t.Errorf("needed: %v", m.Needed)
	}
}

func TestPreload(t *testing.T) {
	dir := t.TempDir()
	pre := gcc(t, dir, "libpre.so", "int b(void) { return 2; } int getpid(void) { return 1; }", "-shared", "-fPIC")
	lib := gcc(t, dir, "libb.so", "int getpid(void); int b(void) { return getpid(); }", "-shared", "-fPIC", "-Wl,-soname,libb.so")
	exe := gcc(t, dir, "prog", mainB, lib, "-Wl,-rpath,"+dir)
	p := agree(t, exe, Options{Preload: []string{pre + ":/nonexistent/libx.so"}}, "LD_PRELOAD="+pre+":/nonexistent/libx.so")
	if m := p.Modules[1]; m.Path != pre || m.Found != profile.FoundGiven {
		t.Errorf("second module is %s (%s)", m.Path, m.Found)
	}
	if got := p.Lookup(0, symbol(t, p.Modules[0], "b", "")); len(got) != 1 || got[0].Module != 1 {
		t.Errorf("b is bound to %v", got)
	}
	if len(p.Skipped) != 1 || !errors.Is(p.Skipped[0].Err, ErrMissing) {
		t.Errorf("skipped: %v", p.Skipped)
	}
}

const (
	versionedLib = `
int one(void) { return 1; }
int two(void) { return 2; }
int three(void) { return 3; }
__asm__(".symver one,foo@V1");
__asm__(".symver two,foo@@V2");
__asm__(".symver three,foo@V3");
`
	versionScript = "V1 { global: foo; one; }; V2 { global: two; } V1; V3 { global: foo; three; } V2;\n"
)

// TestVersions binds references to foo of every kind: with each version, without any, by name.
func TestVersions(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(t.TempDir(), "map")
	write(t, script, versionScript)
	plain := gcc(t, dir, "plain/libv.so", "int foo(void) { return 0; }", "-shared", "-fPIC", "-Wl,-soname,libv.so")
	lib := gcc(t, dir, "libv.so", versionedLib, "-shared", "-fPIC", "-Wl,-soname,libv.so,--version-script,"+script)
	value := func(p *Program, name string) uint64 {
		m := byBase(t, p, "libv.so")
		return m.Dyn.Symbols[symbol(t, m, name, "")].Value
	}
	for _, test := range []struct {
		name, src, lib, want string
		status               int
	}{
		{"default", "int foo(void); int main(void) { return foo(); }", lib, "two", 2},
		{"hidden", `int foo(void); __asm__(".symver foo,foo@V1"); int main(void) { return foo(); }`, lib, "one", 1},
		{"newer", `int foo(void); __asm__(".symver foo,foo@V3"); int main(void) { return foo(); }`, lib, "three", 3},
		{"unversioned gets the oldest", "int foo(void); int main(void) { return foo(); }", plain, "one", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			exe := gcc(t, dir, "prog-"+test.want, test.src, test.lib, "-Wl,-rpath,"+dir)
			p := agree(t, exe, Options{})
			got := p.Lookup(0, symbol(t, p.Modules[0], "foo", ""))
			if len(got) != 1 || got[0].Value != value(p, test.want) {
				t.Errorf("bound to %+v, want %#x", got, value(p, test.want))
			}
			err := exec.Command(exe).Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != test.status {
				t.Errorf("the program itself says %v, want %d", err, test.status)
			}
			for version, want := range map[string]string{"": "two", "V1": "one", "V2": "two", "V3": "three"} {
				if got := p.LookupName("foo", version, ScopeGlobal); len(got) != 1 || got[0].Value != value(p, want) {
					t.Errorf("dlvsym foo %q: %+v, want %#x", version, got, value(p, want))
				}
			}
			if got := p.LookupName("foo", "V4", ScopeAny); len(got) != 0 {
				t.Errorf("dlvsym foo V4: %+v", got)
			}
		})
	}
}

func TestWeak(t *testing.T) {
	dir := t.TempDir()
	weak := gcc(t, dir, "libweak.so", "__attribute__((weak)) int b(void) { return 1; }", "-shared", "-fPIC")
	strong := gcc(t, dir, "libstrong.so", "int b(void) { return 2; }", "-shared", "-fPIC")
	exe := gcc(t, dir, "prog", "int b(void); __attribute__((weak)) int nowhere(void); int main(void) { return nowhere ? nowhere() : !b(); }",
		"-Wl,--no-as-needed", weak, strong)
	p := agree(t, exe, Options{})
	got := p.Lookup(0, symbol(t, p.Modules[0], "b", ""))
	if len(got) != 1 || p.Modules[got[0].Module].Path != weak {
		t.Errorf("b is bound to %v, not to the first definition", got)
	}
	if got := p.Lookup(0, symbol(t, p.Modules[0], "nowhere", "")); len(got) != 0 {
		t.Errorf("nowhere is bound to %v", got)
	}
}

// TestFilters has an auxiliary library, whose symbols come before those of the library that names it.
func TestFilters(t *testing.T) {
	dir := t.TempDir()
	gcc(t, dir, "libaux.so", "int b(void) { return 2; }", "-shared", "-fPIC", "-Wl,-soname,libaux.so")
	for _, flag := range []string{"-f", "-F"} {
		lib := gcc(t, dir, "libb.so", "int b(void) { return 1; } int c(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,libb.so,"+flag+",libaux.so,-rpath,"+dir)
		exe := gcc(t, dir, "prog", "int b(void), c(void); int main(void) { return b() + c(); }", lib, "-Wl,-rpath,"+dir)
		p := agree(t, exe, Options{})
		if got := names(p, p.Lookup(0, symbol(t, p.Modules[0], "b", ""))); !slices.Equal(got, []string{"libaux.so"}) {
			t.Errorf("%s: b is bound to %q", flag, got)
		}
	}
}

// TestNoDefaultDirectories: DF_1_NODEFLIB.
func TestNoDefaultDirectories(t *testing.T) {
	dir := t.TempDir()
	exe := gcc(t, dir, "prog", "int main(void) { return 0; }", "-Wl,-z,nodefaultlib")
	_, err := Load(t.Context(), exe, Options{Summarize: summarize})
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Library != "libc.so.6" {
		t.Errorf("got %v", err)
	}
	if err := exec.Command(exe).Run(); err == nil {
		t.Error("the loader finds it")
	}
}

func TestTokens(t *testing.T) {
	s := &searcher{lib: "lib/x", platform: "p"}
	s.exe = &Module{Real: "/real/exe", name: "/name/exe"}
	lib := &Module{Real: "/real/lib", name: "/name/../lib", loader: s.exe}
	for _, test := range []struct {
		text, exe, lib string
	}{
		{"$ORIGIN/a", "/real/a", "/name/../a"},
		{"${ORIGIN}a", "/reala", "/name/..a"},
		{"$ORIGINa", "/reala", "/name/..a"},
		{"$ORIGINA/$ORIGIN_/${ORIGIN", "$ORIGINA/$ORIGIN_/${ORIGIN", "$ORIGINA/$ORIGIN_/${ORIGIN"},
		{"/$LIB/${PLATFORM}/$PLATFORM$LIB", "/lib/x/p/plib/x", "/lib/x/p/plib/x"},
		{"$", "$", "$"},
	} {
		if got := s.tokens(test.text, s.exe); got != test.exe {
			t.Errorf("%s: executable: %s, want %s", test.text, got, test.exe)
		}
		if got := s.tokens(test.text, lib); got != test.lib {
			t.Errorf("%s: library: %s, want %s", test.text, got, test.lib)
		}
	}
}

// TestFixedAddress has an executable with a copy relocation and a canonical PLT entry.
func TestFixedAddress(t *testing.T) {
	dir := t.TempDir()
	lib := gcc(t, dir, "lib.so", `
int table[4] = {1, 2, 3, 4};
int f(void) { return table[0]; }
void *address(void) { return (void *)f; }
int *place(void) { return table; }`, "-shared", "-fPIC")
	exe := gcc(t, dir, "prog", `
extern int table[4]; int f(void); void *address(void); int *place(void);
int main(void) { return !(address() == (void *)f && place() == table && f() == 1); }`, lib, "-no-pie", "-fno-pie")
	p := agree(t, exe, Options{})
	run(t, nil, exe)
	l := byBase(t, p, "lib.so")

	copies := p.Copies()
	i := slices.IndexFunc(copies, func(c Copy) bool { return p.Modules[0].Dyn.Symbols[c.Sym].Name == "table" })
	if i < 0 {
		t.Fatalf("no copy of table in %+v; this compiler makes none", copies)
	}
	c := copies[i]
	src := symbol(t, l, "table", "")
	if c.Module != 0 || c.Size != 16 || c.SrcSize != 16 || c.Source != l.Index || c.Value != l.Dyn.Symbols[src].Value || c.SrcSym != src {
		t.Errorf("copy: %+v", c)
	}
	if got := p.Lookup(l.Index, src); len(got) != 1 || got[0].Module != 0 || got[0].Value != c.Addr {
		t.Errorf("table in the library is bound to %+v, not to the copy at %#x", got, c.Addr)
	}

	f := symbol(t, l, "f", "")
	if got := p.LookupClass(l.Index, f, ClassPLT); len(got) != 1 || got[0].Module != l.Index {
		t.Errorf("calls of f reach %+v", got)
	}
	stub := p.Modules[0].Dyn.Symbols[symbol(t, p.Modules[0], "f", "")].Value
	if got := p.LookupClass(l.Index, f, ClassData); stub == 0 || len(got) != 1 || got[0].Module != 0 || got[0].Value != stub {
		t.Errorf("the address of f is %+v, want the PLT entry %#x", got, stub)
	}
	if got := p.Lookup(l.Index, f); len(got) != 2 || got[0].Module != l.Index || got[1].Module != 0 {
		t.Errorf("Lookup of f: %+v", got)
	}
}

func TestSymbolicAndProtected(t *testing.T) {
	dir := t.TempDir()
	src := "int b(void) { return 1; } int call(void) { return b(); } int (*pointer)(void) = b;"
	for _, test := range []struct {
		name, src string
		flag      string
		own       bool
	}{
		{"default", src, "-fPIC", false},
		{"symbolic", src, "-Wl,-Bsymbolic", true},
		{"protected", "__attribute__((visibility(\"protected\"))) " + src, "-fPIC", true},
		{"hidden", "__attribute__((visibility(\"hidden\"))) " + src, "-fPIC", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			lib := gcc(t, dir, test.name+".so", test.src, "-shared", "-fPIC", test.flag)
			exe := gcc(t, dir, test.name, "int b(void) { return 0; } int call(void); int main(void) { return call() == -1; }", lib, "-rdynamic")
			p := agree(t, exe, Options{})
			m := byBase(t, p, test.name+".so")
			for i, s := range m.Dyn.Symbols {
				if s.Name != "b" {
					continue
				}
				got := p.Lookup(m.Index, uint32(i))
				if len(got) != 1 || (got[0].Module == m.Index) != test.own {
					t.Errorf("b is bound to %+v", got)
				}
			}
		})
	}
}

// TestUnique has one STB_GNU_UNIQUE symbol in two versions: the reference that is processed first decides for both.
func TestUnique(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(t.TempDir(), "map")
	lib := func(name string, needs ...string) string {
		write(t, script, strings.ToUpper(name)+" { *; };\n")
		return gcc(t, dir, "lib"+name+".so", `
__asm__(".data\n.globl u\n.type u,@gnu_unique_object\n.size u,4\nu: .long 1\n.text");
extern int u; int *`+name+`(void) { return &u; }`,
			append([]string{"-shared", "-fPIC", "-Wl,--no-as-needed,--version-script," + script}, needs...)...)
	}
	last := lib("last")
	first := lib("first", last)
	exe := gcc(t, dir, "prog", "int *first(void), *last(void); int main(void) { return first() != last(); }", first, last)
	p := agree(t, exe, Options{})
	run(t, nil, exe)
	m, want := byBase(t, p, "libfirst.so"), byBase(t, p, "liblast.so").Index
	if got := p.Lookup(m.Index, symbol(t, m, "u", "FIRST")); len(got) != 1 || got[0].Module != want {
		t.Errorf("u is bound to %+v, want module %d", got, want)
	}
}

func TestInitOrder(t *testing.T) {
	for pkg, argv := range map[string][]string{
		"nginx-core":   {"/usr/sbin/nginx", "-v"},
		"curl":         {"/usr/bin/curl", "--version"},
		"redis-server": {"/usr/bin/redis-server", "--version"},
		"bind9":        {"/usr/sbin/named", "-V"},
	} {
		t.Run(filepath.Base(argv[0]), func(t *testing.T) {
			p := load(t, testbin.NeedFile(t, argv[0], pkg), Options{})
			out := filepath.Join(t.TempDir(), "f")
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), "LD_DEBUG=files", "LD_DEBUG_OUTPUT="+out)
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(out + "." + strconv.Itoa(cmd.ProcessState.Pid()))
			if err != nil {
				t.Fatal(err)
			}
			var want, got []string
			for line := range strings.Lines(string(text)) {
				if _, file, ok := strings.Cut(line, "calling init: "); ok {
					want = append(want, filepath.Clean(strings.TrimSpace(file)))
				}
			}
			for _, i := range p.InitOrder()[:len(p.InitOrder())-1] { // the executable's own code runs them, after the loader
				got = append(got, p.Modules[i].Path)
			}
			want = want[:min(len(want), len(got))]
			// The loader says nothing of modules without constructors.
			got = slices.DeleteFunc(got, func(s string) bool { return !slices.Contains(want, s) })
			want = slices.DeleteFunc(want, func(s string) bool { return !slices.Contains(got, s) })
			if len(want) < 2 || !slices.Equal(got, want) {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

// TestRpathChain: DT_RPATH of every module on the way from the executable counts, unless the asking one has a RUNPATH.
func TestRpathChain(t *testing.T) {
	dir := t.TempDir()
	lib := func(name, src string, flags ...string) {
		gcc(t, dir, name, src, append([]string{"-shared", "-fPIC"}, flags...)...)
	}
	old, far := "-Wl,--disable-new-dtags,-rpath,", "-Wl,-rpath-link,"+dir+"/far,-rpath-link,"+dir+"/near"
	lib("far/libd.so", "int d(void) { return 1; }")
	lib("far/libc1.so", "int d(void); int c(void) { return d(); }", "-L"+dir+"/far", "-ld")
	lib("near/libb.so", "int c(void); int b(void) { return c(); }", "-L"+dir+"/far", "-lc1", old+dir+"/far", far)
	exe := gcc(t, dir, "prog", mainB, "-L"+dir+"/near", "-lb", old+dir+"/near", far)
	if got := bases(agree(t, exe, Options{})); got != "libb.so libc1.so libd.so" {
		t.Errorf("modules: %s", got)
	}
	lib("far/libc1.so", "int d(void); int c(void) { return d(); }", "-L"+dir+"/far", "-ld", "-Wl,--enable-new-dtags,-rpath,/nonexistent")
	_, err := Load(t.Context(), exe, Options{Summarize: summarize})
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Library != "libd.so" || missing.NeededBy != dir+"/far/libc1.so" {
		t.Errorf("with a RUNPATH: %v", err)
	}
	if out, err := exec.Command(exe).CombinedOutput(); err == nil || !strings.Contains(string(out), "libd.so") {
		t.Errorf("the loader finds it: %s", out)
	}
}
