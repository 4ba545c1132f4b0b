package summary

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"syspart/internal/cfg"
	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/value"
)

// Types and flags of sections (elf.h).
const (
	shtNobits = 8
	shfAlloc  = 0x2
	shfTLS    = 0x400
)

// ELF constants used here (System V psABI x86-64, chapter 4.4).
const (
	relocNone     = 0
	reloc64       = 1
	relocCopy     = 5
	relocGlobDat  = 6
	relocJumpSlot = 7
	relocRelative = 8
	relocDTPMod   = 16
	relocDTPOff   = 17
	relocTPOff    = 18
	relocTLSDesc  = 36
	relocIRel     = 37

	sttObject = 1
	sttTLS    = 6
)

// builder holds what the analysis of all functions shares; it is read-only while they are analysed.
type builder struct {
	file  *image.File
	graph *cfg.Graph
	mod   *Module
	fixed bool
	// relroFixed: pointers in RELRO are final before any code of the module runs. Not so in the loader and in static
	// programs, which fill theirs in while they start.
	relroFixed bool
	masks      map[uint64]decode.RegSet // by entry: registers that the function may change
	restored   map[uint64]decode.RegSet // by entry: argument registers among them that it may save and restore
	finds      map[uint64]decode.RegSet // by entry: registers of hiddenSet in which the function may find something, see hidden
	tlsDesc    bool                     // there are TLS descriptors

	signalFuncs map[uint64]value.SignalFunc // by entry
	golang      *image.Golang               // nil: none
	foreign     bool                        // made from a language that passes arguments otherwise, see foreignMarks
}

// Build analyses a file.
func Build(f *image.File) (*Module, error) {
	g, err := cfg.Build(f)
	if err != nil {
		return nil, err
	}
	m := &Module{SHA256: f.SHA256, BuildID: f.BuildID, Size: f.Size, Kind: f.Kind, Static: f.Static, Interp: f.Interp,
		Entry: f.Entry, TLS: f.TLS, Relro: f.Relro, Dyn: f.Dyn, Segments: f.Segments}
	for _, s := range f.Sections {
		if s.Flags&shfTLS != 0 && s.Type == shtNobits {
			continue // takes no place: the next section begins where it does
		}
		if s.Flags&shfAlloc != 0 && s.End > s.Start {
			m.Sections = append(m.Sections, s.Range)
			if s.Name == ".got" || s.Name == ".got.plt" {
				m.Got = append(m.Got, s.Range)
			}
		}
	}
	sort.Slice(m.Sections, func(i, j int) bool { return m.Sections[i].Start < m.Sections[j].Start })
	b := &builder{file: f, graph: g, mod: m, fixed: f.Kind == image.KindExec}
	b.relroFixed = len(f.Dyn.Needed) > 0
	b.golang = f.Golang()
	b.pointers()
	b.objects()
	b.always()
	index := b.entries()
	b.registers(index)
	b.hidden(index)
	b.findSignals()
	b.foreign = isForeign(f)
	b.functions()
	b.distances()
	b.words()
	b.strings()
	return m, nil
}

// functions analyses all functions in parallel and joins the results in address order.
func (b *builder) functions() {
	funcs := b.graph.Funcs
	n := max(1, min(runtime.GOMAXPROCS(0), len(funcs)))
	const chunk = 64
	chunks := (len(funcs) + chunk - 1) / chunk
	parts := make([]part, chunks)
	var next atomic.Int32
	var wg sync.WaitGroup
	for range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w := newWorker(b)
			var out part
			w.out = &out
			for {
				c := int(next.Add(1)) - 1
				if c >= chunks {
					return
				}
				out.reset()
				out.exprs = append(out.exprs, value.Expr{})
				for i := c * chunk; i < min((c+1)*chunk, len(funcs)); i++ {
					w.function(funcs[i])
					if b.golang == nil { // goCallee looks at callees
						funcs[i].Insts, funcs[i].Blocks = nil, nil // most of what a large file takes
					}
				}
				parts[c] = out.clone()
			}
		}()
	}
	wg.Wait()
	b.merge(parts)
}

