package cfg

import (
	"slices"

	"syspart/internal/decode"
	"syspart/internal/image"
)

// The values that the backward slice tells apart. They say where a jump's target comes from, not what it is in general.
type valueKind uint8

const (
	vUnknown valueKind = iota // cannot be told: the address of some label may be in it
	vCycle                    // itself, through a loop: adds nothing to a union
	vStep                     // computed from itself through a loop
	vNoise                    // computed in some other way from an address or a jump table's entry
	vOutside                  // an argument, a call's result, read from memory that is no table, or computed from such
	vNumber                   // the number addr
	vConst                    // the address addr, of code or data of this file
	vAddr                     // addr plus something variable
	vEntry                    // read from a table that begins at addr; width is the entry's size
	vOffset                   // such an entry of width 4, plus base
)

// value is one possible value of a register.
type value struct {
	kind   valueKind
	width  uint8
	signed bool
	ix     decode.Reg // vAddr, vEntry, vOffset: the variable part at pos, NoReg if it is not a register there
	pos    int32      // position of the instruction that adds the variable part
	addr   uint64
	base   uint64
}

// Limits of one slice. Slices of compiled code stay far below.
const (
	sliceSteps  = 1 << 18 // instructions looked at
	sliceDepth  = 40      // definitions upon definitions
	sliceValues = 24      // values of one register
	slicePlaces = 1 << 10 // places evaluated
	sliceLoads  = 1       // loads through registers upon each other: what such a table begins with is no constant
	sliceMixes  = 5       // definitions behind which other arithmetic is not looked into
	slicePaths  = 4       // places that a slot is looked for under in a block, on average: more where the stack is not balanced
)

// Instructions and edges looked at for all jumps of one function, in all rounds: sliceBase, and sliceRatio for each
// instruction that it has unless it is only an entry into the middle of another's. CPython's loop of computed jumps takes
// 541; an interpreter in hand-written assembly (LuaJIT's) has hundreds of jumps each of which leads through all of it, and
// hundreds of such entries.
const (
	sliceBase  = 1 << 16
	sliceRatio = 1 << 10
)

// slicer answers where values come from, within one function. The scratch space of other passes is here too.
type slicer struct {
	w     *worker
	pos   []int32 // position in ord by discovery number
	run   []decode.Inst
	calls []uint64
	taken []uint64
	data  []uint64
	deref []uint64
	tails []tail

	memo     map[memoKey][]value
	partial  map[memoKey][]value // what the present jump's evaluation found in the midst of loops
	writes   []decode.RegSet     // by block: registers that its instructions define
	stores   []decode.RegSet     // by block: registers at fixed offsets from which it writes memory
	stamp    []uint32            // by block: last walk that visited it
	slot     []query             // by block: the place that walk looked for, if in memory
	more     visits              // blocks that the walk visited for several places
	walk     uint32
	predAt   []int32
	predList []int32
	entry    int32
	padBlock map[int32]bool
	steps    int
	spent    int // steps and edges of all the function's jumps, in all rounds, but for the steps of the present jump
	places   int
	loads    int
	active   []int32 // definitions being evaluated
}

