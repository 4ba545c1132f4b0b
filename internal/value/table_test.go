package value

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func table() *Table {
	t := &Table{}
	t.Reset()
	return t
}

// sets returns the expressions of a value.
func sets(t *Table, v Val) []Expr {
	var out []Expr
	t.each(v, func(e Expr) { out = append(out, e) })
	return out
}

func TestIntern(t *testing.T) {
	tab := table()
	seen := map[Val]Expr{}
	for i := range 2000 { // more than the first hash table holds
		e := Expr{Kind: Const, Off: int64(i) << 32}
		v := tab.Intern(e)
		if v <= 0 || seen[v] != (Expr{}) {
			t.Fatalf("%+v is value %d, as %+v is", e, v, seen[v])
		}
		seen[v] = e
	}
	for v, e := range seen {
		if got := tab.Intern(e); got != v {
			t.Fatalf("%+v was %d and is %d", e, v, got)
		}
	}
	if v := tab.Intern(Expr{Kind: Top, Off: 7}); v != 0 {
		t.Errorf("unknown is %d", v)
	}
	tab.Reset()
	if v := tab.Intern(Expr{Kind: Const, Off: 5 << 32}); v != 1 {
		t.Errorf("after Reset the first value is %d", v)
	}
}

func TestJoin(t *testing.T) {
	tab := table()
	c := func(n ...int64) Val {
		v := tab.Const(n[0])
		for _, x := range n[1:] {
			v = tab.Join(v, tab.Const(x))
		}
		return v
	}
	if a, b := c(1, 2, 3), c(3, 1, 2); a != b || len(tab.Set(a)) != 3 {
		t.Errorf("the same set is %d and %d, of %d", a, b, len(tab.Set(a)))
	}
	if v := tab.Join(c(1, 2), c(2, 1)); v != c(1, 2) {
		t.Errorf("union with itself: %+v", sets(tab, v))
	}
	if tab.Join(0, c(1)) != 0 || tab.Join(c(1, 2), 0) != 0 {
		t.Error("union with the unknown is known")
	}
	many := tab.Const(0)
	for i := range maxConst - 1 {
		many = tab.Join(many, tab.Const(int64(i+1)))
	}
	if len(tab.Set(many)) != maxConst {
		t.Fatalf("%d numbers are %d", maxConst, len(tab.Set(many)))
	}
	if v := tab.Join(many, tab.Const(1000)); v != 0 {
		t.Errorf("%d numbers are known", maxConst+1)
	}
	// More pointers than a set holds: some place in the one thing that they may all be for, or anything.
	addresses := func(first, step int64) Val {
		p := tab.Intern(Expr{Kind: Addr, Off: first})
		for i := range int64(maxSet) {
			p = tab.Join(p, tab.Intern(Expr{Kind: Addr, Off: 4096 + i*step}))
		}
		return p
	}
	for _, first := range []int64{4000, 4096 - 56} {
		step := int64(1)
		if first != 4000 {
			step = 56
		}
		want := []Expr{{Kind: Addr, Off: first, Any: true}, {Kind: Addr, Off: 4096 + (maxSet-2)*step, Any: true}}
		if got := sets(tab, addresses(first, step)); !slices.Equal(got, want) {
			t.Errorf("many addresses are %+v, want %+v", got, want)
		}
	}
	if v := addresses(100, 4); v != 0 {
		t.Errorf("addresses of many things are %+v", sets(tab, v))
	}
	q := tab.Intern(Expr{Kind: Addr, Off: 1})
	for i := range maxSet {
		q = tab.Join(q, tab.Intern(Expr{Kind: Param, A: int32(i)}))
	}
	if q != 0 {
		t.Errorf("many things are %+v", sets(tab, q))
	}
}

// TestJoinWiden: chains of unions around a loop end, whatever is added.
func TestJoinWiden(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		tab := table()
		v := tab.Const(0)
		changes := 0
		for i := range 5000 {
			var x Val
			switch r.IntN(4) {
			case 0:
				x = tab.Shift(v, int64(i))
			case 1:
				kinds := [...]Kind{Const, Addr, Sym, Param, Result, Stack, TLSBase}
				x = tab.Intern(Expr{Kind: kinds[r.IntN(len(kinds))], A: int32(r.IntN(3)), Off: int64(i)})
			case 2:
				x = tab.Load(v, 8)
			case 3:
				x = tab.Anywhere(v)
			}
			if n := tab.JoinWiden(v, x); n != v {
				v = n
				changes++
			}
		}
		if changes > 60 {
			t.Fatalf("%d changes", changes)
		}
	}
}

func TestArithmetic(t *testing.T) {
	tab := table()
	addr := tab.Intern(Expr{Kind: Addr, Off: 0x1000})
	param := tab.Intern(Expr{Kind: Param, A: 1})
	stack := tab.Intern(Expr{Kind: Stack, Off: -8})
	for _, c := range []struct {
		name string
		got  Val
		want []Expr
	}{
		{"number plus number", tab.Add(tab.Const(3), tab.Const(4)), []Expr{{Kind: Const, Off: 7}}},
		{"address plus number", tab.Add(addr, tab.Const(8)), []Expr{{Kind: Addr, Off: 0x1008}}},
		{"number plus address", tab.Add(tab.Const(-8), addr), []Expr{{Kind: Addr, Off: 0xff8}}},
		{"number plus parameter", tab.Add(tab.Const(8), param), []Expr{{Kind: Param, A: 1, Off: 8}}},
		{"address plus parameter", tab.Add(addr, param), []Expr{{Kind: Addr, Off: 0x1000, Any: true}}},
		{"parameter plus stack", tab.Add(param, stack), []Expr{{Kind: Stack, Any: true}}},
		{"unknown plus unknown", tab.Add(0, 0), []Expr{{}}},
		{"unknown plus number", tab.Add(0, tab.Const(1)), []Expr{{}}},
		{"unknown place plus number", tab.Shift(tab.Anywhere(addr), 8), []Expr{{Kind: Addr, Off: 0x1000, Any: true}}},
		{"two parameters", tab.Add(param, tab.Intern(Expr{Kind: Param})), []Expr{{Kind: Param, A: 1, Any: true}, {Kind: Param, Any: true}}},
		{"shift of a set", tab.Shift(tab.Join(tab.Const(1), addr), 2), []Expr{{Kind: Const, Off: 3}, {Kind: Addr, Off: 0x1002}}},
		{"an unknown number", tab.Anywhere(tab.Const(4)), []Expr{{}}},
		{"load from a number", tab.Load(tab.Const(4), 8), []Expr{{}}},
		{"load from the stack", tab.Load(stack, 8), []Expr{{}}},
		{"load from a set with a number", tab.Load(tab.Join(tab.Const(4), addr), 8), []Expr{{}}},
	} {
		got := sets(tab, c.got)
		less := func(a, b Expr) int { return int(a.Kind)*100 + int(a.A) - int(b.Kind)*100 - int(b.A) }
		slices.SortFunc(got, less)
		slices.SortFunc(c.want, less)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	v := addr
	for range maxDepth {
		v = tab.Load(v, 8)
		if e, ok := tab.One(v); !ok || e.Kind != Load {
			t.Fatalf("load: %+v", sets(tab, v))
		}
	}
	if tab.Load(v, 8) != 0 {
		t.Errorf("%d nested loads are known", maxDepth+1)
	}
	if tab.Load(addr, 4) == tab.Load(addr, 4|SignBit) || tab.Load(addr, 4) == tab.Load(addr, 8) {
		t.Error("loads of other widths are the same")
	}
}
