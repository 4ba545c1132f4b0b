package callgraph

import (
	"fmt"
	"slices"
	"sort"

	"syspart/internal/image"
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
	r.eachCall(func(ev SysEvidence) {
		if ev.Why != "" {
			r.Unknown = append(r.Unknown, ev)
			return
		}
		if _, ok := r.Sites[ev.Number]; !ok && ev.Number < syscalls.Limit {
			r.Sites[ev.Number] = ev
			r.Calls.Add(ev.Number)
		}
	})
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

// eachCall calls visit for each number of each reached system-call site, and once with Why set if there may be others.
func (r *Reach) eachCall(visit func(SysEvidence)) {
	seen := newBitset(r.G.P.Funcs())
	for _, f := range r.order {
		if !seen.set(f) {
			continue
		}
		m, fn := r.G.fn(f)
		for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
			s := &m.Sys[k]
			if !r.hasBlock(f, s.Block) || r.G.behindSys(sysRef{f, k}) {
				continue
			}
			if s.Kind != summary.Syscall64 {
				continue // another table: the filter denies it; see Graph.Foreign
			}
			e := evaluator{r: r}
			m.Each(s.Number, func(i int32, x value.Expr) {
				e.number(f, m, x, 0, nil)
			})
			for _, n := range e.numbers {
				visit(SysEvidence{Func: f, Site: s.Site, Via: n.via, Number: n.nr})
			}
			if e.unknown != "" {
				visit(SysEvidence{Func: f, Site: s.Site, Via: e.unknownVia, Number: -1, Why: e.unknown})
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
	add  int64 // loads: what is added to the number
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
	if e.again(visitKey{f: f, e: x}) {
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
				e.number(cf, cm, plus(y, x.Off), depth+1, via)
			})
		})
	case x.Kind == value.Load && x.Size&^value.SignBit < 4:
		e.fail("read from memory as less than four bytes", via)
	case x.Kind == value.Load:
		p := m.Exprs[x.A]
		if p.Kind == value.Addr && !p.Any && x.Size&^value.SignBit >= 4 {
			e.variable(f, m, uint64(p.Off), x.Off, depth, via)
			return
		}
		e.load(f, m, p, 0, x.Off, depth, via)
	case x.Kind == value.Result:
		e.fail("result of a call", via)
	default:
		e.fail("not known in its function", via)
	}
}