// start prepares for the blocks that the worker holds now.
func (s *slicer) start(w *worker) {
	s.w = w
	n := len(w.blocks)
	s.predAt = slices.Grow(s.predAt[:0], n+2)[:n+2]
	clear(s.predAt)
	s.entry, _ = w.blockOf(w.n.fn.Entry)
	if s.padBlock == nil {
		s.padBlock = make(map[int32]bool)
	}
	clear(s.padBlock)
	// A landing pad is preceded by the calls that it protects: what the unwinder restores are their values.
	var extra [][2]int32
	for i := range w.pads {
		p, ok := w.blockOf(w.pads[i].Pad)
		if !w.padIn[i] || !ok {
			continue
		}
		s.padBlock[p] = true
		for b := range w.blocks {
			bl := &w.blocks[b]
			if bl.Term == TermCall && w.pads[i].Contains(w.inst(bl.Last-1).Addr) {
				extra = append(extra, [2]int32{int32(b), p})
			}
		}
	}
	for _, t := range w.succs {
		s.predAt[t+2]++
	}
	for _, e := range extra {
		s.predAt[e[1]+2]++
	}
	for i := 2; i < len(s.predAt); i++ {
		s.predAt[i] += s.predAt[i-1]
	}
	s.predList = slices.Grow(s.predList[:0], len(w.succs)+len(extra))[:len(w.succs)+len(extra)]
	add := func(from, to int32) {
		s.predList[s.predAt[to+1]] = from
		s.predAt[to+1]++
	}
	s.writes = slices.Grow(s.writes[:0], n)[:n]
	s.stores = slices.Grow(s.stores[:0], n)[:n]
	s.slot = slices.Grow(s.slot[:0], n)[:n]
	for b := range w.blocks {
		bl := &w.blocks[b]
		for _, t := range bl.Succs {
			add(int32(b), t)
		}
		var set, stores decode.RegSet
		for k := bl.First; k < bl.Last; k++ {
			in := w.inst(k)
			set |= defined(in)
			if in.Flags&decode.MemWrite != 0 && in.Base < 16 {
				stores |= 1 << in.Base
			}
		}
		s.writes[b], s.stores[b] = set, stores
	}
	s.stamp = slices.Grow(s.stamp[:0], n)[:n]
	clear(s.stamp)
	s.walk = 0
	if s.memo == nil {
		s.memo = make(map[memoKey][]value)
		s.partial = make(map[memoKey][]value)
	}
	s.memo = emptied(s.memo)
	for _, e := range extra {
		add(e[0], e[1])
	}
}

// emptied returns a map without what is in m: m itself, unless it has become large, for to clear one takes as long as it ever
// was.
func emptied[K comparable, V any](m map[K]V) map[K]V {
	if len(m) > 256 {
		return make(map[K]V)
	}
	clear(m)
	return m
}

// memoKey is a place at a point.
type memoKey struct {
	q query
	k int32
}

// exhausted reports whether the jump, or all jumps of the function together, had their share.
func (s *slicer) exhausted() bool {
	return s.steps > sliceSteps || s.spent+s.steps > s.w.share()
}

// share is what exploring the present function may take in steps of slices.
func (w *worker) share() int {
	if n := w.n; n.fde < 0 || w.b.fdes[n.fde].Start == n.fn.Entry {
		return sliceBase + sliceRatio*len(w.disc)
	}
	return sliceBase
}

func (s *slicer) preds(b int32) []int32 { return s.predList[s.predAt[b]:s.predAt[b+1]] }

// query is a place whose value is wanted: a register, or the eight bytes at disp(reg) if slot.
type query struct {
	reg  decode.Reg
	slot bool
	disp int64
}

// defs are the definitions of a place that reach a point: positions of instructions, whether the place may still hold
// what it held at entry, and whether something happened on the way that the walk cannot follow.
type defs struct {
	at      []int32
	queries []query // what the place is called at the definition
	entry   bool
	lost    bool
}

// defined returns the registers that an instruction defines for the slice. A call defines its results; the other
// registers that it may change are passed over, as a caller that reads one knows that the callee keeps it (-fipa-ra).
func defined(in *decode.Inst) decode.RegSet {
	if in.Op == decode.OpCall {
		return 1<<decode.RAX | 1<<decode.RDX
	}
	return in.Writes
}

// reaching collects the definitions of register r that reach the point before position k.
func (s *slicer) reaching(r decode.Reg, k int32) (d defs) {
	s.walk++
	type item struct{ b, k int32 } // k: exclusive upper bound
	var room [16]item
	work := append(room[:0], item{s.w.blkOf[k], k})
	for len(work) > 0 {
		it := work[len(work)-1]
		work = work[:len(work)-1]
		if s.steps++; s.exhausted() {
			d.lost = true
			return d
		}
		if s.writes[it.b].Has(r) {
			first := s.w.blocks[it.b].First
			at := it.k - 1
			for at >= first && !defined(s.w.inst(at)).Has(r) {
				at--
			}
			s.steps += int(it.k - at)
			if at >= first {
				d.add(at, query{reg: r})
				continue
			}
		}
		if it.b == s.entry {
			d.entry = true
		}
		if s.padBlock[it.b] && callerSaved.Has(r) {
			d.entry = true // set by the unwinder
			continue
		}
		s.spent += len(s.preds(it.b))
		for _, p := range s.preds(it.b) {
			if s.stamp[p] != s.walk {
				s.stamp[p] = s.walk
				work = append(work, item{p, s.w.blocks[p].Last})
			}
		}
	}
	return d
}

