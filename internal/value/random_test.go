package value

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/cfg"
	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/testbin"
)

// record is the harness's struct record.
type record struct {
	Fn, SP uint64
	In     [16]uint64
	Args   [stackArgs]uint64
	Ret    uint64
	Out    [16]uint64
	Frame  [(frameBelow + frameAbove) / 8]uint64
}

const (
	frameBelow = 1024
	frameAbove = 128
)

// noMemory knows nothing of the file's contents.
type noMemory struct{}

func (noMemory) At(uint64, int) (Expr, bool) { return Expr{}, false }

// admits reports whether a value computed for a run's end can be w there. Copies of 32 bits keep symbolic values that
// they cut, so of what came from outside the lower half counts.
func admits(t *Table, v Val, w uint64, r *record, bias uint64) bool {
	ok := false
	t.each(v, func(e Expr) {
		switch e.Kind {
		case Const:
			ok = ok || w == uint64(e.Off)
		case Addr:
			ok = ok || e.Any || w == uint64(e.Off)+bias
		case Stack:
			ok = ok || e.Any || w == r.SP+uint64(e.Off)
		case Param:
			in := r.In[argRegs[0]]
			if e.A < 6 {
				in = r.In[argRegs[e.A]]
			} else {
				in = r.Args[e.A-6]
			}
			ok = ok || e.Any || uint32(w) == uint32(in+uint64(e.Off))
		case Result:
			ok = ok || e.Any || uint32(w) == uint32(r.Ret+uint64(e.Off))
		default: // memory's contents are not compared
			ok = true
		}
	})
	return ok
}

// describe writes a value out.
func describe(t *Table, v Val) string {
	var s []string
	t.each(v, func(e Expr) { s = append(s, fmt.Sprintf("%+v", e)) })
	return strings.Join(s, " | ")
}

// TestRandomFunctions runs random functions and checks that what registers and frame hold at their ends is among the
// values computed.
func TestRandomFunctions(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		fixed bool
	}{
		{"pie", []string{"-pie", "-fPIE"}, false},
		{"fixed", []string{"-no-pie", "-fno-pie"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 400
			if testing.Short() {
				n = 100
			}
			random(t, seed(t), n, c.fixed, c.flags)
		})
	}
}

// seed is 1, or what SYSPART_SEED says, to try others.
func seed(t *testing.T) uint64 {
	s := os.Getenv("SYSPART_SEED")
	if s == "" {
		return 1
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// random checks n functions generated from a seed.
func random(t *testing.T, seed uint64, n int, fixed bool, flags []string) {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	var asm strings.Builder
	asm.WriteString("\t.intel_syntax noprefix\n\t.text\n")
	sources := make([]string, n)
	for i := range sources {
		sources[i] = g.function(i)
		asm.WriteString(sources[i])
	}
	asm.WriteString("\t.section .data.rel.ro,\"aw\"\n\t.balign 8\n\t.globl table, table_len\ntable:\n")
	for i := range sources {
		fmt.Fprintf(&asm, "\t.quad f%d\n", i)
	}
	fmt.Fprintf(&asm, "table_len: .quad %d\n\t.section .note.GNU-stack,\"\",@progbits\n", n)
	src := filepath.Join(t.TempDir(), "functions.s")
	if err := os.WriteFile(src, []byte(asm.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	bin := testbin.Build(t, filepath.Join("testdata", "harness.c"), append([]string{"-O1", src}, flags...)...)
	out, err := exec.Command(bin).Output()
	if err != nil {
		t.Fatalf("%s: %v", bin, err)
	}
	var rec record
	size := binary.Size(rec)
	if len(out) == 0 || len(out)%size != 0 {
		t.Fatalf("%d bytes of records of %d", len(out), size)
	}
	f, err := image.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	graph, err := cfg.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	addr := make(map[string]uint64)
	for i := range f.Symtab {
		addr[f.Symtab[i].Name] = f.Symtab[i].Value
	}
	a := Analysis{Mem: noMemory{}, Fixed: fixed}
	values, known := 0, 0
	rd := bytes.NewReader(out)
	runs := len(out) / size / n
	for i := range sources {
		fn := graph.At(addr[fmt.Sprintf("f%d", i)])
		if fn == nil {
			t.Fatalf("f%d: no function\n%s", i, sources[i])
		}
		a.Run(fn)
		var end *State
		a.Replay(func(_, _ int32, in *decode.Inst, s *State) {
			if in.Op == decode.OpJmp && uint64(in.Imm) == addr["capture"] {
				c := State{}
				c.copyFrom(s)
				end = &c
			}
		})
		if end == nil {
			t.Fatalf("f%d: its end is not reached\n%s", i, sources[i])
		}
		for range runs {
			if err := binary.Read(rd, binary.LittleEndian, &rec); err != nil {
				t.Fatal(err)
			}
			bias := rec.Fn - fn.Entry
			for r := range end.Reg {
				values++
				if end.Reg[r] != 0 {
					known++
				}
				if !admits(&a.T, end.Reg[r], rec.Out[r], &rec, bias) {
					t.Fatalf("f%d: %s is %#x (entry stack pointer %#x), computed %s\n%s", i, names64[r], rec.Out[r], rec.SP,
						describe(&a.T, end.Reg[r]), sources[i])
				}
			}
			for _, x := range end.Slots {
				k := int(x.Off) + frameBelow
				if k < 0 || k+int(x.Size) > frameBelow+frameAbove {
					continue
				}
				values++
				known++
				w := rec.Frame[k/8] >> (8 * (k % 8))
				if k%8 != 0 && k%8+int(x.Size) > 8 {
					w |= rec.Frame[k/8+1] << (64 - 8*(k%8))
				}
				ok := admits(&a.T, x.Val, w, &rec, bias)
				if x.Size == 4 {
					ok = admits32(&a.T, x.Val, uint32(w), &rec, bias)
				}
				if !ok {
					t.Fatalf("f%d: slot %d of %d bytes is %#x, computed %s\n%s", i, x.Off, x.Size, w, describe(&a.T, x.Val), sources[i])
				}
			}
			if !end.ArgsLost {
				for k := range rec.Args {
					off := int32(8 + 8*k)
					if v := a.Slot(end, off, 8); !admits(&a.T, v, rec.Frame[(frameBelow+int(off))/8], &rec, bias) {
						t.Fatalf("f%d: stack argument %d is %#x, computed %s\n%s", i, k, rec.Frame[(frameBelow+int(off))/8], describe(&a.T, v), sources[i])
					}
				}
			}
		}
	}
	t.Logf("%d functions, %d runs each, %d values, %d of them known", n, runs, values, known)
	if known*10 < values {
		t.Errorf("only %d of %d values are known: the test checks next to nothing", known, values)
	}
}

// admits32 is admits for a place of four bytes.
func admits32(t *Table, v Val, w uint32, r *record, bias uint64) bool {
	ok := v == 0
	t.each(v, func(e Expr) {
		if e.Kind == Const {
			ok = ok || w == uint32(e.Off)
			return
		}
		ok = ok || admits(t, t.Intern(e), uint64(w), r, bias)
	})
	return ok
}
