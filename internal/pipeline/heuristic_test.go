package pipeline

import (
	"testing"

	"syspart/internal/testbin"
)

// Whether a library exports a name is told without analysing it: a directory may hold all libraries of the system.
func TestExportsAny(t *testing.T) {
	lib := testbin.BuildText(t, "exports.c", `#include <string.h>
int plugin_start(const char *s) { return (int)strlen(s); }
`, "-O1", "-fno-builtin", "-shared", "-fPIC")
	for _, c := range []struct {
		names []string
		want  bool
	}{
		{[]string{"plugin_stop"}, false},
		{[]string{"plugin"}, false},
		{[]string{"strlen"}, false}, // imported
		{[]string{"plugin_stop", "plugin_start"}, true},
	} {
		l := newLoader(&Options{NoCache: true})
		if got := l.exportsAny(lib, c.names); got != c.want {
			t.Errorf("exports any of %q: %v", c.names, got)
		}
		if n := l.done.Load(); n > 0 && !c.want {
			t.Errorf("%q: the library was analysed", c.names)
		}
		l.close()
	}
	l := newLoader(&Options{NoCache: true})
	defer l.close()
	if l.exportsAny("/etc/passwd", []string{"root"}) || l.exportsAny(lib+".none", []string{"plugin_start"}) {
		t.Error("what is no library exports something")
	}
}