func (d *defs) add(at int32, q query) {
	d.at = append(d.at, at)
	d.queries = append(d.queries, q)
}

// storing collects the definitions of the eight bytes at q, an offset from RSP or RBP, that reach the point before
// position k. Stores through other registers are taken to be to other memory: the slots that matter are those to which
// the compiler spilled a register.
func (s *slicer) storing(q query, k int32) (d defs) {
	type item struct {
		visit
		k int32 // exclusive upper bound
	}
	s.walk++
	s.more.reset() // of blocks that are visited for several places, where the stack is not balanced
	var room [16]item
	work := append(room[:0], item{visit{s.w.blkOf[k], q}, k})
	for len(work) > 0 {
		it := work[len(work)-1]
		work = work[:len(work)-1]
		first := s.w.blocks[it.block].First
		q := it.q
		done := false
		if s.steps++; s.exhausted() {
			d.lost = true
			return d
		}
		if !(s.writes[it.block] | s.stores[it.block]).Has(q.reg) {
			first = it.k
		}
		for k := it.k - 1; k >= first && !done; k-- {
			s.steps++
			in := s.w.inst(k)
			if in.Op == decode.OpCall {
				continue
			}
			if in.Dst.Kind == decode.ArgMem && in.Flags&decode.MemWrite != 0 && in.Base == q.reg && in.Index == decode.NoReg &&
				in.Disp < q.disp+8 && q.disp < in.Disp+int64(max(in.MemSize, 1)) {
				d.add(k, q)
				done = true
				continue
			}
			if !in.Writes.Has(q.reg) {
				continue
			}
			switch {
			case q.reg == decode.RSP && in.Op == decode.OpPush:
				if q.disp -= 8; q.disp < 0 && q.disp > -16 {
					d.add(k, q)
					done = true
				}
			case q.reg == decode.RSP && in.Op == decode.OpPop && !(in.Dst.Kind == decode.ArgReg && in.Dst.Reg == decode.RSP):
				q.disp += 8
			case q.reg == decode.RSP && in.Op == decode.OpSub && in.Src.Kind == decode.ArgImm:
				q.disp -= in.Imm
			case q.reg == decode.RSP && in.Op == decode.OpAdd && in.Src.Kind == decode.ArgImm:
				q.disp += in.Imm
			case in.Op == decode.OpLea && in.Index == decode.NoReg && (in.Base == decode.RSP || in.Base == decode.RBP):
				q.reg, q.disp = in.Base, q.disp+in.Disp
			case in.Op == decode.OpMov && in.Src.Kind == decode.ArgReg && (in.Src.Reg == decode.RSP || in.Src.Reg == decode.RBP):
				q.reg = in.Src.Reg
			default:
				// Another stack, or no stack at all: not where this function spills.
				d.entry, done = true, true
			}
		}
		if done {
			continue
		}
		if it.block == s.entry {
			d.entry = true
		}
		s.spent += len(s.preds(it.block))
		for _, p := range s.preds(it.block) {
			v := visit{p, q}
			switch {
			case s.stamp[p] != s.walk:
				s.stamp[p], s.slot[p] = s.walk, q
			case s.slot[p] == q || !s.more.add(v):
				continue
			case s.more.n > slicePaths*len(s.w.blocks):
				d.lost = true
				return d
			}
			work = append(work, item{v, s.w.blocks[p].Last})
		}
	}
	return d
}

// visit is a block that a walk came to looking for a place.
type visit struct {
	block int32
	q     query
}

// visits is a set of visits of one walk: open addressing, in memory that all walks share.
type visits struct {
	slots []seenVisit
	walk  uint64
	n     int
}

type seenVisit struct {
	visit
	walk uint64 // another one than the present: the slot is free
}

// reset empties the set.
func (t *visits) reset() { t.walk, t.n = t.walk+1, 0 }

// add reports whether v is new.
func (t *visits) add(v visit) bool {
	if 2*t.n >= len(t.slots) {
		old := t.slots
		t.slots = make([]seenVisit, max(64, 2*len(old)))
		for i := range old {
			if old[i].walk == t.walk {
				t.put(old[i].visit)
			}
		}
	}
	if !t.put(v) {
		return false
	}
	t.n++
	return true
}

