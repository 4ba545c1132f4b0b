package callgraph

import (
	"fmt"
	"slices"

	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/internal/value"
)

type valueExpr = value.Expr

const kindConst = value.Const

// maxDepth bounds through how many functions a number is followed backwards; past it the number is unknown.
const maxDepth = 8

// syscalls finds the numbers of all reached system-call sites.
func (r *Reach) syscalls() {
	seen := newBitset(r.G.P.Funcs())
	for _, f := range r.order {
		if !seen.set(f) {
			continue
		}
		m, fn := r.G.fn(f)
		for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
			s := &m.Sys[k]
			if !r.hasBlock(f, s.Block) {
				continue
			}
			ev := SysEvidence{Func: f, Site: s.Site}
			if s.Kind != summary.Syscall64 {
				continue // another table: the filter denies it; see Graph.Foreign
			}
			e := evaluator{r: r}
			m.Each(s.Number, func(i int32, x value.Expr) {
				e.number(f, m, x, 0, nil)
			})
			for _, n := range e.numbers {
				ev.Number, ev.Via = n.nr, n.via
				if _, ok := r.Sites[n.nr]; !ok && n.nr >= 0 && n.nr < syscalls.Limit {
					r.Sites[n.nr] = ev
					r.Calls.Add(n.nr)
				}
			}
			if e.unknown != "" {
				r.Unknown = append(r.Unknown, SysEvidence{Func: f, Site: s.Site, Via: e.unknownVia, Number: -1, Why: e.unknown})
			}
		}
	}
	if len(r.Unknown) > 0 {
		all := syscalls.All()
		for _, nr := range all.Numbers() {
			if r.Calls.Add(nr) {
				ev := r.Unknown[0]
				ev.Number = nr
				r.Sites[nr] = ev
			}
		}
	}
}

type numbered struct {
	nr  int
	via []CallRef
}

// evaluator follows one number backwards through the reached code.
type evaluator struct {
	r          *Reach
	numbers    []numbered
	unknown    string
	unknownVia []CallRef
	visited    map[visitKey]bool
}

type visitKey struct {
	f    int32
	e    value.Expr
	load bool
}

func (e *evaluator) fail(why string, via []CallRef) {
	if e.unknown == "" {
		e.unknown, e.unknownVia = why, slices.Clone(via)
	}
}

func (e *evaluator) again(k visitKey) bool {
	if e.visited == nil {
		e.visited = map[visitKey]bool{}
	}
	if e.visited[k] {
		return true
	}
	e.visited[k] = true
	return false
}

// number adds the numbers that expression x of function f can be.
func (e *evaluator) number(f int32, m *link.Module, x value.Expr, depth int, via []CallRef) {
	if x.Kind == value.Const {
		e.numbers = append(e.numbers, numbered{int(uint32(x.Off)), slices.Clone(via)})
		return
	}
	if e.again(visitKey{f, x, false}) {
		return
	}
	switch {
	case depth > maxDepth:
		e.fail("passes through too many functions", via)
	case x.Any:
		e.fail("computed", via)
	case x.Kind == value.Param:
		e.callers(f, int(x.A), depth, via, func(cf int32, cm *link.Module, call uint32, v value.Val, via []CallRef) {
			cm.Each(v, func(_ int32, y value.Expr) {
				if y.Kind == value.Const || y.Kind == value.Param || y.Kind == value.Load {
					y.Off += x.Off
				}
				e.number(cf, cm, y, depth+1, via)
			})
		})
	case x.Kind == value.Load:
		p := m.Exprs[x.A]
		e.load(f, m, p, 0, x.Off, depth, via)
	case x.Kind == value.Result:
		e.fail("result of a call", via)
	default:
		e.fail("not known in its function", via)
	}
}

