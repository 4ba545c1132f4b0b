package callgraph

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
	"syspart/internal/value"
)

// servers are Debian's, with the packages that have them.
var servers = []struct{ name, pkg string }{
	{"nginx", "nginx"}, {"redis-server", "redis-server"}, {"memcached", "memcached"},
	{"lighttpd", "lighttpd"}, {"apache2", "apache2-bin"}, {"named", "bind9"},
}

// mayBeUnknown are the places whose number may stay unknown, each with the reason.
var mayBeUnknown = map[string]string{
	"libc.so.6 0x101827": "libcap's psx hands syscall() on by pointer, and its callers choose the number",
}

// mainOf finds main: what the entry code passes to __libc_start_main.
func mainOf(t testing.TB, g *Graph) int32 {
	t.Helper()
	m := g.P.Modules[0]
	i := m.At(m.Entry)
	if i < 0 {
		t.Fatal("no function at the entry")
	}
	fn := &m.Funcs[i]
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		f := -1
		m.Each(m.Calls[k].Args[0], func(_ int32, e value.Expr) {
			if e.Kind == value.Addr || e.Kind == value.Const {
				f = g.P.Func(0, uint64(e.Off))
			}
		})
		if f >= 0 {
			return int32(f)
		}
	}
	t.Fatal("the entry code passes main to nobody")
	return -1
}

// whole is a start at all of a function.
func whole(g *Graph, f int32) []Start {
	_, fn := g.Func(f)
	return []Start{{Func: f, Why: "start", Site: fn.Entry}}
}

// TestServers walks real servers from main at all levels: numbers are known, finer levels reach no more, what explains a
// function is made of edges of the graph, and a second walk gives the same.
func TestServers(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			p := load(t, testbin.Need(t, s.name, s.pkg))
			var last *Reach
			for _, level := range levels {
				g := New(p, level)
				start := whole(g, mainOf(t, g))
				r := g.WalkSignals(start)
				for _, u := range r.Unknown {
					place := fmt.Sprintf("%s %#x", moduleName(g, u.Func), u.Site)
					if _, ok := mayBeUnknown[place]; !ok {
						t.Errorf("level %v: %s (%s): %s, via %s", level, place, g.Name(u.Func), u.Why, via(g, u.Via))
					}
				}
				if last != nil {
					if d := r.Calls.Minus(last.Calls); d.Len() > 0 {
						t.Errorf("level %v reaches calls that level %v does not: %v", level, last.G.Level, d.Names())
					}
					// Level b knows of an address only where an instruction makes it; from level c on, one that is moved
					// into a neighbouring object leads there too.
					extra, allowed := 0, 0
					if level == LevelC {
						allowed = 64
					}
					for f := range int32(p.Funcs()) {
						if r.Has(f) && !last.Has(f) {
							if extra++; extra > allowed && extra < allowed+5 {
								t.Errorf("level %v reaches %s, level %v does not", level, label(g, f), last.G.Level)
							}
						}
					}
				}
				last = r
				checkPaths(t, r)
				again := New(p, level).WalkSignals(start)
				if !slices.Equal(again.order, r.order) || !slices.Equal(again.parent, r.parent) || again.Calls != r.Calls {
					t.Errorf("level %v: a second walk differs", level)
				}
				t.Logf("level %v: %d functions, %d address-taken, %d calls, %d unknown numbers, names looked up in the program: %v",
					level, r.Functions(), len(g.Taken()), r.Calls.Len(), len(r.Unknown), g.lookAll)
			}
		})
	}
}

func moduleName(g *Graph, f int32) string {
	m, _ := g.Func(f)
	return filepath.Base(m.Real)
}

func via(g *Graph, refs []CallRef) string {
	var s []string
	for _, c := range refs {
		m, _ := g.Func(c.Func)
		s = append(s, fmt.Sprintf("%s+%#x", label(g, c.Func), m.Calls[c.Call].Site))
	}
	return strings.Join(s, " < ")
}

// checkPaths checks that the paths to some two hundred functions are made of edges of the graph that follow each other from a start.
func checkPaths(t *testing.T, r *Reach) {
	g := r.G
	bad := 0
	edges := map[Edge]bool{}
	known := map[int32]bool{}
	n := int32(g.P.Funcs())
	for f := int32(0); f < n; f += 1 + n/200 { // a path costs as much as the walk has functions
		if !r.Has(f) {
			continue
		}
		path := r.Path(f)
		why := ""
		if _, ok := r.StartOf(f); !ok && len(path) == 0 {
			why = "no path"
		}
		at := int32(-1)
		for i, e := range path {
			if i == 0 {
				if _, ok := r.StartOf(e.From); !ok {
					why = "begins at no start"
				}
			} else if e.From != at {
				why = "not connected"
			}
			at = e.To
			if !known[e.From] {
				known[e.From] = true
				g.Edges(e.From, func(x Edge) { edges[x] = true })
			}
			guess := e
			guess.To = -1
			if e.Kind == LazyBinding {
				if !edges[guess] {
					why = "no lazy binding there"
				}
			} else if !edges[e] && !(edges[guess] && slices.Contains(g.Targets(e.Set), e.To)) {
				why = fmt.Sprintf("no edge %v from %s at %#x to %s", e.Kind, label(g, e.From), e.Site, label(g, e.To))
			}
		}
		if len(path) > 0 && at != f {
			why = "ends elsewhere"
		}
		if why != "" {
			if bad++; bad <= 5 {
				t.Errorf("path to %s: %s", label(g, f), why)
			}
		}
	}
}

// TestSites checks that evidence for a call is a site of the right number.
func TestSites(t *testing.T) {
	p := load(t, testbin.Need(t, "nginx", "nginx"))
	g := New(p, Best)
	r := g.Walk(whole(g, mainOf(t, g)))
	for _, nr := range r.Calls.Numbers() {
		ev, ok := r.Sites[nr]
		if !ok {
			t.Errorf("%s: no evidence", syscalls.Name(nr))
			continue
		}
		m, fn := g.Func(ev.Func)
		found := false
		for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
			found = found || m.Sys[k].Site == ev.Site && m.Sys[k].Kind == summary.Syscall64
		}
		if !found || !r.Has(ev.Func) {
			t.Errorf("%s: no system-call instruction at %#x of %s, or it is not reached", syscalls.Name(nr), ev.Site, label(g, ev.Func))
		}
	}
}