func (t *visits) put(v visit) bool {
	const golden = 0x9e3779b97f4a7c15
	key := (uint64(v.q.disp)<<5|uint64(v.q.reg))*golden + uint64(v.block)
	mask := uint64(len(t.slots) - 1)
	for i := key * golden >> 32 & mask; ; i = (i + 1) & mask {
		switch s := &t.slots[i]; {
		case s.walk != t.walk:
			s.visit, s.walk = v, t.walk
			return true
		case s.visit == v:
			return false
		}
	}
}

// callerSaved are the registers that a callee may change (psABI, "Register Usage").
const callerSaved = decode.RegSet(1<<decode.RAX | 1<<decode.RCX | 1<<decode.RDX | 1<<decode.RSI | 1<<decode.RDI |
	1<<decode.R8 | 1<<decode.R9 | 1<<decode.R10 | 1<<decode.R11)

var (
	unknown = []value{{kind: vUnknown}}
	outside = []value{{kind: vOutside}}
	noise   = []value{{kind: vNoise}}
	cycle   = []value{{kind: vCycle}}
	step    = []value{{kind: vStep}}
)

// reg returns the possible values of r before the instruction at position k.
func (s *slicer) reg(r decode.Reg, k int32) []value { return s.place(query{reg: r}, k) }

func (s *slicer) place(q query, k int32) []value {
	if !q.slot && q.reg >= 16 || len(s.active) > sliceDepth {
		return unknown
	}
	key := memoKey{q, k}
	if vs, ok := s.memo[key]; ok {
		return vs
	}
	if vs, ok := s.partial[key]; ok {
		return vs
	}
	if s.places++; s.places > slicePlaces {
		return unknown
	}
	var d defs
	if q.slot {
		d = s.storing(q, k)
	} else {
		d = s.reaching(q.reg, k)
	}
	if d.lost {
		return unknown
	}
	var vs []value
	if d.entry {
		vs = append(vs, value{kind: vOutside})
	}
	for i, at := range d.at {
		if slices.Contains(s.active, at) {
			vs = union(vs, cycle)
			continue
		}
		s.active = append(s.active, at)
		vs = union(vs, s.def(d.queries[i], at))
		s.active = s.active[:len(s.active)-1]
		if len(vs) > sliceValues {
			return unknown
		}
	}
	if len(vs) == 0 {
		return unknown // no path leads here
	}
	looped := slices.ContainsFunc(vs, func(v value) bool { return v.kind == vCycle || v.kind == vStep })
	if slices.ContainsFunc(vs, func(v value) bool { return v.kind == vStep }) {
		for i := range vs {
			if vs[i].kind == vConst {
				vs[i] = value{kind: vAddr, addr: vs[i].addr, ix: decode.NoReg, pos: k}
			}
		}
	}
	if !looped {
		s.memo[key] = vs
		return vs
	}
	// What depends on a definition that is still being evaluated lacks that one's values. To evaluate it again wherever it
	// is used would take exponential time; elsewhere something unknown stands for what it lacks.
	rest := slices.Clone(vs)
	for i := range rest {
		if rest[i].kind == vCycle || rest[i].kind == vStep {
			rest[i] = value{kind: vNoise}
		}
	}
	s.partial[key] = rest
	return vs
}

// union adds the values of b that a lacks.
func union(a, b []value) []value {
	for _, v := range b {
		if !slices.Contains(a, v) {
			a = append(a, v)
		}
	}
	return a
}

