package cfg

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// Functions that keep their extents are not looked at again; all have those that looking at all of them gives.
func TestExtents(t *testing.T) {
	objcopy := testbin.Need(t, "objcopy", "binutils")
	interpreter := testbin.Build(t, filepath.Join("testdata", "interpreter.c"), "-O2", "-static")
	bare := filepath.Join(t.TempDir(), "bare")
	// Nothing says where functions are.
	if out, err := exec.Command(objcopy, "--strip-all", "--remove-section=.eh_frame", interpreter, bare).CombinedOutput(); err != nil {
		t.Fatalf("objcopy: %v\n%s", err, out)
	}
	for _, path := range []string{interpreter, bare, testbin.Need(t, "nginx", "nginx")} {
		f, err := image.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := build(f)
		if err != nil {
			t.Fatal(err)
		}
		b.extents()
		for _, n := range b.nodes {
			if ranges, fde := b.extentOf(n.fn.Entry); !slices.Equal(ranges, n.ranges) || fde != n.fde {
				t.Errorf("%s: %#x has %x, want %x", filepath.Base(path), n.fn.Entry, n.ranges, ranges)
			}
		}
		if !slices.IsSorted(b.strong) || len(b.nodes) < 100 {
			t.Errorf("%s: %d functions, entries sorted: %v", filepath.Base(path), len(b.nodes), slices.IsSorted(b.strong))
		}
		strong := 0
		for _, o := range b.origin {
			if o&^FromTail != 0 {
				strong++
			}
		}
		if len(b.strong) != strong {
			t.Errorf("%s: %d entries, want %d", filepath.Base(path), len(b.strong), strong)
		}
	}
}
