package modcheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// Where the world of a test is mapped.
const base = 0x7000_0000

// world is memory with the code and what a loader leaves: PT_DYNAMIC, struct r_debug, a list of modules with their headers.
type world struct {
	bytes.Buffer
}

func (w *world) here() uint64 { return base + uint64(w.Len()) }

// put appends 32-bit and 64-bit numbers and bytes, and returns where they begin.
func (w *world) put(parts ...any) uint64 {
	at := w.here()
	for _, p := range parts {
		if err := binary.Write(w, binary.LittleEndian, p); err != nil {
			panic(err)
		}
	}
	return at
}

func (w *world) align(n int) {
	for w.Len()%n != 0 {
		w.WriteByte(0)
	}
}

// note is an entry of a PT_NOTE, whose parts are aligned to n bytes.
func note(n int, kind uint32, name string, desc []byte) []byte {
	var w world
	w.put(uint32(len(name)+1), uint32(len(desc)), kind, []byte(name), byte(0))
	w.align(n)
	w.put(desc)
	w.align(n)
	return w.Bytes()
}

// elf is a module's header with program headers, PT_LOAD first, and its notes.
func (w *world) elf(align uint64, notes ...[]byte) uint64 {
	w.align(4096)
	at := w.put([]byte("\x7fELF\x02\x01\x01"), make([]byte, 25), uint64(64), make([]byte, 16), uint16(1+len(notes)), make([]byte, 6))
	ph := func(kind uint32, off, size, align uint64) {
		w.put(kind, uint32(4), off, off, off, size, size, align)
	}
	ph(1, 0, 4096, 4096)
	off := uint64(64 + 56*(1+len(notes)))
	for _, n := range notes {
		ph(4, off, uint64(len(n)), align)
		off += uint64(len(n))
	}
	for _, n := range notes {
		w.put(n)
	}
	return at
}

// module is an entry of the loader's list.
type module struct {
	name string
	at   uint64 // address of the header
}

// list writes the loader's list, which begins with the program, and struct r_debug in the given state, and returns the address
// of a PT_DYNAMIC that leads there.
func (w *world) list(state uint32, modules ...module) uint64 {
	w.align(8)
	next := uint64(0)
	for i := len(modules) - 1; i >= 0; i-- {
		name := w.put([]byte(modules[i].name), byte(0))
		w.align(8)
		next = w.put(modules[i].at, name, uint64(0), next)
	}
	program := w.put(uint64(base), uint64(base), uint64(0), next)
	debug := w.put(uint64(1), program, uint64(0), state, uint32(0))
	return w.put(uint64(1), uint64(7), uint64(21), debug, uint64(0), uint64(0))
}

const (
	gnu     = "GNU"
	buildID = 3 // NT_GNU_BUILD_ID
)

