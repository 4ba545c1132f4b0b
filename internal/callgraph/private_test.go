package callgraph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// TestGiven: what a plug-in of the name service hands to another module is called there, also where more is handed than is
// followed; what it keeps is called by itself alone.
func TestGiven(t *testing.T) {
	lib := testbin.BuildText(t, "libnss_fx.so.2.c", `
#include <pthread.h>
#include <stdlib.h>
typedef void handler(void);
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void given(void) { __asm__ volatile ("nop"); }
static void kept(void) { __asm__ volatile ("nop; nop"); }
handler **_nss_fx_box(void)
{
	handler **box = malloc(sizeof *box);
	pthread_once(&once, given);
	*box = kept;
	return box;
}
void _nss_fx_use(handler **box) { (*box)(); }
`, "-O1", "-shared", "-fPIC")
	var src strings.Builder
	src.WriteString(`
#include <pthread.h>
#include <pwd.h>
#include <stddef.h>
typedef void handler(void);
handler **_nss_fx_box(void);
void _nss_fx_use(handler **);
static pthread_once_t once[40];
`)
	for i := range 40 {
		fmt.Fprintf(&src, "static void own%d(void) { __asm__ volatile (\"nop # %d\"); }\n", i, i)
	}
	src.WriteString("int main(void)\n{\n\t_nss_fx_use(_nss_fx_box());\n")
	for i := range 40 {
		fmt.Fprintf(&src, "\tpthread_once(&once[%d], own%d);\n", i, i)
	}
	src.WriteString("\treturn getpwuid(0) == NULL;\n}\n")
	bin := testbin.BuildText(t, "given.c", src.String(), "-O1", "-pthread", lib)
	p := load(t, bin)
	g := New(p, Best)
	calledIn := map[string][]string{} // by function: modules with calls of it
	err := g.IndirectSites(func(s Site) error {
		for _, f := range s.Targets {
			if n := g.Name(f); n == "given" || n == "kept" {
				calledIn[n] = append(calledIn[n], p.Modules[s.Module].Path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	in := func(function, module string) bool {
		return slices.ContainsFunc(calledIn[function], func(path string) bool { return strings.Contains(path, module) })
	}
	if !in("given", "/libc.so.6") {
		t.Errorf("what is handed to libc is called in %q alone", calledIn["given"])
	}
	if !in("kept", "libnss_fx") || in("kept", "/libc.so.6") {
		t.Errorf("what is kept is called in %q", calledIn["kept"])
	}
}
