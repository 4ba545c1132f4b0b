package unwind

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"syspart/internal/image"
)

// Table is the unwind table of one file. It may be used by several goroutines at once.
type Table struct {
	file   *image.File
	frames *image.Frames
	golang func() *image.Golang

	mu   sync.RWMutex
	rows map[uint64]*row // by address; nil: the table has no usable row for it
}

// NewTable reads the unwind table of a file. A file without one yields an empty table; a malformed one is an error.
func NewTable(f *image.File) (*Table, error) {
	fr, err := f.Frames()
	if err != nil {
		return nil, err
	}
	if fr == nil {
		fr = &image.Frames{}
	}
	return &Table{file: f, frames: fr, golang: sync.OnceValue(f.Golang), rows: make(map[uint64]*row)}, nil
}

// File returns the file that the table is of.
func (t *Table) File() *image.File { return t.file }

// Func returns the start of the unwind entry that covers va; entries begin where functions and their cold parts do.
func (t *Table) Func(va uint64) (uint64, bool) {
	if f := t.fde(va); f != nil {
		return f.Start, true
	}
	f, ok := t.goFrame(va)
	return f.Func, ok
}

// fde returns the entry that covers va: of overlapping ones the one that starts last.
func (t *Table) fde(va uint64) *image.FDE {
	fdes := t.frames.FDEs
	i := sort.Search(len(fdes), func(i int) bool { return fdes[i].Start > va })
	for n := 0; i > 0 && n < maxFDEScan; n++ {
		i--
		if fdes[i].Contains(va) {
			return &fdes[i]
		}
	}
	return nil
}

// row returns the rules for the instruction at va.
func (t *Table) row(va uint64) (*row, error) {
	t.mu.RLock()
	r, ok := t.rows[va]
	t.mu.RUnlock()
	if ok {
		if r == nil {
			return nil, ErrFormat
		}
		return r, nil
	}
	fde := t.fde(va)
	if fde == nil {
		if f, ok := t.goFrame(va); ok {
			r = goRow(f)
			t.keep(va, r)
			return r, nil
		}
		return nil, ErrNoFrame
	}
	if int(fde.CIE) >= len(t.frames.CIEs) || fde.CIE < 0 {
		return nil, malformed("entry at %#x: CIE %d", fde.Start, fde.CIE)
	}
	r, err := compile(&t.frames.CIEs[fde.CIE], fde, va)
	if err != nil {
		r = nil
	}
	t.keep(va, r)
	if err != nil {
		return nil, fmt.Errorf("entry at %#x: %w", fde.Start, err)
	}
	return r, nil
}

func (t *Table) keep(va uint64, r *row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) >= maxRows {
		clear(t.rows)
	}
	t.rows[va] = r
}

// goFrame returns the frame at va in code of Go's, which has no call-frame information but tables of its own.
func (t *Table) goFrame(va uint64) (image.GoFrame, bool) {
	if t.file == nil || !t.file.Exec(va) {
		return image.GoFrame{}, false
	}
	g := t.golang()
	if g == nil {
		return image.GoFrame{}, false
	}
	return g.Frame(va)
}

// goRow is the rules for a frame of Go's. Its tables do not say where the caller's frame pointer is.
func goRow(f image.GoFrame) *row {
	ret := rule{reg: RA, kind: ruleOffset, off: -8}
	if f.Outermost {
		ret.kind = ruleUndefined
	}
	return &row{cfaReg: RSP, cfaOff: f.Size + 8, rules: []rule{ret, {reg: RBP, kind: ruleUndefined}}, ret: RA, start: f.Func}
}

// Module is a file that is mapped into a process.
type Module struct {
	Path  string
	Table *Table
	// Load returns the table if Table is nil. It is called more than once, by several goroutines.
	Load func() (*Table, error)
}

func (m *Module) table() (*Table, error) {
	if m.Table != nil || m.Load == nil {
		return m.Table, nil
	}
	return m.Load()
}

// Mapping is an executable mapping of a module. The byte at address Start is that at ELF virtual address VA.
type Mapping struct {
	Start, End uint64
	VA         uint64
	Module     *Module
}

