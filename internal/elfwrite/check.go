package elfwrite

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"syspart/internal/image"
)

// check reads a built file again and compares it with the old one.
func (w *Writer) check(out []byte) error {
	if err := w.checkBytes(out); err != nil {
		return err
	}
	img, err := image.Parse(w.name, out)
	if err != nil {
		return errors.Join(ErrVerify, err)
	}
	old := w.img
	differs := func(what string) error { return fmt.Errorf("%w: %s", ErrVerify, what) }
	switch n := len(old.Segments); {
	case img.Kind != old.Kind || img.Static != old.Static || img.Interp != old.Interp:
		return differs("kind of file")
	case img.Entry != w.entry:
		return differs("entry point")
	case img.BuildID != old.BuildID:
		return differs("build-id")
	case img.TLS != old.TLS || img.Relro != old.Relro:
		return differs("TLS or RELRO")
	case !slices.Equal(img.Symtab, old.Symtab):
		return differs("symbols")
	case !w.patchesDynamic() && !reflect.DeepEqual(img.Dyn, w.means()):
		if w.dynamic == nil { // not a byte of what it refers to was meant to change
			return refused("its dynamic section refers to headers, which have to change")
		}
		return differs("dynamic section")
	case len(img.Segments) != n+1 || !slices.Equal(img.Segments[:n], old.Segments):
		return differs("segments")
	case !img.Segments[n].Exec || img.Segments[n].Write:
		return differs("new segment's permissions")
	case w.where == placeMoved && img.Segments[n].Start-img.Segments[n].Off != img.Segments[0].Start-img.Segments[0].Off:
		return differs("distance of the moved program headers from their file offset")
	case len(img.Sections) < len(old.Sections):
		return differs("sections")
	}
	for i, s := range old.Sections {
		if w.dynamic != nil && s.Start == w.dynamic.strtab && s.Type == shtStrtab && s.End > s.Start {
			s.Start = w.stringsAt()
			s.End = s.Start + uint64(len(w.dynamic.strings))
		}
		if img.Sections[i] != s {
			return differs("section " + s.Name)
		}
	}
	if b, ok := img.Bytes(w.Base(), uint64(len(w.code))); !ok || !bytes.Equal(b, w.code) {
		return differs("new code")
	}
	return w.checkFrames(img)
}

// means is what the dynamic section should say.
func (w *Writer) means() image.Dynamic {
	if w.dynamic == nil {
		return w.img.Dyn
	}
	return w.dynamic.means(w.img.Dyn)
}

// stringsAt is the address of the copied strings.
func (w *Writer) stringsAt() uint64 { return w.Base() + uint64(len(w.code)) }

// patchesDynamic reports whether a patch is in writable data, which the loader's tables are part of.
func (w *Writer) patchesDynamic() bool {
	return slices.ContainsFunc(w.patches, func(p Patch) bool { return w.img.Write(p.Addr) })
}

// checkBytes compares every byte of the old file.
func (w *Writer) checkBytes(out []byte) error {
	if len(out) < len(w.old) {
		return fmt.Errorf("%w: shorter than the old file", ErrVerify)
	}
	want := slices.Clone(w.old)
	keep := func(off, n uint64) { copy(want[off:off+n], out[off:]) }
	keep(offEntry, 24) // entry, program headers, section headers
	keep(offPhnum, 8)  // numbers of both, section names
	start, end := w.table()
	switch w.where {
	case placeRoom:
		keep(start, end+phdrSize-start)
	case placeMoved: // the old table is left
	default:
		keep(start, end-start)
	}
	for _, p := range w.patches {
		off, _ := w.offset(p.Addr)
		copy(want[off:], p.New)
	}
	if w.dynamic != nil {
		for _, e := range w.dynamic.edits(w.stringsAt()) {
			off, _ := w.offset(e.Addr)
			copy(want[off:], e.New)
		}
	}
	if !bytes.Equal(want, out[:len(want)]) {
		for i := range want {
			if want[i] != out[i] {
				return fmt.Errorf("%w: byte %#x", ErrVerify, i)
			}
		}
	}
	if le.Uint16(out[offStr:]) != le.Uint16(w.old[offStr:]) || le.Uint16(out[offShentsz:]) != le.Uint16(w.old[offShentsz:]) {
		return fmt.Errorf("%w: ELF header", ErrVerify)
	}
	// The headers are compared by meaning: all old ones but the replaced one, and one new one.
	var have []phdr
	phoff := le.Uint64(out[offPhoff:])
	for i := range uint64(le.Uint16(out[offPhnum:])) {
		if !inFile(phoff+i*phdrSize, phdrSize, uint64(len(out))) {
			return fmt.Errorf("%w: program headers", ErrVerify)
		}
		p := readPhdr(out[phoff+i*phdrSize:])
		if p.typ != ptPhdr && p.typ != ptGNUEhFrame && (p.typ != ptLoad || p.va != w.segVA || p.off != w.segOff) {
			have = append(have, p)
		}
	}
	var old []phdr
	for i, p := range w.ph {
		if p.typ != ptPhdr && p.typ != ptGNUEhFrame && i != w.slot {
			old = append(old, p)
		}
	}
	if !slices.Equal(have, old) {
		return fmt.Errorf("%w: program headers", ErrVerify)
	}
	return nil
}

// checkFrames compares what unwinders find: all old entries and the new ones.
func (w *Writer) checkFrames(img *image.File) error {
	before, err := w.img.Frames()
	if err != nil {
		return nil // was unreadable and has not changed
	}
	after, err := img.Frames()
	if err != nil {
		return errors.Join(ErrVerify, err)
	}
	var old, have []image.Range
	if before != nil {
		for i := range before.FDEs {
			old = append(old, before.FDEs[i].Range)
		}
	}
	if w.frameTable() != nil {
		for _, f := range w.frames {
			old = append(old, image.Range{Start: f.Start, End: f.Start + f.Size})
		}
	}
	if after != nil {
		for i := range after.FDEs {
			have = append(have, after.FDEs[i].Range)
		}
	}
	if !slices.Equal(have, old) {
		return fmt.Errorf("%w: unwind entries", ErrVerify)
	}
	return nil
}
