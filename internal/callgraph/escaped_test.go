package callgraph

import (
	"slices"
	"testing"

	"syspart/internal/testbin"
)

// TestPointerToEscaped: a variable that is followed, and that points to an object which is not any more, holds what that does.
func TestPointerToEscaped(t *testing.T) {
	bin := testbin.BuildText(t, "escaped.c", `
#include <stdlib.h>
typedef void handler(void);
#define out __attribute__((noipa))
out void one(void) { __asm__ volatile ("nop"); }
out void two(void) { __asm__ volatile ("nop; nop"); }
struct ops { long n; handler *f; };
static struct ops plain, inner;
static struct ops *current = &plain;
static struct ops *const table[8] = {&inner, &inner, &inner, &inner, &inner, &inner, &inner, &inner};
out void set(struct ops **box, handler *f) { (*box)->f = f; }
out void call(void) { current->f(); }
out void call_table(int i) { table[i]->f(); }
int main(int argc, char **argv)
{
	struct ops **box = malloc(sizeof *box);
	*box = argc > 1 ? &plain : &inner;
	set(box, argc > 2 ? one : two);
	call();
	call_table(argc & 7);
	return 0;
}
`, "-O1")
	p := load(t, bin)
	for _, level := range levels {
		g := New(p, level)
		reached := map[string]bool{}
		for f := int32(0); f < int32(p.Funcs()); f++ {
			g.Edges(f, func(e Edge) {
				to := []int32{e.To}
				if e.To < 0 && e.Kind != LazyBinding {
					to = g.Targets(e.Set)
				}
				for _, x := range [...]string{"one", "two"} {
					if n := g.Name(f); (n == "call" || n == "call_table") && slices.Contains(to, named(t, g, x)) {
						reached[n+" "+x] = true
					}
				}
			})
		}
		if len(reached) != 4 {
			t.Errorf("level %v: of both calls to both functions there are %v", level, reached)
		}
	}
}
