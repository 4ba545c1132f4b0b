package callgraph

import (
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/link"
	"syspart/internal/testbin"
)

// edgeFixtures are the sources with expectations on calls through pointers.
var edgeFixtures = []string{"callbacks.c", "tables.c", "slots.c", "heap.c", "runtime.c", "args.c", "dead.c", "odd.c", "hand.s", "virtual.cc"}

// expectation is a line of a fixture that says what a function calls through pointers:
//
//	// WANT: caller -> callee, callee        indirect calls of caller reach each callee, at every level
//	// WANT: main => function                a walk from main with signal handlers reaches function, at every level
//	// WANT-NOT: caller -> callee d          from level d on no indirect call of caller reaches callee
//	// WANT-NOT: caller -> callee d except clang -O0+static
//
// (# in assembly.) The caller libc stands for any function of libc's. A WANT holds in every build: what it says happens
// when the fixture runs. A WANT-NOT does not hold in builds that have all the tags joined by + in one of the words behind
// except: there precision is known to be weaker. Without a letter it holds from level a on.
type expectation struct {
	line   int
	text   string // as in the source
	not    bool
	walk   bool
	from   string
	to     []string
	level  int // index into edgeLetters
	except []string
}

// edgeLetters are the letters of levels; those that ParseLevel does not know are passed over.
const edgeLetters = "abcdefgh"

// expectations reads those of a source.
func expectations(t *testing.T, src string) []expectation {
	t.Helper()
	data, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	var out []expectation
	for i, text := range strings.Split(string(data), "\n") {
		text = strings.TrimSpace(text)
		comment := strings.TrimSpace(strings.TrimLeft(text, "/#"))
		if comment == text {
			continue
		}
		x := expectation{line: i + 1, text: comment}
		rest, ok := strings.CutPrefix(comment, "WANT:")
		if !ok {
			if rest, x.not = strings.CutPrefix(comment, "WANT-NOT:"); !x.not {
				continue
			}
		}
		if err := x.parse(rest); err != nil {
			t.Fatalf("%s:%d: %s: %v", src, x.line, comment, err)
		}
		out = append(out, x)
	}
	if len(out) == 0 {
		t.Fatalf("%s: no WANT lines", src)
	}
	return out
}

func (x *expectation) parse(s string) error {
	f := strings.Fields(s)
	if len(f) < 3 || f[1] != "->" && f[1] != "=>" {
		return errors.New("not of the form: caller -> callee")
	}
	x.from, x.walk = f[0], f[1] == "=>"
	if x.walk && x.from != "main" {
		return errors.New("walks begin at main")
	}
	f = f[2:]
	for more := true; more && len(f) > 0; f = f[1:] {
		var name string
		name, more = strings.CutSuffix(f[0], ",")
		x.to = append(x.to, name)
	}
	if len(f) > 0 && len(f[0]) == 1 {
		if x.level = strings.Index(edgeLetters, f[0]); x.level < 0 {
			return fmt.Errorf("no level %s", f[0])
		}
		f = f[1:]
	}
	if len(f) == 0 {
		return nil
	}
	if f[0] != "except" || len(f) == 1 {
		return fmt.Errorf("%q is no level and no exception", f)
	}
	if !x.not {
		return errors.New("a WANT has no exceptions")
	}
	x.except = f[1:]
	for _, word := range x.except {
		for tag := range strings.SplitSeq(word, "+") {
			if !slices.Contains(edgeTags, tag) {
				return fmt.Errorf("no build has the tag %s", tag)
			}
		}
	}
	return nil
}

// edgeBuild is a way to build a fixture.
type edgeBuild struct {
	cc    string
	flags []string
	strip bool
	tags  []string
}

// edgeTags are the tags that builds have.
var edgeTags = []string{"gcc", "clang", "-O0", "-O1", "-O2", "-O3", "pie", "no-pie", "static", "stripped"}

