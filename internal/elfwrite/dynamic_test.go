package elfwrite

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// TestNames: a program loads a copy of a library, whose versions it wants, under another name; a further library comes by
// DT_NEEDED and answers to a dlopen of the path of the one that it stands for; readelf, ldd, strip and the loader agree.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gcc := testbin.Need(t, "gcc", "gcc")
	build := func(out string, args ...string) string {
		path := filepath.Join(dir, out)
		if msg, err := exec.Command(gcc, append([]string{"-o", path}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, msg)
		}
		return path
	}
	maps := write("lib.map", "V_1 { global: mine; local: *; };\n")
	lib := build("libmine.so.1", "-shared", "-fPIC", "-Wl,-soname,libmine.so.1,--version-script="+maps, write("lib.c", "int mine(void) { static int n = 40; return n++; }\n"))
	plug := build("plug.so", "-shared", "-fPIC", "-Wl,-soname,plug.so", write("plug.c", "int plug(void) { return 2; }\n"))
	prog := build("prog", "-Wl,-rpath,"+dir, write("prog.c", `#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int mine(void);
int main(int argc, char **argv) {
	void *h = dlopen(argv[1], RTLD_NOW);
	int (*f)(void) = h ? (int (*)(void))dlsym(h, "plug") : 0;
	if (!f) return 1;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, maps))
		if (strstr(line, "r-xp") && (strstr(line, "mine") || strstr(line, "plug"))) puts(strrchr(line, '/') + 1);
	printf("%d\n", mine() + f());
}
`), lib)
	private := filepath.Join(dir, "private")
	if err := os.Mkdir(private, 0o755); err != nil {
		t.Fatal(err)
	}
	rewrite := func(path, to string, change func(w *Writer) error) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w, err := New(path, data)
		if err != nil {
			t.Fatal(err)
		}
		w.SetCode([]byte{0xc3})
		if err := change(w); err != nil {
			t.Fatal(err)
		}
		out, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, out, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(lib, filepath.Join(private, "mine-copy"), func(*Writer) error { return nil })
	rewrite(plug, filepath.Join(private, "plug-copy"), func(w *Writer) error { return w.SetSoname(plug) })
	hard := filepath.Join(private, "prog")
	rewrite(prog, hard, func(w *Writer) error {
		return errors.Join(w.ReplaceNeeded("libmine.so.1", "$ORIGIN/mine-copy"), w.AddNeeded("$ORIGIN/plug-copy"))
	})
	check := func(file string) {
		t.Helper()
		out, err := exec.Command(file, plug).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "mine-copy\n") || !strings.Contains(string(out), "plug-copy\n") || !strings.HasSuffix(string(out), "42\n") ||
			strings.Contains(string(out), ".so") {
			t.Errorf("%s: %v, %s", file, err, out)
		}
	}
	check(hard)
	said, err := exec.Command(testbin.Need(t, "readelf", "binutils"), "-dVW", hard).CombinedOutput()
	for _, want := range []string{"[$ORIGIN/mine-copy]", "[$ORIGIN/plug-copy]", "File: libmine.so.1", "[libmine.so.1]", "[" + dir + "]"} {
		if err != nil || !strings.Contains(string(said), want) {
			t.Errorf("readelf does not say %s: %v\n%s", want, err, said)
		}
	}
	if strings.Contains(strings.ToLower(string(said)), "warning") || strings.Contains(string(said), "orrupt") {
		t.Errorf("readelf: %s", said)
	}
	if said, err := exec.Command(testbin.Need(t, "ldd", "libc-bin"), hard).CombinedOutput(); err != nil || !strings.Contains(string(said), private+"/mine-copy") {
		t.Errorf("ldd: %v, %s", err, said)
	}
	stripped := filepath.Join(private, "stripped")
	if msg, err := exec.Command(testbin.Need(t, "strip", "binutils"), "-o", stripped, hard).CombinedOutput(); err != nil || len(msg) > 0 {
		t.Errorf("strip: %v, %s", err, msg)
	}
	check(stripped)

	data, err := os.ReadFile(prog)
	if err != nil {
		t.Fatal(err)
	}
	w, err := New("prog", data)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ReplaceNeeded("libnone.so", "x"); !errors.Is(err, ErrRefused) {
		t.Errorf("a library that is not needed: %v", err)
	}
	for range 100 {
		err = w.AddNeeded("libmine.so.1")
	}
	if !errors.Is(err, ErrRefused) {
		t.Errorf("more entries than there is room for: %v", err)
	}
}

// TestSpare: an entry behind the first DT_NULL is none, whatever follows there, and a program gets no name.
func TestSpare(t *testing.T) {
	data, at := fixed(t, ptDynamic)
	const dtDebug = 21 // behind the strings, before the relocations
	e := data[le.Uint64(data[at+8:]):]
	for le.Uint64(e) != dtDebug {
		e = e[dynSize:]
	}
	le.PutUint64(e, dtNull)
	w, err := New("file", data)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddNeeded("libother.so"); !errors.Is(err, ErrRefused) {
		t.Errorf("no spare entry: %v", err)
	}
	if err := w.SetSoname("program"); !errors.Is(err, ErrRefused) {
		t.Errorf("a name for a program: %v", err)
	}
}
