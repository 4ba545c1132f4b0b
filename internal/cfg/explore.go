package cfg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"syspart/internal/decode"
	"syspart/internal/image"
)

// span is one range of the extent being explored; its bytes have the offsets from base on in the worker's tables.
type span struct {
	image.Range
	base int32
	code []byte
}

// worker explores functions one after another, reusing its tables. Positions in disc are in order of discovery, those
// in ord in order of address.
type worker struct {
	b     *builder
	arena arena

	n      *node
	spans  []span // sorted by address
	idx    []int32
	leader []bool // by offset: control may arrive here other than from the instruction before
	disc   []decode.Inst
	todo   []uint64
	ord    []int32
	blkOf  []int32 // by position in ord
	blocks []Block
	succs  []int32
	succAt []int32 // by block: where its successors begin in succs
	pads   []image.LandingPad
	padIn  []bool // by pads: already a root

	indirect []jump
	jumpAt   map[uint64]int32
	labelsIn []uint64 // see labels
	labelled bool     // they are known
	hub      int      // index into indirect, see findHub; -1: none
	bad      string
	outs     []uint64
	budget   int64 // instructions that may still be decoded
	slice    slicer
}

// jump is what is known of one indirect jump.
type jump struct {
	disc    int32
	targets []uint64 // inside the function, sorted
	outs    []uint64 // outside
	tables  []JumpTable
	plain   bool // through a fixed memory cell: a tail call
	loose   bool // the result may change as more of the file is known
	tabled  bool // a table was read as far as data are known to be its own
	trouble string
}

// run explores n and fills its function. It reports false if the budget is used up.
func (w *worker) run(n *node) bool {
	w.n = n
	w.slice.steps, w.slice.spent = 0, 0
	w.prepare()
	w.push(n.fn.Entry)
	w.drain()
	for {
		grown := w.addPads()
		w.drain()
		w.order()
		w.split()
		grown = w.resolve() || grown || len(w.todo) > 0
		if !grown || w.budget < 0 {
			break
		}
		w.drain()
	}
	n.steps = w.slice.spent + w.slice.steps
	w.finish()
	w.reset()
	return w.budget >= 0
}

// prepare sets up the spans of n's extent.
func (w *worker) prepare() {
	n := w.n
	w.spans = w.spans[:0]
	for _, r := range n.ranges {
		w.spans = append(w.spans, span{Range: r})
	}
	slices.SortFunc(w.spans, func(a, b span) int {
		if a.Start < b.Start {
			return -1
		}
		return 1
	})
	size := int32(0)
	end := uint64(0)
	keep := w.spans[:0]
	for _, s := range w.spans {
		s.Start = max(s.Start, end)
		if s.Start >= s.End {
			continue
		}
		s.code = w.b.code(s.Range)
		s.End = s.Start + uint64(len(s.code))
		if s.Start >= s.End {
			continue
		}
		s.base = size
		size += int32(len(s.code))
		end = s.End
		keep = append(keep, s)
	}
	w.spans = keep
	if int(size) > len(w.idx) {
		w.idx = make([]int32, size+size/2)
		w.leader = make([]bool, size+size/2)
	}
	w.disc = w.disc[:0]
	w.indirect = w.indirect[:0]
	w.labelled, w.labelsIn, w.hub = false, nil, -1
	w.jumpAt = emptied(w.jumpAt)
	w.bad = ""
	w.outs = w.outs[:0]
	w.pads = w.pads[:0]
	if n.fde >= 0 {
		w.addTable(n.fde)
		for _, p := range w.b.parts[n.fde] {
			if fde := w.b.fdeOf(p.Start); fde >= 0 {
				w.addTable(fde)
			}
		}
	}
	w.padIn = slices.Grow(w.padIn[:0], len(w.pads))[:len(w.pads)]
	clear(w.padIn)
}

// addTable adds the landing pads of an unwind entry.
func (w *worker) addTable(fde int) {
	var ok bool
	if w.pads, ok = w.b.landingPads(w.pads, fde); !ok {
		w.trouble("unreadable exception table at %#x", w.b.fdes[fde].LSDA)
	}
}

