package cfg

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"
	"strings"

	"syspart/internal/image"
)

// Symbol types and bindings (gABI, "Symbol Table").
const (
	sttNoType  = 0
	sttFunc    = 2
	sttIFunc   = 10
	stbLocal   = 0
	arraySlot  = 8        // bytes of an entry of an init array
	maxSymSize = 64 << 20 // a larger st_size is not believed
)

// isCodeSymbol reports whether s marks the start of a function in this file.
func (b *builder) isCodeSymbol(s *image.Symbol) bool {
	if s.Undefined || s.Abs || s.TLS || !b.inText(s.Value) {
		return false
	}
	switch s.Type {
	case sttFunc, sttIFunc:
		return true
	case sttNoType:
		// Hand-written assembly often lacks the type. Local ones are mere labels.
		return s.Bind != stbLocal && s.Name != "etext" && s.Name != "_etext" && s.Name != "__etext"
	}
	return false
}

// static collects the entries that the file states without looking at any code.
func (b *builder) static() {
	for i := range b.fdes {
		b.add(b.fdes[i].Start, FromFrame)
		if b.plt[i] = b.isPLT(b.fdes[i].Range); b.plt[i] {
			for _, va := range b.stubs(b.fdes[i].Range) {
				b.add(va, FromPLT)
			}
		}
	}
	for i, tab := range [][]image.Symbol{b.f.Symtab, b.f.Dyn.Symbols} {
		dynamic := i == 1
		for i := range tab {
			s := &tab[i]
			if !b.isCodeSymbol(s) {
				continue
			}
			b.name(s, dynamic)
			if isColdName(s.Name) {
				b.cold[s.Value] = strings.TrimSuffix(s.Name[:coldAt(s.Name)], ".part.0")
				if b.fdeOf(s.Value) < 0 {
					b.add(s.Value, FromTail)
				}
				continue
			}
			b.add(s.Value, FromSymbol)
		}
	}
	if b.golang != nil {
		for i := range b.golang.Funcs {
			x := &b.golang.Funcs[i]
			b.add(x.Entry, FromGo)
			if _, ok := b.names[x.Entry]; !ok && x.Name != "" {
				b.names[x.Entry] = symName{text: x.Name}
			}
		}
		for _, va := range b.golang.Methods {
			b.add(va, FromTail) // behind a panic; methods are functions already
		}
	}
	b.add(b.f.Entry, FromEntry)
	b.add(b.f.Dyn.Init, FromEntry)
	b.add(b.f.Dyn.Fini, FromEntry)
	arrays := []image.Range{b.f.Dyn.PreinitArray, b.f.Dyn.InitArray, b.f.Dyn.FiniArray}
	for i := range b.f.Sections {
		switch b.f.Sections[i].Name {
		case ".init":
			b.add(b.f.Sections[i].Start, FromEntry)
		case ".fini":
			b.add(b.f.Sections[i].Start, FromEntry)
		case ".preinit_array", ".init_array", ".fini_array", ".ctors", ".dtors":
			arrays = append(arrays, b.f.Sections[i].Range)
		}
	}
	for _, a := range arrays {
		if a.End < a.Start || a.End-a.Start > uint64(b.f.Size) {
			continue
		}
		for va := a.Start; va+arraySlot <= a.End; va += arraySlot {
			if to, ok := b.pointer(va); ok {
				b.add(to, FromEntry)
			}
		}
	}
	syms := b.f.Dyn.Symbols
	for i := range b.f.Dyn.Relocs {
		r := &b.f.Dyn.Relocs[i]
		switch r.Type {
		case relIRel:
			b.add(uint64(r.Addend), FromTaken)
		case relRelative:
			if b.inText(uint64(r.Addend)) {
				b.ptrs = append(b.ptrs, codePtr{r.Off, uint64(r.Addend)})
			}
		case rel64, relGlobDat:
			if int(r.Sym) >= len(syms) || syms[r.Sym].Undefined {
				continue
			}
			if to := syms[r.Sym].Value + uint64(r.Addend); b.inText(to) {
				b.ptrs = append(b.ptrs, codePtr{r.Off, to})
			}
		}
	}
	if b.f.Kind == image.KindExec {
		b.words()
	}
}

// words finds the pointers to code in the data of a file with a fixed address, where no relocation shows them: every
// aligned word whose value lies in the text.
func (b *builder) words() {
	for i := range b.f.Segments {
		seg := &b.f.Segments[i]
		for va := (seg.Start + 7) &^ 7; va+8 <= seg.Start+seg.FileSize; va += 8 {
			if seg.Exec && b.inText(va) {
				continue
			}
			if to, ok := b.f.Uint64(va); ok && b.inText(to) {
				b.ptrs = append(b.ptrs, codePtr{va, to})
			}
		}
	}
	slices.SortFunc(b.ptrs, func(x, y codePtr) int {
		if x.slot < y.slot {
			return -1
		}
		return 1
	})
}

// codePtr is a pointer into the text that lies in data.
type codePtr struct{ slot, to uint64 }

// pointer reads the pointer at va as it will be once the file is loaded.
func (b *builder) pointer(va uint64) (uint64, bool) {
	if r := b.relocAt(va); r != nil {
		switch r.Type {
		case relRelative:
			return uint64(r.Addend), true
		case rel64, relGlobDat:
			if syms := b.f.Dyn.Symbols; int(r.Sym) < len(syms) && !syms[r.Sym].Undefined {
				return syms[r.Sym].Value + uint64(r.Addend), true
			}
		}
		return 0, false
	}
	if b.f.Kind != image.KindExec && !b.f.Static {
		return 0, false
	}
	return b.f.Uint64(va)
}

