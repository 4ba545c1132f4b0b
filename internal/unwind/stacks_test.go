package unwind

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// captured is what the fixture printed about itself.
type captured struct {
	regs  Regs
	space Space
	mem   pieces
}

// pieces is memory made of pieces.
type pieces []piece

type piece struct {
	addr uint64
	data []byte
}

func (p pieces) ReadAt(b []byte, off int64) (int, error) {
	for _, x := range p {
		if at := uint64(off) - x.addr; at < uint64(len(x.data)) {
			if n := copy(b, x.data[at:]); n == len(b) {
				return n, nil
			}
		}
	}
	return 0, io.ErrUnexpectedEOF
}

// capture runs the fixture in one of its modes.
func capture(t testing.TB, bin, mode string) *captured {
	t.Helper()
	out, err := exec.Command(bin, mode).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", bin, mode, err)
	}
	c := &captured{}
	tables := make(map[string]*Module)
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		switch f[0] {
		case "regs":
			for i, w := range f[1:] {
				v, err := strconv.ParseUint(w, 16, 64)
				if err != nil {
					t.Fatal(err)
				}
				c.regs.set(i, v)
			}
		case "mem":
			addr, _ := strconv.ParseUint(f[1], 16, 64)
			data, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			c.mem = append(c.mem, piece{addr, data})
		case "map":
			if len(f) < 7 || f[2][2] != 'x' || f[6][0] != '/' {
				continue
			}
			m := tables[f[6]]
			if m == nil {
				file, err := image.Open(f[6])
				if err != nil {
					t.Fatal(err)
				}
				table, err := NewTable(file)
				if err != nil {
					t.Fatal(err)
				}
				m = &Module{Path: f[6], Table: table}
				tables[f[6]] = m
			}
			var lo, hi, off uint64
			fmt.Sscanf(f[1], "%x-%x", &lo, &hi)
			fmt.Sscanf(f[3], "%x", &off)
			for _, s := range m.Table.File().Segments {
				if s.Exec && off < s.Off+s.FileSize && s.Off < off+(hi-lo) {
					c.space = append(c.space, Mapping{Start: lo, End: hi, VA: s.Start + off - s.Off, Module: m})
				}
			}
		}
	}
	if !strings.HasSuffix(string(out), "end\n") || c.regs.Known != AllRegs {
		t.Fatalf("%s %s: output %q...", bin, mode, out[:min(len(out), 200)])
	}
	return c
}

// fixture are the functions of the fixture.
var fixture = strings.Fields("capture plain with_alloca aligned many compare sorting handler faulting raising in_many in_aligned chain routine main")

// names returns the functions of the fixture that are on a stack, innermost first; libc's are left out.
func names(bin string, frames []Frame) []string {
	var list []string
	for _, f := range frames {
		if f.Module.Path != bin {
			continue
		}
		at := f.PC
		if !f.Signal {
			at--
		}
		for _, s := range f.Module.Table.File().Symtab {
			if s.Type == 2 && s.Value <= at && at < s.Value+s.Size && slices.Contains(fixture, s.Name) {
				list = append(list, s.Name)
				break
			}
		}
	}
	return list
}

// TestStacks unwinds stacks of every shape, compared with the functions known to be active.
func TestStacks(t *testing.T) {
	if _, err := os.Stat("/proc/self/maps"); err != nil {
		testbin.Skip(t, "no /proc")
	}
	modes := []struct {
		mode   string
		want   []string
		signal string // function that a signal has interrupted, in the program itself
	}{
		{"chain", []string{"capture", "many", "in_many", "aligned", "in_aligned", "with_alloca", "chain", "plain", "main"}, ""},
		{"sort", []string{"capture", "compare", "sorting", "plain", "main"}, ""},
		{"signal", []string{"capture", "handler", "raising", "plain", "main"}, ""},
		{"fault", []string{"capture", "handler", "faulting", "plain", "main"}, "faulting"},
		{"altstack", []string{"capture", "handler", "faulting", "plain", "main"}, "faulting"},
		{"thread", []string{"capture", "many", "in_many", "aligned", "in_aligned", "with_alloca", "chain", "plain", "routine"}, ""},
	}
	variants := [][]string{
		{"gcc", "-O0"}, {"gcc", "-O1", "-fno-omit-frame-pointer"}, {"gcc", "-O2", "-fomit-frame-pointer"},
		{"gcc", "-O2", "-no-pie", "-fno-pie"}, {"gcc", "-O1", "-static"},
		{"clang", "-O2"}, {"clang", "-O0"}, {"musl-gcc", "-O2"},
	}
	for _, v := range variants {
		t.Run(strings.Join(v, " "), func(t *testing.T) {
			// Sibling calls would take frames off the stack that the test expects.
			flags := append([]string{"-pthread", "-fno-optimize-sibling-calls", "-w"}, v[1:]...)
			bin := testbin.BuildWith(t, v[0], "testdata/stacks.c", flags...)
			for _, m := range modes {
				c := capture(t, bin, m.mode)
				res := c.space.Unwind(c.regs, c.mem, 100)
				got := names(bin, res.Frames)
				if v[0] == "musl-gcc" && !res.Complete {
					// Debian's musl has no unwind tables: what there is must be right and must not be called complete.
					if len(got) == 0 || !slices.Equal(got, m.want[:min(len(got), len(m.want))]) {
						t.Errorf("%s: functions %v, want a beginning of %v", m.mode, got, m.want)
					}
					continue
				}
				if !slices.Equal(got, m.want) {
					t.Errorf("%s: functions %v, want %v (%v)", m.mode, got, m.want, res.Err)
					continue
				}
				if !res.Complete {
					t.Errorf("%s: incomplete: %v", m.mode, res.Err)
				}
				for i, f := range res.Frames {
					if name := names(bin, res.Frames[i:i+1]); f.Signal && len(name) == 1 && name[0] != m.signal {
						t.Errorf("%s: %s is said to be interrupted by a signal", m.mode, name[0])
					}
				}
				if m.signal != "" && !slices.ContainsFunc(res.Frames, func(f Frame) bool { return f.Signal }) {
					t.Errorf("%s: no frame is marked as interrupted", m.mode)
				}
			}
		})
	}
}