func (w *worker) reset() {
	for i := range w.disc {
		off, _ := w.off(w.disc[i].Addr)
		w.idx[off] = 0
		w.leader[off] = false
	}
}

// off returns the offset of va in the tables.
func (w *worker) off(va uint64) (int32, bool) {
	for i := range w.spans {
		if s := &w.spans[i]; va-s.Start < uint64(len(s.code)) {
			return s.base + int32(va-s.Start), true
		}
	}
	return 0, false
}

// inside reports whether va lies in the extent.
func (w *worker) inside(va uint64) bool {
	_, ok := w.off(va)
	return ok
}

func (w *worker) push(va uint64) {
	off, ok := w.off(va)
	if !ok {
		return
	}
	w.leader[off] = true
	if w.idx[off] == 0 {
		w.todo = append(w.todo, va)
	}
}

// drain decodes from every address on the work list until control flow ends or meets decoded code.
func (w *worker) drain() {
	for len(w.todo) > 0 {
		va := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		var sp *span
		for i := range w.spans {
			if w.spans[i].Contains(va) {
				sp = &w.spans[i]
			}
		}
		first := len(w.disc)
		at := va - sp.Start
		for {
			if at >= uint64(len(sp.code)) {
				w.push(sp.Start + at) // another range may begin right here
				break
			}
			off := sp.base + int32(at)
			if w.idx[off] != 0 {
				break
			}
			w.budget--
			if w.budget < 0 {
				w.todo = w.todo[:0]
				// The leaders that were not reached have no instruction to be reset by.
				clear(w.leader)
				return
			}
			w.disc = append(w.disc, decode.Inst{})
			in := &w.disc[len(w.disc)-1]
			ok := decode.Decode(sp.code[at:], sp.Start+at, in)
			if meant := w.b.thunk(in); meant != nil {
				n := in.Len
				decode.Decode(meant, sp.Start+at, in)
				in.Len = n
			}
			w.idx[off] = int32(len(w.disc))
			at += uint64(in.Len)
			if !ok || !w.follow(in, first) {
				break
			}
		}
	}
}

// follow pushes the places where control goes from in besides the next instruction and reports whether it can go there.
// The instructions of the current run begin at first.
func (w *worker) follow(in *decode.Inst, first int) bool {
	switch in.Op {
	case decode.OpJmp:
		if in.Flags&(decode.Indirect|decode.Far) == 0 {
			w.push(uint64(in.Imm))
		} else {
			w.jumpAt[in.Addr] = int32(len(w.indirect))
			w.indirect = append(w.indirect, jump{disc: int32(len(w.disc) - 1)})
		}
		return false
	case decode.OpJcc:
		w.push(uint64(in.Imm))
		w.lead(in.Next())
	case decode.OpCall:
		if w.neverReturns(in) {
			return false
		}
		w.lead(in.Next())
	case decode.OpSyscall, decode.OpInt80, decode.OpSysenter:
		if exits(w.disc[first:]) {
			return false
		}
		w.lead(in.Next())
	case decode.OpRet, decode.OpTrap, decode.OpBad:
		return false
	}
	return true
}

