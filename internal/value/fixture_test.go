package value

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"syspart/internal/cfg"
	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/testbin"
)

// atSyscalls returns, for every function with a system-call instruction, the values of rax there: one text a function.
func atSyscalls(t *testing.T, bin string, fixed bool) map[string]string {
	f, err := image.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	g, err := cfg.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	a := Analysis{Mem: noMemory{}, Fixed: fixed}
	out := map[string]string{}
	for _, fn := range g.Funcs {
		a.Run(fn)
		a.Replay(func(_, _ int32, in *decode.Inst, s *State) {
			if in.Op != decode.OpSyscall {
				return
			}
			var parts []string
			a.T.each(s.Reg[decode.RAX], func(e Expr) {
				switch {
				case e.Kind == Const:
					parts = append(parts, fmt.Sprint(e.Off))
				case e.Kind == Param && !e.Any:
					parts = append(parts, fmt.Sprintf("param%d%+d", e.A, e.Off))
				default:
					parts = append(parts, "?")
				}
			})
			out[fn.Name] = strings.Join(parts, "|")
		})
	}
	return out
}

// TestAssembly compares the values of rax at system calls with what is written behind the functions' names.
func TestAssembly(t *testing.T) {
	src := filepath.Join("testdata", "values.s")
	got := atSyscalls(t, testbin.Build(t, src, "-nostdlib", "-static-pie"), false)
	wants := testbin.Wants(t, src)["rax"]
	if len(wants) < 20 {
		t.Fatalf("only %d expectations", len(wants))
	}
	for _, w := range wants {
		name, want, _ := strings.Cut(w, "=")
		if got[name] != want {
			t.Errorf("%s: rax is %q, want %q", name, got[name], want)
		}
	}
}

// TestCompiled does the same for C, with and without optimisation.
func TestCompiled(t *testing.T) {
	src := filepath.Join("testdata", "values.c")
	for _, flags := range [][]string{{"-O0"}, {"-O2"}, {"-O2", "-fno-omit-frame-pointer"}, {"-Os"}} {
		got := atSyscalls(t, testbin.Build(t, src, flags...), false)
		for _, w := range testbin.Wants(t, src)["rax"] {
			name, want, _ := strings.Cut(w, "=")
			if got[name] != want {
				t.Errorf("%v: %s: rax is %q, want %q", flags, name, got[name], want)
			}
		}
	}
}

// TestHuge: a function of many loops and blocks is analysed to its end, without unbounded tables.
func TestHuge(t *testing.T) {
	var b strings.Builder
	b.WriteString("\t.intel_syntax noprefix\n\t.globl _start\n\t.type _start, @function\n_start:\n\txor eax, eax\n")
	const n = 4000
	for i := range n {
		fmt.Fprintf(&b, ".L%d:\n\tadd rax, %d\n\tlea rbx, [rbx+rax]\n\tmov [rsp-%d], rax\n\ttest edi, %d\n\tje .L%d\n\tjs .L%d\n", i, i+1, 8+8*(i%100), i, i/2, i*7919%n)
	}
	b.WriteString("\tsyscall\n\tret\n\t.size _start, .-_start\n\t.section .note.GNU-stack,\"\",@progbits\n")
	got := atSyscalls(t, testbin.BuildText(t, "huge.s", b.String(), "-nostdlib", "-static-pie"), false)
	if got["_start"] != "?" {
		t.Errorf("rax is %q", got["_start"])
	}
}