// Space is the executable mappings of a process, sorted by Start, without overlap.
type Space []Mapping

// Lookup returns the mapping that contains addr, nil if none does.
func (s Space) Lookup(addr uint64) *Mapping {
	i := sort.Search(len(s), func(i int) bool { return s[i].End > addr })
	if i < len(s) && s[i].Start <= addr {
		return &s[i]
	}
	return nil
}

// Frame is one activation.
type Frame struct {
	Module *Module
	PC     uint64 // ELF virtual address: program counter, or return address
	Addr   uint64 // the same as address in the process
	CFA    uint64 // canonical frame address; 0 if it could not be told
	Func   uint64 // ELF virtual address where the unwind entry starts; 0 if there is none
	Signal bool   // a signal handler runs on top: PC is where the signal arrived, not a return address
}

// Result is a stack as far as it could be walked, innermost frame first.
type Result struct {
	Frames   []Frame
	Complete bool   // the last frame is the outermost one of the thread
	Need     RegSet // the register that would have been needed to go on, if that was the reason
	Err      error  // why the walk ended, if not Complete
}

// Unwind walks the stack from the frame with registers regs, at most max frames of it.
func (s Space) Unwind(regs Regs, r io.ReaderAt, max int) Result {
	mem := &memory{r: r}
	var res Result
	end := func(err error) Result {
		var u UnknownError
		if errors.As(err, &u) {
			res.Need = 1 << u
		}
		res.Err = err
		return res
	}
	exact := true // the program counter is one, not a return address
	for {
		pc, err := regs.get(RA)
		if err != nil {
			return end(err)
		}
		if pc == 0 && len(res.Frames) > 0 {
			res.Complete = true
			return res
		}
		if len(res.Frames) >= max {
			return end(ErrDepth)
		}
		m := s.Lookup(pc)
		if m == nil && !exact { // a call at the very end of a mapping
			if m = s.Lookup(pc - 1); m != nil && m.End != pc {
				m = nil
			}
		}
		if m == nil {
			return end(fmt.Errorf("address %#x: %w", pc, ErrNoFrame))
		}
		va := pc - m.Start + m.VA
		f := Frame{Module: m.Module, PC: va, Addr: pc, Signal: exact && len(res.Frames) > 0}
		at := va
		if !exact {
			at-- // the call may be the function's last instruction
		}
		table, err := m.Module.table()
		if err != nil {
			res.Frames = append(res.Frames, f)
			return end(fmt.Errorf("%s: %w", m.Module.Path, err))
		}
		row, err := table.row(at)
		if err != nil {
			res.Frames = append(res.Frames, f)
			if !errors.Is(err, ErrNoFrame) {
				return end(fmt.Errorf("%s: %w", m.Module.Path, err))
			}
			next, bottom := s.guess(table, at, &regs, mem, len(res.Frames) == 1)
			if bottom {
				res.Complete = true
				return res
			}
			if next.Known == 0 {
				return end(fmt.Errorf("%s: address %#x: %w", m.Module.Path, va, ErrNoFrame))
			}
			res.Frames[len(res.Frames)-1].CFA = next.Val[RSP]
			regs, exact = next, false
			continue
		}
		f.Func = row.start
		next, cfa, bottom, err := row.apply(&regs, mem)
		f.CFA = cfa
		res.Frames = append(res.Frames, f)
		if err != nil {
			return end(fmt.Errorf("%s: address %#x: %w", m.Module.Path, va, err))
		}
		if bottom {
			res.Complete = true
			return res
		}
		regs, exact = next, row.signal
	}
}

