package cfg

import "slices"

// maxNesting bounds the depth to which loops are told apart. A loop lists its blocks, so that the size of the result is
// the number of blocks times the depth; compiled code stays below 20. The blocks of a deeper loop belong to the loop at
// this depth.
const maxNesting = 128

// FindLoops returns the loops of a graph given by its successor lists, as far as the roots reach it: outer loops before
// those inside them, otherwise by header. Nodes should be numbered in address order.
//
// A loop is a strongly connected region. Taking its header away leaves the regions of the loops nested in it. In a
// reducible graph these are exactly the natural loops, two loops with one header being one. A region that can be entered
// at several nodes is irreducible: its header is the first of its entries, and the loops inside are what is still
// cyclic without that header.
func FindLoops(succs [][]int32, roots []int32) []Loop {
	f := loopFinder{
		succs: succs,
		level: make([]int32, len(succs)),
		index: make([]int32, len(succs)),
		low:   make([]int32, len(succs)),
		in:    make([]int32, len(succs)),
		root:  make([]bool, len(succs)),
	}
	order, num := postorder(succs, roots)
	if len(order) == 0 {
		return nil
	}
	f.preds = newPreds(succs, num)
	for _, r := range roots {
		f.root[r] = true
	}
	for i := range f.in {
		f.in[i] = -1
		f.level[i] = -1
	}
	for _, v := range order {
		f.level[v] = 0
	}
	slices.Sort(order)
	f.regions(order, 0, -1)
	// Breadth-first over the nesting: f.loops grows while we walk it.
	for i := 0; i < len(f.loops); i++ {
		depth := f.depth[i]
		if depth >= maxNesting {
			continue
		}
		blocks := f.loops[i].Blocks
		if len(blocks) == 1 {
			continue
		}
		for _, v := range blocks {
			f.level[v] = f.id
		}
		f.level[f.loops[i].Header] = -1
		f.regions(blocks, f.id, int32(i))
	}
	return f.loops
}

type loopFinder struct {
	succs [][]int32
	preds preds
	root  []bool
	// level says which region a node is in while that region is being split: nodes of the current one have its number.
	level []int32
	id    int32
	index []int32
	low   []int32
	in    []int32 // region that a node was last found in, to tell members from others

	loops []Loop
	depth []int32
	mark  int32
}

// regions appends a loop for each cyclic strongly connected component among nodes (sorted) whose level is cur.
func (f *loopFinder) regions(nodes []int32, cur, parent int32) {
	const fresh, done = -1, -2
	for _, v := range nodes {
		f.index[v] = fresh
	}
	var (
		next   int32
		stack  []int32
		frames []struct{ node, edge int32 }
		found  [][]int32
	)
	for _, start := range nodes {
		if f.level[start] != cur || f.index[start] != fresh {
			continue
		}
		frames = append(frames, struct{ node, edge int32 }{start, 0})
		for len(frames) > 0 {
			top := &frames[len(frames)-1]
			v := top.node
			if top.edge == 0 {
				f.index[v], f.low[v] = next, next
				next++
				stack = append(stack, v)
			}
			descended := false
			for int(top.edge) < len(f.succs[v]) {
				s := f.succs[v][top.edge]
				top.edge++
				if f.level[s] != cur {
					continue
				}
				if f.index[s] == fresh {
					frames = append(frames, struct{ node, edge int32 }{s, 0})
					descended = true
					break
				}
				if f.index[s] >= 0 {
					f.low[v] = min(f.low[v], f.index[s])
				}
			}
			if descended {
				continue
			}
			if f.low[v] == f.index[v] {
				at := len(stack) - 1
				for stack[at] != v {
					at--
				}
				comp := stack[at:]
				if len(comp) > 1 || slices.Contains(f.succs[v], v) {
					found = append(found, slices.Clone(comp))
				}
				for _, w := range comp {
					f.index[w] = done
				}
				stack = stack[:at]
			}
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				up := frames[len(frames)-1].node
				f.low[up] = min(f.low[up], f.low[v])
			}
		}
	}
	first := len(f.loops)
	for _, comp := range found {
		slices.Sort(comp)
		f.loops = append(f.loops, f.loop(comp, parent))
	}
	slices.SortFunc(f.loops[first:], func(a, b Loop) int { return int(a.Header - b.Header) })
	depth := int32(1)
	if parent >= 0 {
		depth = f.depth[parent] + 1
	}
	for range found {
		f.depth = append(f.depth, depth)
	}
	f.id++
}

// loop describes the region made of blocks.
func (f *loopFinder) loop(blocks []int32, parent int32) Loop {
	f.mark++
	for _, v := range blocks {
		f.in[v] = f.mark
	}
	l := Loop{Blocks: blocks, Parent: parent}
	for _, v := range blocks {
		entered := f.root[v]
		for _, p := range f.preds.of(v) {
			if f.in[p] != f.mark {
				entered = true
				l.Enter = append(l.Enter, [2]int32{p, v})
			}
		}
		if entered {
			l.Entries = append(l.Entries, v)
		}
		for _, s := range f.succs[v] {
			if f.in[s] != f.mark {
				l.Exits = append(l.Exits, [2]int32{v, s})
			}
		}
	}
	l.Header = l.Entries[0]
	return l
}
