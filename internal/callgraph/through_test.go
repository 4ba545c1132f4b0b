package callgraph

import (
	"slices"
	"testing"

	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
)

// TestThrough: what every way to a call leads through is what it cannot be reached without.
func TestThrough(t *testing.T) {
	bin := testbin.BuildText(t, "through.c", `
#include <sys/time.h>
#include <unistd.h>

typedef void handler(void);
#define out __attribute__((noipa))
out void gate(void) { struct itimerval v; getitimer(ITIMER_REAL, &v); }
out void one(void) { gate(); sync(); }
out void two(void) { gate(); sync(); }
out void three(void) { setsid(); }
out void call(handler *f) { f(); }
handler *volatile table[] = {one, three};
int main(int argc, char **argv)
{
	if (argc > 1)
		two();
	call(table[argc & 1]);
	return 0;
}
`, "-O1")
	g := New(load(t, bin), Best)
	main := []Start{{Func: named(t, g, "main"), Why: "main"}}
	r := g.Walk(main)
	for call, want := range map[string][]string{
		"getitimer": {"getitimer", "gate", "main"},
		"sync":      {"sync", "main"},
		"setsid":    {"setsid", "three", "call", "main"},
		"ptrace":    nil,
	} {
		nr, _ := syscalls.Number(call)
		var got []string
		for _, f := range r.Through(nr) {
			if _, fn := g.fn(f); fn.Flags&summary.Stub == 0 {
				got = append(got, g.Name(f))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: through %q, want %q", call, got, want)
		}
	}
}
