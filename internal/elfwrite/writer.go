package elfwrite

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"syspart/internal/image"
)

// place says where the new segment's program header goes.
type place uint8

const (
	placeNull  place = iota // over a PT_NULL entry
	placeRoom               // behind the table, where there is room
	placeNote               // over a PT_NOTE that says nothing new
	placeMoved              // the table moves into the segment
)

// maxHole is the number of zero bytes that may be put into a file for the sake of kernels before 5.18.
const maxHole = 64 << 20

// Patch changes bytes at an ELF virtual address.
type Patch struct {
	Addr     uint64
	Old, New []byte // of equal length
}

// Frame is call-frame information for a piece of new code.
type Frame struct {
	Start, Size uint64 // of the code: ELF virtual address, bytes
	// Insts are the call-frame instructions. At the start they find the CFA at RSP+8 and the return address at CFA-8; factors
	// are 1 for code and -8 for data.
	Insts []byte
}

// Writer is a file that is being rewritten.
type Writer struct {
	name string
	old  []byte
	img  *image.File
	ph   []phdr
	sh   []shdr
	strs []byte // section names

	where place
	slot  int // entry that is replaced

	segVA, segOff uint64
	entry         uint64
	code          []byte
	frames        []Frame
	patches       []Patch // sorted, disjoint
	dynamic       *dynamic
}

