package callgraph

import (
	"fmt"
	"strings"
	"testing"

	"syspart/internal/syscalls"
	"syspart/internal/testbin"
)

// TestAreas: a table of which nothing says how long it is does not end inside where thread-local variables would end: they take
// no place in the file, and begin where the next section does.
func TestAreas(t *testing.T) {
	var src strings.Builder
	src.WriteString(`
#include <unistd.h>
typedef void handler(void);
__thread char local[256];
unsigned long numbers[8192];
`)
	for i := range 64 {
		body := fmt.Sprintf("__asm__ volatile (\"nop # %d\");", i)
		if i == 63 {
			body = "sync();"
		}
		fmt.Fprintf(&src, "static void f%d(void) { %s }\n", i, body)
	}
	src.WriteString("static handler *const table[64] __attribute__((aligned(32))) = {")
	for i := range 64 {
		fmt.Fprintf(&src, "f%d, ", i)
	}
	src.WriteString("};\n")
	src.WriteString("int main(int argc, char **argv) { local[argc] = 1; numbers[argc] = 1; table[argc & 63](); return local[1]; }\n")
	sync, _ := syscalls.Number("sync")
	bin := testbin.Strip(t, testbin.BuildText(t, "areas.c", src.String(), "-O1", "-fPIE", "-pie"))
	for _, level := range levels {
		g := New(load(t, bin), level)
		if !g.WalkSignals(append(g.Started(), whole(g, mainOf(t, g))...)).Calls.Has(sync) {
			t.Errorf("level %v: the last function of the table is not reached", level)
		}
	}
}
