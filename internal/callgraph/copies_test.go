package callgraph

import (
	"slices"
	"testing"

	"syspart/internal/testbin"
)

// TestCopies: a pointer that the loader copies into the program, with the object of a library that it lies in, is followed from
// there, also where the copy is read-only afterwards, and from the library itself.
func TestCopies(t *testing.T) {
	const types = `
typedef void handler(void);
struct ops { long n; handler *run, *stop; };
`
	lib := testbin.BuildText(t, "libops.c", types+`
static void runs(void) { __asm__ volatile (""); }
static void stops(void) { __asm__ volatile ("nop"); }
static void changes(void) { __asm__ volatile ("nop; nop"); }
extern const struct ops fixed;
extern struct ops open;
const struct ops fixed = {1, runs, stops};
struct ops open = {2, changes, changes};
__attribute__((noipa)) void within(int i) { (&fixed.run)[i](); }
`, "-O1", "-shared", "-fPIC")
	bin := testbin.BuildText(t, "copies.c", types+`
extern const struct ops fixed;
extern struct ops open;
void within(int);
int main(int argc, char **argv)
{
	fixed.run();
	open.run();
	within(argc);
	return 0;
}
`, "-O1", "-fPIE", "-pie", "-Wl,-z,relro,-z,now", lib)
	p := load(t, bin)
	if n := len(p.Copies()); n != 2 {
		t.Fatalf("%d objects are copied, want 2", n)
	}
	for _, level := range levels {
		g := New(p, level)
		want := map[string][]string{"main": {"runs", "changes"}, "within": {"runs", "stops"}}
		err := g.IndirectSites(func(s Site) error {
			f := int32(p.Func(s.Module, s.Addr))
			if f < 0 {
				m := p.Modules[s.Module]
				f = int32(m.Base) + int32(m.Before(s.Addr)-1)
			}
			for _, to := range s.Targets {
				want[g.Name(f)] = slices.DeleteFunc(want[g.Name(f)], func(x string) bool { return x == g.Name(to) })
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for f, missing := range want {
			if len(missing) > 0 {
				t.Errorf("level %v: %s calls %q, too", level, f, missing)
			}
		}
	}
}
