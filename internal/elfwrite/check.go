package elfwrite

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"syspart/internal/image"
)

// check reads a built file again and compares it with the old one: its bytes, and then what it says of itself.
func (w *Writer) check(out []byte) error {
	if err := w.checkBytes(out); err != nil {
		return err
	}
	return w.checkMeaning(out)
}

func differs(what string) error { return fmt.Errorf("%w: %s", ErrVerify, what) }

// checkMeaning compares what an output says of itself with what it should say. Its bytes have been compared.
func (w *Writer) checkMeaning(out []byte) error {
	img, err := image.Parse(w.name, out)
	if err != nil {
		return w.blame(out, errors.Join(ErrVerify, err), "what it says of itself", func(*image.File) bool { return true })
	}
	if err := w.checkPlaces(img); err != nil {
		return err
	}
	if what := w.misstated(img); what != "" {
		return w.blame(out, differs(what), what, func(f *image.File) bool { return w.misstated(f) == "" })
	}
	return w.checkFrames(out, img)
}

// checkPlaces compares segments and sections, and the contents of the new segment.
func (w *Writer) checkPlaces(img *image.File) error {
	old := w.img
	switch n := len(old.Segments); {
	case len(img.Segments) != n+1 || !slices.Equal(img.Segments[:n], old.Segments):
		return differs("segments")
	case !img.Segments[n].Exec || img.Segments[n].Write:
		return differs("new segment's permissions")
	case w.where == placeMoved && img.Segments[n].Start-img.Segments[n].Off != img.Segments[0].Start-img.Segments[0].Off:
		return differs("distance of the moved program headers from their file offset")
	case len(img.Sections) < len(old.Sections):
		return differs("sections")
	}
	strings := w.stringsSection()
	for i, s := range old.Sections {
		if i == strings {
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
	if w.dynamic != nil {
		if b, ok := img.Bytes(w.stringsAt(), uint64(len(w.dynamic.strings))); !ok || !bytes.Equal(b, w.dynamic.strings) {
			return differs("dynamic strings")
		}
	}
	return nil
}

// misstated names what a file says of itself otherwise than the output should, "" if there is nothing.
func (w *Writer) misstated(f *image.File) string {
	old := w.img
	switch {
	case f.Kind != old.Kind || f.Static != old.Static || f.Interp != old.Interp:
		return "kind of file"
	case f.Entry != w.entry:
		return "entry point"
	case f.BuildID != old.BuildID:
		return "build-id"
	case f.TLS != old.TLS || f.Relro != old.Relro:
		return "TLS or RELRO"
	case !slices.Equal(f.Symtab, old.Symtab):
		return "symbols"
	case !w.patchesDynamic() && !reflect.DeepEqual(f.Dyn, w.means()):
		return "dynamic section"
	}
	return ""
}

// blame tells a defect of the output, which is what found says, from a file that cannot be rewritten because something in it
// reads the bytes of headers, or addresses that only the new segment has. What the output has in memory is known to be right;
// so with other headers than the output's, and without the patches, it says what it should, unless it is such a file.
func (w *Writer) blame(out []byte, found error, what string, right func(*image.File) bool) error {
	if img, err := image.Parse(w.name, w.reheaded(out)); err == nil && right(img) {
		return found
	}
	return refused("%s: depends on the file's own headers, which have to change, or on addresses behind its last segment", what)
}

// reheaded is a file that has in memory what the output has there but for patches, with headers in front of it: the old ones
// and one for the new segment.
func (w *Writer) reheaded(out []byte) []byte {
	size := uint64(len(out)) - w.segOff
	ph := append(slices.Clone(w.ph), phdr{ptLoad, pfR | pfX, w.segOff, w.segVA, w.segVA, size, size, pageSize})
	b := slices.Clone(w.old[:ehdrSize])
	le.PutUint64(b[offEntry:], w.entry)
	le.PutUint64(b[offPhoff:], ehdrSize)
	le.PutUint16(b[offPhnum:], uint16(len(ph)))
	shoff := ehdrSize + uint64(len(ph))*phdrSize
	if len(w.sh) > 0 {
		le.PutUint64(b[offShoff:], shoff)
	}
	by := alignUp(shoff+uint64(len(w.sh))*shdrSize, pageSize)
	for _, p := range ph {
		p.off += by
		b = p.append(b)
	}
	for _, s := range w.sh {
		s.off += by
		b = s.append(b)
	}
	b = append(pad(b, by), out...)
	for _, p := range w.patches {
		off, _ := w.offset(p.Addr)
		copy(b[by+off:], p.Old)
	}
	return b
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
func (w *Writer) checkFrames(out []byte, img *image.File) error {
	old, err := frameRanges(w.img)
	if err != nil {
		return nil // was unreadable and has not changed
	}
	want := old
	if w.frameTable() != nil {
		for _, f := range w.frames {
			want = append(want, image.Range{Start: f.Start, End: f.Start + f.Size})
		}
	}
	have, err := frameRanges(img)
	if err == nil && slices.Equal(have, want) {
		return nil
	}
	return w.blame(out, errors.Join(differs("unwind entries"), err), "unwind entries", func(f *image.File) bool {
		have, err := frameRanges(f)
		return err == nil && slices.Equal(have, old)
	})
}

// frameRanges are the ranges of code for which a file has unwind entries.
func frameRanges(f *image.File) ([]image.Range, error) {
	frames, err := f.Frames()
	if err != nil || frames == nil {
		return nil, err
	}
	out := make([]image.Range, len(frames.FDEs))
	for i := range frames.FDEs {
		out[i] = frames.FDEs[i].Range
	}
	return out[:len(out):len(out)], nil
}
