package callgraph

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// TestReachable compares what main reaches, with what its handlers do, with the fixture's expectations.
func TestReachable(t *testing.T) {
	src := filepath.Join("testdata", "reach.c")
	wants := testbin.Wants(t, src)
	for _, flags := range [][]string{{"-O0"}, {"-O2"}, {"-O2", "-no-pie", "-fno-pie"}, {"-Os", "-fcf-protection=none"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			p := load(t, testbin.Build(t, src, append(flags, "-rdynamic")...))
			for _, level := range levels {
				g := New(p, level)
				r := g.WalkSignals(whole(g, named(t, g, "main")))
				want, got := map[string]bool{}, map[string]bool{}
				for key, names := range wants {
					for _, n := range names {
						want[n] = key == "reach" || key == "reach-a" && level == LevelA
						got[n] = r.Has(named(t, g, n))
					}
				}
				if p.Modules[0].Kind == image.KindExec { // its symbol table holds addresses, and immediates may point into that
					for _, n := range slices.Concat(wants["not"], wants["reach-a"]) {
						delete(want, n)
						delete(got, n)
					}
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("level %v (-want +got):\n%s", level, d)
				}
			}
		})
	}
}

// TestNumbers compares the numbers that functions make with the fixture's expectations.
func TestNumbers(t *testing.T) {
	src := filepath.Join("testdata", "numbers.c")
	data, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"-O0"}, {"-O1"}, {"-O2"}, {"-O2", "-no-pie", "-fno-pie"}, {"-O2", "-fno-omit-frame-pointer", "-fcf-protection=none"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			p := load(t, testbin.Build(t, src, flags...))
			g := New(p, Best)
			checked := 0
			for line := range strings.Lines(string(data)) {
				f := strings.Fields(line)
				if len(f) < 4 || f[1] != "WANT:" {
					continue
				}
				switch f[2] {
				case "call":
					checked++
					r := g.Walk(whole(g, named(t, g, f[3])))
					var want []string
					want = append(want, f[4:]...)
					var got []string
					for _, nr := range r.Calls.Numbers() {
						got = append(got, strconv.Itoa(nr))
					}
					slices.Sort(want)
					slices.Sort(got)
					if len(r.Unknown) > 0 {
						t.Errorf("%s: unknown: %s", f[3], r.Unknown[0].Why)
					} else if d := cmp.Diff(want, got); d != "" {
						t.Errorf("%s (-want +got):\n%s", f[3], d)
					}
				case "unknown":
					for _, name := range f[3:] {
						checked++
						r := g.Walk(whole(g, named(t, g, name)))
						if len(r.Unknown) == 0 {
							t.Errorf("%s: its number is taken for known: %v", name, r.Calls.Names())
						} else if r.Calls.Len() < 300 {
							t.Errorf("%s: unknown, but only %d calls open", name, r.Calls.Len())
						}
					}
				}
			}
			if checked < 15 {
				t.Fatalf("only %d expectations", checked)
			}
		})
	}
}

