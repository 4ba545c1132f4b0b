package attach

import (
	"math/rand/v2"
	"slices"
	"testing"

	"syspart/internal/proc"
)

// TestGaps compares what is found in the maps of random processes with a search step by step.
func TestGaps(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	free := func(maps []proc.Mapping, at, size uint64) bool {
		return !slices.ContainsFunc(maps, func(m proc.Mapping) bool { return m.Start < at+size+pageSize && at < m.End+pageSize })
	}
	for round := range 300 {
		var maps []proc.Mapping
		at := uint64(0x400000)
		for range rnd.IntN(40) {
			at += uint64(rnd.IntN(100)) << uint(12+rnd.IntN(9))
			n := uint64(1+rnd.IntN(50)) * pageSize
			maps = append(maps, proc.Mapping{Start: at, End: at + n})
			at += n
		}
		near := 0x400000 + rnd.Uint64N(at)
		if len(maps) > 0 && round%2 == 0 {
			m := maps[rnd.IntN(len(maps))]
			near = m.Start + rnd.Uint64N(m.End-m.Start)
		}
		size := uint64(1+rnd.IntN(4)) * pageSize
		var want []uint64
		for at := near &^ (gapStep - 1); at+reach > near && at >= gapStep && len(want) < 8; at -= gapStep {
			if free(maps, at, size) {
				want = append(want, at)
			}
		}
		for at := near&^(gapStep-1) + gapStep; at < near+reach && len(want) < 16; at += gapStep {
			if free(maps, at, size) {
				want = append(want, at)
			}
		}
		if got := gaps(maps, near, size); !slices.Equal(got, want) {
			t.Fatalf("near %#x, %#x bytes: %#x, want %#x in %+v", near, size, got, want, maps)
		}
	}
}
