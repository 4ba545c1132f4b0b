package elfwrite

import (
	"fmt"
	"slices"
)

// part is one new piece of the file.
type part struct {
	name  string
	flags uint64
	align uint64
	va    uint64 // 0 if it is not loaded
	data  []byte
	off   uint64
}

// Names of the sections that describe the new parts.
const (
	sectionCode     = ".syspart"
	sectionStrings  = ".dynstr"         // the old one, at another place
	sectionOld      = ".syspart.dynstr" // what lies where it was: strip clears what no section covers
	sectionFrames   = ".syspart.eh_frame"
	sectionTable    = ".syspart.eh_frame_hdr"
	sectionDebugger = ".debug_frame"
)

// Bytes returns the rewritten file. It has been read again: it parses, it says of itself what the old file says, and differs
// from it nowhere but where it should (ErrVerify otherwise).
func (w *Writer) Bytes() ([]byte, error) {
	out, err := w.build()
	if err == nil {
		err = w.check(out)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.name, err)
	}
	return out, nil
}

func (w *Writer) build() ([]byte, error) {
	if len(w.code) == 0 {
		return nil, errNoCode
	}
	if uint64(len(w.code)) > maxHole || w.Base()+uint64(len(w.code)) > maxVA {
		return nil, refused("%d bytes of new code", len(w.code))
	}
	parts, hdr, err := w.loaded()
	if err != nil {
		return nil, err
	}
	last := parts[len(parts)-1]
	segSize := last.va + uint64(len(last.data)) - w.segVA

	out := slices.Clone(w.old)
	for _, p := range w.patches {
		off, _ := w.offset(p.Addr) // Patch has seen it
		copy(out[off:], p.New)
	}
	for i := range parts {
		p := &parts[i]
		if p.name == sectionStrings {
			for _, e := range w.dynamic.edits(p.va) {
				off, ok := w.offset(e.Addr)
				if !ok || w.header(off, uint64(len(e.New))) {
					return nil, refused("the dynamic section is not in the file")
				}
				copy(out[off:], e.New)
			}
		}
		p.off = w.segOff + (p.va - w.segVA)
		out = append(pad(out, p.off), p.data...)
	}
	w.putProgramHeaders(out, segSize, hdr)
	le.PutUint64(out[offEntry:], w.entry)
	if len(w.sh) == 0 {
		return out, nil
	}
	if debug := w.debugFrames(); debug != nil && !w.hasSection(sectionDebugger) {
		p := part{name: sectionDebugger, align: 8, data: debug, off: alignUp(uint64(len(out)), 8)}
		out = append(pad(out, p.off), p.data...)
		parts = append(parts, p)
	}
	return w.appendSections(out, parts), nil
}

// loaded returns the parts of the segment in the order of their addresses, and the one that PT_GNU_EH_FRAME is to name, nil
// if it stays.
func (w *Writer) loaded() (parts []part, hdr *part, err error) {
	parts = []part{{name: sectionCode, flags: shfAlloc | shfExec, align: 16, va: w.Base(), data: w.code}}
	end := w.Base() + uint64(len(w.code))
	if w.dynamic != nil {
		parts = append(parts, part{name: sectionStrings, flags: shfAlloc, align: 1, va: end, data: w.dynamic.strings})
		end += uint64(len(w.dynamic.strings))
	}
	old := w.frameTable()
	if len(w.frames) == 0 || old == nil {
		return parts, nil, nil
	}
	frames := part{name: sectionFrames, flags: shfAlloc, align: 8, va: alignUp(end, 8)}
	var fdes []uint64
	frames.data, fdes, err = w.ehFrames(frames.va)
	if err != nil {
		return nil, nil, err
	}
	table := part{name: sectionTable, flags: shfAlloc, align: 4, va: alignUp(frames.va+uint64(len(frames.data)), 4)}
	if table.data, err = w.newTable(table.va, old, fdes); err != nil {
		return nil, nil, err
	}
	return append(parts, frames, table), &table, nil
}

// pad appends zeros up to an offset.
func pad(b []byte, off uint64) []byte {
	return append(b, make([]byte, off-uint64(len(b)))...)
}

// putProgramHeaders writes the new table to its place in out; hdr is the new table of frames, if there is one.
func (w *Writer) putProgramHeaders(out []byte, segSize uint64, hdr *part) {
	ph := slices.Clone(w.ph)
	if w.slot >= 0 {
		ph = slices.Delete(ph, w.slot, w.slot+1)
	}
	at := 0
	for i := range ph {
		if ph[i].typ == ptLoad {
			at = i + 1
		}
	}
	ph = slices.Insert(ph, at, phdr{ptLoad, pfR | pfX, w.segOff, w.segVA, w.segVA, segSize, segSize, pageSize})
	start, _ := w.table()
	if w.where == placeMoved {
		start = w.segOff
		le.PutUint64(out[offPhoff:], start)
	}
	le.PutUint16(out[offPhnum:], uint16(len(ph)))
	b := out[start:start:len(out)]
	for i := range ph {
		p := &ph[i]
		switch {
		case p.typ == ptPhdr:
			p.fsz = uint64(len(ph)) * phdrSize
			p.msz = p.fsz
			if w.where == placeMoved {
				p.off, p.va, p.pa = w.segOff, w.segVA, w.segVA
			}
		case p.typ == ptGNUEhFrame && hdr != nil:
			n := uint64(len(hdr.data))
			p.off, p.va, p.pa, p.fsz, p.msz = w.segOff+(hdr.va-w.segVA), hdr.va, hdr.va, n, n
		}
		b = p.append(b)
	}
}

func (w *Writer) hasSection(name string) bool {
	for i := range w.img.Sections {
		if w.img.Sections[i].Name == name {
			return true
		}
	}
	return false
}

// stringsSection is the number of the section that describes the old strings, -1 if no strings change or none does.
func (w *Writer) stringsSection() int {
	if w.dynamic == nil {
		return -1
	}
	return slices.IndexFunc(w.sh, func(s shdr) bool {
		return s.va == w.dynamic.strtab && s.typ == shtStrtab && s.flags&shfAlloc != 0 && s.size > 0
	})
}

// appendSections appends the names and headers of all sections, old ones first.
func (w *Writer) appendSections(out []byte, parts []part) []byte {
	sh := slices.Clone(w.sh)
	names := slices.Clone(w.strs)
	for _, p := range parts {
		if i := w.stringsSection(); i >= 0 && p.name == sectionStrings {
			old := sh[i]
			sh[i].va, sh[i].off, sh[i].size = p.va, p.off, uint64(len(p.data))
			old.name, old.typ = uint32(len(names)), shtProgbits
			sh = append(sh, old)
			names = append(append(names, sectionOld...), 0)
			continue
		}
		sh = append(sh, shdr{name: uint32(len(names)), typ: shtProgbits, flags: p.flags, va: p.va, off: p.off,
			size: uint64(len(p.data)), align: p.align})
		names = append(append(names, p.name...), 0)
	}
	s := &sh[le.Uint16(out[offStr:])]
	s.off, s.size = uint64(len(out)), uint64(len(names))
	out = append(out, names...)
	out = pad(out, alignUp(uint64(len(out)), 8))
	le.PutUint64(out[offShoff:], uint64(len(out)))
	le.PutUint16(out[offShnum:], uint16(len(sh)))
	for i := range sh {
		out = sh[i].append(out)
	}
	return out
}
