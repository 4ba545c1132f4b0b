package callgraph

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"syspart/internal/link"
	"syspart/internal/testbin"
)

// TestOpenedToo: what a module exports that others need can be looked up by a name that is not known, if the module is known to
// be opened by its name or lies beside who needs it; otherwise it is there for their sake alone.
func TestOpenedToo(t *testing.T) {
	exe := testbin.BuildText(t, "host.c", `
#include <dlfcn.h>
#include <string.h>
int main(int argc, char **argv)
{
	char name[64] = "plug_";
	void *h = dlopen(argv[1], RTLD_NOW);
	strcat(name, argv[2]);
	return ((int (*)(void))dlsym(h, name))();
}
`, "-O1")
	inner := testbin.BuildText(t, "inner.c", `int base(void) { return 1; } int plug_inner(void) { return 2; }`, "-O1", "-shared", "-fPIC", "-Wl,-soname,libinner.so")
	outer := testbin.BuildText(t, "outer.c", `int base(void); int plug_outer(void) { return base(); }`, "-O1", "-shared", "-fPIC", "-Wl,-soname,libouter.so",
		inner, "-Wl,-rpath,$ORIGIN:$ORIGIN/../base")
	for _, c := range []struct {
		name   string
		inner  string
		opened bool
		want   bool
	}{
		{"beside", "parts/libinner.so", false, true},
		{"elsewhere", "base/libinner.so", false, false},
		{"opened", "base/libinner.so", true, true},
	} {
		home := t.TempDir()
		for file, from := range map[string]string{c.inner: inner, "parts/libouter.so": outer} {
			data, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(home, file)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(home, file), data, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		p, err := link.Load(context.Background(), exe, link.Options{Summarize: summarize, Modules: []link.Extra{
			{Path: filepath.Join(home, "parts/libouter.so")}, {Path: filepath.Join(home, c.inner), Opened: c.opened}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, level := range levels {
			g := New(p, level)
			got := map[string]bool{}
			for f := int32(0); int(f) < p.Funcs(); f++ {
				got[g.Name(f)] = got[g.Name(f)] || g.Live(f)
			}
			if !got["plug_outer"] || !got["base"] || got["plug_inner"] != c.want {
				t.Errorf("%s, level %v: plug_outer %v, base %v, plug_inner %v, want %v", c.name, level, got["plug_outer"], got["base"], got["plug_inner"], c.want)
			}
		}
	}
}