// thunk returns the instruction that a direct call or jump stands for, if its target is a thunk that keeps processors from
// speculating (-mfunction-return=thunk and -mindirect-branch=thunk of gcc, -mretpoline of clang), nil otherwise. A thunk
// begins with a call of its body. The body of one drops the call's return address and returns to the one before: a return. That
// of the other puts a register there and returns: a jump to what the register holds.
func (b *builder) thunk(in *decode.Inst) []byte {
	if in.Op != decode.OpCall && in.Op != decode.OpJmp || in.Flags&(decode.Indirect|decode.Far) != 0 || !b.inText(uint64(in.Imm)) {
		return nil
	}
	to := uint64(in.Imm)
	body := b.f.Tail(to)
	jump := true // control does not come back
	if len(body) > 5 && body[0] == 0xe8 {
		jump = in.Op == decode.OpJmp
		if to += 5 + uint64(int64(int32(binary.LittleEndian.Uint32(body[1:])))); !b.inText(to) {
			return nil
		}
		body = b.f.Tail(to)
	} else if in.Op == decode.OpJmp {
		return nil
	}
	switch {
	case bytes.HasPrefix(body, []byte{0x48, 0x8d, 0x64, 0x24, 0x08, 0xc3}), bytes.HasPrefix(body, []byte{0x48, 0x83, 0xc4, 0x08, 0xc3}):
		if jump { // lea 8(%rsp), %rsp or add $8, %rsp; ret
			return []byte{0xc3}
		}
	case len(body) > 4 && body[0]&0xfb == 0x48 && body[1] == 0x89 && body[2]&0xc7 == 0x04 && body[3] == 0x24 && body[4] == 0xc3:
		op := byte(0xd0) // mov %reg, (%rsp); ret: call *%reg
		if jump {
			op = 0xe0 // jmp *%reg
		}
		return []byte{0x40 | body[0]>>2&1, 0xff, op | body[2]>>3&7}
	}
	return nil
}

// lead marks the instruction at va, about to be decoded, as a leader.
func (w *worker) lead(va uint64) {
	if off, ok := w.off(va); ok {
		w.leader[off] = true
	}
}

// neverReturns reports whether the call in is proven not to return.
func (w *worker) neverReturns(in *decode.Inst) bool {
	if in.Flags&decode.Indirect == 0 {
		return w.b.noret[uint64(in.Imm)]
	}
	slot, ok := in.AbsMem()
	return ok && w.b.noretSlot[slot]
}

// System-call numbers that end the thread or the process (arch/x86/entry/syscalls/syscall_64.tbl).
const (
	sysExit      = 60
	sysExitGroup = 231
)

// exits reports whether the run of instructions, which ends with a system-call instruction and is executed from its
// start or from a point inside (then the number is set behind that point too, or it is not this one), surely makes an
// exit call: the number is a constant loaded by the nearest write to RAX, with no branch between.
func exits(run []decode.Inst) bool {
	if run[len(run)-1].Op != decode.OpSyscall {
		return false
	}
	for i := len(run) - 2; i >= 0; i-- {
		in := &run[i]
		switch in.Op {
		case decode.OpJcc, decode.OpCall, decode.OpSyscall, decode.OpInt80, decode.OpSysenter:
			return false
		}
		if !in.Writes.Has(decode.RAX) {
			continue
		}
		return in.Op == decode.OpMov && in.Dst.Kind == decode.ArgReg && in.Src.Kind == decode.ArgImm && in.Size >= 4 &&
			(in.Imm == sysExit || in.Imm == sysExitGroup)
	}
	return false
}

// addPads makes the landing pads of reached calls roots.
func (w *worker) addPads() (grown bool) {
	for i := range w.pads {
		p := &w.pads[i]
		if w.padIn[i] || !w.covers(p.Range) {
			continue
		}
		w.padIn[i] = true
		grown = true
		if w.inside(p.Pad) {
			w.push(p.Pad)
		} else if w.b.inText(p.Pad) {
			w.outs = append(w.outs, p.Pad)
		}
	}
	return grown
}

// covers reports whether a decoded instruction begins in r.
func (w *worker) covers(r image.Range) bool {
	for i := range w.spans {
		s := &w.spans[i]
		for va := max(r.Start, s.Start); va < min(r.End, s.End); va++ {
			if w.idx[s.base+int32(va-s.Start)] != 0 {
				return true
			}
		}
	}
	return false
}

// order sorts the instructions by address into ord.
func (w *worker) order() {
	total := 0
	for i := range w.spans {
		total += len(w.spans[i].code)
	}
	w.ord = slices.Grow(w.ord[:0], len(w.disc))
	if total <= 16*len(w.disc) {
		for _, i := range w.idx[:total] {
			if i != 0 {
				w.ord = append(w.ord, i-1)
			}
		}
		return
	}
	for i := range w.disc {
		w.ord = append(w.ord, int32(i))
	}
	slices.SortFunc(w.ord, func(x, y int32) int {
		if w.disc[x].Addr < w.disc[y].Addr {
			return -1
		}
		return 1
	})
}

