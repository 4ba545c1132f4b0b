package callgraph

import (
	"testing"

	"syspart/internal/testbin"
)

// There are as many sets of targets as calls differ in, however many modules a program has: each set is held against every
// function whose address is taken.
func TestSetsOfModules(t *testing.T) {
	p := load(t, testbin.Need(t, "named", "bind9"))
	for _, level := range levels {
		g := New(p, level)
		g.WalkSignals(whole(g, mainOf(t, g)))
		alike := map[setKey]bool{}
		for i := range g.sets {
			k := g.sets[i].key
			if k.mod >= 0 && !nameService(p.Modules[k.mod]) {
				t.Errorf("level %v: a set of %s alone, which has no functions of its own", level, p.Modules[k.mod].Path)
			}
			if k.mod = -1; k.mask&classPrivate == 0 && alike[k] {
				t.Errorf("level %v: two sets %+v", level, k)
			}
			alike[k] = true
		}
	}
}

// Sites and targets are counted without listing the targets of each site.
func TestIndirectCount(t *testing.T) {
	p := load(t, testbin.Need(t, "nginx", "nginx"))
	for _, level := range levels {
		g := New(p, level)
		sites, targets := 0, 0
		g.IndirectSites(func(s Site) error {
			sites++
			targets += len(s.Targets)
			return nil
		})
		if s, n := g.IndirectCount(); s != sites || n != targets || s == 0 {
			t.Errorf("level %v: %d sites with %d targets, want %d with %d", level, s, n, sites, targets)
		}
	}
}
