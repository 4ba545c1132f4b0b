package image

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ulikunitz/xz"

	"syspart/internal/testbin"
)

const debugSource = `
static int kept[4] = {1, 2, 3, 4};
__attribute__((noinline)) static int hidden(int i) { return kept[i & 3]++; }
int main(int argc, char **argv) { return hidden(argc); }
`

// debugFiles builds a program and returns it, its stripped copy and its debug file.
func debugFiles(t *testing.T) (whole, stripped, debug string) {
	t.Helper()
	testbin.Need(t, "objcopy", "binutils")
	whole = testbin.BuildText(t, "hidden.c", debugSource, "-O1", "-g", "-Wl,--build-id")
	d := t.TempDir()
	stripped, debug = filepath.Join(d, "stripped"), filepath.Join(d, "debug")
	command(t, "objcopy", "--only-keep-debug", whole, debug)
	command(t, "objcopy", "--strip-all", whole, stripped)
	return whole, stripped, debug
}

func named(f *File, name string) *Symbol {
	for i := range f.Symtab {
		if f.Symtab[i].Name == name {
			return &f.Symtab[i]
		}
	}
	return nil
}

func TestDebugFile(t *testing.T) {
	whole, stripped, debug := debugFiles(t)
	want, err := Open(whole)
	if err != nil {
		t.Fatal(err)
	}
	data := read(t, stripped)
	if f, err := Parse("stripped", data); err != nil || f.Symtab != nil {
		t.Fatalf("stripped: %v, %d symbols", err, len(f.Symtab))
	}
	if got := BuildID(data); got != want.BuildID || got == "" {
		t.Errorf("BuildID = %q, want %q", got, want.BuildID)
	}
	if got, want := DebugFile("abcdef"), "/usr/lib/debug/.build-id/ab/cdef.debug"; got != want {
		t.Errorf("DebugFile = %q, want %q", got, want)
	}
	f, err := ParseDebug("stripped", data, sha256.Sum256(data), read(t, debug))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hidden", "kept"} {
		if got, want := named(f, name), named(want, name); got == nil || got.Value != want.Value || got.Size != want.Size {
			t.Errorf("%s = %+v, want %+v", name, got, want)
		}
	}
	// That of another build, a damaged one and none are all the same.
	other := testbin.BuildText(t, "hidden.c", debugSource, "-O2", "-g", "-Wl,--build-id")
	for what, b := range map[string][]byte{"another build's": read(t, other), "damaged": read(t, debug)[:200], "no": nil} {
		if f, err := ParseDebug("stripped", data, sha256.Sum256(data), b); err != nil || f.Symtab != nil {
			t.Errorf("%s debug file: %v, %d symbols", what, err, len(f.Symtab))
		}
	}
}

func TestDebugData(t *testing.T) {
	whole, stripped, debug := debugFiles(t)
	want, err := Open(whole)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = w.Write(read(t, debug)); err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	with := func(section []byte) *File {
		t.Helper()
		d := t.TempDir()
		part, out := filepath.Join(d, "part"), filepath.Join(d, "out")
		if err := os.WriteFile(part, section, 0o600); err != nil {
			t.Fatal(err)
		}
		command(t, "objcopy", "--add-section", ".gnu_debugdata="+part, stripped, out)
		f, err := Open(out)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if got := named(with(packed.Bytes()), "hidden"); got == nil || got.Value != named(want, "hidden").Value {
		t.Errorf("hidden = %+v, want %+v", got, named(want, "hidden"))
	}
	if got := named(with(packed.Bytes()[:packed.Len()/2]), "hidden"); got != nil {
		t.Errorf("half of the section: %+v", got)
	}
	// A dictionary of 4 GiB (xz file format, section 5.3.1) is not allocated.
	huge := bytes.Clone(packed.Bytes())
	i := bytes.Index(huge[12:], []byte{0x21, 1})
	huge[12+i+2] = 40
	if smallDictionary(huge) {
		t.Error("a dictionary of 4 GiB is said to be small")
	}
	if !smallDictionary(packed.Bytes()) {
		t.Error("a common dictionary is said to be large")
	}
}

func command(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}
