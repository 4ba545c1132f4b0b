package attach

import (
	"slices"
	"testing"

	"syspart/internal/image"
)

// TestPlaceName: of an address's names the plain one.
func TestPlaceName(t *testing.T) {
	d := &denials{names: map[string][]image.Symbol{}}
	funcs := []image.Symbol{{Name: "write", Value: 16, Size: 8}, {Name: "__write", Value: 16, Size: 8}, {Name: "_start", Value: 0, Size: 8}}
	slices.SortStableFunc(funcs, compareSymbols)
	d.names["/lib/x.so"] = funcs
	for va, want := range map[uint64]string{0: "x.so:_start+0x0", 18: "x.so:write+0x2", 12: "x.so+0xc"} {
		if got := d.place("/lib/x.so", va); got != want {
			t.Errorf("%#x is %s, want %s", va, got, want)
		}
	}
}
