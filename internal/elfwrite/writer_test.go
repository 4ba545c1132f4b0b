package elfwrite

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// starts are the first instructions of the C libraries' start code; none depends on where it stands.
var starts = [][]byte{
	{0xf3, 0x0f, 0x1e, 0xfa, 0x31, 0xed}, // endbr64; xor ebp, ebp
	{0x31, 0xed, 0x49, 0x89, 0xd1},       // xor ebp, ebp; mov r9, rdx
	{0x48, 0x31, 0xed, 0x48, 0x89, 0xe7}, // musl: xor rbp, rbp; mov rdi, rsp
}

// detour puts the first instructions at the entry into new code: a jump there, the instructions, a jump back.
func detour(t testing.TB, data []byte) *Writer {
	t.Helper()
	w, err := New("file", data)
	if err != nil {
		t.Fatal(err)
	}
	entry := w.Image().Entry
	for _, start := range starts {
		n := uint64(len(start))
		if b, ok := w.Image().Bytes(entry, n); !ok || !bytes.Equal(b, start) {
			continue
		}
		code := append(slices.Clone(start), jump(w.Base()+n, entry+n)...)
		w.SetCode(code)
		w.AddFrame(Frame{Start: w.Base(), Size: uint64(len(code)), Insts: []byte{0x07, 16}}) // DW_CFA_undefined: the bottom
		patch := append(jump(entry, w.Base()), bytes.Repeat([]byte{0x90}, len(start)-5)...)
		if err := w.Patch(Patch{entry, start, patch}); err != nil {
			t.Fatal(err)
		}
		return w
	}
	t.Fatal("unknown start code")
	return nil
}

func jump(from, to uint64) []byte { return le.AppendUint32([]byte{0xe9}, uint32(to-from-5)) }

const program = `#include <stdio.h>
#include <string.h>
static _Thread_local int tls = 7;
static char big[3 << 20];
int main(int argc, char **argv) {
	memset(big, 1, sizeof big);
	printf("%d %d %s\n", argc, tls + big[sizeof big - 1], argv[argc - 1]);
	return 3;
}
`

func run(t *testing.T, path string) string {
	t.Helper()
	cmd := exec.Command(path, "x")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("%s: %v, output %q", path, err, out)
	}
	return string(out)
}