// part is the result of some functions in order: a module's tables with indices of their own.
type part struct {
	funcs  []Func
	blocks []Block
	succs  []int32
	calls  []Call
	sys    []SysSite
	frame  []FrameVal
	firsts []First
	stores []Store
	rets   []Ret
	takes  []Take
	refs   []Ref
	losts  []int32
	exprs  []value.Expr
	runs   [][2]int32
	sets   []int32
	text   []byte
	pass   []uint8 // by call, see site
}

// reset empties a part, whose memory is used again.
func (p *part) reset() {
	*p = part{p.funcs[:0], p.blocks[:0], p.succs[:0], p.calls[:0], p.sys[:0], p.frame[:0], p.firsts[:0], p.stores[:0], p.rets[:0], p.takes[:0],
		p.refs[:0], p.losts[:0], p.exprs[:0], p.runs[:0], p.sets[:0], p.text[:0], p.pass[:0]}
}

// clone returns a part that shares nothing with p and has no room to grow.
func (p *part) clone() part {
	return part{exact(p.funcs), exact(p.blocks), exact(p.succs), exact(p.calls), exact(p.sys), exact(p.frame), exact(p.firsts), exact(p.stores),
		exact(p.rets), exact(p.takes), exact(p.refs), exact(p.losts), exact(p.exprs), exact(p.runs), exact(p.sets), exact(p.text), exact(p.pass)}
}

func exact[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return append(make([]T, 0, len(s)), s...)
}

