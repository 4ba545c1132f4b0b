package pipeline

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"syspart/internal/image"
	"syspart/internal/summary"
	"syspart/internal/testbin"
)

// A debug file that is installed below the root names what is stripped, and a cache knows the summaries apart.
func TestDebugFile(t *testing.T) {
	testbin.Need(t, "objcopy", "binutils")
	whole := testbin.BuildText(t, "hidden.c", `
__attribute__((noinline)) static int hidden(int i) { return i * 3; }
int main(int argc, char **argv) { return hidden(argc); }
`, "-O1", "-g", "-Wl,--build-id")
	f, err := image.Open(whole)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	debug := filepath.Join(root, image.DebugFile(f.BuildID))
	stripped := filepath.Join(root, "stripped")
	if err := os.MkdirAll(filepath.Dir(debug), 0o755); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	hidden := func() bool {
		t.Helper()
		data, err := os.ReadFile(stripped)
		if err != nil {
			t.Fatal(err)
		}
		l := newLoader(&Options{Root: root, CacheDir: cache})
		defer l.close()
		m, err := l.analyse("stripped", data, sha256.Sum256(data))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(m.Funcs, func(f summary.Func) bool { return m.String(f.Name) == "hidden" })
	}
	if out, err := exec.Command("objcopy", "--strip-all", whole, stripped).CombinedOutput(); err != nil {
		t.Fatalf("objcopy: %v\n%s", err, out)
	}
	if hidden() {
		t.Error("a stripped program has a name for hidden")
	}
	if out, err := exec.Command("objcopy", "--only-keep-debug", whole, debug).CombinedOutput(); err != nil {
		t.Fatalf("objcopy: %v\n%s", err, out)
	}
	for range 2 {
		if !hidden() {
			t.Error("hidden has no name although its debug file is installed")
		}
	}
}
