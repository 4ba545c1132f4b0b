package cfg

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"syspart/internal/image"
)

// ErrTooComplex says that a file's functions overlap so much that exploring them takes too long. No compiler makes one.
var ErrTooComplex = errors.New("code too complex")

// Exploration may decode this many instructions for each byte of code, and this many in any case.
const (
	decodePerByte = 24
	decodeAnyway  = 1 << 22
)

// builder is the state of one Build. While functions are explored in parallel everything but their own nodes is only
// read; all changes happen between such passes, in an order that does not depend on the scheduler.
type builder struct {
	f       *image.File
	text    []image.Range   // sorted, disjoint, with file bytes
	lo, hi  uint64          // bounds of text
	fdes    []image.FDE     // sorted, disjoint
	plt     []bool          // by fdes: a procedure linkage table
	golang  *image.Golang   // nil: none
	merged  []bool          // by fdes: part of another function only
	parts   [][]image.Range // by fdes: further ranges that belong to the functions in it, sorted
	ptrs    []codePtr       // sorted by slot
	names   map[uint64]symName
	symSize map[uint64]uint64
	cold    map[uint64]string // entries of split-off parts by symbol: the function's name

	origin    map[uint64]Origin
	at        map[uint64]*node
	nodes     []*node  // in order of discovery
	strong    []uint64 // sorted: entries that start a function for reasons of their own
	news      []uint64 // those that are not in strong yet
	labels    []uint64 // sorted: addresses in the text that are taken
	recent    []uint64 // those that have come since loose functions were explored again
	data      []uint64 // sorted: addresses outside the text that code refers to
	hints     []uint64 // sorted: the same as guessed from the bytes, until all functions have been explored once
	deref     map[uint64]bool
	isLabel   map[uint64]bool
	isData    map[uint64]bool
	named     map[uint64]bool // entries that never return, by name
	noret     map[uint64]bool // those and the proven ones
	noretSlot map[uint64]bool // GOT slots of such functions
	fresh     []*node         // explored since the last harvest, and loose ones
	workers   []*worker
	budget    atomic.Int64
}

// node is a function under construction.
type node struct {
	fn     *Func
	ranges []image.Range
	fde    int
	dirty  bool // must be explored (again)
	loose  bool // an indirect jump's targets may change as more of the file is known: labels in the function
	tabled bool // and addresses of data, which may end a table
	ends   bool // can end by a return, an indirect jump or in unknown ways
	pinned bool // a proof that it does not return was taken back
	junk   bool // no code after all: reached by a taken address alone, and cannot be decoded

	mayReturn bool
	// undecodable says that control flow runs into bytes that are no instruction, or out of the text.
	undecodable bool
	listed      bool
	harvested   bool     // what it calls, makes and uses is known; with time, more of that may be entries
	steps       int      // of slices, the last time
	calls       []uint64 // direct
	tails       []tail
	taken       []uint64 // text addresses made
	data        []uint64 // other addresses used
	deref       []uint64 // text addresses read as data
	outs        []uint64 // jump-table targets and landing pads outside the extent
	tables      []JumpTable
}

// tail is control that leaves a function other than by call or return.
type tail struct {
	to   uint64
	fall bool // runs off the end of the extent
	cond bool
	call bool // runs off behind a call
}

// Build finds the functions of f and their control-flow graphs. It fails only if the unwind tables cannot be read
// (errors of image) or with ErrTooComplex.
func Build(f *image.File) (*Graph, error) {
	b, err := build(f)
	if err != nil {
		return nil, err
	}
	return b.graph(), nil
}

