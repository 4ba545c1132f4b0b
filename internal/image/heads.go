package image

import (
	"errors"
	"fmt"
	"io"
)

// maxTags bounds the bytes of PT_DYNAMIC that Heads reads.
const maxTags = 1 << 16

// Heads parses as much of a file of size bytes as its headers, its dynamic section and the strings of that take, and reads no
// more. The result has Entry, Segments, Interp where it lies at the beginning, and of Dyn the strings and flags; if symbols is
// set also Symbols, without versions: those from DT_SYMTAB to the DT_STRTAB behind it, where linkers put all of them. The name
// appears in errors only, which are those of Parse.
func Heads(name string, r io.ReaderAt, size int64, symbols bool) (*File, error) {
	f := &File{Name: name, Size: size}
	if err := f.heads(r, symbols); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func (f *File) heads(r io.ReaderAt, symbols bool) error {
	var err error
	const beginning = ehdrSize + 1<<16 // see Segments
	if f.data, err = readAt(r, 0, min(uint64(f.Size), beginning)); err != nil {
		return err
	}
	if err := checkIdent(f.data); err != nil {
		return err
	}
	dynamic, err := f.parseProgramHeaders()
	if err != nil || dynamic == 0 {
		return err
	}
	b, err := f.readFrom(r, dynamic, maxTags)
	if err != nil {
		return err
	}
	d, err := tagsIn(b, dynamic)
	if err != nil {
		return err
	}
	f.Dyn.Flags, f.Dyn.Flags1 = d.val[tagFlags], d.val[tagFlags1]
	at, n := d.val[tagStrtab], d.val[tagStrSz]
	if b, err = f.readFrom(r, at, n); err != nil {
		return err
	}
	if uint64(len(b)) < n {
		return truncated("DT_STRTAB: %#x bytes at %#x", n, at)
	}
	names := newStrtab(b)
	if err := f.Dyn.setStrings(d.strings, names); err != nil || !symbols {
		return err
	}
	from := d.val[tagSymtab]
	if from == 0 || from > at {
		return nil
	}
	if b, err = f.readFrom(r, from, at-from); err != nil {
		return err
	}
	f.Dyn.Symbols, err = parseSymbols(b[:len(b)/symSize*symSize], names)
	return err
}

// readFrom reads up to n bytes at va, as many as the file has of its segment.
func (f *File) readFrom(r io.ReaderAt, va, n uint64) ([]byte, error) {
	s := f.segment(va)
	if s == nil || va-s.Start >= s.FileSize {
		return nil, truncated("nothing in the file at %#x", va)
	}
	return readAt(r, s.Off+(va-s.Start), min(n, s.FileSize-(va-s.Start)))
}

// readAt reads n bytes at an offset of a file, less where it ends before.
func readAt(r io.ReaderAt, off, n uint64) ([]byte, error) {
	b := make([]byte, n)
	k, err := r.ReadAt(b, int64(off))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:k], nil
}
