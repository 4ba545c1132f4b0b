package callgraph

import (
	"testing"

	"syspart/internal/testbin"
)

// TestWrapperTable: what libcap does: a wrapper of syscall is called through a structure whose address is passed on, and that
// other code of the module can change. The numbers that it is given are known nevertheless.
func TestWrapperTable(t *testing.T) {
	exe := testbin.BuildText(t, "wrapper.c", `
#include <unistd.h>
#include <sys/syscall.h>
struct ops { long (*three)(long, long, long, long); long (*six)(long, long, long, long, long, long, long); };
static long three(long nr, long a, long b, long c) { return syscall(nr, a, b, c); }
static long six(long nr, long a, long b, long c, long d, long e, long f) { return syscall(nr, a, b, c, d, e, f); }
static struct ops ops = { three, six };
__attribute__((noipa)) static int ask(struct ops *o, long a, long b) {
	int r = o->three(SYS_getpgid, a, b, 0);
	return r < 0 ? -1 : r;
}
__attribute__((noipa)) static int tell(struct ops *o, long a, long b, long c, long d, long e) {
	int r = o->six(SYS_getpriority, a, b, c, d, e, 0);
	return r < 0 ? -1 : r;
}
void change(long (*f)(long, long, long, long), long (*g)(long, long, long, long, long, long, long)) {
	ops.three = f;
	ops.six = g;
}
int main(int argc, char **argv) {
	return ask(&ops, argc, 0) + tell(&ops, argc, 1, 2, 3, argc);
}
`, "-O2")
	r := entryReach(t, exe)
	for _, u := range r.Unknown {
		t.Errorf("unknown number at %#x of %s: %s", u.Site, r.G.Name(u.Func), u.Why)
	}
	if !r.Calls.Has(121) || !r.Calls.Has(140) {
		t.Errorf("calls: %v", r.Calls.Names())
	}
}
