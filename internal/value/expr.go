package value

import "slices"

// Kind is the kind of a symbolic value.
type Kind uint8

const (
	Top     Kind = iota // anything
	Const               // Off
	Addr                // address Off of this module
	Sym                 // address of dynamic symbol A, plus Off
	Param               // GoArg: rax in Go code; else register argument A (0-5: rdi rsi rdx rcx r8 r9) or stack argument A-6 at entry, plus Off
	Result              // what call A returned, plus Off
	Load                // the value in memory at address expression A, plus Off
	Stack               // address of a stack slot: Off bytes above the stack pointer at entry (the return address is at 0)
	TLSBase             // thread pointer (fs:0), plus Off
)

// Expr is a symbolic value.
type Expr struct {
	Off  int64
	A    int32
	Kind Kind
	Any  bool  // an unknown amount was added: an element of, or a position in, what the rest denotes
	Size uint8 // Load: bytes read, zero-extended; SignBit is set if sign-extended
	_    uint8
}

// GoArg is the A of the Param in rax.
const GoArg = 16

// SignBit marks the Size of a sign-extending Load.
const SignBit = 0x80

// Val is a value: a set of expressions. A number of zero or more is the set of that one expression of the table, a
// negative one a larger set. The zero Val is {Top}.
type Val int32

const (
	maxSet   = 8  // expressions of a set before it widens
	maxConst = 64 // constants of a set before it widens
	maxDepth = 3  // nested loads
)

// Table holds the expressions and sets of one function, each once. Index 0 is Top.
type Table struct {
	Exprs []Expr
	flat  []int32
	runs  [][2]int32
	hash  []int32 // open addressing: expression index + 1
	used  []int32 // occupied places of hash, to clear it
	depth []uint8
	buf   []int32
	sets  []int32   // open addressing: index of runs + 1
	taken []uint32  // occupied places of sets, by run, to clear it
	lists [][]int32 // scratch lists that nobody uses
	small [256]Val  // of the numbers from -1 on, once they are there
}

// list returns an empty scratch list; give takes it back. Arrays on the stack would move to the heap here, for what is done
// with them goes round in circles.
func (t *Table) list() []int32 {
	n := len(t.lists)
	if n == 0 {
		return make([]int32, 0, 2*maxConst)
	}
	l := t.lists[n-1]
	t.lists = t.lists[:n-1]
	return l
}

func (t *Table) give(l []int32) { t.lists = append(t.lists, l[:0]) }

// members appends the expressions of v.
func (t *Table) members(l []int32, v Val) []int32 {
	if v >= 0 {
		return append(l, int32(v))
	}
	r := t.runs[^v]
	return append(l, t.flat[r[0]:r[1]]...)
}

// Reset empties the table.
func (t *Table) Reset() {
	for _, i := range t.used {
		t.hash[i] = 0
	}
	t.used = t.used[:0]
	t.Exprs = append(t.Exprs[:0], Expr{})
	t.depth = append(t.depth[:0], 0)
	t.flat = t.flat[:0]
	t.runs = t.runs[:0]
	for _, i := range t.taken {
		t.sets[i] = 0
	}
	t.taken = t.taken[:0]
	t.small = [256]Val{}
}

func hashExpr(e Expr) uint32 {
	h := uint64(e.Off)*0x9e3779b97f4a7c15 ^ uint64(uint32(e.A))*0xc2b2ae3d27d4eb4f ^ uint64(e.Kind)<<17 ^ uint64(e.Size)<<29
	if e.Any {
		h ^= 0x55555
	}
	return uint32(h>>32) ^ uint32(h)
}

// Intern returns the value that is just e.
func (t *Table) Intern(e Expr) Val {
	if e.Kind == Top {
		return 0
	}
	if len(t.Exprs)*2 >= len(t.hash) {
		t.grow()
	}
	mask := uint32(len(t.hash) - 1)
	for i := hashExpr(e) & mask; ; i = (i + 1) & mask {
		x := t.hash[i]
		if x == 0 {
			n := int32(len(t.Exprs))
			t.hash[i] = n + 1
			t.used = append(t.used, int32(i))
			t.Exprs = append(t.Exprs, e)
			var d uint8
			if e.Kind == Load {
				d = t.depth[e.A] + 1
			}
			t.depth = append(t.depth, d)
			return Val(n)
		}
		if t.Exprs[x-1] == e {
			return Val(x - 1)
		}
	}
}

