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
			hub, loops := false, 0
			for b := fn.Blocks[0]; b < fn.Blocks[1]; b++ {
				x := &m.Blocks[b]
				hub = hub || x.Flags&summary.BlockHub != 0
				kinds, err := p.f.Kinds(p.observation(mainThread(thread(50, []observe.Frame{{Module: p.path, PC: x.Start}, p.ret("main", "interpret")}))))
				if err == nil && len(kinds) == 1 {
					loops++
				} else if !errors.Is(err, ErrNoLoop) {
					t.Fatalf("at %#x: %d kinds, error %v", x.Start, len(kinds), err)
				}
			}
			if hub == c.found {
				t.Errorf("has a hub: %v", hub)
			}
			if (loops >= 100) != c.found || !c.found && loops > 0 {
				t.Errorf("a main loop was found at %d of %d blocks", loops, fn.Blocks[1]-fn.Blocks[0])
			}
		})
	}
}