// load adds the numbers at address p+off, as function f sees p; add is added to what is loaded.
func (e *evaluator) load(f int32, m *link.Module, p value.Expr, off, add int64, depth int, via []CallRef) {
	if e.again(visitKey{f, value.Expr{Kind: p.Kind, A: p.A, Off: p.Off + off, Any: p.Any, Size: p.Size}, true}) {
		return
	}
	switch {
	case depth > maxDepth:
		e.fail("passes through too many functions", via)
	case p.Any:
		e.fail("read from a table", via)
	case p.Kind == value.Param:
		e.callers(f, int(p.A), depth, via, func(cf int32, cm *link.Module, call uint32, v value.Val, via []CallRef) {
			cm.Each(v, func(_ int32, y value.Expr) {
				if y.Kind != value.Stack || y.Any {
					e.load(cf, cm, y, p.Off+off, add, depth+1, via)
					return
				}
				_, cfn := e.r.G.fn(cf)
				at, found := y.Off+p.Off+off, false
				for k := cfn.Frame[0]; k < cfn.Frame[1]; k++ {
					fv := &cm.Frame[k]
					if fv.Call == call && int64(fv.Off) == at {
						found = true
						cm.Each(fv.Value, func(_ int32, z value.Expr) {
							if z.Kind == value.Const {
								z.Off += add
							}
							e.number(cf, cm, z, depth+1, via)
						})
					}
				}
				if !found {
					e.fail("a field of a local variable that is not known", via)
				}
			})
		})
	case p.Kind == value.Load && m.Exprs[p.A].Kind == value.Addr && !m.Exprs[p.A].Any:
		e.global(f, m, uint64(m.Exprs[p.A].Off), p.Off+off, add, depth, via)
	default:
		e.fail("read from memory that is not followed", via)
	}
}

type storeKey struct {
	mod  int
	addr uint64
}

type storeRef struct {
	fn    int32
	store uint32
}

// global adds the numbers at off from the pointer in the variable at addr of f's module. The variable's values are what
// live code stores there directly; it must be one whose address nothing takes: no reference without a size lies on it,
// and it is a pointer of eight bytes that is only read and written as such (an assumption on how compilers lay out
// variables: a variable accessed only directly is not part of an object that is accessed through a pointer).
func (e *evaluator) global(f int32, m *link.Module, addr uint64, off, add int64, depth int, via []CallRef) {
	g := e.r.G
	mi, _ := g.P.Where(int(f))
	found := false
	for i := range m.Funcs {
		fn := &m.Funcs[i]
		gf := int32(m.Base) + int32(i)
		if !g.live.has(gf) {
			continue
		}
		for k := fn.Refs[0]; k < fn.Refs[1]; k++ {
			if x := &m.Refs[k]; x.Addr == addr && x.Size != 8 {
				e.fail(fmt.Sprintf("through a variable at %#x whose address is taken", addr), via)
				return
			}
		}
		for k := fn.Stores[0]; k < fn.Stores[1]; k++ {
			s := &m.Stores[k]
			if x, one := m.Exprs[max(s.Addr, 0)], s.Addr > 0; !one || x.Kind != value.Addr || x.Any || uint64(x.Off) != addr {
				continue
			}
			found = true
			m.Each(s.Value, func(_ int32, y value.Expr) {
				if y.Kind == value.Const && y.Off == 0 {
					return // a null pointer faults
				}
				e.load(gf, m, y, off, add, depth+1, via)
			})
		}
	}
	_ = mi
	if !found {
		e.fail(fmt.Sprintf("through a variable at %#x that nothing is seen to set", addr), via)
	}
}

// callers calls visit for every reached call site of f with the value of its argument k (6 and up: passed on the stack).
func (e *evaluator) callers(f int32, k, depth int, via []CallRef, visit func(cf int32, cm *link.Module, call uint32, v value.Val, via []CallRef)) {
	r := e.r
	if k > 7 {
		e.fail(fmt.Sprintf("stack-passed argument %d", k+1), via)
		return
	}
	if r.any && r.G.taken[f].Kind != NotTaken {
		e.fail("argument of a function that is called indirectly", via)
	}
	if s, ok := r.StartOf(f); ok && s.Blocks == nil {
		e.fail("argument of a function where the analysis begins", via)
	} else if ok {
		// A partly reached function: the value came in before the analysis began, from any of its callers.
		for _, c := range r.G.callersOf(f) {
			if !r.hasCall(c) {
				m, _ := r.G.fn(c.Func)
				visit(c.Func, m, c.Call, argument(&m.Calls[c.Call], k), append(via[:len(via):len(via)], c))
			}
		}
	}
	for _, c := range r.G.callersOf(f) {
		if !r.hasCall(c) {
			continue
		}
		m, _ := r.G.fn(c.Func)
		visit(c.Func, m, c.Call, argument(&m.Calls[c.Call], k), append(via[:len(via):len(via)], c))
	}
}

