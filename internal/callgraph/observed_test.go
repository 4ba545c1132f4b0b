package callgraph

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"syspart/internal/testbin"
)

// observed is one run's transfers of control through pointers.
type observed struct {
	ids   map[string]string // module file name to the start of its build-id
	exe   string            // file name of the program
	edges []observedEdge
}

type observedEdge struct {
	from, to     string
	site, target uint64
	kind         string
}

// readObserved reads a table of observed edges.
func readObserved(t *testing.T, path string) *observed {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zr, err := gzip.NewReader(file)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	o := &observed{ids: map[string]string{}}
	sc := bufio.NewScanner(zr)
	for sc.Scan() {
		f := strings.Split(sc.Text(), "\t")
		switch {
		case f[0] == "#module" && len(f) >= 5:
			o.ids[f[1]] = f[4]
			if f[3] != "-" {
				o.exe = f[1]
			}
		case !strings.HasPrefix(f[0], "#") && len(f) >= 5 && (f[4] == "icall" || f[4] == "ijmp"):
			site, err1 := strconv.ParseUint(f[1], 16, 64)
			target, err2 := strconv.ParseUint(f[3], 16, 64)
			if err1 != nil || err2 != nil {
				t.Fatalf("%s: %q", path, sc.Text())
			}
			o.edges = append(o.edges, observedEdge{f[0], f[2], site, target, f[4]})
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return o
}

// libraries maps the file names below the directories where Debian puts programs and libraries to paths.
var libraries = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/lib"} {
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if _, ok := out[d.Name()]; !ok {
					out[d.Name()] = path
				}
			}
			return nil
		})
	}
	return out
})

// notFollowed are observed edges that no analysis of files can have, by module and site.
var notFollowed = map[string]string{}

// TestObservedEdges checks that every call through a pointer that was seen in a run of a real server is in the graph, at
// every level, where the builds are those of this machine: of others it says nothing.
func TestObservedEdges(t *testing.T) {
	tables, err := filepath.Glob(filepath.Join(testbin.Root(t), "eval", "oracle", "observed", "*.edges.tsv.gz"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables of observed edges: %v", err)
	}
	for _, table := range tables {
		name, _, _ := strings.Cut(filepath.Base(table), ".")
		t.Run(name, func(t *testing.T) {
			o := readObserved(t, table)
			exe := libraries()[o.exe]
			if exe == "" {
				testbin.Skip(t, "%s is not installed", o.exe)
			}
			var later []string
			for _, n := range slices.Sorted(maps.Keys(o.ids)) {
				if path := libraries()[n]; n != o.exe && path != "" {
					later = append(later, path)
				}
			}
			p := load(t, exe, later...)
			index := map[string]int{}
			for i, m := range p.Modules {
				base := filepath.Base(m.Real)
				if id, ok := o.ids[base]; ok && id != "" && id != "-" && strings.HasPrefix(m.BuildID, id) {
					index[base] = i
				}
			}
			if _, ok := index[o.exe]; !ok {
				t.Logf("%s is another build than the observed one; make edges traces this one", o.exe)
				return
			}
			for _, level := range levels {
				checkObserved(t, New(p, level), o, index)
			}
		})
	}
}

func checkObserved(t *testing.T, g *Graph, o *observed, index map[string]int) {
	checked, missed, skipped := 0, 0, 0
	for _, e := range o.edges {
		from, ok1 := index[e.from]
		to, ok2 := index[e.to]
		if !ok1 || !ok2 {
			skipped++
			continue
		}
		checked++
		if why := lacks(g, from, to, e); why != "" {
			if _, ok := notFollowed[fmt.Sprintf("%s %#x", e.from, e.site)]; ok {
				continue
			}
			if missed++; missed <= 30 {
				t.Errorf("level %v: %s %#x -> %s %#x (%s): %s", g.Level, e.from, e.site, e.to, e.target, e.kind, why)
			}
		}
	}
	t.Logf("level %v: %d edges, %d missed; %d between modules of other builds", g.Level, checked, missed, skipped)
}

// lacks says what the graph lacks of an observed edge, "" if nothing.
func lacks(g *Graph, from, to int, e observedEdge) string {
	m := g.P.Modules[from]
	target := int32(g.P.Func(to, e.target))
	if target < 0 {
		return "no function at the target"
	}
	why := "no function at the site"
	for _, i := range m.Containing(e.site) {
		f := int32(m.Base) + int32(i)
		why = "the site's function is not live"
		if !g.Live(f) {
			continue
		}
		why = "no call at the site"
		found := false
		g.Edges(f, func(x Edge) {
			switch {
			case x.Site != e.site:
			case x.To == target, x.To < 0 && x.Kind != LazyBinding && slices.Contains(g.Targets(x.Set), target):
				found = true
			case x.To < 0:
				why = fmt.Sprintf("the target is %v, and no %s", g.Evidence(target).Kind, g.Rule(x.Set))
			case why == "no call at the site":
				why = "other targets: " + label(g, x.To)
			}
		})
		if found {
			if !g.Live(target) {
				return "the target is not live"
			}
			return ""
		}
	}
	return why
}