// load adds the numbers at address p+off, as function f sees p; add is added to what is loaded.
func (e *evaluator) load(f int32, m *link.Module, p value.Expr, off, add int64, depth int, via []CallRef) {
	if e.again(visitKey{f, value.Expr{Kind: p.Kind, A: p.A, Off: p.Off + off, Any: p.Any, Size: p.Size}, add, true}) {
		return
	}
	switch {
	case depth > maxDepth:
		e.fail("passes through too many functions", via)
	case p.Any:
		e.fail("read from a table", via)
	case p.Kind == value.Param && e.r.G.writes(f, int(p.A), p.Off+off, 0):
		e.fail("read from an argument's memory that is written before", via)
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
						cm.Each(fv.Value, func(_ int32, z value.Expr) { e.number(cf, cm, plus(z, add), depth+1, via) })
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

// plus is the value y+add, for the kinds of values that a number is followed through.
func plus(y value.Expr, add int64) value.Expr {
	if y.Kind == value.Const || y.Kind == value.Param || y.Kind == value.Load {
		y.Off += add
	}
	return y
}

// writes reports whether f, or a function that it passes the pointer on to, may write the four bytes at off from its
// argument k. Stores through pointers that are not seen to come from the argument are assumed to go elsewhere.
func (g *Graph) writes(f int32, k int, off int64, depth int) bool {
	if depth > 3 {
		return true
	}
	mi, _ := g.P.Where(int(f))
	m, fn := g.fn(f)
	hits := func(e value.Expr, size int64) bool {
		return e.Kind == value.Param && int(e.A) == k && (e.Any || size == 0 && e.Off < off+4 || e.Off < off+4 && off < e.Off+size)
	}
	for i := fn.Stores[0]; i < fn.Stores[1]; i++ {
		s, hit := &m.Stores[i], false
		m.Each(s.Addr, func(_ int32, e value.Expr) { hit = hit || hits(e, int64(s.Size)) })
		if hit {
			return true
		}
	}
	for i := fn.Calls[0]; i < fn.Calls[1]; i++ {
		c := &m.Calls[i]
		for a := range c.Args {
			hit := false
			m.Each(c.Args[a], func(_ int32, e value.Expr) {
				if e.Kind != value.Param || int(e.A) != k {
					return
				}
				callees := 0
				g.callTargets(mi, m, c, func(t int32) {
					callees++
					hit = hit || e.Any || g.writes(t, a, off-e.Off, depth+1)
				})
				// An argument register that an indirect call finds filled need not be an argument of it.
				hit = hit || callees == 0 && c.Kind != summary.Indirect
			})
			if hit {
				return true
			}
		}
	}
	return false
}

// global adds the numbers at off from the pointer in the variable at addr of f's module. The variable's values are what
// live code stores there directly; it must be one whose address nothing takes: no reference without a size lies on it,
// and it is a pointer of eight bytes that is only read and written as such (an assumption on how compilers lay out
// variables: a variable accessed only directly is not part of an object that is accessed through a pointer).
func (e *evaluator) global(f int32, m *link.Module, addr uint64, off, add int64, depth int, via []CallRef) {
	g := e.r.G
	if _, ok := m.PtrAt(addr); ok {
		e.fail(fmt.Sprintf("through a variable at %#x that has a value from the start", addr), via)
		return
	}
	if settable(m, addr) {
		e.fail(fmt.Sprintf("through a variable at %#x that other modules can set", addr), via)
		return
	}
	found, written := false, false
	for i := range m.Funcs {
		fn := &m.Funcs[i]
		gf := int32(m.Base) + int32(i)
		if !g.live.has(gf) {
			continue
		}
		for k := fn.Refs[0]; k < fn.Refs[1]; k++ {
			x := &m.Refs[k]
			if x.Addr == addr && x.Size != 8 {
				e.fail(fmt.Sprintf("through a variable at %#x whose address is taken", addr), via)
				return
			}
			written = written || x.Write && x.Addr < addr+8 && addr < x.Addr+uint64(x.Size)
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
	if !found && (written || !zero(m, addr)) { // else it stays the null pointer that it is, and the read faults
		e.fail(fmt.Sprintf("through a variable at %#x that nothing is seen to set", addr), via)
	}
}

// variable adds the numbers in the variable at addr of f's module, plus add: what it holds from the start, and what
// live code stores there. As for global it must be one whose address goes nowhere: where code makes its
// address it does so only to read and write there.
func (e *evaluator) variable(f int32, m *link.Module, addr uint64, add int64, depth int, via []CallRef) {
	g := e.r.G
	first, ok := initial(m, addr)
	if !ok {
		e.fail(fmt.Sprintf("read from a variable at %#x whose first value is not known", addr), via)
		return
	}
	if settable(m, addr) {
		e.fail(fmt.Sprintf("read from a variable at %#x that other modules can set", addr), via)
		return
	}
	// Whether it is an object of its own, that no index into another one reaches.
	own := addr%objectAlign == 0 && slices.ContainsFunc(m.Refs, func(x summary.Ref) bool { return x.Addr == addr })
	e.numbers = append(e.numbers, numbered{int(uint32(first + add)), slices.Clone(via)})
	for i := range m.Funcs {
		fn := &m.Funcs[i]
		gf := int32(m.Base) + int32(i)
		if !g.live.has(gf) {
			continue
		}
		written := false
		for k := fn.Refs[0]; k < fn.Refs[1]; k++ {
			x := &m.Refs[k]
			if x.Addr == addr && x.Size == 0 && !local(m, fn, addr) {
				e.fail(fmt.Sprintf("read from a variable at %#x whose address is taken", addr), via)
				return
			}
			written = written || x.Write && x.Addr < addr+4 && addr < x.Addr+uint64(x.Size)
		}
		for k := fn.Stores[0]; k < fn.Stores[1]; k++ {
			s, here := &m.Stores[k], false
			m.Each(s.Addr, func(_ int32, x value.Expr) {
				if at := uint64(x.Off); x.Kind == value.Addr {
					here = here || at < addr+4 && addr < at+uint64(s.Size) || (x.Any || s.Size == 0) && (at == addr || !own && at < addr+nearObject)
				}
			})
			if !here {
				continue
			}
			written = false
			if s.Value == 0 || m.Exprs[max(s.Addr, 0)].Any || s.Addr < 0 || uint64(m.Exprs[s.Addr].Off) != addr {
				e.fail(fmt.Sprintf("read from a variable at %#x that is set at %#x to what is not known", addr, s.Site), via)
				return
			}
			m.Each(s.Value, func(_ int32, y value.Expr) { e.number(gf, m, plus(y, add), depth+1, via) })
		}
		if written {
			e.fail(fmt.Sprintf("read from a variable at %#x that is set to what is not known", addr), via)
			return
		}
	}
}

// initial returns what the variable at addr holds when the module is mapped.
func initial(m *link.Module, addr uint64) (int64, bool) {
	i := sort.Search(len(m.Words), func(i int) bool { return m.Words[i].Addr >= addr })
	if i < len(m.Words) && m.Words[i].Addr == addr {
		return int64(m.Words[i].Value), true
	}
	return 0, zero(m, addr)
}

// variableSize is how far from its beginning a variable is taken to reach.
const variableSize = 256

// local reports whether a function only reads and writes through the addresses that it makes in the variable at addr.
func local(m *link.Module, fn *summary.Func, addr uint64) bool {
	ok := true
	check := func(v value.Val) {
		m.Each(v, func(_ int32, x value.Expr) {
			ok = ok && !(x.Kind == value.Addr && uint64(x.Off) >= addr && uint64(x.Off) < addr+variableSize)
		})
	}
	for _, x := range m.Losts[fn.Losts[0]:fn.Losts[1]] {
		check(value.Val(x))
	}
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		for _, v := range m.Calls[k].Args {
			check(v)
		}
		for _, v := range m.Calls[k].StackArg {
			check(v)
		}
		check(m.First(k))
	}
	for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
		for _, v := range m.Sys[k].Args {
			check(v)
		}
	}
	for k := fn.Frame[0]; k < fn.Frame[1]; k++ {
		check(m.Frame[k].Value)
	}
	for k := fn.Stores[0]; k < fn.Stores[1]; k++ {
		check(m.Stores[k].Value)
	}
	for k := fn.Rets[0]; k < fn.Rets[1]; k++ {
		check(m.Rets[k].Value)
	}
	return ok
}

// settable reports whether a symbol that other modules can bind to lies at addr.
func settable(m *link.Module, addr uint64) bool {
	return slices.ContainsFunc(m.Dyn.Symbols, func(s image.Symbol) bool {
		return !s.Undefined && !s.TLS && s.Value <= addr && addr < s.Value+s.Size
	})
}

// zero reports whether the eight bytes at addr are zero when the module is mapped: behind what its file holds.
func zero(m *link.Module, addr uint64) bool {
	for i := range m.Segments {
		if s := &m.Segments[i]; s.Contains(addr) {
			return addr >= s.Start+s.FileSize && addr+8 <= s.End
		}
	}
	return false
}

// callers calls visit for every reached call site of f with the value of its argument k (6 and up: passed on the stack).
func (e *evaluator) callers(f int32, k, depth int, via []CallRef, visit func(cf int32, cm *link.Module, call uint32, v value.Val, via []CallRef)) {
	r := e.r
	if k > 7 && k != value.GoArg {
		e.fail(fmt.Sprintf("stack-passed argument %d", k+1), via)
		return
	}
	// Where not all of f is reached, or where the analysis begins inside it, an activation of f may have been there
	// before: then any live call can have passed the value.
	s, isStart := r.StartOf(f)
	before := !r.whole.has(f) || isStart && s.Blocks != nil
	if isStart && s.Blocks == nil {
		e.fail("argument of a function where the analysis begins", via)
	}
	if r.guessed(f, before) {
		e.fail("argument of a function that is called indirectly", via)
	}
	for _, c := range r.G.callersOf(f) {
		if !before && !r.hasCall(c) {
			continue
		}
		m, _ := r.G.fn(c.Func)
		visit(c.Func, m, c.Call, given(m, c.Call, k), append(via[:len(via):len(via)], c))
	}
}

// guessed reports whether a reached call (if before is set, a live one) that is not resolved may go to f, or whether a thread
// may begin with it.
func (r *Reach) guessed(f int32, before bool) bool {
	g := r.G
	for _, l := range g.spawned {
		if slices.Contains(l, f) {
			return true
		}
	}
	if g.taken[f].Kind == NotTaken {
		return false
	}
	for s := range g.sets {
		if (s < len(r.sets) && r.sets[s] || before && g.sets[s].active) && g.accepts(&g.sets[s].key, f) {
			return true
		}
	}
	return false
}

func (r *Reach) hasCall(c CallRef) bool {
	m, _ := r.G.fn(c.Func)
	return r.Has(c.Func) && r.hasBlock(c.Func, m.Calls[c.Call].Block)
}

// given is the value of argument k of a call, also of the one that Go code passes in rax.
func given(m *link.Module, call uint32, k int) value.Val {
	if k == value.GoArg {
		return m.First(call)
	}
	return argument(&m.Calls[call], k)
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
	if g.callersAt == nil {
		g.indexCallers()
	}
	return g.callers[g.callersAt[f]:g.callersAt[f+1]]
}

// indexCallers finds the callers of all functions in one pass over the live calls.
func (g *Graph) indexCallers() {
	type pair struct {
		to int32
		by CallRef
	}
	var pairs []pair
	at := make([]int32, g.P.Funcs()+2) // at[f+2] counts the callers of f, then at[f+1] is where the next one goes
	for mi, m := range g.P.Modules {
		for i := range m.Funcs {
			fn := &m.Funcs[i]
			f := int32(m.Base) + int32(i)
			if !g.live.has(f) {
				continue
			}
			for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
				ref := CallRef{f, k}
				note := func(t int32) {
					pairs = append(pairs, pair{t, ref})
					at[t+2]++
				}
				g.callTargets(mi, m, &m.Calls[k], note)
				for _, t := range g.followed[g.number(ref)] {
					note(t)
				}
			}
		}
	}
	for f := 2; f < len(at); f++ {
		at[f] += at[f-1]
	}
	g.callers = make([]CallRef, len(pairs))
	for _, p := range pairs {
		g.callers[at[p.to+1]] = p.by
		at[p.to+1]++
	}
	g.callersAt = at[:len(at)-1]
}

// throughStub returns the functions that a stub of the PLT leads to.
func (g *Graph) throughStub(t int32) []int32 {
	if g.through[t] == nil {
		g.through[t] = []int32{}
		m, fn := g.fn(t)
		g.stub(m.Index, m, fn, t, func(e Edge) {
			if e.To >= 0 {
				g.through[t] = append(g.through[t], e.To)
			}
		})
	}
	return g.through[t]
}

// callTargets calls visit for the functions that a call reaches without a guess, through PLT stubs.
func (g *Graph) callTargets(mi int, m *link.Module, c *summary.Call, visit func(int32)) {
	through := func(t int32) {
		if _, fn := g.fn(t); fn.Flags&summary.Stub == 0 {
			visit(t)
			return
		}
		for _, x := range g.throughStub(t) {
			visit(x)
		}
	}
	switch c.Kind {
	case summary.Direct:
		if t := g.callee1(m, c); t >= 0 {
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