// apply computes the caller's registers. bottom: there is no caller.
func (r *row) apply(regs *Regs, mem *memory) (next Regs, cfa uint64, bottom bool, err error) {
	ret := r.find(r.ret)
	bottom = ret != nil && ret.kind == ruleUndefined
	if r.cfaExpr != nil {
		cfa, err = eval(r.cfaExpr, regs, mem, 0, false)
	} else {
		if cfa, err = regs.get(int(r.cfaReg)); err == nil {
			cfa += uint64(r.cfaOff)
		}
	}
	if bottom {
		if err != nil {
			cfa = 0
		}
		return next, cfa, true, nil
	}
	if err != nil {
		return next, 0, false, err
	}
	// Signal frames may lie on another stack than what they interrupted.
	if sp, err := regs.get(RSP); err == nil && cfa <= sp && !r.signal {
		return next, cfa, false, ErrStack
	}
	next = *regs
	next.Known &= preserved
	for i := range r.rules {
		u := &r.rules[i]
		v, e := u.value(regs, mem, cfa)
		if e != nil {
			next.Known &^= 1 << u.reg
			if u.reg == r.ret {
				return next, cfa, false, e
			}
			continue
		}
		next.set(int(u.reg), v)
	}
	if ret == nil {
		return next, cfa, false, malformed("no rule for the return address")
	}
	if r.find(RSP) == nil {
		next.set(RSP, cfa)
	}
	return next, cfa, false, nil
}

// value computes the caller's value of the register.
func (u *rule) value(regs *Regs, mem *memory, cfa uint64) (uint64, error) {
	addr := cfa + uint64(u.off)
	switch u.kind {
	case ruleUndefined:
		return 0, UnknownError(u.reg)
	case ruleSame:
		return regs.get(int(u.reg))
	case ruleRegister:
		return regs.get(int(u.src))
	case ruleValOffset:
		return addr, nil
	case ruleValExpr:
		return eval(u.expr, regs, mem, cfa, true)
	case ruleExpr:
		var err error
		if addr, err = eval(u.expr, regs, mem, cfa, true); err != nil {
			return 0, err
		}
	}
	v, ok := mem.load(addr, 8)
	if !ok {
		return 0, fmt.Errorf("word at %#x: %w", addr, ErrMemory)
	}
	return v, nil
}

// startSize is how far behind the entry point we take code without unwind entry for the start code: musl's and other
// hand-written ones have a dozen instructions.
const startSize = 64

// guess goes on where there is no call-frame information at ELF address va: at the program's entry point the stack ends;
// so it does where the frame pointer is zero, as the ABI asks for in the outermost frame (AMD64 ABI, section 3.4.1); an
// innermost frame is taken for that of a function that has pushed nothing yet.
func (s Space) guess(t *Table, va uint64, regs *Regs, mem *memory, innermost bool) (next Regs, bottom bool) {
	if e := t.file.Entry; e != 0 && va >= e && va < e+startSize {
		return next, true
	}
	if !innermost {
		bp, err := regs.get(RBP)
		return next, err == nil && bp == 0
	}
	sp, err := regs.get(RSP)
	if err != nil {
		return next, false
	}
	ret, ok := mem.load(sp, 8)
	if !ok {
		return next, false
	}
	at := s.Lookup(ret - 1)
	if at == nil {
		return next, false
	}
	if t, err := at.Module.table(); err != nil || !t.behindCall(ret-at.Start+at.VA) {
		return next, false
	}
	next = *regs
	next.Known &= preserved
	next.set(RSP, sp+8)
	next.set(RA, ret)
	return next, false
}

// behindCall reports whether the instruction before va can be a call: e8 with a displacement, or ff /2 with a ModRM byte
// of any length.
func (t *Table) behindCall(va uint64) bool {
	if b, ok := t.file.Bytes(va-5, 5); ok && b[0] == 0xe8 {
		return true
	}
	for n := uint64(2); n <= 7; n++ {
		b, ok := t.file.Bytes(va-n, n)
		if !ok || b[0] != 0xff || b[1]>>3&7 != 2 {
			continue
		}
		mod, rm, size := b[1]>>6, b[1]&7, uint64(2)
		if mod != 3 && rm == 4 {
			size++
			if mod == 0 && n > 2 && b[2]&7 == 5 {
				size += 4
			}
		}
		switch {
		case mod == 1:
			size++
		case mod == 2, mod == 0 && rm == 5:
			size += 4
		}
		if size == n {
			return true
		}
	}
	return false
}
