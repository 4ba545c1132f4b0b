package cfg

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// randomGraph makes a graph of n nodes with up to two or, rarely, many successors each, like code.
func randomGraph(r *rand.Rand, n int) [][]int32 {
	succs := make([][]int32, n)
	for v := range succs {
		k := r.IntN(3)
		if r.IntN(20) == 0 {
			k = r.IntN(6)
		}
		for range k {
			s := v + 1
			if r.IntN(2) == 0 {
				s = r.IntN(n)
			}
			succs[v] = append(succs[v], int32(s%n))
		}
	}
	return succs
}

// reach returns the nodes that the roots reach without passing through the node cut (-1: none) or an edge that keep rejects.
func reach(succs [][]int32, roots []int32, cut int32, keep func(from, to int32) bool) []bool {
	seen := make([]bool, len(succs))
	var stack []int32
	visit := func(v int32) {
		if v != cut && !seen[v] {
			seen[v] = true
			stack = append(stack, v)
		}
	}
	for _, v := range roots {
		visit(v)
	}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, s := range succs[v] {
			if keep == nil || keep(v, s) {
				visit(s)
			}
		}
	}
	return seen
}

// naiveDominators removes each node in turn and sees what is no longer reached.
func naiveDominators(succs [][]int32, roots []int32) []int32 {
	n := len(succs)
	all := reach(succs, roots, -1, nil)
	doms := make([][]int32, n) // strict dominators
	for d := range n {
		without := reach(succs, roots, int32(d), nil)
		for v := range n {
			if v != d && all[v] && all[d] && !without[v] {
				doms[v] = append(doms[v], int32(d))
			}
		}
	}
	idom := make([]int32, n)
	for v := range idom {
		idom[v] = -1
		for _, d := range doms[v] {
			if len(doms[d]) == len(doms[v])-1 { // the strict dominators form a chain
				idom[v] = d
			}
		}
	}
	return idom
}

func TestDominatorsRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		succs := randomGraph(r, 1+r.IntN(24))
		roots := []int32{int32(r.IntN(len(succs)))}
		for r.IntN(3) == 0 {
			roots = append(roots, int32(r.IntN(len(succs))))
		}
		if diff := cmp.Diff(naiveDominators(succs, roots), Dominators(succs, roots)); diff != "" {
			t.Fatalf("graph %d %v from %v (-naive +got):\n%s", i, succs, roots, diff)
		}
	}
}

// naiveLoops finds loops by reachability: v and w are in one region if they reach each other inside it.
func naiveLoops(succs [][]int32, roots []int32) (loops []Loop) {
	live := reach(succs, roots, -1, nil)
	var split func(members []bool, parent int32)
	split = func(members []bool, parent int32) {
		done := make([]bool, len(succs))
		inside := func(from, to int32) bool { return members[from] && members[to] }
		var mine []int32
		for v := range succs {
			if !members[v] || done[v] {
				continue
			}
			fwd := reach(succs, []int32{int32(v)}, -1, inside)
			region := make([]bool, len(succs))
			var blocks []int32
			for w := range succs {
				if fwd[w] && reach(succs, []int32{int32(w)}, -1, inside)[v] {
					region[w], done[w] = true, true
					blocks = append(blocks, int32(w))
				}
			}
			if len(blocks) == 1 && !slices.Contains(succs[v], int32(v)) {
				continue
			}
			l := Loop{Blocks: blocks, Parent: parent}
			for _, w := range blocks {
				entry := slices.Contains(roots, w)
				for p := range succs {
					for _, s := range succs[p] {
						if s == w && live[p] && !region[p] {
							entry = true
							l.Enter = append(l.Enter, [2]int32{int32(p), w})
						}
					}
				}
				if entry {
					l.Entries = append(l.Entries, w)
				}
				for _, s := range succs[w] {
					if !region[s] {
						l.Exits = append(l.Exits, [2]int32{w, s})
					}
				}
			}
			l.Header = l.Entries[0]
			mine = append(mine, int32(len(loops)))
			loops = append(loops, l)
		}
		for _, i := range mine {
			inner := make([]bool, len(succs))
			for _, w := range loops[i].Blocks {
				inner[w] = w != loops[i].Header
			}
			split(inner, i)
		}
	}
	split(live, -1)
	return loops
}

// canonical renders loops without regard to their order.
func canonical(loops []Loop) []string {
	var out []string
	for _, l := range loops {
		parent := int32(-1)
		if l.Parent >= 0 {
			parent = loops[l.Parent].Header
		}
		out = append(out, fmt.Sprint(l.Header, l.Entries, l.Blocks, parent, l.Exits, l.Enter))
	}
	slices.Sort(out)
	return out
}

func TestFindLoopsRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	nested, irreducible := 0, 0
	for i := range 2000 {
		succs := randomGraph(r, 1+r.IntN(16))
		roots := []int32{0}
		if r.IntN(3) == 0 {
			roots = append(roots, int32(r.IntN(len(succs))))
		}
		got := FindLoops(succs, roots)
		if diff := cmp.Diff(canonical(naiveLoops(succs, roots)), canonical(got)); diff != "" {
			t.Fatalf("graph %d %v from %v (-naive +got):\n%s", i, succs, roots, diff)
		}
		for k, l := range got {
			if l.Parent >= int32(k) {
				t.Fatalf("graph %d: loop %d comes before its parent %d", i, k, l.Parent)
			}
			if l.Parent >= 0 {
				nested++
			}
			if len(l.Entries) > 1 {
				irreducible++
			}
		}
	}
	if nested < 100 || irreducible < 100 {
		t.Errorf("only %d nested and %d irreducible loops were tried", nested, irreducible)
	}
}

func TestFindLoops(t *testing.T) {
	for _, c := range []struct {
		name  string
		succs [][]int32
		want  []Loop
	}{
		{"none", [][]int32{{1, 2}, {2}, {}}, nil},
		{"empty", nil, nil},
		{"self", [][]int32{{1}, {1, 2}, {}}, []Loop{
			{Header: 1, Entries: []int32{1}, Blocks: []int32{1}, Parent: -1, Exits: [][2]int32{{1, 2}}, Enter: [][2]int32{{0, 1}}},
		}},
		{"two back edges are one loop", [][]int32{{1}, {2, 3}, {1}, {1, 4}, {}}, []Loop{
			{Header: 1, Entries: []int32{1}, Blocks: []int32{1, 2, 3}, Parent: -1, Exits: [][2]int32{{3, 4}}, Enter: [][2]int32{{0, 1}}},
		}},
		{"nested", [][]int32{{1}, {2}, {2, 3}, {1, 4}, {}}, []Loop{
			{Header: 1, Entries: []int32{1}, Blocks: []int32{1, 2, 3}, Parent: -1, Exits: [][2]int32{{3, 4}}, Enter: [][2]int32{{0, 1}}},
			{Header: 2, Entries: []int32{2}, Blocks: []int32{2}, Parent: 0, Exits: [][2]int32{{2, 3}}, Enter: [][2]int32{{1, 2}}},
		}},
		{"irreducible", [][]int32{{1, 2}, {2}, {1, 3}, {}}, []Loop{
			{Header: 1, Entries: []int32{1, 2}, Blocks: []int32{1, 2}, Parent: -1, Exits: [][2]int32{{2, 3}}, Enter: [][2]int32{{0, 1}, {0, 2}}},
		}},
		{"unreachable", [][]int32{{}, {2}, {1}}, nil},
		{"whole function", [][]int32{{1}, {0}}, []Loop{
			{Header: 0, Entries: []int32{0}, Blocks: []int32{0, 1}, Parent: -1},
		}},
	} {
		var roots []int32
		if len(c.succs) > 0 {
			roots = []int32{0}
		}
		if diff := cmp.Diff(c.want, FindLoops(c.succs, roots)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// A hostile function nests loops as deeply as it has blocks; the result must stay linear.
func TestFindLoopsDeep(t *testing.T) {
	const n = 5000
	succs := make([][]int32, 2*n)
	for i := range int32(n) { // headers 0..n-1, latches n..2n-1, innermost first
		succs[i] = []int32{i + 1}
		if i == n-1 {
			succs[i] = []int32{n}
		}
		latch := n + i
		succs[latch] = []int32{n - 1 - i}
		if latch+1 < 2*n {
			succs[latch] = append(succs[latch], latch+1)
		}
	}
	if got := len(FindLoops(succs, []int32{0})); got != maxNesting {
		t.Errorf("%d loops, want %d", got, maxNesting)
	}
}

func BenchmarkDominators(b *testing.B) {
	benchGraph(b, func(s [][]int32) { Dominators(s, []int32{0}) })
}
func BenchmarkFindLoops(b *testing.B) { benchGraph(b, func(s [][]int32) { FindLoops(s, []int32{0}) }) }

func benchGraph(b *testing.B, run func([][]int32)) {
	r := rand.New(rand.NewPCG(5, 6))
	graphs := make([][][]int32, 1000)
	for i := range graphs {
		graphs[i] = randomGraph(r, 10+r.IntN(60))
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, g := range graphs {
			run(g)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(graphs)), "ns/function")
}