func (t *Table) grow() {
	n := max(256, 2*len(t.hash))
	t.hash = make([]int32, n)
	t.used = t.used[:0]
	mask := uint32(n - 1)
	for j := 1; j < len(t.Exprs); j++ {
		i := hashExpr(t.Exprs[j]) & mask
		for t.hash[i] != 0 {
			i = (i + 1) & mask
		}
		t.hash[i] = int32(j) + 1
		t.used = append(t.used, int32(i))
	}
}

// Set returns the expression indices of v, sorted. The slice is valid until the table changes, if v is a single one
// until the next call of Set.
func (t *Table) Set(v Val) []int32 {
	if v >= 0 {
		t.buf = append(t.buf[:0], int32(v))
		return t.buf
	}
	r := t.runs[^v]
	return t.flat[r[0]:r[1]]
}

// One returns the expression of v if it is a single one.
func (t *Table) One(v Val) (Expr, bool) {
	if v < 0 {
		return Expr{}, false
	}
	return t.Exprs[v], true
}

// each calls f for each expression of v.
func (t *Table) each(v Val, f func(Expr)) {
	if v >= 0 {
		f(t.Exprs[v])
		return
	}
	r := t.runs[^v]
	for i := r[0]; i < r[1]; i++ {
		f(t.Exprs[t.flat[i]])
	}
}

// Const is the value of one number.
func (t *Table) Const(c int64) Val {
	k := uint64(c + 1)
	if k >= uint64(len(t.small)) {
		return t.Intern(Expr{Kind: Const, Off: c})
	}
	if t.small[k] == 0 {
		t.small[k] = t.Intern(Expr{Kind: Const, Off: c})
	}
	return t.small[k]
}

// fromList makes a value of expression indices, which it sorts.
func (t *Table) fromList(l []int32) Val {
	for i := 1; i < len(l); i++ {
		for j := i; j > 0 && l[j] < l[j-1]; j-- {
			l[j], l[j-1] = l[j-1], l[j]
		}
	}
	n := 0
	for i, x := range l {
		if x == 0 {
			return 0
		}
		if i == 0 || x != l[n-1] {
			l[n] = x
			n++
		}
	}
	l = l[:n]
	if n == 0 {
		return 0
	}
	if n == 1 {
		return Val(l[0])
	}
	consts := 0
	for _, x := range l {
		if t.Exprs[x].Kind == Const {
			consts++
		}
	}
	if n > maxConst || n-consts > maxSet {
		if m := t.mergeLoads(l); len(m) < n {
			return t.fromList(m)
		}
		return t.widen(l)
	}
	return t.run(l)
}

// run returns the set of two or more sorted expressions.
func (t *Table) run(l []int32) Val {
	if len(t.runs)*2 >= len(t.sets) {
		t.sets = make([]int32, max(64, 4*len(t.sets)))
		t.taken = t.taken[:0]
		for i, r := range t.runs {
			at := t.place(t.flat[r[0]:r[1]])
			t.sets[at] = int32(i) + 1
			t.taken = append(t.taken, at)
		}
	}
	at := t.place(l)
	if x := t.sets[at]; x != 0 {
		return ^Val(x - 1)
	}
	s := int32(len(t.flat))
	t.flat = append(t.flat, l...)
	t.runs = append(t.runs, [2]int32{s, s + int32(len(l))})
	t.sets[at] = int32(len(t.runs))
	t.taken = append(t.taken, at)
	return ^Val(len(t.runs) - 1)
}

// place returns where in sets the set l is, or belongs.
func (t *Table) place(l []int32) uint32 {
	h := uint32(len(l))
	for _, x := range l {
		h = (h ^ uint32(x)) * 0x9e3779b1
	}
	mask := uint32(len(t.sets) - 1)
	for i := (h ^ h>>15) & mask; ; i = (i + 1) & mask {
		x := t.sets[i]
		if x == 0 {
			return i
		}
		if r := t.runs[x-1]; equal(t.flat[r[0]:r[1]], l) {
			return i
		}
	}
}

