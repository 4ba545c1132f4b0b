package callframe

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/testbin"
	"syspart/internal/unwind"
)

// piece is the code of a function from one of its instructions to its end.
type piece struct {
	name  string
	at    uint64
	code  []byte
	insts []byte // what we say of it
}

// TestCompilers describes functions anew from each of their instructions on, and compares the rules at all that follow with
// the compiler's. gcc says that a register is saved behind its push, as we do; clang says it for all behind the last push, so
// that only the places are compared.
func TestCompilers(t *testing.T) {
	for _, compiler := range []string{"gcc", "clang"} {
		for _, flags := range []string{"-O2", "-Os -mno-red-zone", "-O1 -fno-omit-frame-pointer"} {
			t.Run(compiler+" "+flags, func(t *testing.T) {
				compare(t, compiler == "gcc", testbin.BuildWith(t, compiler, "testdata/frames.c", append(strings.Fields(flags), "-fcf-protection=none", "-fno-stack-protector", "-no-pie")...))
			})
		}
	}
}

func compare(t *testing.T, prompt bool, bin string) {
	f, theirs := open(t, bin)
	var pieces []piece
	for _, s := range f.Symtab {
		if !slices.Contains([]string{"leaf", "wide", "many", "passes", "main"}, s.Name) {
			continue
		}
		all, ok := f.Bytes(s.Value, s.Size)
		if !ok {
			t.Fatalf("%s is not in the file", s.Name)
		}
		for _, va := range instructions(t, all, s.Value) {
			simple, err1 := theirs.Simple(va)
			entry, err2 := theirs.Insts(va)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatalf("%s: %v", s.Name, err)
			}
			if va == s.Value {
				entry = nil // what every entry has
			}
			code := all[va-s.Value:]
			insts, err := Insts(code, va, entry, simple)
			switch {
			case err == nil:
				pieces = append(pieces, piece{s.Name, va, code, insts})
			case !errors.Is(err, ErrCode):
				t.Fatalf("%s: %v", s.Name, err)
			case va == s.Value && !strings.Contains(err.Error(), "pointer"):
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	}
	if len(pieces) < 10 {
		t.Fatalf("only %d pieces of code are described", len(pieces))
	}
	// The same code elsewhere, with our description.
	text := ".globl main\nmain:\n"
	for i, p := range pieces {
		text += fmt.Sprintf(".type p%d, @function\np%d: .cfi_startproc\n", i, i)
		if len(p.insts) > 0 {
			text += ".cfi_escape " + list(p.insts) + "\n"
		}
		text += fmt.Sprintf(".byte %s\n.cfi_endproc\n.size p%d, . - p%d\n", list(p.code), i, i)
	}
	o, ours := open(t, testbin.BuildText(t, "again.s", text, "-no-pie", "-Wl,-z,noexecstack"))
	checked := 0
	for i, p := range pieces {
		k := slices.IndexFunc(o.Symtab, func(s image.Symbol) bool { return s.Name == fmt.Sprintf("p%d", i) })
		if k < 0 {
			t.Fatalf("p%d is missing", i)
		}
		reached := reach(p.code, p.at)
		popped := false // compilers leave the rule, as the value still is where it was
		for _, va := range instructions(t, p.code, p.at) {
			if !reached[va] {
				continue
			}
			want, err1 := theirs.Simple(va)
			got, err2 := ours.Simple(o.Symtab[k].Value + va - p.at)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatalf("%s from %#x, at %#x: %v", p.name, p.at, va, err)
			}
			if popped || !prompt && got.Saved != want.Saved {
				want.Saved, want.At, got.Saved, got.At = false, 0, false, 0
			}
			if want.FromRBP && !got.FromRBP {
				want.FromRBP, want.Off, got.Off = false, 0, 0 // behind the setting of the frame pointer both are right
			}
			if got != want {
				t.Errorf("%s from %#x, at %#x: %+v, the compiler says %+v", p.name, p.at, va, got, want)
			}
			popped = popped || p.code[va-p.at] == 0x5d
			checked++
		}
	}
	t.Logf("%d pieces, %d instructions", len(pieces), checked)
}

func open(t *testing.T, bin string) (*image.File, *unwind.Table) {
	t.Helper()
	f, err := image.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	table, err := unwind.NewTable(f)
	if err != nil {
		t.Fatal(err)
	}
	return f, table
}

// instructions returns the addresses of code that has no gaps.
func instructions(t *testing.T, code []byte, at uint64) (out []uint64) {
	t.Helper()
	var in decode.Inst
	for va := at; va < at+uint64(len(code)); va = in.Next() {
		if !decode.Decode(code[va-at:], va, &in) {
			t.Fatalf("%#x: not decoded", va)
		}
		out = append(out, va)
	}
	return out
}

