package callgraph

import (
	"fmt"
	"strings"
	"testing"

	"syspart/internal/syscalls"
	"syspart/internal/testbin"
)

// TestAreas: a table of which nothing says how long it is ends nowhere inside: not where thread-local variables that take no
// place in the file would end, which begin where the next section does, nor, in a file at a fixed address, where a number looks
// as if it pointed there.
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
	src.WriteString("};\nunsigned long words[4] = {1, NUMBER, 2, 3};\n")
	src.WriteString("int main(int argc, char **argv) { local[argc] = 1; numbers[argc] = words[argc & 3]; table[argc & 63](); return local[1]; }\n")
	sync, _ := syscalls.Number("sync")
	for name, flags := range map[string][]string{
		"pie":   {"-DNUMBER=7", "-fPIE", "-pie"},
		"fixed": {"-DNUMBER=((unsigned long)table+256)", "-fno-pie", "-no-pie"},
	} {
		bin := testbin.Strip(t, testbin.BuildText(t, "areas.c", src.String(), append([]string{"-O1"}, flags...)...))
		for _, level := range levels {
			g := New(load(t, bin), level)
			if !g.WalkSignals(append(g.Started(), whole(g, mainOf(t, g))...)).Calls.Has(sync) {
				t.Errorf("%s, level %v: the last function of the table is not reached", name, level)
			}
		}
	}
}