func equal(a, b []int32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// mergeLoads makes loads from many places in one thing, in place, into loads from an unknown place in it.
func (t *Table) mergeLoads(l []int32) []int32 {
	for i := 0; i < len(l); i++ {
		e := t.Exprs[l[i]]
		if e.Kind != Load {
			continue
		}
		var bases [2 * maxConst]int32
		n := 0
		for _, x := range l[i:] {
			if o := t.Exprs[x]; o.Kind == Load && o.Off == e.Off && o.Size == e.Size && o.Any == e.Any {
				bases[n] = o.A
				n++
			}
		}
		if n < 4 {
			continue
		}
		v := t.widen(bases[:n])
		if v == 0 {
			continue
		}
		m := i
		for _, x := range l[i:] {
			if o := t.Exprs[x]; !(o.Kind == Load && o.Off == e.Off && o.Size == e.Size && o.Any == e.Any) {
				l[m] = x
				m++
			}
		}
		l = l[:m]
		for _, x := range slices.Clone(t.Set(v)) {
			e.A = x
			l = append(l, int32(t.Intern(e)))
		}
		return l
	}
	return l
}

// mergeAddresses makes addresses of many places in one thing, in place, into those of unknown places in it.
func (t *Table) mergeAddresses(l []int32) []int32 {
	var a [2 * maxConst]int32
	n, m := 0, 0
	for _, x := range l {
		if t.Exprs[x].Kind == Addr {
			a[n] = x
			n++
		}
	}
	if n < 4 {
		return l
	}
	v := t.widen(a[:n])
	if v == 0 {
		return l
	}
	for _, x := range l {
		if t.Exprs[x].Kind != Addr {
			l[m] = x
			m++
		}
	}
	return append(l[:m], t.Set(v)...)
}

// widen makes few expressions of many: an unknown position in what all of them denote, or Top. Addresses stay what they are
// the addresses of: the lowest and the last but one of places that follow each other closely or in steps of one size (the
// last may be the end of an object through which a pointer moves down).
func (t *Table) widen(l []int32) Val {
	e := t.Exprs[l[0]]
	if e.Kind == Const {
		return 0
	}
	for _, x := range l[1:] {
		if o := t.Exprs[x]; o.Kind != e.Kind || o.A != e.A || o.Size != e.Size {
			return 0
		}
	}
	if e.Kind != Addr {
		e.Any, e.Off = true, 0
		return t.Intern(e)
	}
	var out, exact [2 * maxConst]int32
	n, k := 0, 0
	for _, x := range l {
		if t.Exprs[x].Any {
			out[n] = x
			n++
		} else {
			exact[k] = x
			k++
		}
	}
	if k > 0 {
		low, second, ok := t.steps(exact[:k])
		if !ok {
			return 0
		}
		e.Any, e.Off = true, low
		out[n] = int32(t.Intern(e))
		e.Off = second
		out[n+1] = int32(t.Intern(e))
		n += 2
	}
	if n >= len(l) || n > maxSet {
		return 0
	}
	return t.fromList(out[:n])
}

// steps returns the lowest and the last but one of addresses that follow each other closely or in steps of one size; false
// if they do not.
func (t *Table) steps(l []int32) (low, second int64, ok bool) {
	low, high := t.Exprs[l[0]].Off, t.Exprs[l[0]].Off
	for _, x := range l {
		low, high = min(low, t.Exprs[x].Off), max(high, t.Exprs[x].Off)
	}
	step := int64(0)
	second = low
	for _, x := range l {
		o := t.Exprs[x].Off
		if o < high {
			second = max(second, o)
		}
		for a, b := o-low, step; ; a, b = b, a%b {
			if b == 0 {
				step = a
				break
			}
		}
	}
	return low, second, high-low <= 128 || step >= 8 && (high-low)/step <= 2*int64(len(l))
}

// has reports whether expression x is in the set v of more than one.
func (t *Table) has(v Val, x int32) bool {
	r := t.runs[^v]
	return slices.Contains(t.flat[r[0]:r[1]], x)
}

// Join is the union of two values.
func (t *Table) Join(a, b Val) Val {
	if a == b {
		return a
	}
	if a == 0 || b == 0 {
		return 0
	}
	switch {
	case a > 0 && b > 0:
		l := [2]int32{int32(min(a, b)), int32(max(a, b))}
		return t.run(l[:])
	case a < 0 && b > 0 && t.has(a, int32(b)):
		return a
	case b < 0 && a > 0 && t.has(b, int32(a)):
		return b
	}
	l := t.members(t.members(t.list(), a), b)
	v := t.fromList(l)
	t.give(l)
	return v
}

// merge is Join, or if wide is set JoinWiden.
func (t *Table) merge(a, b Val, wide bool) Val {
	if wide {
		return t.JoinWiden(a, b)
	}
	return t.Join(a, b)
}

// JoinWiden is Join for a value that keeps changing around a loop: what differs only in its offset becomes an unknown
// position at once, so that chains are short.
func (t *Table) JoinWiden(a, b Val) Val {
	j := t.Join(a, b)
	if j == a || j == 0 || j >= 0 {
		return j
	}
	l := t.members(t.list(), j)
	defer t.give(l)
	n := len(t.mergeAddresses(t.mergeLoads(l)))
	l = l[:n]
	m := 0
	consts := 0
	t.each(a, func(e Expr) {
		if e.Kind == Const {
			consts++
		}
	})
	for i := 0; i < n; i++ {
		e := t.Exprs[l[i]]
		if e.Kind == Const {
			if consts--; consts < 0 { // one that is new
				return 0
			}
			l[m] = l[i]
			m++
			continue
		}
		e.Any = true
		if e.Kind != Addr {
			e.Off = 0
		}
		l[m] = int32(t.Intern(e))
		m++
	}
	return t.fromList(l[:m])
}

// mapSet applies f to every expression of v; f returning Top makes the result Top.
func (t *Table) mapSet(v Val, f func(Expr) Expr) Val {
	if v == 0 {
		return 0
	}
	if v > 0 {
		e := t.Exprs[v]
		if x := f(e); x != e {
			return t.Intern(x)
		}
		return v
	}
	l := t.members(t.list(), v)
	same := true
	for i, y := range l {
		e := t.Exprs[y]
		if x := f(e); x != e {
			l[i], same = int32(t.Intern(x)), false
		}
	}
	if same {
		t.give(l)
		return v
	}
	v = t.fromList(l)
	t.give(l)
	return v
}

// Shift adds d to v.
func (t *Table) Shift(v Val, d int64) Val {
	if d == 0 || v == 0 {
		return v
	}
	if v > 0 {
		e := t.Exprs[v]
		if e.Any {
			return v
		}
		e.Off += d
		return t.Intern(e)
	}
	return t.mapSet(v, func(e Expr) Expr {
		if !e.Any {
			e.Off += d
		}
		return e
	})
}

// Anywhere adds an unknown amount to v.
func (t *Table) Anywhere(v Val) Val {
	return t.mapSet(v, func(e Expr) Expr {
		switch e.Kind {
		case Const:
			return Expr{}
		case Addr:
			e.Any = true
		default:
			e.Any, e.Off = true, 0
		}
		return e
	})
}

// Add is the sum of two values.
func (t *Table) Add(a, b Val) Val {
	if e, ok := t.One(b); ok && e.Kind == Const {
		return t.Shift(a, e.Off)
	}
	if e, ok := t.One(a); ok && e.Kind == Const {
		return t.Shift(b, e.Off)
	}
	// The side that is surely an address is the base; the other one an amount.
	if t.isAddress(a) {
		return t.Anywhere(a)
	}
	if t.isAddress(b) {
		return t.Anywhere(b)
	}
	return t.Join(t.Anywhere(a), t.Anywhere(b))
}

func (t *Table) isAddress(v Val) bool {
	if v == 0 {
		return false
	}
	ok := true
	t.each(v, func(e Expr) {
		if e.Kind != Addr && e.Kind != Sym && e.Kind != Stack && e.Kind != TLSBase {
			ok = false
		}
	})
	return ok
}

// Load is the value of size bytes at address a; size has SignBit if they are sign-extended.
func (t *Table) Load(a Val, size uint8) Val {
	if a == 0 {
		return 0
	}
	if a > 0 {
		if t.depth[a] >= maxDepth || t.Exprs[a].Kind == Const || t.Exprs[a].Kind == Stack {
			return 0
		}
		return t.Intern(Expr{Kind: Load, A: int32(a), Size: size})
	}
	l := t.members(t.list(), a)
	for i := range l {
		l[i] = int32(t.Load(Val(l[i]), size))
	}
	v := t.fromList(l)
	t.give(l)
	return v
}
