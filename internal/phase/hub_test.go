package phase

import (
	"errors"
	"testing"

	"syspart/internal/observe"
	"syspart/internal/summary"
	"syspart/internal/testbin"
)

// The rounds of a large interpreter have no place in common, although its graph says so: its loop is no main loop. That of
// a small one, whose graph has every edge, is.
func TestHub(t *testing.T) {
	for name, c := range map[string]struct {
		flags []string
		found bool
	}{"large": {nil, false}, "small": {[]string{"-DSMALL"}, true}} {
		t.Run(name, func(t *testing.T) {
			p := open(t, testbin.Build(t, "../cfg/testdata/interpreter.c", append([]string{"-O2"}, c.flags...)...))
			m, fn := p.g.Func(p.fn("interpret"))
			hub, at := false, fn.Entry
			for b := fn.Blocks[0]; b < fn.Blocks[1]; b++ {
				x := &m.Blocks[b]
				hub = hub || x.Flags&summary.BlockHub != 0
				if n := x.Succs[1] - x.Succs[0]; x.Flags&summary.BlockHub != 0 || n >= 100 {
					at = x.Start
				}
			}
			if hub == c.found {
				t.Fatalf("has a hub: %v", hub)
			}
			kinds, err := p.f.Kinds(p.observation(mainThread(thread(50, []observe.Frame{{Module: p.path, PC: at}, p.ret("main", "interpret")}))))
			if c.found {
				if err != nil || len(kinds) != 1 {
					t.Errorf("%d kinds, error %v", len(kinds), err)
				}
			} else if !errors.Is(err, ErrNoLoop) {
				t.Errorf("%d kinds, error %v", len(kinds), err)
			}
		})
	}
}