// reach returns the addresses of code that its first byte leads to.
func reach(code []byte, at uint64) map[uint64]bool {
	seen := map[uint64]bool{}
	var in decode.Inst
	for work := []uint64{at}; len(work) > 0; {
		va := work[len(work)-1]
		work = work[:len(work)-1]
		if seen[va] || va < at || va >= at+uint64(len(code)) || !decode.Decode(code[va-at:], va, &in) {
			continue
		}
		seen[va] = true
		if in.Op == decode.OpJmp || in.Op == decode.OpJcc {
			work = append(work, uint64(in.Imm))
		}
		if in.Op != decode.OpJmp && in.Op != decode.OpRet {
			work = append(work, in.Next())
		}
	}
	return seen
}

func list(b []byte) string { return strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ",") }

// TestInsts: the very bytes, as the standard has them.
func TestInsts(t *testing.T) {
	at := func(loc byte, b ...byte) []byte { return append([]byte{0x04, loc, 0, 0, 0}, b...) } // DW_CFA_advance_loc4
	for _, c := range []struct {
		name  string
		code  []byte
		entry []byte
		s     unwind.Simple
		want  []byte
	}{
		{"nothing", []byte{0x90, 0xc3}, nil, unwind.Simple{Off: 8}, nil},
		{"push and pop", []byte{0x53, 0x90, 0x5b, 0xc3}, nil, unwind.Simple{Off: 8},
			slices.Concat(at(1, 0x0e, 16, 0x83, 2), at(2, 0x0e, 8, 0xc3))},
		{"a register that callers do not keep", []byte{0x50, 0x58, 0xc3}, nil, unwind.Simple{Off: 8}, slices.Concat(at(1, 0x0e, 16), at(1, 0x0e, 8))},
		{"over the red zone", []byte{0x48, 0x8d, 0x64, 0x24, 0x80, 0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0, 0xc3}, nil, unwind.Simple{Off: 8},
			slices.Concat(at(5, 0x0e, 0x88, 1), at(8, 0x0e, 8))},
		{"add and sub", []byte{0x48, 0x83, 0xec, 0x18, 0x48, 0x83, 0xc4, 0x18, 0xc3}, nil, unwind.Simple{Off: 8}, slices.Concat(at(4, 0x0e, 32), at(4, 0x0e, 8))},
		{"rules of the entry stay", []byte{0x50, 0xc3}, []byte{0x0c, 7, 48, 0x83, 2}, unwind.Simple{Off: 48},
			append([]byte{0x0c, 7, 48, 0x83, 2}, at(1, 0x0e, 56)...)},
		{"by the frame pointer", []byte{0x53, 0x50, 0xc3}, []byte{0x0c, 6, 16}, unwind.Simple{FromRBP: true, Off: 16}, []byte{0x0c, 6, 16}},
		{"code behind a jump", []byte{0x53, 0xeb, 1, 0xff, 0x5b, 0xc3}, nil, unwind.Simple{Off: 8}, slices.Concat(at(1, 0x0e, 16, 0x83, 2), at(4, 0x0e, 8, 0xc3))},
	} {
		got, err := Insts(c.code, 0x1000, c.entry, c.s)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: % x, %v; want % x", c.name, got, err, c.want)
		}
	}
}

// TestRefused: what is not clear is an error.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  []byte
		entry []byte
		s     unwind.Simple
		want  string
	}{
		{"another stack", []byte{0x48, 0x89, 0xc4, 0xc3}, nil, unwind.Simple{Off: 8}, "0x1000: frame is not clear: the stack pointer"},
		{"aligned", []byte{0x48, 0x83, 0xe4, 0xf0, 0xc3}, nil, unwind.Simple{Off: 8}, "the stack pointer is changed in another way"},
		{"by a register", []byte{0x48, 0x29, 0xc4, 0xc3}, nil, unwind.Simple{Off: 8}, "the stack pointer is changed in another way"},
		{"another frame pointer", []byte{0x48, 0x89, 0xc5, 0xc3}, []byte{0x0c, 6, 16}, unwind.Simple{FromRBP: true, Off: 16}, "the frame pointer is changed"},
		{"the frame pointer popped", []byte{0x5d, 0xc3}, []byte{0x0c, 6, 16}, unwind.Simple{FromRBP: true, Off: 16}, "the frame pointer is changed"},
		{"two depths", []byte{0x74, 1, 0x50, 0xc3}, nil, unwind.Simple{Off: 8}, "0x1003: frame is not clear: two ways"},
		{"data", []byte{0x90, 0x06}, nil, unwind.Simple{Off: 8}, "0x1001: frame is not clear: not decoded"},
		{"a rule of the entry", []byte{0x53, 0x5b, 0xc3}, []byte{0x0c, 7, 16, 0x83, 2}, unwind.Simple{Off: 16}, "the rule of register 3 at the entry is gone"},
	} {
		_, err := Insts(c.code, 0x1000, c.entry, c.s)
		if !errors.Is(err, ErrCode) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
