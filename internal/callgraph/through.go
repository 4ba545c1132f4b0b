package callgraph

// Through returns the functions that every way from the starts to a system call leads through, the one next to the call first:
// what has to be out of reach for the call to be closed. It is empty if the call cannot be made.
func (r *Reach) Through(nr int) []int32 {
	w := ways{r: r, nodes: map[int32]int32{}, sets: map[Set]int32{}, succs: make([][]int32, 1)}
	for _, s := range r.Starts {
		w.lead(0, w.node(s.Func))
	}
	for i := 0; i < len(r.order); i++ {
		w.function(r.order[i])
	}
	end := w.add()
	for _, ev := range r.Makers(nr) {
		if r.Has(r.end(&ev)) {
			w.lead(w.node(r.end(&ev)), end)
		}
	}
	var out []int32
	dom := w.dominators()
	if dom[end] < 0 {
		return nil
	}
	functions := make([]int32, len(w.succs))
	for i := range functions {
		functions[i] = -1
	}
	for f, n := range w.nodes {
		functions[n] = f
	}
	for n := dom[end]; n != 0; n = dom[n] {
		if f := functions[n]; f >= 0 {
			out = append(out, f)
		}
	}
	return out
}

// ways is what a walk went over, as a graph: node 0 is its beginning, others are functions and sets of targets.
type ways struct {
	r     *Reach
	nodes map[int32]int32 // by function
	sets  map[Set]int32
	succs [][]int32
	done  bitset
}

func (w *ways) add() int32 {
	w.succs = append(w.succs, nil)
	return int32(len(w.succs) - 1)
}

func (w *ways) node(f int32) int32 {
	n, ok := w.nodes[f]
	if !ok {
		n = w.add()
		w.nodes[f] = n
	}
	return n
}

func (w *ways) lead(from, to int32) { w.succs[from] = append(w.succs[from], to) }

// function adds what leads on from a function of the walk.
func (w *ways) function(f int32) {
	g := w.r.G
	if w.done == nil {
		w.done = newBitset(g.P.Funcs())
	}
	if !w.done.set(f) {
		return
	}
	n := w.node(f)
	g.edges(f, w.r.part(f), func(e Edge) {
		switch {
		case e.To >= 0:
			w.lead(n, w.node(e.To))
		case e.Kind == LazyBinding:
			g.lazy(e, func(e Edge) { w.lead(n, w.node(e.To)) })
		default:
			s, ok := w.sets[e.Set]
			if !ok {
				s = w.add()
				w.sets[e.Set] = s
				for _, t := range g.Targets(e.Set) {
					w.lead(s, w.node(t))
				}
			}
			w.lead(n, s)
		}
	})
}

// dominators returns the immediate dominator of every node, -1 of those that are not reached (Cooper, Harvey and Kennedy, "A
// simple, fast dominance algorithm", 2001).
func (w *ways) dominators() []int32 {
	n := len(w.succs)
	rank := make([]int32, n) // in postorder
	for i := range rank {
		rank[i] = -1
	}
	var order []int32
	next := make([]int, n)
	stack := []int32{0}
	seen := newBitset(n)
	seen.set(0)
	for len(stack) > 0 {
		x := stack[len(stack)-1]
		if next[x] < len(w.succs[x]) {
			if y := w.succs[x][next[x]]; seen.set(y) {
				stack = append(stack, y)
			}
			next[x]++
			continue
		}
		rank[x] = int32(len(order))
		order = append(order, x)
		stack = stack[:len(stack)-1]
	}
	preds := make([][]int32, n)
	for _, x := range order {
		for _, y := range w.succs[x] {
			preds[y] = append(preds[y], x)
		}
	}
	dom := make([]int32, n)
	for i := range dom {
		dom[i] = -1
	}
	dom[0] = 0
	for changed := true; changed; {
		changed = false
		for i := len(order) - 2; i >= 0; i-- {
			x, d := order[i], int32(-1)
			for _, p := range preds[x] {
				switch {
				case dom[p] < 0:
				case d < 0:
					d = p
				default:
					for a := p; a != d; {
						if rank[a] < rank[d] {
							a = dom[a]
						} else {
							d = dom[d]
						}
					}
				}
			}
			if dom[x] != d {
				dom[x], changed = d, true
			}
		}
	}
	return dom
}
