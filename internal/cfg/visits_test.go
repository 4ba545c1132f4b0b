package cfg

import (
	"testing"

	"syspart/internal/decode"
)

// A set of visits knows those of the present walk and no others, however many walks use its memory.
func TestVisits(t *testing.T) {
	var set visits
	for walk := range 50 {
		set.reset()
		want := map[visit]bool{}
		for i := range 40 * walk {
			v := visit{int32(i % 7 * walk), query{reg: decode.Reg(i % 2 * 4), slot: true, disp: int64(i%31) * -8}}
			if got := set.add(v); got == want[v] {
				t.Fatalf("walk %d: %v is new: %v", walk, v, got)
			}
			want[v] = true
		}
		if set.n != len(want) {
			t.Fatalf("walk %d: %d visits, want %d", walk, set.n, len(want))
		}
	}
}