// edgeBuilds is the matrix: all optimisations of position-independent programs, and -O2 in other ways. A static program
// is at a fixed address, so that it is a no-pie one too.
func edgeBuilds(src string) []edgeBuild {
	opts, program := []string{"-O0", "-O1", "-O3"}, map[string]string{"gcc": "gcc", "clang": "clang"}
	switch filepath.Ext(src) {
	case ".cc":
		opts, program = []string{"-O0"}, map[string]string{"gcc": "g++", "clang": "clang++"} // they take long
	case ".s":
		opts = nil
	}
	var out []edgeBuild
	for _, cc := range []string{"gcc", "clang"} {
		add := func(opt, tags string, strip bool, flags ...string) {
			out = append(out, edgeBuild{program[cc], append([]string{opt, "-pthread"}, flags...), strip, append([]string{cc, opt}, strings.Fields(tags)...)})
		}
		for _, opt := range opts {
			add(opt, "pie", false, "-fPIE", "-pie")
		}
		add("-O2", "pie", false, "-fPIE", "-pie")
		add("-O2", "pie stripped", true, "-fPIE", "-pie")
		add("-O2", "no-pie", false, "-fno-pie", "-no-pie")
		add("-O2", "no-pie static", false, "-fno-pie", "-no-pie", "-static")
	}
	return out
}

func (b *edgeBuild) String() string { return strings.Join(b.tags, " ") }

// excepted reports whether an expectation is none for this build.
func (b *edgeBuild) excepted(x *expectation) bool {
	for _, word := range x.except {
		all := true
		for tag := range strings.SplitSeq(word, "+") {
			all = all && slices.Contains(b.tags, tag)
		}
		if all {
			return true
		}
	}
	return false
}

// edgeLevels are the levels that there are.
func edgeLevels() []Level {
	var out []Level
	for _, c := range edgeLetters {
		if l, err := ParseLevel(string(c)); err == nil {
			out = append(out, l)
		}
	}
	return out
}

// edgeProgram is a built fixture, and where its functions are.
type edgeProgram struct {
	p     *link.Program
	syms  map[string]uint64 // functions that the program itself has, also if it is stripped of their names
	found map[string]int32
}

// buildEdges builds a fixture and runs it: it calls what it says that it calls, and ends well.
func buildEdges(t *testing.T, src string, b edgeBuild) *edgeProgram {
	t.Helper()
	bin := testbin.BuildWith(t, b.cc, src, b.flags...)
	e := &edgeProgram{syms: map[string]uint64{}, found: map[string]int32{}}
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatalf("%s: %v", bin, err)
	}
	for _, s := range symbols {
		if typ := elf.ST_TYPE(s.Info); s.Section != elf.SHN_UNDEF && (typ == elf.STT_FUNC || typ == elf.STT_GNU_IFUNC) {
			e.syms[s.Name] = s.Value
		}
	}
	if b.strip {
		bin = testbin.Strip(t, bin)
	}
	if st := testbin.Start(t, bin).Wait(); !st.Exited() || st.ExitStatus() != 0 {
		t.Errorf("%s: status %v", bin, st)
	}
	e.p = load(t, bin)
	return e
}

// named returns the global number of the function of a name, in the program or in its libraries. Where nothing but a jump
// leads to it and there are no symbols, it may have become part of the function with the jump: then that is returned.
func (e *edgeProgram) named(t *testing.T, name string) int32 {
	t.Helper()
	if f, ok := e.found[name]; ok {
		return f
	}
	f := -1
	if va, ok := e.syms[name]; ok {
		m := e.p.Modules[0]
		f = e.p.Func(0, va)
		if in := m.Containing(va); f < 0 && len(in) > 0 {
			f = int(m.Base) + in[0]
			t.Logf("%s, at %#x, is part of the function at %#x", name, va, m.Funcs[in[0]].Entry)
		}
	} else if l := e.p.LookupName(name, "", link.ScopeAny); len(l) > 0 {
		f = e.p.Func(l[0].Module, l[0].Value)
	}
	if f < 0 {
		t.Fatalf("%s: no function %s", e.p.Modules[0].Path, name)
	}
	e.found[name] = int32(f)
	return int32(f)
}

