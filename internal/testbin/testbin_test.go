package testbin

import (
	"debug/elf"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const hello = "#include <stdio.h>\nint main(void) { puts(WORD); return 0; }\n"

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	src := filepath.Join(dir, "hello.c")
	put(t, src, hello)

	one := Build(t, src, `-DWORD="one"`)
	if got := run(t, one); got != "one\n" {
		t.Errorf("first build says %q", got)
	}
	before, err := os.Stat(one)
	if err != nil {
		t.Fatal(err)
	}
	if again := Build(t, src, `-DWORD="one"`); again != one {
		t.Errorf("built again at %s, not taken from %s", again, one)
	} else if after, err := os.Stat(again); err != nil || !os.SameFile(before, after) {
		t.Errorf("compiled again although nothing changed")
	}
	if two := Build(t, src, `-DWORD="two"`); two == one || run(t, two) != "two\n" {
		t.Errorf("other flags, but the old program")
	}
	put(t, src, strings.Replace(hello, "WORD", `"edited"`, 1))
	if edited := Build(t, src, `-DWORD="one"`); edited == one || run(t, edited) != "edited\n" {
		t.Errorf("source edited, but the old program")
	}
	put(t, filepath.Join(dir, "word.h"), "#define WORD \"a\"\n")
	put(t, src, "#include \"word.h\"\n"+hello)
	a := Build(t, src)
	put(t, filepath.Join(dir, "word.h"), "#define WORD \"b\"\n")
	if b := Build(t, src); a == b || run(t, b) != "b\n" {
		t.Errorf("header edited, but the old program")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "cache", "*", "*", "build*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestCompilers(t *testing.T) {
	for _, c := range compilers {
		Need(t, c.Name, c.Pkg)
	}
	src := filepath.Join(t.TempDir(), "hello.c")
	put(t, src, hello)
	if len(Compilers()) != len(compilers) {
		t.Errorf("compilers %v", Compilers())
	}
	for _, cc := range Compilers() {
		if got := run(t, BuildWith(t, cc, src, `-DWORD="x"`)); got != "x\n" {
			t.Errorf("%s: says %q", cc, got)
		}
	}
}

func TestVariants(t *testing.T) {
	bin := BuildText(t, "hello.c", hello, `-DWORD="v"`)
	symbols := func(path string) int {
		f, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		syms, err := f.Symbols()
		if err != nil && err != elf.ErrNoSymbols {
			t.Fatal(err)
		}
		return len(syms)
	}
	if symbols(bin) == 0 {
		t.Fatalf("the plain build has no symbols")
	}
	stripped := Strip(t, bin)
	if n := symbols(stripped); n != 0 {
		t.Errorf("stripped: %d symbols left", n)
	}
	if got := run(t, stripped); got != "v\n" {
		t.Errorf("stripped: says %q", got)
	}
	bare := NoSections(t, bin)
	f, err := elf.Open(bare)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Sections) != 0 || len(f.Progs) == 0 {
		t.Errorf("%d sections, %d segments", len(f.Sections), len(f.Progs))
	}
	if got := run(t, bare); got != "v\n" {
		t.Errorf("without sections: says %q", got)
	}
}

func TestWants(t *testing.T) {
	got := parseWants("int x; // WANT: not a line of its own\n// WANT: open.main getpid times\n" +
		"\t# WANT: open.main umask\n// WANT:\n// WANT: noloop\n/* WANT: closed.main sync\n// want: nothing\n")
	want := map[string][]string{"open.main": {"getpid", "times", "umask"}, "noloop": nil, "closed.main": {"sync"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestProcess(t *testing.T) {
	sh := Need(t, "sh", "dash")
	p := Start(t, sh, "-c", "echo noise; echo READY 1; read x; exit 3")
	if got := p.Line("READY"); got != "READY 1" {
		t.Errorf("line %q", got)
	}
	// Standard input is empty, so it ends by itself.
	if st := p.Wait(); !st.Exited() || st.ExitStatus() != 3 {
		t.Errorf("status %v", st)
	}
	if p.Output() != "noise\nREADY 1\n" {
		t.Errorf("output %q", p.Output())
	}

	// A child that outlives its parent is ended with the test's process.
	p = Start(t, sh, "-c", "sleep 1000 >/dev/null 2>&1 & echo READY $!")
	orphan, err := strconv.Atoi(strings.Fields(p.Line("READY"))[1])
	if err != nil {
		t.Fatal(err)
	}
	p.Wait()
	if !Running(orphan) {
		t.Errorf("the orphan has ended with its parent")
	}
	p.End()
	Until(t, "the orphan has ended", func() bool { return !Running(orphan) })

	// A process that ignores SIGTERM, and its child, end all the same.
	p = Start(t, sh, "-c", "trap '' TERM; sleep 1000 & echo READY $!; while :; do wait; done")
	child, err := strconv.Atoi(strings.Fields(p.Line("READY"))[1])
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(p.PID, syscall.SIGSTOP)
	p.End()
	Until(t, "the child has ended", func() bool { return !Running(child) })
}

func TestServers(t *testing.T) {
	p, url := StartNginx(t)
	if body, err := Get(url + "missing"); err == nil {
		t.Errorf("a missing file gives %q", body)
	}
	p.End()
	if _, err := Get(url); err == nil {
		t.Errorf("nginx still serves")
	}
	_, addr := StartRedis(t)
	if got, err := Ask(addr, "ECHO hi\r\n"); err != nil || got != "$2" {
		t.Errorf("redis says %q, %v", got, err)
	}
}

func run(t *testing.T, path string) string {
	t.Helper()
	p := Start(t, path)
	if st := p.Wait(); st.ExitStatus() != 0 {
		t.Fatalf("%s: status %v", path, st)
	}
	for range p.line { // until its output is read
	}
	return p.Output()
}