// TestRewrite runs programs of every shape with a detour at their entry, as they are and after strip and objcopy.
func TestRewrite(t *testing.T) {
	src := filepath.Join(t.TempDir(), "program.c")
	if err := os.WriteFile(src, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	gcc := func(flags ...string) func(t *testing.T) string {
		return func(t *testing.T) string { return testbin.BuildWith(t, "gcc", src, flags...) }
	}
	for name, build := range map[string]func(t *testing.T) string{
		"pie":          gcc("-pie", "-fPIE"),
		"fixed":        gcc("-no-pie", "-fno-pie"),
		"static":       gcc("-static"),
		"static-pie":   gcc("-static-pie", "-fPIE"),
		"bind-now":     gcc("-Wl,-z,now", "-Wl,--build-id=sha1", "-g"),
		"lazy":         gcc("-Wl,-z,lazy", "-Wl,-z,norelro"),
		"no headers":   func(t *testing.T) string { return testbin.NoSections(t, gcc("-pie", "-fPIE")(t)) },
		"stripped":     func(t *testing.T) string { return testbin.Strip(t, gcc("-no-pie", "-fno-pie")(t)) },
		"musl":         func(t *testing.T) string { return testbin.BuildWith(t, "musl-gcc", src) },
		"musl static":  func(t *testing.T) string { return testbin.BuildWith(t, "musl-gcc", src, "-static") },
		"clang static": func(t *testing.T) string { return testbin.BuildWith(t, "clang", src, "-static") },
		// No PT_NOTE to spare: the table moves.
		"no property":        gcc("-Wl,--build-id=none", "-Wl,-z,noibt", "-fcf-protection=none"),
		"no property static": gcc("-static", "-no-pie", "-Wl,--build-id=none", "-fcf-protection=none"),
	} {
		t.Run(name, func(t *testing.T) {
			path := build(t)
			if strings.HasPrefix(name, "no property") {
				objcopy := testbin.Need(t, "objcopy", "binutils")
				bare := filepath.Join(t.TempDir(), "bare")
				if out, err := exec.Command(objcopy, "-R", ".note.gnu.property", path, bare).CombinedOutput(); err != nil {
					t.Fatalf("objcopy: %v\n%s", err, out)
				}
				path = bare
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if name == "no headers" { // what they described would be bytes behind the last structure
				img, err := image.Parse(name, data)
				if err != nil {
					t.Fatal(err)
				}
				last := img.Segments[len(img.Segments)-1]
				data = data[:last.Off+last.FileSize]
			}
			w := detour(t, data)
			out, err := w.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("place %d, moved %v", w.where, w.Moved())
			if again, _ := detour(t, data).Bytes(); !bytes.Equal(out, again) {
				t.Error("not the same bytes twice")
			}
			file := filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(file, out, 0o755); err != nil {
				t.Fatal(err)
			}
			want := run(t, path)
			if got := run(t, file); got != want {
				t.Errorf("prints %q, want %q", got, want)
			}
			warnings(t, path, file)
			if w.Moved() || name == "no headers" {
				return
			}
			for _, tool := range []string{"strip", "objcopy"} {
				cmd := testbin.Need(t, tool, "binutils")
				short := filepath.Join(t.TempDir(), tool)
				args := []string{"-o", short, file}
				if tool == "objcopy" {
					args = []string{file, short}
				}
				if out, err := exec.Command(cmd, args...).CombinedOutput(); err != nil || len(out) > 0 {
					t.Errorf("%s: %v %s", tool, err, out)
					continue
				}
				if got := run(t, short); got != want {
					t.Errorf("after %s: prints %q, want %q", tool, got, want)
				}
				img, err := image.Open(short)
				if err != nil {
					t.Errorf("after %s: %v", tool, err)
					continue
				}
				if b, ok := img.Bytes(w.Base(), uint64(len(w.code))); !ok || !bytes.Equal(b, w.code) {
					t.Errorf("after %s the new code is lost", tool)
				}
			}
		})
	}
}

// warnings compares what readelf complains about.
func warnings(t *testing.T, before, after string) {
	t.Helper()
	readelf := testbin.Need(t, "readelf", "binutils")
	complaints := func(path string) (n int, text string) {
		var stderr bytes.Buffer
		cmd := exec.Command(readelf, "-Wa", path)
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("readelf %s: %v", path, err)
		}
		return strings.Count(stderr.String(), "\n"), stderr.String()
	}
	old, _ := complaints(before)
	if n, text := complaints(after); n > old {
		t.Errorf("readelf complains:\n%s", text)
	}
}

func TestPatchRefused(t *testing.T) {
	data, err := os.ReadFile(testbin.Build(t, source(t)))
	if err != nil {
		t.Fatal(err)
	}
	w := detour(t, data)
	entry := w.Image().Entry
	b, _ := w.Image().Bytes(entry+16, 4)
	for name, p := range map[string]Patch{
		"other bytes":     {entry + 16, []byte{^b[0]}, []byte{0}},
		"other length":    {entry + 16, b[:2], []byte{0}},
		"nothing":         {entry + 16, nil, nil},
		"not in the file": {1 << 40, []byte{0}, []byte{0}},
		"overlap":         {entry + 4, w.patches[0].Old[4:5], []byte{0}},
	} {
		if err := w.Patch(p); !errors.Is(err, ErrPatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Patch(Patch{entry + 16, b[:1], []byte{b[0] ^ 1}}); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	data, err := os.ReadFile(testbin.Build(t, source(t)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New("file", append(slices.Clone(data), "payload"...)); !errors.Is(err, ErrRefused) {
		t.Errorf("bytes behind the end: %v", err)
	}
	w := detour(t, data)
	w.code = nil
	if _, err := w.Bytes(); err == nil {
		t.Error("no code passes")
	}
}

// TestCheck damages an output in every way that check is there for.
func TestCheck(t *testing.T) {
	data, err := os.ReadFile(testbin.Build(t, source(t)))
	if err != nil {
		t.Fatal(err)
	}
	w := detour(t, data)
	good, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	entry, _ := w.offset(w.img.Entry)
	for name, at := range map[string]uint64{
		"patch": entry, "beside the patch": entry + 8, "new code": w.segOff, "entry": offEntry, "type": 16,
		"program header": le.Uint64(good[offPhoff:]) + phdrSize + 8, "unwind table": w.segOff + uint64(len(w.code)) + 30,
	} {
		bad := slices.Clone(good)
		bad[at] ^= 0x41
		if err := w.check(bad); !errors.Is(err, ErrVerify) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.check(good[:len(data)-1]); !errors.Is(err, ErrVerify) {
		t.Errorf("short: %v", err)
	}
}

func source(t testing.TB) string {
	t.Helper()
	src := filepath.Join(t.TempDir(), "program.c")
	if err := os.WriteFile(src, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	return src
}