func build(f *image.File) (*builder, error) {
	b := &builder{
		f: f, names: make(map[uint64]symName), symSize: make(map[uint64]uint64), cold: make(map[uint64]string),
		origin: make(map[uint64]Origin), at: make(map[uint64]*node), deref: make(map[uint64]bool),
		isLabel: make(map[uint64]bool), isData: make(map[uint64]bool),
	}
	if err := b.layout(); err != nil {
		return nil, err
	}
	size := int64(0)
	for _, t := range b.text {
		size += int64(t.End - t.Start)
	}
	b.budget.Store(size*decodePerByte + decodeAnyway)
	b.golang = f.Golang()
	b.static()
	b.guessData()
	b.nameNoReturns()
	for _, p := range b.ptrs {
		b.label(p.to)
	}
	slices.Sort(b.labels)
	for i := 0; i < runtime.GOMAXPROCS(0); i++ {
		b.workers = append(b.workers, &worker{b: b, jumpAt: make(map[uint64]int32)})
	}
	if err := b.fixpoint(); err != nil {
		return nil, err
	}
	return b, nil
}

// layout finds the text and the unwind entries in it.
func (b *builder) layout() error {
	for _, t := range b.f.Text() {
		if code := b.f.Tail(t.Start); uint64(len(code)) < t.End-t.Start {
			t.End = t.Start + uint64(len(code))
		}
		if t.Start < t.End {
			b.text = append(b.text, t)
		}
	}
	sort.Slice(b.text, func(i, j int) bool { return b.text[i].Start < b.text[j].Start })
	end := uint64(0)
	text := b.text[:0]
	for _, t := range b.text {
		if t.Start = max(t.Start, end); t.Start < t.End {
			text = append(text, t)
			end = t.End
		}
	}
	if b.text = text; len(text) > 0 {
		b.lo, b.hi = text[0].Start, end
	}
	frames, err := b.f.Frames()
	if err != nil {
		return fmt.Errorf("unwind tables: %w", err)
	}
	if frames == nil {
		return nil
	}
	end = 0
	for _, fde := range frames.FDEs {
		t, ok := b.textAt(fde.Start)
		if !ok || fde.Start < end {
			continue
		}
		if fde.End = min(fde.End, t.End); frames.CIEs[fde.CIE].Signal && b.restorer(fde.Start+1) {
			fde.Start++
		}
		if fde.Start < fde.End {
			b.fdes = append(b.fdes, fde)
			end = fde.End
		}
	}
	b.plt = make([]bool, len(b.fdes))
	b.merged = make([]bool, len(b.fdes))
	b.parts = make([][]image.Range, len(b.fdes))
	return nil
}

// restorers are what sa_restorer leads to: mov $__NR_rt_sigreturn, %rax or %eax; syscall. Debuggers know it by these bytes too.
var restorers = [][]byte{{0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05}, {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05}}

// restorer reports whether the code at va returns from a signal handler. Its unwind entry begins a byte before it, in the
// padding, for unwinders that look up the byte before a return address (glibc's libc_sigaction.c).
func (b *builder) restorer(va uint64) bool {
	return slices.ContainsFunc(restorers, func(want []byte) bool {
		code, _ := b.f.Bytes(va, uint64(len(want)))
		return bytes.Equal(code, want)
	})
}

// code returns the bytes of a range of the text.
func (b *builder) code(r image.Range) []byte {
	code, _ := b.f.Bytes(r.Start, r.End-r.Start)
	return code
}

// landingPads appends the landing pads of an unwind entry. It reports false if its table cannot be read.
func (b *builder) landingPads(pads []image.LandingPad, fde int) ([]image.LandingPad, bool) {
	if b.fdes[fde].LSDA == 0 {
		return pads, true
	}
	more, err := b.f.LandingPads(&b.fdes[fde])
	return append(pads, more...), err == nil
}