func (b *builder) merge(parts []part) {
	m := b.mod
	var t part
	size := func(n *int, k int) { *n += k }
	var nf, nb, ns, nc, ny, nfr, nst, nr, nt, nre, nl, ne, nru, nse, ntext int
	for i := range parts {
		p := &parts[i]
		size(&nf, len(p.funcs))
		size(&nb, len(p.blocks))
		size(&ns, len(p.succs))
		size(&nc, len(p.calls))
		size(&ny, len(p.sys))
		size(&nfr, len(p.frame))
		size(&nst, len(p.stores))
		size(&nr, len(p.rets))
		size(&nt, len(p.takes))
		size(&nre, len(p.refs))
		size(&nl, len(p.losts))
		size(&ne, len(p.exprs))
		size(&nru, len(p.runs))
		size(&nse, len(p.sets))
		size(&ntext, len(p.text))
	}
	t = part{make([]Func, 0, nf), make([]Block, 0, nb), make([]int32, 0, ns), make([]Call, 0, nc), make([]SysSite, 0, ny),
		make([]FrameVal, 0, nfr), nil, make([]Store, 0, nst), make([]Ret, 0, nr), make([]Take, 0, nt), make([]Ref, 0, nre), make([]int32, 0, nl),
		make([]value.Expr, 1, ne+1), make([][2]int32, 0, nru), make([]int32, 0, nse), make([]byte, 0, ntext), make([]uint8, 0, nc)}
	for i := range parts {
		p := &parts[i]
		eb, rb, sb := int32(len(t.exprs))-1, int32(len(t.runs)), int32(len(t.sets))
		cb, bb := uint32(len(t.calls)), uint32(len(t.blocks))
		val := func(v value.Val) value.Val {
			if v > 0 {
				return v + value.Val(eb)
			}
			if v < 0 {
				return v - value.Val(rb)
			}
			return 0
		}
		run := func(r [2]uint32, base int) [2]uint32 { return [2]uint32{r[0] + uint32(base), r[1] + uint32(base)} }
		for _, f := range p.funcs {
			f.Blocks = run(f.Blocks, len(t.blocks))
			f.Calls = run(f.Calls, len(t.calls))
			f.Sys = run(f.Sys, len(t.sys))
			f.Frame = run(f.Frame, len(t.frame))
			f.Stores = run(f.Stores, len(t.stores))
			f.Rets = run(f.Rets, len(t.rets))
			f.Takes = run(f.Takes, len(t.takes))
			f.Refs = run(f.Refs, len(t.refs))
			f.Losts = run(f.Losts, len(t.losts))
			f.Exprs = run(f.Exprs, int(eb))
			f.Start += bb
			f.Name.Off += uint32(len(t.text))
			f.Incomplete.Off += uint32(len(t.text))
			t.funcs = append(t.funcs, f)
		}
		for _, x := range p.blocks {
			x.Succs = run(x.Succs, len(t.succs))
			t.blocks = append(t.blocks, x)
		}
		for _, x := range p.succs {
			t.succs = append(t.succs, x+int32(bb))
		}
		for _, x := range p.calls {
			x.Value = val(x.Value)
			for k := range x.Args {
				x.Args[k] = val(x.Args[k])
			}
			for k := range x.StackArg {
				x.StackArg[k] = val(x.StackArg[k])
			}
			x.Block += bb
			t.calls = append(t.calls, x)
		}
		t.pass = append(t.pass, p.pass...)
		for _, x := range p.sys {
			x.Number = val(x.Number)
			for k := range x.Args {
				x.Args[k] = val(x.Args[k])
			}
			x.Block += bb
			t.sys = append(t.sys, x)
		}
		for _, x := range p.frame {
			x.Call += cb
			x.Value = val(x.Value)
			t.frame = append(t.frame, x)
		}
		for _, x := range p.firsts {
			t.firsts = append(t.firsts, First{x.Call + cb, val(x.Value)})
		}
		for _, x := range p.stores {
			x.Addr, x.Value = val(x.Addr), val(x.Value)
			x.Block += bb
			t.stores = append(t.stores, x)
		}
		for _, x := range p.rets {
			x.Value = val(x.Value)
			x.Block += bb
			t.rets = append(t.rets, x)
		}
		for _, x := range p.takes {
			x.Block += bb
			t.takes = append(t.takes, x)
		}
		for _, x := range p.refs {
			x.Block += bb
			t.refs = append(t.refs, x)
		}
		for _, x := range p.losts {
			t.losts = append(t.losts, x+eb)
		}
		for _, e := range p.exprs[min(1, len(p.exprs)):] {
			switch e.Kind {
			case value.Load:
				e.A += eb
			case value.Result:
				e.A += int32(cb)
			}
			t.exprs = append(t.exprs, e)
		}
		for _, r := range p.runs {
			t.runs = append(t.runs, [2]int32{r[0] + sb, r[1] + sb})
		}
		for _, x := range p.sets {
			t.sets = append(t.sets, x+eb)
		}
		t.text = append(t.text, p.text...)
		*p = part{}
	}
	m.Funcs, m.Blocks, m.Succs, m.Calls, m.Sys, m.Frame, m.Firsts, m.Stores = t.funcs, t.blocks, t.succs, t.calls, t.sys, t.frame, t.firsts, t.stores
	for i := range t.calls { // once here instead of in every walk
		if c := &t.calls[i]; c.Kind == Direct {
			m.Funcs = t.funcs
			c.Sym = uint32(m.At(c.Target) + 1)
		}
	}
	m.Rets, m.Takes, m.Refs, m.Losts, m.Exprs, m.Runs, m.Sets, m.Text = t.rets, t.takes, t.refs, t.losts, t.exprs, t.runs, t.sets, t.text
	m.arities(t.pass)
}