// relocAt returns the relocation of the word at va, or nil.
func (b *builder) relocAt(va uint64) *image.Reloc {
	rs := b.f.Dyn.Relocs
	i := sort.Search(len(rs), func(i int) bool { return rs[i].Off >= va })
	if i < len(rs) && rs[i].Off == va {
		return &rs[i]
	}
	return nil
}

// relocated reports whether the dynamic loader fills the slot at va.
func (b *builder) relocated(va uint64) bool { return b.relocAt(va) != nil }

// coldAt returns where a compiler's suffix for split-off code begins in a symbol's name, or -1.
func coldAt(name string) int {
	for _, suffix := range []string{".cold", ".text.unlikely."} {
		if i := strings.LastIndex(name, suffix); i > 0 {
			return i
		}
	}
	return -1
}

func isColdName(name string) bool { return coldAt(name) >= 0 }

// name remembers the best name of an address: one of .dynsym, which is there whether or not the file is stripped, before
// another, a global symbol before a local one, then the first in order of the text.
func (b *builder) name(s *image.Symbol, dynamic bool) {
	if size := s.Size; size > 0 && size < maxSymSize {
		b.symSize[s.Value] = max(b.symSize[s.Value], size)
	}
	rank := uint8(0)
	switch {
	case s.Name == "":
		return
	case dynamic:
	case s.Bind != stbLocal:
		rank = 1
	default:
		rank = 2
	}
	if old, ok := b.names[s.Value]; !ok || rank < old.rank || rank == old.rank && s.Name < old.text {
		b.names[s.Value] = symName{s.Name, rank}
	}
}

type symName struct {
	text string
	rank uint8 // the lower the better
}

// inText reports whether va lies in an executable range that the file has bytes for.
func (b *builder) inText(va uint64) bool {
	if va < b.lo || va >= b.hi {
		return false
	}
	i := sort.Search(len(b.text), func(i int) bool { return b.text[i].End > va })
	return i < len(b.text) && va >= b.text[i].Start
}

// textAt returns the executable range that holds va.
func (b *builder) textAt(va uint64) (image.Range, bool) {
	i := sort.Search(len(b.text), func(i int) bool { return b.text[i].End > va })
	if i < len(b.text) && va >= b.text[i].Start {
		return b.text[i], true
	}
	return image.Range{}, false
}

// guessData fills b.hints from whatever looks like `lea disp32(%rip), r64` in the text. Jump tables without a known bound
// would otherwise, as long as no code has been explored, be read into the tables behind them.
func (b *builder) guessData() {
	for _, t := range b.text {
		code := b.code(t)
		for at := 1; ; at++ {
			n := bytes.IndexByte(code[min(at, len(code)):], 0x8d)
			if at += n; n < 0 || at+6 > len(code) {
				break
			}
			if code[at-1]&0xfb == 0x48 && code[at+1]&0xc7 == 0x05 {
				disp := int32(binary.LittleEndian.Uint32(code[at+2:]))
				if va := t.Start + uint64(at) + 6 + uint64(int64(disp)); !b.inText(va) && b.f.Mapped(va) {
					b.hints = append(b.hints, va)
				}
			}
		}
	}
	slices.Sort(b.hints)
}

// fdeOf returns the index of the unwind entry that covers va, or -1.
func (b *builder) fdeOf(va uint64) int {
	i := sort.Search(len(b.fdes), func(i int) bool { return b.fdes[i].Start > va }) - 1
	if i >= 0 && va < b.fdes[i].End {
		return i
	}
	return -1
}

// extent decides which addresses belong to the function at entry: its unwind entry with the parts merged into it, else its
// symbol's size, else what lies between the neighbouring entries.
func (b *builder) extentOf(entry uint64) (ranges []image.Range, fde int) {
	fde = b.fdeOf(entry)
	text, ok := b.textAt(entry)
	if !ok {
		return nil, fde
	}
	if fde >= 0 {
		r := b.fdes[fde].Range
		if b.plt[fde] {
			r.Start, r.End = entry, b.nextStrong(entry, r.End)
			return []image.Range{r}, fde
		}
		return append(append(ranges, r), b.parts[fde]...), fde
	}
	start := entry
	if b.origin[entry]&^FromTail == 0 {
		// Reached by jumps alone: a label of the code around it.
		start = b.strongBefore(entry, text.Start)
	}
	return []image.Range{b.gap(start, entry, text.End)}, -1
}

// gap returns the range from start, outside all unwind entries, that ends with the size of the symbol there or before
// the next entry; it holds va.
func (b *builder) gap(start, va, end uint64) image.Range {
	if i := sort.Search(len(b.fdes), func(i int) bool { return b.fdes[i].Start > va }); i < len(b.fdes) {
		end = min(end, b.fdes[i].Start)
	}
	if size := b.symSize[start]; size > 0 && start+size > va {
		return image.Range{Start: start, End: min(end, start+size)}
	}
	return image.Range{Start: start, End: b.nextStrong(va, end)}
}

// nextStrong returns the first entry behind va that starts a function for reasons of its own, at most end.
func (b *builder) nextStrong(va, end uint64) uint64 {
	i := sort.Search(len(b.strong), func(i int) bool { return b.strong[i] > va })
	if i < len(b.strong) {
		return min(end, b.strong[i])
	}
	return end
}

// strongBefore returns the last such entry before va that no unwind entry lies behind, at least start.
func (b *builder) strongBefore(va, start uint64) uint64 {
	if i := sort.Search(len(b.fdes), func(i int) bool { return b.fdes[i].Start > va }) - 1; i >= 0 {
		start = max(start, b.fdes[i].End)
	}
	i := sort.Search(len(b.strong), func(i int) bool { return b.strong[i] > va }) - 1
	if i >= 0 {
		start = max(start, b.strong[i])
	}
	return min(start, va)
}