// TestForeign finds the instructions of the 32-bit table.
func TestForeign(t *testing.T) {
	p := load(t, testbin.Build(t, filepath.Join("testdata", "numbers.c"), "-O2"))
	g := New(p, Best)
	r := g.Walk(whole(g, named(t, g, "foreign")))
	var got []string
	for _, x := range r.Foreign() {
		got = append(got, fmt.Sprint(g.Name(x.Func), " ", x.Why))
	}
	if d := cmp.Diff([]string{"foreign int 0x80"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestPartly walks from some blocks of a function: what the others call is not reached, and a number that came in before
// is still found.
func TestPartly(t *testing.T) {
	src := `
#define KEEP __attribute__((noinline, noclone, noipa, used))
volatile int sink;
KEEP void before(void) { sink++; }
KEEP void inside(void) { sink += 2; }
KEEP void after(void) { sink += 3; }
KEEP long raw(long nr) { long r; __asm__ volatile("syscall" : "=a"(r) : "a"(nr) : "rcx", "r11", "memory"); return r; }
KEEP void serve(long nr) { before(); while (sink < 1000) { inside(); raw(nr); } after(); }
KEEP void outer(void) { serve(39); }
int main(void) { outer(); return 0; }
`
	p := load(t, testbin.BuildText(t, "partly.c", src, "-O1"))
	g := New(p, Best)
	serve := named(t, g, "serve")
	m, fn := g.Func(serve)
	// The blocks from the one that calls inside on.
	first := uint32(0)
	g.Edges(serve, func(e Edge) {
		if e.To == named(t, g, "inside") {
			for b := fn.Blocks[0]; b < fn.Blocks[1]; b++ {
				if e.Site >= m.Blocks[b].Start && e.Site < m.Blocks[b].End {
					first = b
				}
			}
		}
	})
	if first == 0 {
		t.Fatal("no block calls inside")
	}
	blocks := []uint32{first}
	for i := 0; i < len(blocks); i++ {
		for _, s := range m.Succs[m.Blocks[blocks[i]].Succs[0]:m.Blocks[blocks[i]].Succs[1]] {
			if !slices.Contains(blocks, uint32(s)) {
				blocks = append(blocks, uint32(s))
			}
		}
	}
	r := g.Walk([]Start{{Func: serve, Blocks: blocks, Why: "main loop", Site: m.Blocks[first].Start}})
	for name, want := range map[string]bool{"before": false, "inside": true, "after": true, "raw": true, "outer": false} {
		if got := r.Has(named(t, g, name)); got != want {
			t.Errorf("%s reached: %v, want %v", name, got, want)
		}
	}
	if len(r.Unknown) > 0 || !slices.Equal(r.Calls.Numbers(), []int{39}) {
		t.Errorf("calls %v, unknown %v; want 39 alone", r.Calls.Numbers(), r.Unknown)
	}
}

// TestLookups: names put together at run time open what the program exports, and nothing if the names are constant.
func TestLookups(t *testing.T) {
	src := `
#include <dlfcn.h>
#include <stdio.h>
volatile int sink;
void plugin_one(void) { sink++; }
void plugin_two(void) { sink += 2; }
int main(int argc, char **argv)
{
	char name[64] = "plugin_two";
#ifdef COMPOSED
	snprintf(name, sizeof name, "plugin_%s", argv[1]);
	void (*f)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, name);
#else
	void (*f)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "plugin_one");
#endif
	if (f)
		f();
	return sink + name[argc];
}
`
	for _, c := range []struct {
		flags []string
		two   bool
	}{{[]string{"-O2", "-rdynamic"}, false}, {[]string{"-O2", "-rdynamic", "-DCOMPOSED"}, true}} {
		p := load(t, testbin.BuildText(t, "lookup.c", src, c.flags...))
		for _, level := range levels {
			g := New(p, level)
			r := g.Walk(whole(g, named(t, g, "main")))
			if !r.Has(named(t, g, "plugin_one")) {
				t.Errorf("%v, level %v: plugin_one is not reached", c.flags, level)
			}
			if got := r.Has(named(t, g, "plugin_two")); got != c.two {
				t.Errorf("%v, level %v: plugin_two reached: %v, want %v", c.flags, level, got, c.two)
			}
		}
	}
}

// TestUnknownCode: a function whose control flow is not known calls every address-taken function.
func TestUnknownCode(t *testing.T) {
	src := `
	.text
	.globl main, lost, other
	.type main, @function
main:
	push %rbx
	lea other(%rip), %rbx
	mov %rbx, pointer(%rip)
	call lost
	pop %rbx
	ret
	.size main, .-main
	.type lost, @function
lost:
	test %edi, %edi
	je 1f
	ret
1:	.byte 0x06, 0x07
	.size lost, .-lost
	.type other, @function
other:
	mov $39, %eax
	syscall
	ret
	.size other, .-other
	.comm pointer, 8
	.section .note.GNU-stack,"",@progbits
`
	g := New(load(t, testbin.BuildText(t, "lost.s", src)), Best)
	r := g.Walk(whole(g, named(t, g, "main")))
	if len(r.IncompleteFuncs()) != 1 || r.IncompleteFuncs()[0] != named(t, g, "lost") {
		t.Fatalf("functions with unknown control flow: %v", r.IncompleteFuncs())
	}
	if !r.Has(named(t, g, "other")) || !r.Calls.Has(39) {
		t.Error("the address-taken function is not reached from unknown code")
	}
}

// TestLevels reads levels as users write them.
func TestLevels(t *testing.T) {
	for s, want := range map[string]Level{"": Best, "a": LevelA, "B": LevelB, "c": LevelC, "D": LevelD, "e": LevelE} {
		if l, err := ParseLevel(s); err != nil || l != want {
			t.Errorf("%q: %v, %v", s, l, err)
		}
	}
	if _, err := ParseLevel("z"); err == nil || !strings.Contains(err.Error(), `"z"`) {
		t.Errorf("level z: %v", err)
	}
}