// pointers lists the pointers in data.
func (b *builder) pointers() {
	m, f := b.mod, b.file
	for _, r := range f.Dyn.Relocs {
		p := Ptr{Slot: r.Off, Addend: r.Addend, Sym: r.Sym}
		switch r.Type {
		case relocRelative:
			p.Kind, p.Target, p.Sym = PtrRelative, uint64(r.Addend), 0
		case reloc64, relocGlobDat:
			p.Kind = PtrSym
			if r.Sym == 0 {
				p.Kind, p.Target = PtrRelative, uint64(r.Addend)
			}
		case relocJumpSlot:
			p.Kind = PtrPLT
		case relocIRel:
			p.Kind, p.Target = PtrIFunc, uint64(r.Addend)
		case relocDTPMod, relocDTPOff, relocTPOff, relocTLSDesc:
			p.Kind = PtrTLS
			b.tlsDesc = b.tlsDesc || r.Type == relocTLSDesc
		case relocCopy:
			p.Kind = PtrCopy
		case relocNone:
			continue
		default:
			p.Kind = PtrSym
		}
		m.Ptrs = append(m.Ptrs, p)
	}
	if b.fixed {
		have := make(map[uint64]bool, len(m.Ptrs))
		for _, p := range m.Ptrs {
			have[p.Slot] = true
		}
		for _, s := range f.Segments {
			data, ok := f.Bytes(s.Start, s.FileSize)
			if !ok || s.Exec && len(f.Sections) > 0 {
				continue
			}
			for o := uint64(0); o+8 <= uint64(len(data)); o += 8 {
				w := binary.LittleEndian.Uint64(data[o:])
				if w >= 4096 && f.Mapped(w) && !have[s.Start+o] {
					m.Ptrs = append(m.Ptrs, Ptr{Slot: s.Start + o, Target: w, Kind: PtrWord})
				}
			}
			// Where fields are packed, a pointer may lie anywhere; one to data is rarely told from other bytes.
			for o := uint64(1); o+8 <= uint64(len(data)); o++ {
				if w := binary.LittleEndian.Uint64(data[o:]); o%8 != 0 && w >= 4096 && f.Exec(w) && b.graph.At(w) != nil && !b.inGo(w) {
					m.Ptrs = append(m.Ptrs, Ptr{Slot: s.Start + o, Target: w, Kind: PtrWord})
				}
			}
		}
	}
	sort.Slice(m.Ptrs, func(i, j int) bool { return m.Ptrs[i].Slot < m.Ptrs[j].Slot })
}

// inGo reports whether va is in code of Go's, where pointers in data are aligned and everything keeps to Go's conventions.
func (b *builder) inGo(va uint64) bool { return b.golang != nil && b.golang.Text.Contains(va) }

// words lists what variables hold from the start whose value may be the number of a system call.
func (b *builder) words() {
	m := b.mod
	note := func(v value.Val) {
		m.Each(v, func(_ int32, e value.Expr) {
			if e.Kind != value.Load || m.Exprs[e.A].Kind != value.Addr || m.Exprs[e.A].Any {
				return
			}
			va := uint64(m.Exprs[e.A].Off)
			if _, pointer := m.PtrAt(va); pointer || !b.file.Write(va) {
				return
			}
			if w, ok := b.file.Uint64(va); ok {
				m.Words = append(m.Words, Word{va, w})
			}
		})
	}
	for i := range m.Firsts {
		note(m.Firsts[i].Value)
	}
	for i := range m.Calls {
		note(m.Calls[i].Args[0]) // of libc's syscall
		note(m.Calls[i].StackArg[0])
	}
	for i := range m.Sys {
		note(m.Sys[i].Number)
	}
	slices.SortFunc(m.Words, func(x, y Word) int { return cmp(x.Addr, y.Addr) })
	m.Words = slices.Compact(m.Words)
}

// objects lists the data objects that symbols bound; overlapping ones (aliases, sub-objects) become one.
func (b *builder) objects() {
	var all []Obj
	add := func(syms []image.Symbol) {
		for i := range syms {
			s := &syms[i]
			if s.Type == sttObject && !s.Undefined && s.Size > 0 && !s.Abs && s.Value+s.Size > s.Value && b.file.Mapped(s.Value) {
				all = append(all, Obj{s.Value, s.Value + s.Size})
			}
		}
	}
	add(b.file.Dyn.Symbols)
	add(b.file.Symtab)
	sort.Slice(all, func(i, j int) bool { return all[i].Start < all[j].Start })
	for _, o := range all {
		if n := len(b.mod.Objs); n > 0 && o.Start < b.mod.Objs[n-1].End {
			b.mod.Objs[n-1].End = max(b.mod.Objs[n-1].End, o.End)
			continue
		}
		b.mod.Objs = append(b.mod.Objs, o)
	}
}