// add records a reason to believe that a function starts at va, and makes it a function unless it is known as a part
// of another and the reason does not contradict that.
func (b *builder) add(va uint64, o Origin) bool {
	if !b.inText(va) {
		return false
	}
	if b.golang != nil && o == FromTaken && b.golang.Text.Contains(va) && b.golang.At(va) == nil {
		return false // a number that looks like an address
	}
	was := b.origin[va]
	if was|o != was {
		b.origin[va] = was | o
	}
	if was&^FromTail == 0 && o&^FromTail != 0 {
		b.news = append(b.news, va)
	}
	if n := b.at[va]; n != nil {
		n.fn.Origin |= o
		return false
	}
	if i := b.fdeOf(va); i >= 0 && b.merged[i] && o&^(FromFrame|FromTail) == 0 {
		return false
	}
	n := &node{fn: &Func{Entry: va, Origin: b.origin[va]}, fde: -1}
	b.at[va] = n
	b.nodes = append(b.nodes, n)
	return true
}

// label records that the address va of the text is taken.
func (b *builder) label(va uint64) {
	if !b.isLabel[va] {
		b.isLabel[va] = true
		b.labels = append(b.labels, va)
		b.recent = append(b.recent, va)
	}
}

// concerns reports whether a loose function's jumps may lead elsewhere for what has become known of the file: a label is news
// to the function that it lies in alone.
func (b *builder) concerns(n *node) bool {
	return n.tabled || slices.ContainsFunc(n.ranges, func(r image.Range) bool {
		i, _ := slices.BinarySearch(b.recent, r.Start)
		return i < len(b.recent) && b.recent[i] < r.End
	})
}

// extents gives every function its ranges; those whose ranges changed become dirty.
func (b *builder) extents() {
	slices.Sort(b.news)
	b.strong = joined(b.strong, b.news)
	for _, n := range b.nodes {
		if b.settled(n) {
			continue
		}
		if ranges, fde := b.extentOf(n.fn.Entry); !slices.Equal(ranges, n.ranges) {
			n.ranges, n.fde, n.dirty = ranges, fde, true
		}
	}
	b.news = b.news[:0]
}

// joined returns the numbers of two sorted lists, sorted.
func joined(a, b []uint64) []uint64 {
	if len(b) == 0 {
		return a
	}
	out := make([]uint64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] < b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// settled reports whether a function has the extent that it had: where there are no unwind tables, as many passes are made as
// calls are nested, and nearly all functions keep theirs.
func (b *builder) settled(n *node) bool {
	switch {
	case n.ranges == nil:
		return false
	case n.fde >= 0 && !b.plt[n.fde]:
		return len(n.ranges) == 1+len(b.parts[n.fde]) // parts only become more
	}
	i, _ := slices.BinarySearch(b.news, n.ranges[0].Start)
	return i == len(b.news) || b.news[i] >= n.ranges[0].End
}

// explore runs all dirty nodes.
func (b *builder) explore() error {
	var work []*node
	for _, n := range b.nodes {
		if n.dirty {
			n.dirty = false
			n.harvested = false
			work = append(work, n)
			b.list(n)
		}
	}
	if len(work) == 0 {
		return nil
	}
	var (
		next   atomic.Int64
		failed atomic.Bool
		wg     sync.WaitGroup
	)
	const batch = 16
	for _, w := range b.workers[:min(len(b.workers), 1+len(work)/batch)] {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !failed.Load() {
				lo := int(next.Add(batch)) - batch
				if lo >= len(work) {
					return
				}
				for _, n := range work[lo:min(lo+batch, len(work))] {
					w.budget = b.budget.Load()
					before := w.budget
					if !w.run(n) {
						failed.Store(true)
						return
					}
					b.budget.Add(w.budget - before)
				}
			}
		}()
	}
	wg.Wait()
	if failed.Load() {
		return ErrTooComplex
	}
	return nil
}

// list notes that what a function says is to be harvested.
func (b *builder) list(n *node) {
	if !n.listed {
		n.listed = true
		b.fresh = append(b.fresh, n)
	}
}