// edgeGraph is what expectations are compared with at a level.
type edgeGraph struct {
	e      *edgeProgram
	g      *Graph
	sites  map[int32][]Site         // indirect sites, by caller: those of interest
	direct map[int32]map[int32]bool // direct calls of the same
	libc   map[int32]bool           // by function of interest: whether an indirect site of libc's reaches it
	reach  *Reach                   // from main
}

func (e *edgeProgram) graph(t *testing.T, level Level, xs []expectation) *edgeGraph {
	t.Helper()
	g := New(e.p, level)
	o := &edgeGraph{e: e, g: g, sites: map[int32][]Site{}, direct: map[int32]map[int32]bool{}, libc: map[int32]bool{}}
	for i := range xs {
		switch {
		case xs[i].from == "libc":
			for _, name := range xs[i].to {
				o.libc[e.named(t, name)] = false
			}
		case !xs[i].walk:
			o.sites[e.named(t, xs[i].from)] = nil
		}
	}
	for f := range o.sites {
		calls := map[int32]bool{}
		g.Edges(f, func(x Edge) {
			switch {
			case x.To >= 0 && (x.Kind == DirectCall || x.Kind == SymbolCall):
				calls[x.To] = true
			case x.To < 0 && x.Kind == UnknownCode: // it need not have a site
				for _, to := range g.Taken() {
					calls[to] = true
				}
			}
		})
		o.direct[f] = calls
	}
	err := g.IndirectSites(func(s Site) error {
		if s.Module != 0 {
			if g.System(s.Module) {
				for f, yes := range o.libc {
					o.libc[f] = yes || slices.Contains(s.Targets, f)
				}
			}
			return nil
		}
		m := g.P.Modules[0]
		for _, i := range m.Containing(s.Addr) {
			f := int32(m.Base) + int32(i)
			if l, ok := o.sites[f]; ok {
				s.Targets = slices.Clone(s.Targets)
				o.sites[f] = append(l, s)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o.reach = g.WalkSignals(whole(g, e.named(t, "main")))
	return o
}

// check returns what is wrong with a callee of an expectation, "" if nothing.
func (o *edgeGraph) check(t *testing.T, x *expectation, name string) string {
	t.Helper()
	to := o.e.named(t, name)
	switch {
	case x.walk && x.not:
		if o.reach.Has(to) {
			return fmt.Sprintf("%s is reached: %s%s", name, o.path(to), o.taken(to))
		}
		return ""
	case x.walk:
		if !o.reach.Has(to) {
			return name + " is not reached"
		}
		return ""
	case x.from == "libc":
		if o.g.P.Interp >= 0 && o.libc[to] == x.not { // a static program has no module to look at
			return fmt.Sprintf("a site of libc's reaches %s: %v", name, o.libc[to])
		}
		return ""
	}
	from := o.e.named(t, x.from)
	site := slices.IndexFunc(o.sites[from], func(s Site) bool { return slices.Contains(s.Targets, to) })
	switch {
	case x.not && site >= 0:
		s := o.sites[from][site]
		return fmt.Sprintf("%s is reached: site %#x, %s%s", name, s.Addr, s.Rule, o.taken(to))
	case x.not:
		return ""
	case site < 0 && !o.direct[from][to]: // a compiler may have found out what is called
		return fmt.Sprintf("%s is not reached: %s", name, o.others(from, to))
	case !o.g.Live(to):
		return name + " is a target, but not live"
	case o.reach.Has(from) && !o.reach.Has(to):
		return name + " is a target, but a walk from main does not reach it"
	}
	return ""
}

// others says what a caller's indirect sites reach instead of a callee.
func (o *edgeGraph) others(from, to int32) string {
	sites := o.sites[from]
	switch {
	case !o.g.Live(from):
		return "the caller is not live"
	case len(sites) == 0:
		return "the caller has no indirect site"
	}
	targets := map[int32]bool{}
	for _, s := range sites {
		for _, f := range s.Targets {
			targets[f] = true
		}
	}
	var names []string
	for _, f := range slices.Sorted(maps.Keys(targets)) {
		if names = append(names, o.g.Name(f)); len(names) == 4 {
			break
		}
	}
	if len(targets) > len(names) {
		names = append(names, "...")
	}
	taken := o.taken(to)
	if taken == "" {
		taken = "; it is not address-taken"
	}
	return fmt.Sprintf("%d sites with %d targets (%s): %s%s", len(sites), len(targets), sites[0].Rule, strings.Join(names, " "), taken)
}

// taken says where a function's address is taken.
func (o *edgeGraph) taken(f int32) string {
	ev := o.g.Evidence(f)
	if ev.Kind == NotTaken {
		return ""
	}
	by := "the loader"
	if ev.Func >= 0 {
		by = label(o.g, ev.Func)
	}
	return fmt.Sprintf("; %s: %s, %#x", ev.Kind, by, ev.Place)
}

// path is the last edge of the path by which a function was reached.
func (o *edgeGraph) path(f int32) string {
	path := o.reach.Path(f)
	if len(path) == 0 {
		s, _ := o.reach.StartOf(f)
		return s.Why
	}
	e := path[len(path)-1]
	return fmt.Sprintf("%s of %s at %#x", e.Kind, label(o.g, e.From), e.Site)
}

// TestEdges checks the fixtures' expectations on calls through pointers: what is called is found in every build and at
// every level, and from the level on that can tell it, what is not called is not.
func TestEdges(t *testing.T) {
	levels := edgeLevels()
	for _, file := range edgeFixtures {
		src := filepath.Join("testdata", file)
		xs := expectations(t, src)
		for _, b := range edgeBuilds(src) {
			t.Run(file+" "+b.String(), func(t *testing.T) {
				t.Parallel()
				e := buildEdges(t, src, b)
				graphs := make([]*edgeGraph, len(levels))
				for i, level := range levels {
					graphs[i] = e.graph(t, level, xs)
				}
				failed := 0
				for k := range xs {
					x := &xs[k]
					excepted, needed := b.excepted(x), false
					for _, name := range x.to {
						wrong, why := "", ""
						for i := min(x.level, len(levels)); i < len(levels); i++ {
							if w := graphs[i].check(t, x, name); w != "" {
								wrong, why = wrong+" "+levels[i].String(), w
							}
						}
						needed = needed || wrong != ""
						if wrong != "" && !excepted {
							failed++
							t.Errorf("%s:%d  %s\n\tbuild %s, level%s: %s", src, x.line, x.text, &b, wrong, why)
						}
					}
					if excepted && !needed {
						t.Logf("%s:%d  %s\n\tbuild %s: holds, although it is excepted", src, x.line, x.text, &b)
					}
				}
				if failed > 0 {
					t.Logf("the program: %s", e.p.Modules[0].Path)
				}
			})
		}
	}
}

// TestExpectations reads lines as fixtures have them, and refuses others.
func TestExpectations(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // how it is understood; "" if it is refused
	}{
		{"a -> b", "a [b] a []"},
		{"a -> b, c d", "a [b c] d []"},
		{"a -> b d", "a [b] d []"},
		{"main => x e except -O0 clang+static", "main [x] e [-O0 clang+static]"},
		{"other => x", ""},
		{"a b", ""},
		{"a -> b, c z", ""},
		{"a -> b c, d", ""},
		{"a -> b except", ""},
		{"a -> b except -O9", ""},
	} {
		x := expectation{not: true}
		got := ""
		if err := x.parse(c.text); err == nil {
			got = fmt.Sprintf("%s %v %c %v", x.from, x.to, edgeLetters[x.level], x.except)
		}
		if got != c.want {
			t.Errorf("%q is read as %q, want %q", c.text, got, c.want)
		}
	}
	if err := new(expectation).parse("a -> b except -O0"); err == nil {
		t.Error("a WANT with an exception is accepted")
	}
	b := edgeBuild{tags: []string{"clang", "-O2", "no-pie", "static"}}
	for word, want := range map[string]bool{"static": true, "pie": false, "clang+-O2": true, "clang+-O0": false} {
		if got := b.excepted(&expectation{except: []string{word}}); got != want {
			t.Errorf("except %s: %v, want %v", word, got, want)
		}
	}
}
