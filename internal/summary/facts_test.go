package summary

import (
	"slices"
	"strings"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
	"syspart/internal/value"
)

// facts gives access to a module's functions by name.
type facts struct {
	*testing.T
	m *Module
}

func (x facts) fn(name string) *Func {
	x.Helper()
	for i := range x.m.Funcs {
		if f := &x.m.Funcs[i]; f.Name.Len > 0 && x.m.String(f.Name) == name {
			return f
		}
	}
	x.Fatalf("no function %s", name)
	return nil
}

// one is the expression of a value that has to be a single one.
func (x facts) one(v value.Val) value.Expr {
	x.Helper()
	if v < 0 {
		x.Fatalf("a set of several values")
	}
	return x.m.Exprs[v]
}

func (x facts) calls(name string) []Call {
	f := x.fn(name)
	return x.m.Calls[f.Calls[0]:f.Calls[1]]
}

// objectAt is the address of an object in .symtab.
func objectAt(t testing.TB, path, name string) uint64 {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Symtab {
		if f.Symtab[i].Name == name {
			return f.Symtab[i].Value
		}
	}
	t.Fatalf("%s: no symbol %s", path, name)
	return 0
}

// TestFacts looks for what the functions of testdata/facts.c do, in several builds.
func TestFacts(t *testing.T) {
	for _, flags := range [][]string{{"-O1"}, {"-O2"}, {"-O0"}, {"-O2", "-no-pie", "-fno-pie"}, {"-O2", "-fno-plt"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			path := testbin.Build(t, "testdata/facts.c", flags...)
			x := facts{t, build(t, path)}
			m := x.m
			sanity(t, m)
			target, callee := x.fn("target").Entry, x.fn("callee").Entry
			isAddress := func(e value.Expr, va uint64) bool {
				return (e.Kind == value.Addr || e.Kind == value.Const) && !e.Any && uint64(e.Off) == va
			}

			// A direct call with eight arguments.
			c := x.calls("caller")
			if len(c) != 1 || c[0].Kind != Direct || c[0].Target != callee || c[0].Tail {
				t.Fatalf("caller: %+v", c)
			}
			for k, v := range slices.Concat(c[0].Args[:], c[0].StackArg[:]) {
				if e := x.one(v); e.Kind != value.Const || e.Off != int64(11+k) {
					t.Errorf("caller: argument %d is %+v", k, e)
				}
			}

			// By symbol: through a stub, or through the GOT.
			c = x.calls("by_symbol")
			sym := uint32(0)
			switch {
			case len(c) == 1 && c[0].Kind == BySym:
				sym = c[0].Sym
			case len(c) == 1 && c[0].Kind == Direct && m.At(c[0].Target) >= 0 && m.Funcs[m.At(c[0].Target)].Flags&Stub != 0:
				sym = m.Funcs[m.At(c[0].Target)].Sym
			}
			if m.Dyn.Symbols[sym].Name != "puts" {
				t.Errorf("by_symbol: %+v", c)
			}

			// Through a pointer that cannot change, and through one that can.
			if c = x.calls("through_constant"); len(c) != 1 || c[0].Kind != Direct || c[0].Target != target {
				t.Errorf("through_constant: %+v", c)
			}
			c = x.calls("through_variable")
			if len(c) != 1 || c[0].Kind != Indirect {
				t.Fatalf("through_variable: %+v", c)
			}
			if e := x.one(c[0].Value); e.Kind != value.Load || !isAddress(m.Exprs[e.A], objectAt(t, path, "variable")) || e.Size != 8 {
				t.Errorf("through_variable: %+v", e)
			}
			if p, ok := m.PtrAt(objectAt(t, path, "variable")); !ok || p.Target != x.fn("other").Entry {
				t.Errorf("variable: pointer %+v", p)
			}

			f := x.fn("taker")
			if takes := m.Takes[f.Takes[0]:f.Takes[1]]; len(takes) != 1 || takes[0].Target != target {
				t.Errorf("taker: %+v", takes)
			}
			if rets := m.Rets[f.Rets[0]:f.Rets[1]]; len(rets) != 1 || !isAddress(x.one(rets[0].Value), target) {
				t.Errorf("taker: returns %+v", rets)
			}
			f = x.fn("seven")
			if rets := m.Rets[f.Rets[0]:f.Rets[1]]; len(rets) != 1 || x.one(rets[0].Value).Off != 7 {
				t.Errorf("seven: returns %+v", rets)
			}

			global := objectAt(t, path, "global")
			f = x.fn("store")
			found := false
			for _, s := range m.Stores[f.Stores[0]:f.Stores[1]] {
				if isAddress(x.one(s.Addr), global) && s.Size == 4 {
					e := x.one(s.Value)
					found = e.Kind == value.Param && e.A == 0 && e.Off == 0
				}
			}
			if !found {
				t.Errorf("store: %+v", m.Stores[f.Stores[0]:f.Stores[1]])
			}
			for name, write := range map[string]bool{"store": true, "load": false} {
				f = x.fn(name)
				if !slices.ContainsFunc(m.Refs[f.Refs[0]:f.Refs[1]], func(r Ref) bool { return r.Addr == global && r.Size == 4 && r.Write == write }) {
					t.Errorf("%s: references %+v", name, m.Refs[f.Refs[0]:f.Refs[1]])
				}
			}

			f = x.fn("number")
			if sys := m.Sys[f.Sys[0]:f.Sys[1]]; len(sys) != 1 || sys[0].Kind != Syscall64 || x.one(sys[0].Number).Off != 39 || x.one(sys[0].Args[0]).Off != 1 {
				t.Errorf("number: %+v", sys)
			}
			f = x.fn("wrapper")
			if sys := m.Sys[f.Sys[0]:f.Sys[1]]; len(sys) != 1 || x.one(sys[0].Number) != (value.Expr{Kind: value.Param}) {
				t.Errorf("wrapper: %+v", sys)
			}

			f = x.fn("frame")
			if !slices.ContainsFunc(m.Frame[f.Frame[0]:f.Frame[1]], func(v FrameVal) bool {
				return v.Size == 8 && v.Call == f.Calls[0] && x.one(v.Value).Kind == value.Const && x.one(v.Value).Off == 42
			}) {
				t.Errorf("frame: %+v", m.Frame[f.Frame[0]:f.Frame[1]])
			}

			if !slices.ContainsFunc(m.Strs, func(s Str) bool { return m.String(s.Text) == "some_name" }) {
				t.Error("the name that is looked up is not among the strings")
			}
			if f = x.fn("gone"); f.Flags&NoReturn == 0 {
				t.Error("gone: returns")
			}
			if f = x.fn("caller"); f.Flags&NoReturn != 0 {
				t.Error("caller: does not return")
			}
		})
	}
}

// TestFallsInto: control that runs on into another function is a call whose arguments are not those before the last
// instruction.
func TestFallsInto(t *testing.T) {
	path := testbin.BuildText(t, "falls.s", `
	.text
	.globl main, first, second
	.type main, @function
main:
	mov $1, %edi
	call first
	ret
	.size main, .-main
	.type first, @function
first:
	.cfi_startproc
	mov $2, %edi
	.cfi_endproc
	.size first, .-first
	.type second, @function
second:
	.cfi_startproc
	mov %edi, %eax
	syscall
	ret
	.cfi_endproc
	.size second, .-second
	.section .note.GNU-stack,"",@progbits
`)
	x := facts{t, build(t, path)}
	sanity(t, x.m)
	for _, c := range x.calls("first") {
		if e := x.one(c.Args[0]); e.Kind != value.Top && e.Off != 2 {
			t.Errorf("first passes %+v on", e)
		}
	}
	if len(x.calls("first")) != 1 {
		t.Errorf("first: %+v", x.calls("first"))
	}
}