// New prepares the rewriting of a file whose contents are data. The name appears in errors only. Errors wrap ErrRefused or
// are those of image.Parse.
func New(name string, data []byte) (*Writer, error) {
	img, err := image.Parse(name, data)
	if err != nil {
		return nil, err
	}
	w := &Writer{name: name, old: slices.Clone(data), img: img, entry: img.Entry}
	err = w.readHeaders()
	if err == nil {
		err = w.checkTail()
	}
	if err == nil {
		err = w.layout()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return w, nil
}

// Image is the file as it was.
func (w *Writer) Image() *image.File { return w.img }

// Base is the address of the new code's first byte, a multiple of 16. The code may be executed at this address only, plus
// the load bias.
func (w *Writer) Base() uint64 {
	if w.where == placeMoved {
		return alignUp(w.segVA+uint64(len(w.ph)+1)*phdrSize, 64)
	}
	return w.segVA
}

// Moved reports whether the program header table moves: then strip and objcopy cannot rewrite the result.
func (w *Writer) Moved() bool { return w.where == placeMoved }

// SetCode sets the contents of the new segment from Base on: instructions, and data that they only read.
func (w *Writer) SetCode(code []byte) { w.code = slices.Clone(code) }

// SetEntry sets the address at which the program starts.
func (w *Writer) SetEntry(va uint64) { w.entry = va }

// AddFrame adds call-frame information.
func (w *Writer) AddFrame(f Frame) { w.frames = append(w.frames, f) }

// Patch changes bytes. They must be in the file with the old contents and in no other patch. Errors wrap ErrPatch.
func (w *Writer) Patch(p Patch) error {
	have, ok := w.img.Bytes(p.Addr, uint64(len(p.Old)))
	switch {
	case len(p.New) == 0 || len(p.New) != len(p.Old):
		return fmt.Errorf("%s: %w: %d bytes for %d at %#x", w.name, ErrPatch, len(p.New), len(p.Old), p.Addr)
	case !ok:
		return fmt.Errorf("%s: %w: the file has no %d bytes at %#x", w.name, ErrPatch, len(p.Old), p.Addr)
	case !bytes.Equal(have, p.Old):
		return fmt.Errorf("%s: %w: bytes at %#x are % x, not % x", w.name, ErrPatch, p.Addr, have, p.Old)
	}
	at, _ := slices.BinarySearchFunc(w.patches, p.Addr, func(q Patch, va uint64) int { return cmp.Compare(q.Addr, va) })
	if at > 0 && w.patches[at-1].Addr+uint64(len(w.patches[at-1].Old)) > p.Addr ||
		at < len(w.patches) && w.patches[at].Addr < p.Addr+uint64(len(p.Old)) {
		return fmt.Errorf("%s: %w: two patches at %#x", w.name, ErrPatch, p.Addr)
	}
	if off, ok := w.offset(p.Addr); !ok || w.header(off, uint64(len(p.Old))) {
		return fmt.Errorf("%s: %w: %#x is in the file's headers", w.name, ErrPatch, p.Addr)
	}
	w.patches = slices.Insert(w.patches, at, Patch{p.Addr, slices.Clone(p.Old), slices.Clone(p.New)})
	return nil
}

// offset is the file offset of an address.
func (w *Writer) offset(va uint64) (uint64, bool) {
	for _, s := range w.img.Segments {
		if va >= s.Start && va-s.Start < s.FileSize {
			return s.Off + (va - s.Start), true
		}
	}
	return 0, false
}

// header reports whether bytes of the file are part of the ELF header or of the program headers.
func (w *Writer) header(off, n uint64) bool {
	start, end := w.table()
	return off < ehdrSize || off < end+phdrSize && off+n > start
}

// table is the extent of the program headers in the file.
func (w *Writer) table() (start, end uint64) {
	start = le.Uint64(w.old[offPhoff:])
	return start, start + uint64(len(w.ph))*phdrSize
}

// readHeaders reads the program and section headers; image has checked that they are in the file.
func (w *Writer) readHeaders() error {
	b := w.old
	start, n := le.Uint64(b[offPhoff:]), int(le.Uint16(b[offPhnum:]))
	if start < ehdrSize {
		return refused("program headers overlap the ELF header")
	}
	for i := range n {
		w.ph = append(w.ph, readPhdr(b[start+uint64(i)*phdrSize:]))
	}
	if n+1 > (1<<16)/phdrSize-1 {
		return refused("%d program headers", n)
	}
	last := -1
	for i := range w.ph {
		if w.ph[i].typ != ptLoad {
			continue
		}
		if last >= 0 && w.ph[i].va < w.ph[last].va+w.ph[last].msz {
			return refused("PT_LOAD entries are out of order")
		}
		last = i
	}
	if w.count(ptDynamic) > 1 || w.count(ptGNUEhFrame) > 1 {
		return refused("two PT_DYNAMIC or two PT_GNU_EH_FRAME, of which readers take one or the other")
	}
	if w.img.Sections == nil {
		return nil
	}
	shoff, shnum, names := le.Uint64(b[offShoff:]), le.Uint16(b[offShnum:]), le.Uint16(b[offStr:])
	if shnum == 0 || shnum >= 0xff00-8 || names >= 0xff00 {
		return refused("extended numbering of sections")
	}
	for i := range uint64(shnum) {
		w.sh = append(w.sh, readShdr(b[shoff+i*shdrSize:]))
	}
	if names == 0 {
		return refused("sections without names")
	}
	s := &w.sh[names]
	if !inFile(s.off, s.size, uint64(len(b))) || s.size == 0 || s.size > 1<<24 || s.flags&shfAlloc != 0 {
		return refused("unusual table of section names")
	}
	w.strs = b[s.off : s.off+s.size]
	return nil
}

// count is the number of program headers of a type.
func (w *Writer) count(typ uint32) (n int) {
	for i := range w.ph {
		if w.ph[i].typ == typ {
			n++
		}
	}
	return n
}

// checkTail refuses a file with contents behind all that its headers describe.
func (w *Writer) checkTail() error {
	size := uint64(len(w.old))
	_, end := w.table()
	for i := range w.ph {
		if p := &w.ph[i]; p.typ != ptNull && inFile(p.off, p.fsz, size) {
			end = max(end, p.off+p.fsz)
		}
	}
	for i := range w.sh {
		if s := &w.sh[i]; s.typ != shtNull && s.typ != shtNobits && inFile(s.off, s.size, size) {
			end = max(end, s.off+s.size)
		}
	}
	if len(w.sh) > 0 {
		end = max(end, le.Uint64(w.old[offShoff:])+uint64(len(w.sh))*shdrSize)
	}
	if rest := w.old[end:]; len(rest) >= pageSize || !allZero(rest) {
		return refused("%d bytes follow the last structure of the file, which a program may look for at its end", len(rest))
	}
	return nil
}

// layout decides where the program header and the segment go.
func (w *Writer) layout() error {
	w.where, w.slot = w.choose()
	var first, last *phdr
	for i := range w.ph {
		if p := &w.ph[i]; p.typ == ptLoad && p.msz > 0 {
			if first == nil {
				first = p
			}
			last = p
		}
	}
	size := uint64(len(w.old))
	end := last.va + last.msz
	if end > maxVA || first.va < first.off {
		return refused("segments at unusual addresses")
	}
	w.segVA, w.segOff = alignUp(end, pageSize), alignUp(size, pageSize)
	if w.where != placeMoved {
		return nil
	}
	delta := first.va - first.off
	if delta%pageSize != 0 {
		return refused("the first segment's address does not fit its offset")
	}
	w.segVA = max(w.segVA, alignUp(size+delta, pageSize))
	w.segOff = w.segVA - delta
	if w.segOff-size > maxHole {
		return refused("no room for a program header, and %d MiB of bss to bridge for a new table", (w.segOff-size)>>20)
	}
	return nil
}

func (w *Writer) choose() (place, int) {
	for i := range w.ph {
		if w.ph[i].typ == ptNull {
			return placeNull, i
		}
	}
	if w.roomBehindTable() {
		return placeRoom, -1
	}
	for i := range w.ph {
		if w.ph[i].typ != ptNote || !w.propertyNote(&w.ph[i]) {
			continue
		}
		for j := range w.ph {
			if p, q := &w.ph[i], &w.ph[j]; q.typ == ptGNUProperty && q.off == p.off && q.fsz == p.fsz {
				return placeNote, i
			}
		}
	}
	return placeMoved, -1
}

// propertyNote reports whether a PT_NOTE has one note, a GNU property.
func (w *Writer) propertyNote(p *phdr) bool {
	const head, ntGNUProperty = 16, 5 // lengths, type, "GNU"
	if p.fsz < head || !inFile(p.off, p.fsz, uint64(len(w.old))) {
		return false
	}
	b := w.old[p.off:]
	return le.Uint32(b) == 4 && uint64(le.Uint32(b[4:])) == p.fsz-head && le.Uint32(b[8:]) == ntGNUProperty && string(b[12:head]) == "GNU\x00"
}

// roomBehindTable reports whether one more program header fits behind the table. Only section headers tell what is there.
func (w *Writer) roomBehindTable() bool {
	if len(w.sh) == 0 {
		return false
	}
	start, end := w.table()
	want := end + phdrSize
	if !inFile(end, phdrSize, uint64(len(w.old))) || !allZero(w.old[end:want]) {
		return false
	}
	overlaps := func(off, n uint64) bool { return n > 0 && off < want && off+n > end }
	for i := range w.sh {
		if s := &w.sh[i]; s.typ != shtNull && s.typ != shtNobits && overlaps(s.off, s.size) {
			return false
		}
	}
	for i := range w.ph {
		p := &w.ph[i]
		switch {
		case p.typ == ptNull || p.typ == ptPhdr:
		case p.typ == ptLoad && p.off <= start: // holds the table: must hold the longer one too
			if p.off+p.fsz < want && p.off+p.fsz > start {
				return false
			}
		case overlaps(p.off, p.fsz):
			return false
		}
	}
	return !overlaps(le.Uint64(w.old[offShoff:]), uint64(len(w.sh))*shdrSize)
}

// errNoCode is returned by Bytes before SetCode.
var errNoCode = errors.New("no code was set")