// fixpoint explores until no function, merged part, taken address or proof is new. The order of the steps matters: what
// splits functions at addresses in their middle comes last, when it is known which code belongs together.
func (b *builder) fixpoint() error {
	for {
		b.extents()
		if err := b.explore(); err != nil {
			return err
		}
		if b.references() {
			// Tables whose bound is not known were read with too little known around them.
			b.hints = nil
			slices.Sort(b.recent)
			for _, n := range b.nodes {
				if n.loose {
					n.dirty = n.dirty || b.concerns(n)
					b.list(n)
				}
			}
			b.recent = b.recent[:0]
			if err := b.explore(); err != nil {
				return err
			}
		}
		if err := b.settleReturns(); err != nil {
			return err
		}
		b.references()
		if b.harvest() || b.merge() || b.labelsAsFunctions() {
			continue
		}
		return nil
	}
}

// references collects the addresses that code makes and uses, and reports whether there are new ones.
func (b *builder) references() bool {
	labels, data := len(b.labels), len(b.data)
	for _, n := range b.fresh {
		if n.harvested {
			continue
		}
		if n.junk = b.isJunk(n); n.junk {
			continue
		}
		for _, va := range n.taken {
			b.label(va)
		}
		for _, va := range n.data {
			if !b.isData[va] {
				b.isData[va] = true
				b.data = append(b.data, va)
			}
		}
		for _, va := range n.deref {
			b.deref[va] = true
		}
	}
	if len(b.labels) == labels && len(b.data) == data {
		return false
	}
	slices.Sort(b.labels)
	slices.Sort(b.data)
	return true
}

// harvest adds the functions that are called, or whose address is taken, at the start of an unwind entry or outside all
// of them.
func (b *builder) harvest() (grown bool) {
	for _, n := range b.fresh {
		n.listed = false
		if n.junk {
			continue
		}
		if !n.harvested {
			n.harvested = true
			for _, va := range n.calls {
				grown = b.add(va, FromCall) || grown
			}
		}
		for _, va := range n.taken {
			if b.plainEntry(va) && !b.deref[va] {
				grown = b.add(va, FromTaken) || grown
			}
		}
		for _, t := range n.tails {
			if b.at[t.to] != nil {
				b.add(t.to, FromTail)
			}
		}
	}
	b.fresh = b.fresh[:0]
	tables := b.pointerTables()
	for _, p := range b.ptrs {
		if b.plainEntry(p.to) && !tables.contain(p.slot) {
			grown = b.add(p.to, FromTaken) || grown
		}
	}
	return grown
}

// isJunk reports whether n is data in the text of which some code takes the address. In a file with unwind tables every
// compiled function has an entry; hand-written ones without are known by calls, symbols or the loader's tables, or they
// can be decoded. What is left out is an orphan.
func (b *builder) isJunk(n *node) bool {
	return n.fde < 0 && len(b.fdes) > 0 && b.origin[n.fn.Entry]&^(FromTaken|FromTail) == 0 && n.undecodable
}

// plainEntry reports whether va can be a function's entry without splitting another: the start of an unwind entry, an
// entry already, or outside all unwind entries.
func (b *builder) plainEntry(va uint64) bool {
	if b.at[va] != nil {
		return true
	}
	i := b.fdeOf(va)
	return i < 0 || b.fdes[i].Start == va
}

// graph assembles the result.
func (b *builder) graph() *Graph {
	g := &Graph{File: b.f}
	b.spread()
	for _, n := range b.nodes {
		if n.junk {
			continue
		}
		fn := n.fn
		fn.Origin = b.origin[fn.Entry]
		fn.Name = b.names[fn.Entry].text
		fn.NoReturn = b.noret[fn.Entry]
		g.Funcs = append(g.Funcs, fn)
		g.Tables = append(g.Tables, n.tables...)
	}
	slices.SortFunc(g.Funcs, func(x, y *Func) int { return cmp.Compare(x.Entry, y.Entry) })
	slices.SortFunc(g.Tables, func(x, y JumpTable) int {
		return cmp.Or(cmp.Compare(x.Site, y.Site), cmp.Compare(x.Table, y.Table), cmp.Compare(x.Base, y.Base),
			cmp.Compare(x.Entries, y.Entries))
	})
	g.Tables = slices.Compact(g.Tables)
	g.index(b.text)
	return g
}