// inst returns the instruction at a position of ord.
func (w *worker) inst(k int32) *decode.Inst { return &w.disc[w.ord[k]] }

// split forms the blocks.
func (w *worker) split() {
	w.blocks = w.blocks[:0]
	w.blkOf = slices.Grow(w.blkOf[:0], len(w.ord))[:len(w.ord)]
	// Where instructions overlap, control flow is not that of neighbours: each begins a block, and so does what follows.
	for k := 1; k < len(w.ord); k++ {
		prev, in := w.inst(int32(k-1)), w.inst(int32(k))
		if prev.Next() > in.Addr {
			off, _ := w.off(in.Addr)
			w.leader[off] = true
			for _, next := range []uint64{prev.Next(), in.Next()} {
				if off, ok := w.off(next); ok && w.idx[off] != 0 {
					w.leader[off] = true
				}
			}
		}
	}
	for k := range w.ord {
		in := w.inst(int32(k))
		off, _ := w.off(in.Addr)
		if k == 0 || w.leader[off] || w.inst(int32(k-1)).Next() != in.Addr || ends(w.inst(int32(k-1)).Op) {
			if n := len(w.blocks); n > 0 {
				w.blocks[n-1].Last = int32(k)
			}
			w.blocks = append(w.blocks, Block{First: int32(k), Last: int32(len(w.ord))})
		}
		w.blkOf[k] = int32(len(w.blocks) - 1)
		w.idx[off] = w.ord[k] + 1
	}
	// From here on pos answers positions by discovery number.
	w.slice.pos = slices.Grow(w.slice.pos[:0], len(w.disc))[:len(w.disc)]
	for k, d := range w.ord {
		w.slice.pos[d] = int32(k)
	}
	w.link()
}

// ends reports whether an instruction always ends its block.
func ends(op decode.Op) bool {
	switch op {
	case decode.OpJmp, decode.OpJcc, decode.OpCall, decode.OpRet, decode.OpTrap, decode.OpBad,
		decode.OpSyscall, decode.OpInt80, decode.OpSysenter:
		return true
	}
	return false
}

// blockOf returns the block that begins at va.
func (w *worker) blockOf(va uint64) (int32, bool) {
	off, ok := w.off(va)
	if !ok || w.idx[off] == 0 {
		return 0, false
	}
	return w.blkOf[w.slice.pos[w.idx[off]-1]], true
}

// link finds how each block ends and its successors.
func (w *worker) link() {
	w.succs = w.succs[:0]
	w.succAt = w.succAt[:0]
	for i := range w.blocks {
		w.succAt = append(w.succAt, int32(len(w.succs)))
		w.linkBlock(&w.blocks[i])
	}
	w.succAt = append(w.succAt, int32(len(w.succs)))
	for i := range w.blocks {
		w.blocks[i].Succs = w.succs[w.succAt[i]:w.succAt[i+1]:w.succAt[i+1]]
	}
}

// to adds the block at va to the successors of the current block, or reports that it lies outside.
func (w *worker) to(va uint64) bool {
	if s, ok := w.blockOf(va); ok {
		w.succs = append(w.succs, s)
		return true
	}
	if w.inside(va) {
		w.push(va) // known to be reached only now; everything is linked again once it is decoded
		return true
	}
	return false
}

