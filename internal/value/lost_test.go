package value

import (
	"path/filepath"
	"testing"

	"syspart/internal/cfg"
	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/testbin"
)

// TestLost compares which functions lose sight of an address with what is written behind them.
func TestLost(t *testing.T) {
	src := filepath.Join("testdata", "lost.s")
	f, err := image.Open(testbin.Build(t, src, "-nostdlib", "-static-pie"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := cfg.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]uint64{}
	for _, fn := range g.Funcs {
		entries[fn.Name] = fn.Entry
	}
	if entries["target"] == 0 || entries["finds"] == 0 {
		t.Fatal("the fixture lacks a function")
	}
	a := Analysis{Mem: noMemory{}, Code: f.Exec, Finds: func(va uint64) decode.RegSet {
		if va == entries["finds"] {
			return 1 << decode.RAX
		}
		return 0
	}}
	lost := map[string]bool{}
	for _, fn := range g.Funcs {
		a.Run(fn)
		a.Replay(func(int32, int32, *decode.Inst, *State) {})
		for i, e := range a.T.Exprs {
			if e.Kind == Addr && uint64(e.Off) == entries["target"] && a.Lost(int32(i)) {
				lost[fn.Name] = true
			}
		}
	}
	wants := testbin.Wants(t, src)
	if len(wants["lost"]) < 10 || len(wants["kept"]) < 7 {
		t.Fatalf("only %d and %d expectations", len(wants["lost"]), len(wants["kept"]))
	}
	for _, kind := range []string{"lost", "kept"} {
		for _, name := range wants[kind] {
			if entries[name] == 0 {
				t.Errorf("%s: no such function", name)
			} else if lost[name] != (kind == "lost") {
				t.Errorf("%s: lost is %v, want %s", name, lost[name], kind)
			}
		}
	}
}
