package syscalls

import "testing"

// TestPurposes: every call of the table has one purpose, and only one.
func TestPurposes(t *testing.T) {
	count := map[int]int{}
	names := map[string]bool{}
	for _, p := range Purposes() {
		if p.What == "" || p.Calls.Empty() || names[p.Name] {
			t.Errorf("%q: no text, no calls, or there twice", p.Name)
		}
		names[p.Name] = true
		for _, n := range p.Calls.Names() {
			nr, _ := Number(n)
			count[nr]++
			if PurposeOf(nr) != p.Name {
				t.Errorf("%s: %s, want %s", n, PurposeOf(nr), p.Name)
			}
		}
	}
	for nr := 0; nr <= Max; nr++ {
		if Known(nr) && count[nr] != 1 {
			t.Errorf("%s (%d) is in %d purposes, want 1", Name(nr), nr, count[nr])
		}
	}
	if got := PurposeOf(Max + 1); got != "unknown" {
		t.Errorf("a number that the table lacks: %s", got)
	}
}