func (r *Reach) hasCall(c CallRef) bool {
	m, _ := r.G.fn(c.Func)
	return r.Has(c.Func) && r.hasBlock(c.Func, m.Calls[c.Call].Block)
}

func argument(c *summary.Call, k int) value.Val {
	if k < 6 {
		return c.Args[k]
	}
	return c.StackArg[k-6]
}

// callersOf returns the live call sites of f that no guess is needed for: direct ones, by symbol, by constant or followed
// pointer, seen through PLT stubs.
func (g *Graph) callersOf(f int32) []CallRef {
	if g.callers == nil {
		g.callers = map[int32][]CallRef{}
		g.indexCallers()
	}
	return g.callers[f]
}

// indexCallers finds the callers of all functions that pass a number on: those with a system call whose number is no
// constant, and, to a fixed point, those that call one with an argument of their own.
func (g *Graph) indexCallers() {
	want := newBitset(g.P.Funcs())
	for _, m := range g.P.Modules {
		for i := range m.Funcs {
			fn := &m.Funcs[i]
			for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
				known := true
				m.Each(m.Sys[k].Number, func(_ int32, x value.Expr) { known = known && x.Kind == value.Const })
				if !known {
					want.set(int32(m.Base) + int32(i))
				}
			}
			// Functions that set variables may be asked for their arguments too.
			for k := fn.Stores[0]; k < fn.Stores[1]; k++ {
				s := &m.Stores[k]
				if s.Addr > 0 && s.Value > 0 && m.Exprs[s.Addr].Kind == value.Addr && m.Exprs[s.Value].Kind == value.Param {
					want.set(int32(m.Base) + int32(i))
				}
			}
		}
	}
	done := slices.Clone(want)
	for range maxDepth + 1 {
		next := newBitset(g.P.Funcs())
		grown := false
		for mi, m := range g.P.Modules {
			for i := range m.Funcs {
				fn := &m.Funcs[i]
				f := int32(m.Base) + int32(i)
				if !g.live.has(f) || fn.Calls[0] == fn.Calls[1] {
					continue
				}
				for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
					c := &m.Calls[k]
					note := func(t int32) {
						if !want.has(t) {
							return
						}
						g.callers[t] = append(g.callers[t], CallRef{f, uint32(k)})
						passes := false
						for a := 0; a < 8 && !passes; a++ {
							m.Each(argument(c, a), func(_ int32, x value.Expr) { passes = passes || x.Kind == value.Param || x.Kind == value.Load })
						}
						if passes && done.set(f) {
							next.set(f)
							grown = true
						}
					}
					g.callTargets(mi, m, c, note)
					for _, t := range g.followed[CallRef{f, k}] {
						note(t)
					}
				}
			}
		}
		if !grown {
			return
		}
		want = next
	}
}

// callTargets calls visit for the functions that a call reaches without a guess, through PLT stubs.
func (g *Graph) callTargets(mi int, m *link.Module, c *summary.Call, visit func(int32)) {
	through := func(t int32) {
		if _, fn := g.fn(t); fn.Flags&summary.Stub != 0 && fn.Sym != 0 {
			smi, _ := g.P.Where(int(t))
			for _, x := range g.symTargets(smi, fn.Sym) {
				visit(x)
			}
			return
		}
		visit(t)
	}
	switch c.Kind {
	case summary.Direct:
		if t := g.P.Func(mi, c.Target); t >= 0 {
			through(int32(t))
		}
	case summary.BySym:
		for _, t := range g.symTargets(mi, c.Sym) {
			through(t)
		}
	default:
		if l, ok := g.constTargets(mi, m, c); ok {
			for _, t := range l {
				through(t)
			}
		}
	}
}