// def evaluates what the instruction at position k puts into q.
func (s *slicer) def(q query, k int32) []value {
	in := s.w.inst(k)
	if q.slot {
		if in.Op == decode.OpPush && q.disp == -8 {
			return s.arg(in.Src, in, k, 8, false)
		}
		if in.Op == decode.OpMov && in.Size == 8 && in.Disp == q.disp {
			return s.arg(in.Src, in, k, 8, false)
		}
		return outside
	}
	if in.Op == decode.OpCall {
		return outside
	}
	own := in.Dst.Kind == decode.ArgReg && in.Dst.Reg == q.reg
	if !own || in.Flags&decode.Opaque != 0 {
		if in.Op == decode.OpPop || in.Op == decode.OpLeave {
			return outside
		}
		return s.mix(in, k)
	}
	switch in.Op {
	case decode.OpMov:
		if in.Size >= 4 {
			return s.arg(in.Src, in, k, in.Size, false)
		}
	case decode.OpMovSX:
		if in.SrcSize == 4 {
			return s.arg(in.Src, in, k, 4, true)
		}
		return outside
	case decode.OpMovZX, decode.OpSet:
		return outside
	case decode.OpLea:
		return s.address(in, k)
	case decode.OpPop:
		return s.place(query{reg: decode.RSP, slot: true}, k)
	case decode.OpCmov:
		return union(slices.Clone(s.reg(q.reg, k)), s.arg(in.Src, in, k, in.Size, false))
	case decode.OpXor:
		if in.Src.Kind == decode.ArgReg && in.Src.Reg == q.reg {
			return []value{{kind: vNumber}}
		}
	case decode.OpAdd:
		if in.Size >= 4 {
			ix := decode.NoReg
			if in.Src.Kind == decode.ArgReg {
				ix = in.Src.Reg
			}
			return s.sum(s.reg(q.reg, k), s.arg(in.Src, in, k, in.Size, false), q.reg, ix, k)
		}
	case decode.OpSub:
		if in.Src.Kind == decode.ArgImm && in.Size == 8 {
			return s.sum(s.reg(q.reg, k), []value{{kind: vNumber, addr: uint64(-in.Imm)}}, q.reg, decode.NoReg, k)
		}
	}
	return s.mix(in, k)
}

// mix evaluates an instruction that computes something of no form that matters here: outside unless the address of some
// code or table goes in.
func (s *slicer) mix(in *decode.Inst, k int32) []value {
	if in.Flags&decode.Opaque != 0 {
		return unknown
	}
	if len(s.active) > sliceMixes {
		return noise
	}
	result := outside
	for r := decode.RAX; r <= decode.R15; r++ {
		if !in.Reads.Has(r) || r == decode.RSP {
			continue
		}
		if in.Flags&decode.MemRead != 0 && (r == in.Base || r == in.Index) && !(in.Dst.Kind == decode.ArgReg && in.Dst.Reg == r) {
			continue // only leads to memory
		}
		for _, v := range s.reg(r, k) {
			switch {
			case v.kind == vUnknown:
				return unknown
			case v.kind == vNoise || v.kind >= vConst:
				result = noise
			case result[0].kind != vOutside:
			case v.kind == vCycle || v.kind == vStep:
				result = step
			}
		}
	}
	return result
}

// arg evaluates an operand of the given size.
func (s *slicer) arg(a decode.Arg, in *decode.Inst, k int32, size uint8, signed bool) []value {
	switch a.Kind {
	case decode.ArgReg:
		vs := s.reg(a.Reg, k)
		if !signed {
			return vs
		}
		vs = slices.Clone(vs)
		for i := range vs {
			if vs[i].kind == vEntry && vs[i].width == 4 {
				vs[i].signed = true
			}
		}
		return vs
	case decode.ArgImm:
		v := uint64(in.Imm)
		if size == 4 && !signed {
			v = uint64(uint32(v))
		}
		if s.fixed(v) {
			return []value{{kind: vConst, addr: v}}
		}
		return []value{{kind: vNumber, addr: v}}
	case decode.ArgMem:
		return s.load(in, k, size, signed)
	}
	return outside
}

// load evaluates a read of in's memory operand.
func (s *slicer) load(in *decode.Inst, k int32, size uint8, signed bool) []value {
	if in.Seg != 0 || in.Flags&decode.Addr32 != 0 {
		return outside
	}
	if va, ok := in.AbsMem(); ok {
		return s.cell(va, size, signed)
	}
	if in.Index == decode.NoReg && size == 8 && (in.Base == decode.RSP || in.Base == decode.RBP && s.framePointer(k)) {
		return s.place(query{reg: in.Base, slot: true, disp: in.Disp}, k)
	}
	if in.Index == decode.NoReg && in.Base == decode.RSP {
		return outside
	}
	if s.loads >= sliceLoads {
		return outside
	}
	s.loads++
	defer func() { s.loads-- }()
	var vs []value
	for _, v := range s.address(in, k) {
		switch v.kind {
		case vConst:
			vs = union(vs, s.cell(v.addr, size, signed))
		case vAddr:
			if size >= 4 {
				v.kind, v.width, v.signed = vEntry, size, signed
				vs = union(vs, []value{v})
			} else {
				vs = union(vs, outside)
			}
		case vUnknown:
			vs = union(vs, unknown)
		case vCycle, vStep:
			vs = union(vs, step)
		default:
			vs = union(vs, outside)
		}
	}
	return vs
}

