package elfwrite

import (
	"bytes"
	"errors"
	"fmt"

	"syspart/internal/image"
)

// Same reports whether a program or library has in memory what it should have: the contents of another file, of which it may
// be what strip or objcopy leaves. Headers, numbers of sections in symbols, and what is not loaded may differ. The error wraps ErrVerify and names the first
// difference.
func Same(name string, have, want []byte) error {
	differs := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", name, ErrVerify, fmt.Sprintf(format, args...))
	}
	a, err := image.Parse(name, have)
	if err != nil {
		return errors.Join(ErrVerify, err)
	}
	b, err := image.Parse(name, want)
	if err != nil {
		return err
	}
	switch {
	case a.Kind != b.Kind || a.Interp != b.Interp:
		return differs("kind of file")
	case a.Entry != b.Entry:
		return differs("entry point")
	case a.BuildID != b.BuildID:
		return differs("build-id")
	case len(a.Segments) != len(b.Segments):
		return differs("%d segments, not %d", len(a.Segments), len(b.Segments))
	}
	for i := range b.Segments {
		p, q := &a.Segments[i], &b.Segments[i]
		if p.Range != q.Range || p.FileSize != q.FileSize || p.Exec != q.Exec || p.Write != q.Write {
			return differs("segment at %#x", q.Start)
		}
		x, ok1 := a.Bytes(p.Start, p.FileSize)
		y, ok2 := b.Bytes(q.Start, q.FileSize)
		if !ok1 || !ok2 {
			return differs("segment at %#x", q.Start)
		}
		x, y = bytes.Clone(x), bytes.Clone(y)
		blank(x, p.Off, have)
		blank(y, q.Off, want)
		blankSections(x, p.Start, a)
		blankSections(y, q.Start, b)
		for k := range y {
			if x[k] != y[k] {
				return differs("byte at %#x", q.Start+uint64(k))
			}
		}
	}
	return nil
}

// blank clears the ELF header and the program headers in file contents from an offset on.
func blank(b []byte, off uint64, file []byte) {
	start := le.Uint64(file[offPhoff:])
	for _, r := range [][2]uint64{{0, ehdrSize}, {start, start + uint64(le.Uint16(file[offPhnum:]))*phdrSize}} {
		for at := max(r[0], off); at < min(r[1], off+uint64(len(b))); at++ {
			b[at-off] = 0
		}
	}
}

// blankSections sets the section's number of each defined symbol to 1 in contents that lie at an address.
func blankSections(b []byte, va uint64, f *image.File) {
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Type == shtDynsym {
			for at := s.Start; at+symSize <= s.End; at += symSize {
				if off := at + symShndx - va; at >= va && off+2 <= uint64(len(b)) && le.Uint16(b[off:]) != 0 {
					le.PutUint16(b[off:], 1)
				}
			}
		}
	}
}
