package summary

import (
	"slices"
	"testing"

	"syspart/internal/image"
	"syspart/internal/value"
)

// build summarises a file.
func build(t testing.TB, path string) *Module {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Build(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sanity checks what a summary's tables promise: indices in range, tables sorted, and the runs of functions disjoint and
// without gaps.
func sanity(t testing.TB, m *Module) {
	t.Helper()
	bad := 0
	check := func(ok bool, format string, args ...any) {
		if !ok {
			if bad++; bad <= 10 {
				t.Helper()
				t.Errorf(format, args...)
			}
		}
	}
	val := func(v value.Val, what string) {
		if v >= 0 {
			check(int(v) < len(m.Exprs), "%s: expression %d of %d", what, v, len(m.Exprs))
		} else {
			check(int(^v) < len(m.Runs), "%s: set %d of %d", what, ^v, len(m.Runs))
		}
	}
	check(len(m.Exprs) > 0 && m.Exprs[0] == value.Expr{}, "expression 0 is not the unknown value")
	for i, e := range m.Exprs {
		switch e.Kind {
		case value.Load: // operands first, so that expressions are no cycles
			check(e.A > 0 && int(e.A) < i, "expression %d loads from expression %d", i, e.A)
		case value.Result:
			check(int(e.A) < len(m.Calls), "expression %d: result of call %d of %d", i, e.A, len(m.Calls))
		case value.Sym:
			check(int(e.A) < len(m.Dyn.Symbols), "expression %d: symbol %d", i, e.A)
		case value.Param:
			check(e.A >= 0 && e.A < 16, "expression %d: parameter %d", i, e.A)
		}
	}
	for i, r := range m.Runs {
		if r[0] < 0 || r[1]-r[0] < 2 || int(r[1]) > len(m.Sets) {
			t.Fatalf("set %d: run %v of %d", i, r, len(m.Sets))
		}
		for _, x := range m.Sets[r[0]:r[1]] {
			check(x > 0 && int(x) < len(m.Exprs), "set %d: expression %d", i, x)
		}
	}
	var at [9]uint32
	for i := range m.Funcs {
		f := &m.Funcs[i]
		check(i == 0 || m.Funcs[i-1].Entry < f.Entry, "function %#x is out of order", f.Entry)
		check(f.End >= f.Entry, "function %#x ends at %#x", f.Entry, f.End)
		check(f.Start >= f.Blocks[0] && f.Start < f.Blocks[1] || f.Blocks[0] == f.Blocks[1], "function %#x: start block %d not in %v", f.Entry, f.Start, f.Blocks)
		lens := [9]int{len(m.Blocks), len(m.Calls), len(m.Sys), len(m.Frame), len(m.Stores), len(m.Rets), len(m.Takes), len(m.Refs), len(m.Losts)}
		for k, r := range [9][2]uint32{f.Blocks, f.Calls, f.Sys, f.Frame, f.Stores, f.Rets, f.Takes, f.Refs, f.Losts} {
			check(r[0] == at[k] && r[1] >= r[0] && int(r[1]) <= lens[k], "function %#x: table %d: run %v after %d, of %d", f.Entry, k, r, at[k], lens[k])
			at[k] = r[1]
		}
		in := func(b uint32, what string) {
			check(b >= f.Blocks[0] && b < f.Blocks[1], "function %#x: %s in block %d, outside %v", f.Entry, what, b, f.Blocks)
		}
		for b := f.Blocks[0]; b < f.Blocks[1]; b++ {
			x := &m.Blocks[b]
			check(x.Start < x.End, "function %#x: block %#x to %#x", f.Entry, x.Start, x.End)
			for _, s := range m.Succs[x.Succs[0]:x.Succs[1]] {
				in(uint32(s), "successor")
			}
		}
		site := uint64(0)
		for k := f.Calls[0]; k < f.Calls[1]; k++ {
			c := &m.Calls[k]
			check(c.Site >= site, "function %#x: call at %#x is out of order", f.Entry, c.Site)
			site = c.Site
			in(c.Block, "call")
			x := &m.Blocks[c.Block]
			check(c.Site >= x.Start && c.Site < x.End, "call at %#x outside its block", c.Site)
			check(c.Prepared <= 6 && !(c.UsesResult && c.Tail), "call at %#x prepares %d arguments, uses result: %v", c.Site, c.Prepared, c.UsesResult)
			check(c.Kind != BySym || c.Sym > 0 && int(c.Sym) < len(m.Dyn.Symbols), "call at %#x: symbol %d", c.Site, c.Sym)
			for _, v := range slices.Concat(c.Args[:], c.StackArg[:], []value.Val{c.Value}) {
				val(v, "call")
			}
		}
		for k := f.Sys[0]; k < f.Sys[1]; k++ {
			in(m.Sys[k].Block, "system call")
			val(m.Sys[k].Number, "number")
			for _, v := range m.Sys[k].Args {
				val(v, "argument")
			}
		}
		for k := f.Frame[0]; k < f.Frame[1]; k++ {
			x := &m.Frame[k]
			check(x.Call >= f.Calls[0] && x.Call < f.Calls[1], "function %#x: frame value of call %d", f.Entry, x.Call)
			val(x.Value, "frame value")
		}
		for k := f.Stores[0]; k < f.Stores[1]; k++ {
			in(m.Stores[k].Block, "store")
			val(m.Stores[k].Addr, "store")
			val(m.Stores[k].Value, "store")
		}
		for k := f.Rets[0]; k < f.Rets[1]; k++ {
			in(m.Rets[k].Block, "return")
			val(m.Rets[k].Value, "return")
		}
		for k := f.Takes[0]; k < f.Takes[1]; k++ {
			in(m.Takes[k].Block, "take")
			check(m.Exec(m.Takes[k].Target), "take of %#x, which is no code", m.Takes[k].Target)
		}
		for k := f.Refs[0]; k < f.Refs[1]; k++ {
			in(m.Refs[k].Block, "reference")
		}
		for k := f.Losts[0]; k < f.Losts[1]; k++ {
			check(int(m.Losts[k]) < len(m.Exprs), "function %#x: loses expression %d", f.Entry, m.Losts[k])
		}
		check(f.Args <= 6 && (f.Flags&(Stub|Incomplete) == 0 || f.Args == 0 && f.Flags&Void == 0), "function %#x consumes %d arguments, flags %b", f.Entry, f.Args, f.Flags)
		check(f.Exprs[0] <= f.Exprs[1] && int(f.Exprs[1]) <= len(m.Exprs), "function %#x: expressions %v", f.Entry, f.Exprs)
		for _, n := range []Name{f.Name, f.Incomplete} {
			check(uint64(n.Off)+uint64(n.Len) <= uint64(len(m.Text)), "function %#x: name %v", f.Entry, n)
		}
		check((f.Flags&Incomplete != 0) == (f.Incomplete.Len > 0), "function %#x: incomplete without a reason, or with one", f.Entry)
	}
	for k, n := range []int{len(m.Blocks), len(m.Calls), len(m.Sys), len(m.Frame), len(m.Stores), len(m.Rets), len(m.Takes), len(m.Refs), len(m.Losts)} {
		check(int(at[k]) == n, "table %d: functions have %d of %d entries", k, at[k], n)
	}
	check(slices.IsSortedFunc(m.Ptrs, func(a, b Ptr) int { return cmp(a.Slot, b.Slot) }), "pointers are not sorted")
	for i := range m.Objs {
		check(m.Objs[i].Start < m.Objs[i].End && (i == 0 || m.Objs[i-1].End <= m.Objs[i].Start), "object %d: %v", i, m.Objs[i])
	}
	for i := range m.Strs {
		n := m.Strs[i].Text
		check(uint64(n.Off)+uint64(n.Len) <= uint64(len(m.Text)), "string %d: %v", i, n)
		check(i == 0 || m.Strs[i-1].Addr < m.Strs[i].Addr, "strings are not sorted")
	}
}