// framePointer reports whether RBP is made from RSP wherever it reaches position k from.
func (s *slicer) framePointer(k int32) bool {
	d := s.reaching(decode.RBP, k)
	if d.lost || d.entry || len(d.at) == 0 {
		return false
	}
	for _, at := range d.at {
		in := s.w.inst(at)
		if !(in.Op == decode.OpMov && in.Src.Kind == decode.ArgReg && in.Src.Reg == decode.RSP ||
			in.Op == decode.OpLea && in.Base == decode.RSP) {
			return false
		}
	}
	return true
}

// cell evaluates a read of a fixed address.
func (s *slicer) cell(va uint64, size uint8, signed bool) []value {
	b := s.w.b
	if size < 4 || size > 8 || b.f.Write(va) && !b.f.Relro.Contains(va) {
		return outside
	}
	if size == 4 {
		// The table of a switch whose index is constant.
		if n, ok := b.f.Uint32(va); ok && !b.relocated(va) {
			if signed {
				return []value{{kind: vNumber, addr: uint64(int64(int32(n)))}}
			}
			return []value{{kind: vNumber, addr: uint64(n)}}
		}
		return outside
	}
	if to, ok := b.pointer(va); ok && b.f.Mapped(to) {
		return []value{{kind: vConst, addr: to}}
	}
	return outside
}

// address evaluates the address of in's memory operand.
func (s *slicer) address(in *decode.Inst, k int32) []value {
	if in.Flags&decode.Addr32 != 0 {
		return outside
	}
	fixed := s.fixed(uint64(in.Disp))
	if in.Base == decode.RIP || fixed && in.Base == decode.NoReg && in.Index == decode.NoReg {
		return []value{{kind: vConst, addr: uint64(in.Disp)}}
	}
	disp := []value{{kind: vNumber, addr: uint64(in.Disp)}}
	if fixed {
		disp[0].kind = vConst
	}
	if in.Base == decode.NoReg {
		if fixed {
			return []value{{kind: vAddr, addr: uint64(in.Disp), ix: in.Index, pos: k}}
		}
		return outside
	}
	base := s.reg(in.Base, k)
	if in.Index == decode.NoReg {
		return s.sum(base, disp, in.Base, decode.NoReg, k)
	}
	index := outside
	if in.Scale == 1 {
		index = s.reg(in.Index, k)
	}
	vs := s.sum(base, index, in.Base, in.Index, k)
	return s.sum(vs, disp, decode.NoReg, decode.NoReg, k) // which register is the index cannot be told
}

// fixed reports whether the number v is an address of this file: it is loaded where it says, and v lies in it.
func (s *slicer) fixed(v uint64) bool { return s.w.b.f.Kind == image.KindExec && s.w.b.f.Mapped(v) }

// sum adds two values; ra and rb are the registers that hold them before position k.
func (s *slicer) sum(as, bs []value, ra, rb decode.Reg, k int32) (vs []value) {
	for _, a := range as {
		for _, b := range bs {
			vs = union(vs, []value{s.sum1(a, b, ra, rb, k)})
		}
		if len(vs) > sliceValues {
			return unknown
		}
	}
	return vs
}

func (s *slicer) sum1(a, b value, ra, rb decode.Reg, k int32) value {
	if a.kind > b.kind {
		a, b, ra, rb = b, a, rb, ra
	}
	// Now a.kind <= b.kind.
	switch {
	case a.kind == vUnknown:
		return value{kind: vUnknown}
	case a.kind == vNumber && a.addr == 0:
		return b
	case a.kind <= vStep && b.kind <= vNumber:
		return value{kind: vStep}
	case a.kind <= vNumber && b.kind >= vEntry:
		return value{kind: vNoise}
	case a.kind <= vNoise:
		return value{kind: vNoise}
	case a.kind == vOutside && b.kind == vConst:
		return value{kind: vAddr, addr: b.addr, ix: ra, pos: k}
	case a.kind == vOutside && b.kind == vAddr:
		return b
	case a.kind <= vOutside && b.kind <= vNumber:
		return value{kind: vOutside}
	case a.kind == vNumber && b.kind <= vAddr:
		b.addr += a.addr
		return b
	case a.kind == vConst && b.kind == vEntry && b.width == 4:
		b.kind, b.base = vOffset, a.addr
		return b
	}
	return value{kind: vUnknown}
}
