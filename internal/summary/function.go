package summary

import (
	"slices"
	"sort"

	"syspart/internal/cfg"
	"syspart/internal/decode"
	"syspart/internal/value"
)

// worker analyses functions one after another into a part.
type worker struct {
	*builder
	a      value.Analysis
	out    *part
	remap  []int32 // expression index in a.T to that in out, +1; 0 if not yet there
	runs   map[value.Val]value.Val
	calls  []int32 // instruction index to call index in out, +1
	f      *cfg.Func
	depth  int
	varies bool          // see Variadic
	flow   []flow        // by block of f, see arity
	saved  decode.RegSet // argument registers that f stores whole into its frame as it got them
	framed int8          // rbp points into f's frame: 1 yes, -1 no, 0 not known yet
}

func newWorker(b *builder) *worker {
	w := &worker{builder: b, runs: map[value.Val]value.Val{}}
	w.a.Mem = b
	w.a.Fixed = b.fixed
	w.a.Code = b.file.Exec
	w.a.Bytes, w.a.GoCallee = b.file.Bytes, b.goCallee
	w.a.Clobbers, w.a.Finds = b.clobbers, b.found
	w.a.Signals = b.signals
	return w
}

// expr carries an expression over into the part.
func (w *worker) expr(i int32) int32 {
	for len(w.remap) < len(w.a.T.Exprs) {
		w.remap = append(w.remap, 0)
	}
	if n := w.remap[i]; n != 0 {
		return n - 1
	}
	e := w.a.T.Exprs[i]
	switch e.Kind {
	case value.Top:
		return 0
	case value.Load:
		e.A = w.expr(e.A)
	case value.Result:
		c := w.calls[e.A]
		if c == 0 {
			return 0
		}
		e.A = c - 1
	}
	n := int32(len(w.out.exprs))
	w.out.exprs = append(w.out.exprs, e)
	w.remap[i] = n + 1
	return n
}

// val carries a value over into the part.
func (w *worker) val(v value.Val) value.Val {
	if v == 0 {
		return 0
	}
	if v > 0 {
		return value.Val(w.expr(int32(v)))
	}
	if r, ok := w.runs[v]; ok {
		return r
	}
	set := w.a.T.Set(v)
	s := int32(len(w.out.sets))
	for _, x := range set {
		n := w.expr(x)
		if n == 0 {
			w.out.sets = w.out.sets[:s]
			w.runs[v] = 0
			return 0
		}
		w.out.sets = append(w.out.sets, n)
	}
	w.out.runs = append(w.out.runs, [2]int32{s, int32(len(w.out.sets))})
	r := value.Val(^int32(len(w.out.runs) - 1))
	w.runs[v] = r
	return r
}

func (w *worker) text(s string) Name {
	if s == "" {
		return Name{}
	}
	n := Name{uint32(len(w.out.text)), uint32(len(s))}
	w.out.text = append(w.out.text, s...)
	return n
}