func (w *worker) linkBlock(bl *Block) {
	in := w.inst(bl.Last - 1)
	bl.Term, bl.NoReturn, bl.TailTo = TermFall, false, 0
	next := in.Next()
	switch in.Op {
	case decode.OpJmp:
		if i, ok := w.jumpAt[in.Addr]; ok {
			j := &w.indirect[i]
			bl.Term = TermIndirect
			if len(j.targets) > 0 {
				bl.Term = TermSwitch
				if hub := w.throughHub(i); hub != 0 {
					w.to(hub)
					return
				}
				for _, t := range j.targets {
					w.to(t)
				}
			}
			return
		}
		bl.Term = TermJump
		if !w.to(uint64(in.Imm)) {
			w.leave(bl, TermTail, uint64(in.Imm))
		}
	case decode.OpJcc:
		bl.Term = TermCond
		taken := w.to(uint64(in.Imm))
		if !taken {
			w.leave(bl, TermCond, uint64(in.Imm))
		}
		if !w.to(next) {
			if taken {
				w.leave(bl, TermCond, next)
			} else if !w.b.inText(next) {
				w.leave(bl, TermCond, next)
			} else {
				// Both ways lead outside, which a block cannot say: the code behind becomes part of the function.
				w.outs = append(w.outs, next)
			}
		}
	case decode.OpCall:
		bl.Term = TermCall
		bl.NoReturn = w.neverReturns(in)
		switch {
		case bl.NoReturn || w.to(next):
		case w.n.fde >= 0:
			// Nothing follows the call in its unwind entry: whoever made the entry knew that it does not return.
			bl.NoReturn = true
		default:
			w.leave(bl, TermCall, next)
		}
	case decode.OpSyscall, decode.OpInt80, decode.OpSysenter:
		bl.Term = TermSyscall
		if !exits(w.runTo(bl)) && !w.to(next) {
			w.leave(bl, TermSyscall, next)
		}
	case decode.OpRet:
		bl.Term = TermRet
		if w.pushedReturn(bl) {
			w.trouble("return to a pushed address at %#x", in.Addr)
		}
	case decode.OpTrap:
		bl.Term = TermTrap
	case decode.OpBad:
		bl.Term = TermBad
		w.trouble("undecodable bytes at %#x", in.Addr)
	default:
		if !w.to(next) {
			w.leave(bl, TermFall, next)
			if w.pushedReturn(bl) {
				w.trouble("return to an address pushed before %#x", next)
			}
		}
	}
}

// runTo copies the instructions of a block in order.
func (w *worker) runTo(bl *Block) []decode.Inst {
	run := w.slice.run[:0]
	for k := bl.First; k < bl.Last; k++ {
		run = append(run, *w.inst(k))
	}
	w.slice.run = run
	return run
}

// leave ends a block by control that goes to an address outside the extent.
func (w *worker) leave(bl *Block, term Term, to uint64) {
	if !w.b.inText(to) {
		bl.Term = TermBad
		w.trouble("control runs out of known code at %#x", w.inst(bl.Last-1).Addr)
		return
	}
	bl.Term, bl.TailTo = term, to
}

// pushedReturn reports whether a return at the end of a block would go to an address that the block itself stored, or
// the blocks that fall into it: an indirect jump in disguise (retpolines, setcontext).
func (w *worker) pushedReturn(bl *Block) bool {
	depth := int64(0) // of the return address above the stack pointer, behind instruction k
	for k := bl.Last - 1; k >= 0; k-- {
		in := w.inst(k)
		if k < bl.First && (ends(in.Op) || in.Next() != w.inst(k+1).Addr) {
			return false
		}
		switch {
		case in.Op == decode.OpRet:
		case in.Op == decode.OpPush:
			if depth == 0 {
				return true
			}
			depth -= 8
			if depth < 0 {
				return false
			}
		case in.Op == decode.OpPop:
			if in.Dst.Kind == decode.ArgReg && in.Dst.Reg == decode.RSP {
				return false
			}
			depth += 8
		case in.Op == decode.OpAdd && in.Dst.Kind == decode.ArgReg && in.Dst.Reg == decode.RSP && in.Src.Kind == decode.ArgImm:
			depth += in.Imm
		case in.Writes.Has(decode.RSP):
			return false
		case in.Op == decode.OpMov && in.Dst.Kind == decode.ArgMem && in.Base == decode.RSP && in.Index == decode.NoReg &&
			in.Disp == depth && in.Size == 8:
			return true
		}
	}
	return false
}

func (w *worker) trouble(format string, args ...any) {
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...)
	}
}
