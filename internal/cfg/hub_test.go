package cfg

import (
	"path/filepath"
	"slices"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// The graph of a large interpreter grows with its operations, not with their square; that of a small one has every edge. In
// both, every operation can follow every other.
func TestHub(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		hub   bool
	}{
		{"large", nil, true},
		{"large, fixed addresses", []string{"-no-pie", "-fno-pie"}, true},
		{"small", []string{"-DSMALL"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := image.Open(testbin.Build(t, filepath.Join("testdata", "interpreter.c"), append([]string{"-O2"}, c.flags...)...))
			if err != nil {
				t.Fatal(err)
			}
			g, err := Build(f)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(f.Symtab, func(s image.Symbol) bool { return s.Name == "interpret" })
			if i < 0 || g.At(f.Symtab[i].Value) == nil {
				t.Fatal("no function interpret")
			}
			fn := g.At(f.Symtab[i].Value)
			edges, gotos, labels := 0, 0, 0
			for _, b := range fn.Blocks {
				edges += len(b.Succs)
				if b.Term == TermSwitch {
					gotos++
					labels = max(labels, len(b.Succs))
				}
			}
			operations := 100
			if c.hub {
				operations = 600
			}
			if gotos < operations || labels < operations {
				t.Fatalf("%d computed gotos and %d labels for %d operations", gotos, labels, operations)
			}
			if (fn.Hub != 0) != c.hub {
				t.Errorf("hub at %#x, want one: %v", fn.Hub, c.hub)
			}
			if c.hub && edges > 8*len(fn.Blocks) {
				t.Errorf("%d edges between %d blocks", edges, len(fn.Blocks))
			}
			for i, b := range fn.Blocks {
				if b.Term == TermSwitch && !c.hub && len(b.Succs) < operations {
					t.Errorf("block %d leads to %d labels only", i, len(b.Succs))
				}
				if b.Term != TermSwitch || !c.hub {
					continue
				}
				if at := fn.Insts[b.Last-1].Addr; at == fn.Hub {
					if b.Last-b.First != 1 || len(b.Succs) < operations {
						t.Errorf("the hub is a block of %d instructions with %d successors", b.Last-b.First, len(b.Succs))
					}
				} else if len(b.Succs) < operations && (len(b.Succs) != 1 || fn.Insts[fn.Blocks[b.Succs[0]].First].Addr != fn.Hub) {
					t.Errorf("the computed goto at %#x leads neither to all labels nor to the hub", at)
				}
			}
			if out := sanity(g); len(out) > 0 {
				t.Error(out[0])
			}
		})
	}
}