func (w *worker) function(f *cfg.Func) {
	o := w.out
	w.f = f
	w.a.Go = w.inGo(f.Entry)
	fn := Func{Entry: f.Entry, End: f.Entry, Name: w.text(f.Name), Incomplete: w.text(f.Incomplete), Slot: f.Slot}
	if len(f.Ranges) > 0 {
		fn.End = f.Ranges[0].End
	}
	if f.NoReturn {
		fn.Flags |= NoReturn
	}
	if f.Incomplete != "" {
		fn.Flags |= Incomplete
	}
	if len(f.Pads) > 0 {
		fn.Flags |= HasPads
	}
	if f.Origin == cfg.FromTaken {
		fn.Flags |= Guessed
	}
	b0 := uint32(len(o.blocks))
	c0, y0, fr0, st0 := uint32(len(o.calls)), uint32(len(o.sys)), uint32(len(o.frame)), uint32(len(o.stores))
	r0, t0, re0 := uint32(len(o.rets)), uint32(len(o.takes)), uint32(len(o.refs))
	l0, e0 := uint32(len(o.losts)), uint32(len(o.exprs))
	for _, b := range f.Blocks {
		x := Block{Succs: [2]uint32{uint32(len(o.succs)), 0}}
		if b.Last > b.First {
			x.Start, x.End = f.Insts[b.First].Addr, f.Insts[b.Last-1].Next()
		}
		for _, s := range b.Succs {
			o.succs = append(o.succs, s+int32(b0))
		}
		x.Succs[1] = uint32(len(o.succs))
		if b.Term == cfg.TermBad {
			x.Flags |= BlockBad
		}
		if f.Hub != 0 && x.Start == f.Hub {
			x.Flags |= BlockHub
		}
		x.Flags |= resultBranch(f, &b)
		o.blocks = append(o.blocks, x)
	}
	for _, p := range f.Pads {
		o.blocks[b0+uint32(p)].Flags |= BlockPad
	}
	fn.Blocks = [2]uint32{b0, uint32(len(o.blocks))}
	fn.Start = b0 + uint32(f.Start)
	if f.Stub && w.bound(f.Slot) {
		fn.Flags |= Stub
		if p, ok := w.mod.PtrAt(f.Slot); ok {
			fn.Sym = p.Sym
		}
	} else {
		var void bool
		w.varies = true
		if fn.Args, void = w.arity(f); void {
			fn.Flags |= Void // unless a callee leaves one, see arities
		}
		fn.LostParams = w.facts(f, b0)
		if w.varies || w.a.ArgsShown {
			fn.Flags |= Variadic
		}
	}
	fn.Calls = [2]uint32{c0, uint32(len(o.calls))}
	fn.Sys = [2]uint32{y0, uint32(len(o.sys))}
	fn.Frame = [2]uint32{fr0, uint32(len(o.frame))}
	fn.Stores = [2]uint32{st0, uint32(len(o.stores))}
	fn.Rets = [2]uint32{r0, uint32(len(o.rets))}
	fn.Takes = [2]uint32{t0, uint32(len(o.takes))}
	fn.Refs = [2]uint32{re0, uint32(len(o.refs))}
	fn.Losts = [2]uint32{l0, uint32(len(o.losts))}
	fn.Exprs = [2]uint32{e0, uint32(len(o.exprs))}
	o.funcs = append(o.funcs, fn)
}

// bound reports whether a slot is one that the loader binds and nobody else writes: in the GOT or in RELRO. A function that
// jumps through another variable is as good a call as any.
func (w *worker) bound(slot uint64) bool {
	if w.mod.Relro.Contains(slot) || !w.file.Write(slot) {
		return true
	}
	r := w.file.Dyn.Relocs
	i := sort.Search(len(r), func(i int) bool { return r[i].Off >= slot })
	if i == len(r) || r[i].Off != slot {
		return false
	}
	switch r[i].Type {
	case relocGlobDat, relocJumpSlot, relocIRel:
		return true
	}
	return false
}

// facts interprets f and records what the link needs. It returns the parameters that f loses sight of.
func (w *worker) facts(f *cfg.Func, b0 uint32) (lostParams uint8) {
	o := w.out
	w.a.Run(f)
	w.remap = w.remap[:0]
	clear(w.runs)
	if cap(w.calls) < len(f.Insts) {
		w.calls = make([]int32, len(f.Insts)*2)
	}
	w.calls = w.calls[:len(f.Insts)]
	clear(w.calls)
	// Number the calls first: values may refer to results of calls that come later in address order.
	n := int32(len(o.calls))
	for bi := range f.Blocks {
		b := &f.Blocks[bi]
		if w.a.Reached(int32(bi)) && isCall(f, b) {
			n++
			w.calls[b.Last-1] = n
			if runsOn(b) {
				n++
			}
		}
	}
	re0 := len(o.refs)
	w.a.Replay(func(block, idx int32, in *decode.Inst, s *value.State) {
		b := &f.Blocks[block]
		if idx == b.Last-1 {
			if isCall(f, b) {
				w.call(b, b0, b0+uint32(block), in, s)
			}
			switch in.Op {
			case decode.OpSyscall, decode.OpInt80, decode.OpSysenter:
				w.syscall(b0+uint32(block), in, s)
			case decode.OpRet:
				o.rets = append(o.rets, Ret{Value: w.kept(s.Reg[decode.RAX]), Block: b0 + uint32(block)})
			}
		}
		w.references(b, b0+uint32(block), idx, in, s)
	})
	// One reference a place is enough.
	refs := o.refs[re0:]
	slices.SortFunc(refs, func(x, y Ref) int {
		switch {
		case x.Addr != y.Addr:
			return cmp(x.Addr, y.Addr)
		case x.Size != y.Size:
			return int(x.Size) - int(y.Size)
		case x.Write != y.Write:
			if y.Write {
				return -1
			}
			return 1
		}
		return cmp(x.Site, y.Site)
	})
	k := 0
	for i := range refs {
		if i > 0 && refs[i].Addr == refs[k-1].Addr && refs[i].Size == refs[k-1].Size && refs[i].Write == refs[k-1].Write && refs[i].Block == refs[k-1].Block {
			continue
		}
		refs[k] = refs[i]
		k++
	}
	o.refs = o.refs[:re0+k]
	for i := range w.a.T.Exprs {
		if !w.a.Lost(int32(i)) {
			continue
		}
		switch e := &w.a.T.Exprs[i]; e.Kind {
		case value.Param:
			if e.A < 8 {
				lostParams |= 1 << e.A
			}
		case value.Addr, value.Sym, value.Load, value.Result:
			if x := w.expr(int32(i)); x != 0 {
				o.losts = append(o.losts, x)
			}
		}
	}
	return lostParams
}