func id(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func hexes(ids ...[]byte) (out []string) {
	for _, i := range ids {
		out = append(out, fmt.Sprintf("%x", i))
	}
	return out
}

// room is what the code takes at most.
const room = 4096

// play maps the world and calls what is said, and returns the exit status with both outputs.
func (w *world) play(t *testing.T, host string, p Params, entry bool) (code int, out, msg string) {
	t.Helper()
	c, err := Make(base, p)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Bytes) > room {
		t.Fatalf("%d bytes of code", len(c.Bytes))
	}
	copy(w.Bytes(), c.Bytes)
	file := filepath.Join(t.TempDir(), "world")
	if err := os.WriteFile(file, w.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{file, fmt.Sprint(base), fmt.Sprint(c.Late)}
	if entry {
		args = []string{file, fmt.Sprint(base), fmt.Sprint(c.Entry), "jump"}
	}
	cmd := exec.Command(host, args...)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

const complaint = ": not a file that this program was hardened for; profile and harden it again\n"

// TestCheck runs the code over lists of modules.
func TestCheck(t *testing.T) {
	host := testbin.Build(t, "testdata/host.c", "-O1", "-no-pie", "-fcf-protection=none")
	a, b, short := id(0xaa, 20), id(0xbb, 20), id(0xcc, 8)
	for _, c := range []struct {
		name  string
		ids   []string
		anon  bool
		state uint32
		build func(w *world) []module
		bad   string // modules that it complains of, space-separated
	}{
		{"the module", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(4, note(4, buildID, gnu, a))}}
		}, ""},
		{"one of several", hexes(b, short, a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(4, note(4, buildID, gnu, a))}, {"/lib/c.so", w.elf(4, note(4, buildID, gnu, short))}}
		}, ""},
		{"another", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(4, note(4, buildID, gnu, a))}, {"/lib/b.so", w.elf(4, note(4, buildID, gnu, b))}}
		}, "/lib/b.so"},
		{"two others", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/x.so", w.elf(4, note(4, buildID, gnu, short))}, {"/lib/b.so", w.elf(4, note(4, buildID, gnu, b))}}
		}, "/lib/x.so /lib/b.so"},
		{"the last byte is another", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(4, note(4, buildID, gnu, append(id(0xaa, 19), 0)))}}
		}, "/lib/a.so"},
		{"the beginning of one", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(4, note(4, buildID, gnu, a[:8]))}}
		}, "/lib/a.so"},
		{"longest", hexes(id(0xdd, MaxID)), false, 0, func(w *world) []module {
			return []module{{"/lib/d.so", w.elf(4, note(4, buildID, gnu, id(0xdd, MaxID)))}}
		}, ""},
		{"notes before it", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(4, append(note(4, 1, gnu, id(1, 17)), note(4, buildID, gnu, a)...))}}
		}, ""},
		{"notes of eight bytes before it", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(8, append(note(8, 5, gnu, id(1, 12)), note(8, buildID, gnu, a)...))}}
		}, ""},
		{"in the second table", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(4, note(4, 1, gnu, id(1, 16)), note(4, buildID, gnu, a))}}
		}, ""},
		{"somebody else's note of that number", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(4, note(4, buildID, "Xen", b), note(4, buildID, gnu, a))}}
		}, ""},
		{"only somebody else's", hexes(a), false, 0, func(w *world) []module {
			return []module{{"/lib/a.so", w.elf(4, note(4, buildID, "Xen", a))}}
		}, "/lib/a.so"},
		{"none", hexes(a), false, 0, func(w *world) []module { return []module{{"/lib/n.so", w.elf(4)}} }, "/lib/n.so"},
		{"none, and there was one", hexes(a), true, 0, func(w *world) []module { return []module{{"/lib/n.so", w.elf(4)}} }, ""},
		{"another, and there was one without", hexes(a), true, 0, func(w *world) []module {
			return []module{{"/lib/b.so", w.elf(4, note(4, buildID, gnu, b))}}
		}, "/lib/b.so"},
		{"no header", hexes(a), false, 0, func(w *world) []module { w.align(4096); return []module{{"gone", w.put(make([]byte, 64))}} }, "gone"},
		{"no address", hexes(a), false, 0, func(w *world) []module { return []module{{"zero", 0}} }, "zero"},
		{"a description behind the end", hexes(a), false, 0, func(w *world) []module {
			n := note(4, buildID, gnu, a)
			n[4] = 200
			return []module{{"/lib/a.so", w.elf(4, n)}}
		}, "/lib/a.so"},
		{"while the list changes", hexes(a), false, 1, func(w *world) []module {
			return []module{{"/lib/b.so", w.elf(4, note(4, buildID, gnu, b))}}
		}, ""},
		{"no modules", nil, false, 0, func(w *world) []module { return nil }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{}
			w.put(make([]byte, room))
			dynamic := w.list(c.state, c.build(w)...)
			bad := strings.Fields(c.bad)
			want := ""
			for _, m := range bad {
				want += "syspart: " + m + complaint
			}
			code, out, msg := w.play(t, host, Params{Dynamic: dynamic, IDs: c.ids, Anonymous: c.anon}, false)
			if code != 0 || out != "back\n" || msg != want {
				t.Errorf("told: status %d, %q, %q; want 0, back, %q", code, out, msg, want)
			}
			code, out, msg = w.play(t, host, Params{Dynamic: dynamic, IDs: c.ids, Anonymous: c.anon, Refuse: true}, false)
			switch {
			case len(bad) == 0 && (code != 0 || out != "back\n" || msg != ""):
				t.Errorf("refusing: status %d, %q, %q; want 0 and back", code, out, msg)
			case len(bad) > 0 && (code != 125 || msg != "syspart: "+bad[0]+complaint):
				t.Errorf("refusing: status %d, %q; want 125 and the first module", code, msg)
			}
		})
	}
}

// TestEntry: the code at the entry goes on at the program's, or does not.
func TestEntry(t *testing.T) {
	host := testbin.Build(t, "testdata/host.c", "-O1", "-no-pie", "-fcf-protection=none")
	w := &world{}
	w.put(make([]byte, room))
	// exit_group(7)
	entry := w.put([]byte{0xbf, 7, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05})
	dynamic := w.list(0, module{"/lib/a.so", w.elf(4, note(4, buildID, gnu, id(0xaa, 20)))})
	for _, c := range []struct {
		id   byte
		want int
	}{{0xaa, 7}, {0xab, 125}} {
		code, _, msg := w.play(t, host, Params{Dynamic: dynamic, Entry: entry, IDs: hexes(id(c.id, 20)), Refuse: true}, true)
		if code != c.want || (msg != "") != (c.want == 125) {
			t.Errorf("build-id %x: status %d, %q; want %d", c.id, code, msg, c.want)
		}
	}
	// A program without the loader's list, before it is there or in a static program.
	for _, dynamic := range []uint64{w.put(uint64(21), uint64(0), uint64(0), uint64(0)), w.put(uint64(0), uint64(0))} {
		if code, _, msg := w.play(t, host, Params{Dynamic: dynamic, Entry: entry, IDs: hexes(id(1, 20)), Refuse: true}, true); code != 7 || msg != "" {
			t.Errorf("no list: status %d, %q; want 7", code, msg)
		}
	}
}

// TestMake: build-ids that cannot be compared are errors.
func TestMake(t *testing.T) {
	for _, bad := range []string{"", "abc", "xy", strings.Repeat("aa", MaxID+1)} {
		if c, err := Make(base, Params{IDs: []string{bad}}); err == nil || c != nil || !strings.Contains(err.Error(), fmt.Sprintf("build-id %q", bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestGenerated: the code in the file is the assembler's.
func TestGenerated(t *testing.T) {
	as, objcopy := testbin.Need(t, "as", "binutils"), testbin.Need(t, "objcopy", "binutils")
	dir := t.TempDir()
	o, bin := filepath.Join(dir, "check.o"), filepath.Join(dir, "check.bin")
	for _, argv := range [][]string{{as, "--64", "-o", o, "check.asm"}, {objcopy, "-O", "binary", "-j", ".text", o, bin}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", argv[0], err, out)
		}
	}
	made, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, blob) {
		t.Error("check.bin is not what check.asm says; run go generate")
	}
}
