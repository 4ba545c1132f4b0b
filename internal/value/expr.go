package value

// Kind is the kind of a symbolic value.
type Kind uint8

const (
	Top     Kind = iota // anything
	Const               // Off
	Addr                // address Off of this module
	Sym                 // address of dynamic symbol A, plus Off
	Param               // register argument A (0-5: rdi rsi rdx rcx r8 r9) or stack argument A-6 at entry, plus Off
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
func (t *Table) Const(c int64) Val { return t.Intern(Expr{Kind: Const, Off: c}) }

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
		return t.widen(l)
	}
	for i, r := range t.runs {
		if equal(t.flat[r[0]:r[1]], l) {
			return ^Val(i)
		}
	}
	s := int32(len(t.flat))
	t.flat = append(t.flat, l...)
	t.runs = append(t.runs, [2]int32{s, s + int32(n)})
	return ^Val(len(t.runs) - 1)
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

// widen makes one expression of many: an unknown position in what all of them denote, or Top.
func (t *Table) widen(l []int32) Val {
	e := t.Exprs[l[0]]
	for _, x := range l[1:] {
		o := t.Exprs[x]
		if o.Kind != e.Kind || o.A != e.A || o.Size != e.Size || e.Kind == Const {
			return 0
		}
		e.Off = min(e.Off, o.Off)
	}
	if e.Kind == Const {
		return 0
	}
	e.Any = true
	if e.Kind != Addr {
		e.Off = 0
	}
	return t.Intern(e)
}

// Join is the union of two values.
func (t *Table) Join(a, b Val) Val {
	if a == b {
		return a
	}
	if a == 0 || b == 0 {
		return 0
	}
	var l [2 * maxConst]int32
	n := 0
	add := func(v Val) {
		if v >= 0 {
			l[n] = int32(v)
			n++
			return
		}
		r := t.runs[^v]
		n += copy(l[n:], t.flat[r[0]:r[1]])
	}
	add(a)
	add(b)
	return t.fromList(l[:n])
}

// JoinWiden is Join for a value that keeps changing around a loop: what differs only in its offset becomes an unknown
// position at once, so that chains are short.
func (t *Table) JoinWiden(a, b Val) Val {
	j := t.Join(a, b)
	if j == a || j == 0 || j >= 0 {
		return j
	}
	var l [2 * maxConst]int32
	r := t.runs[^j]
	n := copy(l[:], t.flat[r[0]:r[1]])
	m := 0
	for i := 0; i < n; i++ {
		e := t.Exprs[l[i]]
		if e.Kind == Const {
			return 0
		}
		e.Any = true
		if e.Kind != Addr {
			e.Off = 0
		}
		// One Any per base: the lowest offset of an address keeps its object.
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
		return t.Intern(f(t.Exprs[v]))
	}
	var l [2 * maxConst]int32
	r := t.runs[^v]
	n := copy(l[:], t.flat[r[0]:r[1]])
	for i := 0; i < n; i++ {
		l[i] = int32(t.Intern(f(t.Exprs[l[i]])))
	}
	return t.fromList(l[:n])
}

// Shift adds d to v.
func (t *Table) Shift(v Val, d int64) Val {
	if d == 0 || v == 0 {
		return v
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
	var l [2 * maxConst]int32
	r := t.runs[^a]
	n := copy(l[:], t.flat[r[0]:r[1]])
	for i := 0; i < n; i++ {
		l[i] = int32(t.Load(Val(l[i]), size))
	}
	return t.fromList(l[:n])
}
