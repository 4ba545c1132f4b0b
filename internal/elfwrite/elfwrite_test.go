package elfwrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// detour returns a writer whose program starts in the new segment and goes on to the old entry point.
func detour(t testing.TB, name string, data []byte) *Writer {
	t.Helper()
	w, err := New(name, data)
	if err != nil {
		t.Fatal(err)
	}
	code := []byte{0xe9, 0, 0, 0, 0}
	binary.LittleEndian.PutUint32(code[1:], uint32(int64(w.Image().Entry)-int64(w.Base()+5)))
	w.SetCode(code)
	w.SetEntry(w.Base())
	return w
}

const program = `
#include <stdio.h>
int table[1 << 16];
int main(int argc, char **argv) { printf("%d %s\n", argc, argv[1]); return table[argc] + 7; }
`

// TestRun: programs of every kind run as before when they start in the new segment, also when strip, objcopy and readelf have
// had them.
func TestRun(t *testing.T) {
	readelf := testbin.Need(t, "readelf", "binutils")
	for _, flags := range [][]string{{"-O1"}, {"-O1", "-no-pie"}, {"-O1", "-static"}, {"-O1", "-static-pie"}, {"-O1", "-s"}, {"-O1", "-Wl,-z,norelro", "-Wl,--build-id=none"}} {
		bin := testbin.BuildText(t, "program.c", program, flags...)
		data, err := os.ReadFile(bin)
		if err != nil {
			t.Fatal(err)
		}
		w := detour(t, bin, data)
		w.AddFrame(Frame{Start: w.Base(), Size: 5, Insts: []byte{0}})
		out, err := w.Bytes()
		if err != nil {
			t.Fatalf("%v: %v", flags, err)
		}
		if again, err := w.Bytes(); err != nil || !bytes.Equal(out, again) {
			t.Errorf("%v: another time another file", flags)
		}
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, out, 0o755); err != nil {
			t.Fatal(err)
		}
		runs := func(what string) {
			t.Helper()
			cmd := exec.Command(path, "word")
			text, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 7 || string(text) != "2 word\n" {
				t.Errorf("%v, %s: %v %q", flags, what, cmd.ProcessState, text)
			}
		}
		runs("rewritten")
		if text, err := exec.Command(readelf, "-W", "-a", path).CombinedOutput(); err != nil || bytes.Contains(text, []byte("Warning")) || bytes.Contains(text, []byte("Error")) {
			t.Errorf("%v: readelf: %v\n%s", flags, err, text[max(0, len(text)-300):])
		}
		if w.Moved() {
			continue
		}
		if text, err := exec.Command("strip", path).CombinedOutput(); err != nil {
			t.Errorf("%v: strip: %v %s", flags, err, text)
		}
		runs("stripped")
	}
}

// TestPatch: bytes are changed where they are what they should be, once.
func TestPatch(t *testing.T) {
	bin := testbin.BuildText(t, "program.c", program, "-O1")
	data, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	w := detour(t, bin, data)
	entry := w.Image().Entry
	old, _ := w.Image().Bytes(entry, 5)
	for name, p := range map[string]Patch{
		"other bytes":    {entry, []byte{1, 2, 3, 4, 5}, []byte{1, 2, 3, 4, 5}},
		"another length": {entry, old, old[:4]},
		"outside":        {1 << 40, old, old},
		"the ELF header": {w.Image().Segments[0].Start, data[:5], data[:5]},
		"nothing":        {entry, nil, nil},
	} {
		if err := w.Patch(p); !errors.Is(err, ErrPatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := Patch{entry, old, []byte{0x90, 0x90, 0x90, 0x90, 0x90}}
	if err := w.Patch(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Patch(Patch{entry + 2, old[2:], old[2:]}); !errors.Is(err, ErrPatch) {
		t.Errorf("two patches at one place: %v", err)
	}
	out, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Parse("out", out)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := img.Bytes(entry, 5); !bytes.Equal(got, p.New) || img.BuildID != w.Image().BuildID || len(img.Segments) != len(w.Image().Segments)+1 {
		t.Errorf("% x, build-id %s, %d segments", got, img.BuildID, len(img.Segments))
	}
}

// TestRefused: what cannot be kept whole.
func TestRefused(t *testing.T) {
	bin := testbin.BuildText(t, "program.c", program, "-O1")
	data, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New("appended", append(slices.Clone(data), "#!payload"...)); !errors.Is(err, ErrRefused) {
		t.Errorf("bytes behind the end: %v", err)
	}
	for _, bad := range [][]byte{nil, data[:100], []byte("\x7fELF"), data[:len(data)/2]} {
		if _, err := New("bad", bad); err == nil {
			t.Errorf("%d bytes are taken", len(bad))
		}
	}
}

// FuzzRewrite: any bytes in, a valid file or an error out.
func FuzzRewrite(f *testing.F) {
	bin := testbin.BuildText(f, "tiny.c", "void _start(void) { for (;;) ; }", "-O1", "-nostdlib", "-static", "-s")
	data, err := os.ReadFile(bin)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:200])
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := New("fuzz", b)
		if err != nil {
			return
		}
		w.SetCode([]byte{0xc3})
		w.AddFrame(Frame{Start: w.Base(), Size: 1})
		out, err := w.Bytes()
		if err != nil {
			return
		}
		if _, err := image.Parse("out", out); err != nil {
			t.Errorf("the result: %v", err)
		}
	})
}