// always lists what the loader, libc's start and exit code and the unwinder call by pointers that no code refers to.
func (b *builder) always() {
	m, d := b.mod, &b.file.Dyn
	fn := func(va uint64, role PtrRole) {
		if va != 0 {
			m.Always = append(m.Always, Ptr{Slot: 0, Target: va, Kind: PtrRelative, Role: role})
		}
	}
	fn(d.Init, RoleInit)
	fn(d.Fini, RoleFini)
	slots := func(r image.Range, role PtrRole) {
		for a := r.Start; a+8 <= r.End; a += 8 {
			if p, ok := m.PtrAt(a); ok {
				p.Role = role
				m.Always = append(m.Always, p)
			} else if w, ok := b.file.Uint64(a); ok && w != 0 && w != ^uint64(0) {
				m.Always = append(m.Always, Ptr{Slot: a, Target: w, Kind: PtrWord, Role: role})
			}
		}
	}
	slots(d.PreinitArray, RoleInit)
	slots(d.InitArray, RoleInit)
	slots(d.FiniArray, RoleFini)
	for _, s := range b.file.Sections { // static programs have no PT_DYNAMIC
		switch s.Type {
		case 14, 16: // SHT_INIT_ARRAY, SHT_PREINIT_ARRAY
			slots(s.Range, RoleInit)
		case 15: // SHT_FINI_ARRAY
			slots(s.Range, RoleFini)
		}
		switch {
		case s.End <= s.Start:
		case s.Name == ".init":
			fn(s.Start, RoleInit)
		case s.Name == ".fini":
			fn(s.Start, RoleFini)
		}
	}
	if b.golang != nil {
		for _, va := range b.golang.Methods {
			fn(va, RoleMethod)
		}
	}
	if fr, err := b.file.Frames(); err == nil && fr != nil {
		for _, c := range fr.CIEs {
			switch {
			case c.Personality == 0:
			case !c.PersonalityIndirect:
				fn(c.Personality, RolePersonality)
			default:
				slots(image.Range{Start: c.Personality, End: c.Personality + 8}, RolePersonality)
			}
		}
	}
}

// PtrAt returns the pointer at slot.
func (m *Module) PtrAt(slot uint64) (Ptr, bool) {
	i := sort.Search(len(m.Ptrs), func(i int) bool { return m.Ptrs[i].Slot >= slot })
	if i < len(m.Ptrs) && m.Ptrs[i].Slot == slot {
		return m.Ptrs[i], true
	}
	return Ptr{}, false
}

// At implements value.Memory.
func (b *builder) At(addr uint64, size int) (value.Expr, bool) {
	m := b.mod
	i := sort.Search(len(m.Ptrs), func(i int) bool { return m.Ptrs[i].Slot+8 > addr })
	if i < len(m.Ptrs) && m.Ptrs[i].Slot < addr+uint64(size) {
		p := m.Ptrs[i]
		if p.Slot != addr || size != 8 {
			return value.Expr{}, false
		}
		inRelro := m.Relro.Contains(addr) && b.relroFixed
		switch p.Kind {
		case PtrRelative:
			if inRelro || !b.file.Write(addr) {
				return value.Expr{Kind: value.Addr, Off: int64(p.Target)}, true
			}
		case PtrSym:
			if inRelro && p.Sym != 0 {
				return value.Expr{Kind: value.Sym, A: int32(p.Sym), Off: p.Addend}, true
			}
		case PtrPLT:
			return value.Expr{Kind: value.Sym, A: int32(p.Sym)}, true
		case PtrWord:
			if !b.file.Write(addr) {
				return value.Expr{Kind: value.Addr, Off: int64(p.Target)}, true
			}
		}
		return value.Expr{}, false
	}
	if b.file.Write(addr) {
		return value.Expr{}, false
	}
	d, ok := b.file.Bytes(addr, uint64(size))
	if !ok {
		return value.Expr{}, false
	}
	var w uint64
	for k := size - 1; k >= 0; k-- {
		w = w<<8 | uint64(d[k])
	}
	return value.Expr{Kind: value.Const, Off: int64(w)}, true
}