func cmp(a, b uint64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// isCall reports whether the block ends in a call, also one behind which there is no known code, or leaves the function by
// a jump.
func isCall(f *cfg.Func, b *cfg.Block) bool {
	switch b.Term {
	case cfg.TermCall, cfg.TermTail, cfg.TermIndirect:
		return true
	case cfg.TermBad:
		return b.Last > b.First && f.Insts[b.Last-1].Op == decode.OpCall
	}
	return b.TailTo != 0
}

const maxArguments = 6 // in registers

// runsOn reports whether a block ends in a call behind which control runs on into another function: two calls.
func runsOn(b *cfg.Block) bool { return b.Term == cfg.TermCall && b.TailTo != 0 }

func (w *worker) call(b *cfg.Block, b0, block uint32, in *decode.Inst, s *value.State) {
	c := Call{Site: in.Addr, Block: block, NoReturn: b.NoReturn, Tail: in.Op != decode.OpCall}
	w.out.pass = append(w.out.pass, w.site(int32(block-b0), &c))
	var delta int64 // from the stack pointer to the first stack-passed argument, at this instruction
	if c.Tail {
		delta = 8
	}
	if runsOn(b) {
		defer func() {
			w.out.calls = append(w.out.calls, Call{Site: in.Addr, Block: block, Tail: true, Target: b.TailTo, Prepared: maxArguments})
			w.out.pass = append(w.out.pass, 0)
		}()
	}
	switch {
	case b.TailTo != 0 && !runsOn(b):
		c.Kind, c.Target = Direct, b.TailTo
	case in.Flags&decode.Indirect == 0 && in.Op == decode.OpCall:
		c.Kind, c.Target = Direct, uint64(in.Imm)
	default:
		c.Kind = Indirect
		v := w.a.Operand(s, in, in.Src, 8)
		if e, ok := w.a.T.One(v); ok && !e.Any {
			switch {
			case e.Kind == value.Sym && e.Off == 0:
				c.Kind, c.Sym = BySym, uint32(e.A)
			case e.Kind == value.Addr && w.graph.At(uint64(e.Off)) != nil, e.Kind == value.Const && w.fixed && w.graph.At(uint64(e.Off)) != nil:
				c.Kind, c.Target = Direct, uint64(e.Off)
			}
		}
		c.Value = w.val(v)
	}
	if b.Term == cfg.TermFall || b.Term == cfg.TermSyscall {
		// Control runs on into another function: s is what was before the last instruction. The arguments stay unknown.
		w.out.calls = append(w.out.calls, c)
		return
	}
	for k := range c.Args {
		c.Args[k] = w.val(s.Reg[value.ArgReg(k)])
	}
	sp, known := w.a.T.One(s.Reg[decode.RSP])
	if known && sp.Kind == value.Stack && !sp.Any {
		for k := range c.StackArg {
			c.StackArg[k] = w.val(w.a.Passed(s, int32(sp.Off+delta)+8*int32(k)))
		}
	}
	call := uint32(len(w.out.calls))
	if w.a.Go {
		if v := w.val(s.Reg[decode.RAX]); v != 0 {
			w.out.firsts = append(w.out.firsts, First{call, v})
		}
	}
	for k := range c.Args {
		e, ok := w.a.T.One(s.Reg[value.ArgReg(k)])
		if !ok || e.Kind != value.Stack || e.Any {
			continue
		}
		for _, x := range s.Slots {
			if x.Val != 0 && int64(x.Off) >= e.Off && int64(x.Off) < e.Off+64 {
				w.out.frame = append(w.out.frame, FrameVal{Call: call, Off: x.Off, Size: uint32(x.Size), Value: w.val(x.Val)})
			}
		}
	}
	w.out.calls = append(w.out.calls, c)
}

func (w *worker) syscall(block uint32, in *decode.Inst, s *value.State) {
	y := SysSite{Site: in.Addr, Block: block, Number: w.val(s.Reg[decode.RAX])}
	switch in.Op {
	case decode.OpInt80:
		y.Kind = Int80
	case decode.OpSysenter:
		y.Kind = Sysenter
	}
	for k, r := range [...]decode.Reg{decode.RDI, decode.RSI, decode.RDX, decode.R10, decode.R8, decode.R9} {
		y.Args[k] = w.kept(s.Reg[r])
	}
	w.out.sys = append(w.out.sys, y)
}

// references records code pointers made, data referred to, and stores.
func (w *worker) references(b *cfg.Block, block uint32, idx int32, in *decode.Inst, s *value.State) {
	o := w.out
	take := func(va uint64) { o.takes = append(o.takes, Take{Site: in.Addr, Target: va, Block: block}) }
	ref := func(va uint64, size uint16, write bool) {
		o.refs = append(o.refs, Ref{Site: in.Addr, Addr: va, Block: block, Size: size, Write: write})
	}
	address := func(va uint64) {
		switch {
		case w.file.Exec(va):
			take(va)
			if w.graph.At(va) == nil {
				ref(va, 0, false)
			}
		case w.file.Mapped(va):
			ref(va, 0, false)
		}
	}
	if in.Op == decode.OpLea {
		if va, ok := in.AbsMem(); ok {
			address(va)
		} else if w.fixed && in.Seg == 0 {
			address(uint64(in.Disp))
		}
		if in.Base < 16 && in.Base != decode.RSP && s.Reg[in.Base] > 0 {
			// One function's address computed from another's.
			if e, ok := w.a.T.One(w.a.Address(s, in)); ok && e.Kind == value.Addr && !e.Any && w.file.Exec(uint64(e.Off)) {
				take(uint64(e.Off))
			}
		}
	} else if in.Flags&decode.HasMem != 0 && in.Seg == 0 {
		if va, ok := in.AbsMem(); ok {
			if in.Op == decode.OpCall || in.Op == decode.OpJmp {
				// The pointer that is called or jumped through; a bound slot is the call's symbol itself.
				c := w.calls[idx]
				if c == 0 || o.calls[c-1].Kind == Indirect {
					ref(va, 8, false)
				}
			} else {
				ref(va, in.MemSize, in.Flags&decode.MemWrite != 0)
			}
		} else if in.Base == decode.NoReg || w.fixed || in.Base == decode.RIP {
			address(uint64(in.Disp))
		}
	}
	if w.fixed && (in.Src.Kind == decode.ArgImm || in.Dst.Kind == decode.ArgImm) && in.Op != decode.OpJmp && in.Op != decode.OpJcc && in.Op != decode.OpCall {
		if va := uint64(in.Imm); va >= 4096 && w.file.Mapped(va) {
			address(va)
		} else if va := uint64(uint32(in.Imm)); va >= 4096 && w.file.Mapped(va) {
			address(va)
		}
	}
	if in.Flags&decode.MemWrite != 0 && in.Op != decode.OpPush && in.Op != decode.OpCall {
		w.store(block, in, s)
	}
}

// store records a store outside the frame. Constants that cannot be pointers are of interest only at known addresses.
func (w *worker) store(block uint32, in *decode.Inst, s *value.State) {
	if w.a.InFrame(s, in) {
		return
	}
	p := w.a.Address(s, in)
	pe, one := w.a.T.One(p)
	if one && pe.Kind == value.Stack {
		return
	}
	var v value.Val
	if in.Op == decode.OpMov && in.Size >= 4 {
		v = w.a.Operand(s, in, in.Src, in.Size)
	}
	known := false // among others an address
	for _, x := range w.a.T.Set(p) {
		known = known || w.a.T.Exprs[x].Kind == value.Addr
	}
	if e, ok := w.a.T.One(v); ok && e.Kind == value.Const && !known && !w.fixed {
		return
	}
	w.out.stores = append(w.out.stores, Store{Site: in.Addr, Addr: w.val(p), Value: w.kept(v), Block: block, Size: uint32(in.MemSize)})
}

// kept carries a value over that is not lost because it is recorded; if it cannot be, it is lost after all.
func (w *worker) kept(v value.Val) value.Val {
	x := w.val(v)
	if x == 0 {
		w.a.Lose(v)
	}
	return x
}
