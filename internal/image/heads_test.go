package image

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"
)

// sameHeads reports whether what was read of a file's headers alone is what all of it says.
func sameHeads(heads, file *File) bool {
	h, d := &heads.Dyn, &file.Dyn
	return (heads.Interp == "" || heads.Interp == file.Interp) && slices.Equal(h.Needed, d.Needed) && h.Runpath == d.Runpath && h.Rpath == d.Rpath &&
		h.Soname == d.Soname && slices.Equal(h.Filters, d.Filters) && h.Flags == d.Flags && h.Flags1 == d.Flags1
}

// The headers of real files say by themselves what they say with the rest, and linkers put the names behind the symbols.
func TestHeads(t *testing.T) {
	for _, path := range sample(t, 12) {
		fd, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer fd.Close()
		file := open(t, path)
		heads, err := Heads(path, fd, file.Size, true)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		names := func(f *File) (out []string) {
			for _, s := range f.Dyn.Symbols {
				out = append(out, s.Name)
			}
			return out
		}
		if !sameHeads(heads, file) {
			t.Errorf("%s: the heads say otherwise than the file: needed %q and %q", path, heads.Dyn.Needed, file.Dyn.Needed)
		}
		if a, b := names(heads), names(file); len(a) < len(b) || !slices.Equal(a[:len(b)], b) {
			t.Errorf("%s: %d symbols in the heads, %d in the file", path, len(a), len(b))
		}
	}
}

// Only as much is read as is needed, and what cannot be read is an error.
func TestHeadsBad(t *testing.T) {
	data := dynFile(with(nil), tables(nil))
	heads, err := Heads("x", bytes.NewReader(data), int64(len(data)), false)
	if err != nil || len(heads.Dyn.Symbols) != 0 {
		t.Fatalf("%v, %d symbols that were not asked for", err, len(heads.Dyn.Symbols))
	}
	for _, n := range []int{0, 3, 20, ehdrSize, ehdrSize + 10} {
		if _, err := Heads("x", bytes.NewReader(data[:n]), int64(n), true); err == nil {
			t.Errorf("%d bytes: no error", n)
		}
	}
	// The file is shorter than it was said to be.
	if _, err := Heads("x", bytes.NewReader(data[:0x1000]), int64(len(data)), true); err == nil {
		t.Error("a file that has shrunk: no error")
	}
	if _, err := Heads("x", broken{}, 1<<20, true); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, os.ErrPermission }
