package cfg

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/decode"
	"syspart/internal/image"
)

// The folder of call edges that were observed in runs of real servers, as seen from this package's folder.
const observedDir = "../../eval/oracle/observed"

// edge is one observed transfer of control inside one module.
type edge struct {
	site, to uint64
	kind     string
	same     bool // the target is in the site's module
}

// observedEdges returns the edges by build-id (as far as the files give it) and module file name.
func observedEdges(t *testing.T) map[[2]string]map[edge]bool {
	names, _ := filepath.Glob(filepath.Join(observedDir, "*.edges.tsv*"))
	if len(names) == 0 {
		t.Fatalf("no observed edges in %s", observedDir)
	}
	all := make(map[[2]string]map[edge]bool)
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = file
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(file); err != nil {
				t.Fatal(err)
			}
		}
		ids := make(map[string]string)
		for sc := bufio.NewScanner(r); sc.Scan(); {
			f := strings.Split(sc.Text(), "\t")
			if f[0] == "#module" && len(f) >= 5 {
				ids[f[1]] = f[4]
			}
			if strings.HasPrefix(f[0], "#") || len(f) < 5 {
				continue
			}
			site, err1 := strconv.ParseUint(strings.TrimPrefix(f[1], "0x"), 16, 64)
			to, err2 := strconv.ParseUint(strings.TrimPrefix(f[3], "0x"), 16, 64)
			if err1 != nil || err2 != nil {
				t.Fatalf("%s: %q", name, sc.Text())
			}
			key := [2]string{ids[f[0]], f[0]}
			if all[key] == nil {
				all[key] = make(map[edge]bool)
			}
			all[key][edge{site, to, f[4], f[0] == f[2]}] = true
		}
		file.Close()
	}
	return all
}

// TestObservedEdges checks that every transfer of control that was seen in a run is one that the graph has.
func TestObservedEdges(t *testing.T) {
	checked := 0
	for key, edges := range observedEdges(t) {
		var f *image.File
		for _, dir := range []string{"/usr/sbin", "/usr/bin", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"} {
			if g, err := image.Open(filepath.Join(dir, key[1])); err == nil && key[0] != "" && strings.HasPrefix(g.BuildID, key[0]) {
				f = g
				break
			}
		}
		if f == nil {
			continue
		}
		g, err := Build(f)
		if err != nil {
			t.Fatal(err)
		}
		missed := 0
		for e := range edges {
			if why := g.lacks(e); why != "" {
				if missed++; missed <= 20 {
					t.Errorf("%s: %s %#x -> %#x: %s", key[1], e.kind, e.site, e.to, why)
				}
			}
		}
		checked += len(edges)
		t.Logf("%s: %d edges, %d missed", key[1], len(edges), missed)
	}
	if checked == 0 {
		t.Skip("none of the observed builds is installed")
	}
}

// lacks says what the graph lacks of an observed edge, "" if nothing.
func (g *Graph) lacks(e edge) string {
	fns := g.Containing(e.site)
	if len(fns) == 0 {
		return "no function at the site"
	}
	why := ""
	for _, fn := range fns {
		bl := fn.BlockAt(e.site)
		b := &fn.Blocks[bl]
		last := &fn.Insts[b.Last-1]
		if last.Addr != e.site {
			why = "site does not end a block"
			continue
		}
		leads := func() bool {
			for _, s := range b.Succs {
				if fn.blockStart(s) == e.to {
					return true
				}
			}
			return b.TailTo == e.to
		}
		switch e.kind {
		case "call":
			if b.Term != TermCall || last.Flags&decode.Indirect != 0 || uint64(last.Imm) != e.to {
				return "not that direct call"
			}
			if e.same && g.At(e.to) == nil {
				return "no function at the target"
			}
			return ""
		case "icall":
			if b.Term != TermCall || last.Flags&decode.Indirect == 0 {
				return "no indirect call"
			}
			if e.same && g.At(e.to) == nil {
				return "no function at the target"
			}
			return ""
		case "jmp", "switch":
			if leads() {
				return ""
			}
			why = "target is no successor"
		case "ijmp", "plt":
			if b.Term == TermIndirect || leads() {
				// The second half of a lazy stub leads to the dynamic loader and is no function.
				if e.same && e.to != last.Next() && g.At(e.to) == nil && !leads() {
					return "no function at the target"
				}
				return ""
			}
			why = "not an indirect jump out of the function"
		case "mid":
			return ""
		default:
			return "unknown kind"
		}
	}
	return why
}
