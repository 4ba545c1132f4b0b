package cfg

import (
	"fmt"
	"strings"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// A function whose jump cannot be told is explored again when something becomes known that concerns it, not whenever
// something becomes known: here that is in as many rounds as there are functions, for no symbol or unwind table names them.
func TestRounds(t *testing.T) {
	const n = 300
	var s strings.Builder
	s.WriteString(".globl _start\n_start: call f0\n mov $60, %eax\n syscall\n")
	for i := range n {
		fmt.Fprintf(&s, "f%d: lea t%d(%%rip), %%rdi\n call f%d\n jmp *(%%rbx)\nt%d: ret\n", i, i, i+1, i)
	}
	fmt.Fprintf(&s, "f%d: ret\n", n)
	f, err := image.Open(testbin.BuildText(t, "rounds.s", s.String(), "-nostdlib", "-static", "-Wl,--strip-all"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := build(f)
	if err != nil {
		t.Fatal(err)
	}
	g := b.graph()
	insts := 0
	for _, fn := range g.Funcs {
		insts += len(fn.Insts)
	}
	size := int64(0)
	for _, r := range b.text {
		size += int64(r.End - r.Start)
	}
	decoded := size*decodePerByte + decodeAnyway - b.budget.Load()
	if len(g.Funcs) < 2*n || decoded > 10*int64(insts) {
		t.Errorf("%d functions of %d instructions, of which %d were decoded", len(g.Funcs), insts, decoded)
	}
}
