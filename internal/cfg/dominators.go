package cfg

// Dominators computes the immediate dominator of every node of a graph given by its successor lists, by the iteration
// of Cooper, Harvey and Kennedy ("A Simple, Fast Dominance Algorithm", 2001). With several roots, a node that no single
// node dominates (it can be reached from two roots along disjoint paths) has no immediate dominator. The result is -1
// for those, for roots and for nodes that no root reaches. Successors and roots must be valid node numbers; a root may be
// listed twice.
func Dominators(succs [][]int32, roots []int32) []int32 {
	n := int32(len(succs))
	idom := make([]int32, n)
	order, num := postorder(succs, roots)
	preds := newPreds(succs, num)

	// The iteration works on postorder numbers; len(order) is a virtual root above all roots.
	top := int32(len(order))
	dom := make([]int32, top)
	for i := range dom {
		dom[i] = -1
	}
	for _, r := range roots {
		dom[num[r]] = top
	}
	meet := func(a, b int32) int32 {
		for a != b {
			for a < b {
				a = dom[a]
			}
			for b < a {
				if b == top {
					return top
				}
				b = dom[b]
			}
		}
		return a
	}
	isRoot := make([]bool, n)
	for _, r := range roots {
		isRoot[r] = true
	}
	for changed := true; changed; {
		changed = false
		for i := top - 1; i >= 0; i-- {
			v := order[i]
			if isRoot[v] {
				continue
			}
			next := int32(-1)
			for _, p := range preds.of(v) {
				q := num[p]
				if dom[q] < 0 {
					continue
				}
				if next < 0 {
					next = q
				} else {
					next = meet(next, q)
				}
			}
			if dom[i] != next {
				dom[i] = next
				changed = true
			}
		}
	}
	for v := range idom {
		idom[v] = -1
		if i := num[v]; i >= 0 && dom[i] >= 0 && dom[i] < top {
			idom[v] = order[dom[i]]
		}
	}
	return idom
}

// postorder numbers the nodes that the roots reach; num is -1 for the others.
func postorder(succs [][]int32, roots []int32) (order, num []int32) {
	num = make([]int32, len(succs))
	for i := range num {
		num[i] = -1
	}
	order = make([]int32, 0, len(succs))
	const open = -2
	type frame struct{ node, next int32 }
	var stack []frame
	for _, r := range roots {
		if num[r] != -1 {
			continue
		}
		num[r] = open
		stack = append(stack, frame{node: r})
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if int(top.next) < len(succs[top.node]) {
				s := succs[top.node][top.next]
				top.next++
				if num[s] == -1 {
					num[s] = open
					stack = append(stack, frame{node: s})
				}
				continue
			}
			num[top.node] = int32(len(order))
			order = append(order, top.node)
			stack = stack[:len(stack)-1]
		}
	}
	return order, num
}

// preds holds predecessor lists in one slice.
type preds struct {
	start []int32 // by node, one more than there are nodes
	list  []int32
}

// newPreds inverts the edges of those nodes whose num is not negative (all nodes if num is nil).
func newPreds(succs [][]int32, num []int32) preds {
	p := preds{start: make([]int32, len(succs)+1)}
	total := 0
	for v, ss := range succs {
		if num != nil && num[v] < 0 {
			continue
		}
		total += len(ss)
		for _, s := range ss {
			p.start[s+1]++
		}
	}
	for i := 1; i < len(p.start); i++ {
		p.start[i] += p.start[i-1]
	}
	p.list = make([]int32, total)
	fill := make([]int32, len(succs))
	for v, ss := range succs {
		if num != nil && num[v] < 0 {
			continue
		}
		for _, s := range ss {
			p.list[p.start[s]+fill[s]] = int32(v)
			fill[s]++
		}
	}
	return p
}

func (p *preds) of(v int32) []int32 { return p.list[p.start[v]:p.start[v+1]] }
