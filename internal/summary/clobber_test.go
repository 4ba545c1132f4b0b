package summary

import (
	"path/filepath"
	"testing"

	"syspart/internal/cfg"
	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/testbin"
)

// TestHidden compares in which of rax and r10 functions may find something with what is written behind them.
func TestHidden(t *testing.T) {
	src := filepath.Join("testdata", "hidden.s")
	f, err := image.Open(testbin.Build(t, src, "-nostdlib", "-static-pie"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := cfg.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{file: f, graph: g, mod: &Module{}}
	b.registers(b.entries())
	b.hidden(b.entries())
	entries := map[string]uint64{}
	for _, fn := range g.Funcs {
		entries[fn.Name] = fn.Entry
		if fn.Incomplete != "" && b.found(fn.Entry) != hiddenSet {
			t.Errorf("%s, of which not all is known, finds %#x", fn.Name, b.found(fn.Entry))
		}
	}
	wants := testbin.Wants(t, src)
	for kind, want := range map[string]decode.RegSet{"rax": 1 << decode.RAX, "r10": 1 << decode.R10, "none": 0} {
		if len(wants[kind]) == 0 {
			t.Errorf("no expectations of %s", kind)
		}
		for _, name := range wants[kind] {
			if va, ok := entries[name]; !ok {
				t.Errorf("%s: no such function", name)
			} else if got := b.found(va); got != want {
				t.Errorf("%s: finds %#x, want %#x", name, got, want)
			}
		}
	}
	if got := b.found(f.Entry + 1); got != hiddenSet {
		t.Errorf("code that is no function finds %#x", got)
	}
}
