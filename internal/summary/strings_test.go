package summary

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// Strings that lie one behind another without an end, as Go's do, are not read to the end of all of them for each.
func TestStringsWithoutEnd(t *testing.T) {
	const n = 4000
	var s strings.Builder
	s.WriteString(".globl _start\n_start: mov $60, %eax\n syscall\n.section .data.rel.ro,\"aw\"\n")
	for i := range n {
		fmt.Fprintf(&s, ".quad text+%d\n", 64*i)
	}
	fmt.Fprintf(&s, ".section .rodata\ntext: .rept %d\n.ascii \"%s\"\n.endr\n.byte 0\n", n, strings.Repeat("abcdefgh", 8))
	f, err := image.Open(testbin.BuildText(t, "strings.s", s.String(), "-nostdlib", "-static-pie"))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Build(f); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("%d MiB for a file of %d KiB", took>>20, f.Size>>10)
	}
}
