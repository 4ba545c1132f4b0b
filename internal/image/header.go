package image

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
)

// checkHeader decides from the first bytes of a file what it is; it adds the name to its errors.
func checkHeader(name string, head []byte) error {
	if len(head) > 2 && head[0] == '#' && head[1] == '!' {
		return scriptError(name, head)
	}
	if err := checkIdent(head); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// checkIdent accepts the header of an ELF program or library for x86-64.
func checkIdent(head []byte) error {
	if len(head) < 4 || string(head[:4]) != "\x7fELF" {
		return ErrNotELF
	}
	if len(head) < 20 {
		return truncated("ELF header ends after %d bytes", len(head))
	}
	const class64, little = 2, 1
	class, order := head[4], head[5]
	if (class != 1 && class != class64) || (order != little && order != 2) {
		return malformed("ELF header: class %d, data encoding %d", class, order)
	}
	machine := le.Uint16(head[18:])
	if order != little {
		machine = machine<<8 | machine>>8
	}
	if class != class64 || order != little || machine != 62 {
		what := machines[machine]
		if what == "" {
			what = fmt.Sprintf("machine %d", machine)
		}
		bits := "64-bit"
		if class != class64 {
			bits = "32-bit"
		}
		if order != little {
			bits += ", big-endian"
		}
		if machine == 62 && class != class64 {
			bits += " (x32)"
		}
		return fmt.Errorf("%w: %s, %s", ErrArch, what, bits)
	}
	if len(head) < ehdrSize {
		return truncated("ELF header ends after %d bytes", len(head))
	}
	switch t := le.Uint16(head[16:]); t {
	case etExec, etDyn:
	case etRel:
		return malformed("a relocatable object, neither program nor library")
	case etCore:
		return malformed("a core dump, neither program nor library")
	default:
		return malformed("type %d, neither program nor library", t)
	}
	if v := le.Uint32(head[20:]); head[6] != 1 || v != 1 {
		return malformed("ELF version %d/%d", head[6], v)
	}
	return nil
}

// table returns count entries of size bytes at file offset off.
func (f *File) table(what string, off, size, count uint64) ([]byte, error) {
	total := uint64(len(f.data))
	if off > total || count > (total-off)/size {
		return nil, truncated("%s: %d entries of %d bytes at %#x, file has %#x bytes", what, count, size, off, total)
	}
	return f.data[off : off+count*size : off+count*size], nil
}

// beyond reports whether a range of the file lies, in part, behind the beginning that was read (Segments).
func (f *File) beyond(off, size uint64) bool {
	have := uint64(len(f.data))
	return have < uint64(f.Size) && (off > have || size > have-off)
}

// parseProgramHeaders fills Entry, Segments, Interp, TLS, Relro and BuildID, and returns the address of PT_DYNAMIC, 0 if
// there is none. It demands what the kernel and the loader do (fs/binfmt_elf.c, glibc's elf/dl-load.c): at most 64 KiB
// of program headers, file offsets congruent with addresses, and disjoint segments.
func (f *File) parseProgramHeaders() (dynamic uint64, err error) {
	f.Entry = le.Uint64(f.data[24:])
	phoff, phentsize, phnum := le.Uint64(f.data[32:]), le.Uint16(f.data[54:]), le.Uint16(f.data[56:])
	if phnum == 0 {
		return 0, malformed("no program headers")
	}
	if phentsize != phdrSize || int(phnum)*phdrSize > 1<<16 {
		return 0, malformed("%d program headers of %d bytes", phnum, phentsize)
	}
	ph, err := f.table("program headers", phoff, phdrSize, uint64(phnum))
	if err != nil {
		return 0, err
	}
	var inFile uint64
	for i := range int(phnum) {
		p := ph[i*phdrSize:]
		typ, flags := le.Uint32(p), le.Uint32(p[4:])
		off, va, filesz, memsz := le.Uint64(p[8:]), le.Uint64(p[16:]), le.Uint64(p[32:]), le.Uint64(p[40:])
		switch typ {
		case ptLoad, ptDynamic, ptInterp, ptTLS, ptGNUEhFrame, ptGNURelro:
			if va+memsz < va {
				return 0, malformed("program header %d: %#x bytes at address %#x", i, memsz, va)
			}
		}
		switch typ {
		case ptLoad:
			if memsz == 0 {
				continue
			}
			if filesz > memsz {
				return 0, malformed("program header %d: %#x bytes of the file for %#x bytes of memory", i, filesz, memsz)
			}
			if (va-off)%4096 != 0 && filesz > 0 {
				return 0, malformed("program header %d: offset %#x does not fit address %#x", i, off, va)
			}
			if size := uint64(f.Size); off > size || filesz > size-off {
				return 0, truncated("program header %d: %#x bytes at %#x, file has %#x bytes", i, filesz, off, size)
			}
			inFile += filesz
			f.Segments = append(f.Segments, Segment{
				Range: Range{va, va + memsz}, Off: off, FileSize: filesz, Exec: flags&pfX != 0, Write: flags&pfW != 0,
			})
		case ptDynamic:
			dynamic = va
		case ptInterp:
			if f.Interp != "" || f.beyond(off, filesz) {
				continue
			}
			b, err := f.table("PT_INTERP", off, 1, filesz)
			if err != nil {
				return 0, err
			}
			n := bytes.IndexByte(b, 0)
			if n < 1 || n > 4096 {
				return 0, malformed("PT_INTERP: no path in %d bytes", filesz)
			}
			f.Interp = string(b[:n])
		case ptNote:
			if f.beyond(off, filesz) {
				continue
			}
			b, err := f.table("PT_NOTE", off, 1, filesz)
			if err != nil {
				return 0, err
			}
			f.findBuildID(b, le.Uint64(p[48:]))
		case ptTLS:
			f.TLS = Range{va, va + memsz}
		case ptGNURelro:
			f.Relro = Range{va, va + memsz}
		case ptGNUEhFrame:
			f.ehFrameHdr = va
		}
	}
	if len(f.Segments) == 0 {
		return 0, malformed("no loadable segment")
	}
	slices.SortStableFunc(f.Segments, func(a, b Segment) int { return cmp.Compare(a.Start, b.Start) })
	for i := 1; i < len(f.Segments); i++ {
		if a, b := &f.Segments[i-1], &f.Segments[i]; b.Start < a.End {
			return 0, malformed("segments at %#x and %#x overlap", a.Start, b.Start)
		}
	}
	// Segments that show the same bytes again and again would multiply the work of every reader.
	if inFile > 2*uint64(f.Size) {
		return 0, malformed("segments have %#x bytes in a file of %#x", inFile, f.Size)
	}
	return dynamic, nil
}

// findBuildID sets BuildID, unless it is known, to the contents of the NT_GNU_BUILD_ID note in b, as hexadecimal digits.
// Names and contents are padded to align, which is 8 or else 4. A note that does not fit ends the search, and so does
// having searched twice the file's size: notes steer nothing.
func (f *File) findBuildID(b []byte, align uint64) {
	f.notes += len(b)
	if f.BuildID != "" || f.notes > 2*len(f.data) {
		return
	}
	if align != 8 {
		align = 4
	}
	pad := func(n uint64) uint64 { return (n + align - 1) &^ (align - 1) }
	for len(b) >= 12 {
		namesz, descsz, typ := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		descOff := pad(12 + namesz)
		if descOff+descsz > uint64(len(b)) {
			return
		}
		desc := b[descOff : descOff+descsz]
		if typ == ntGNUBuildID && namesz == 4 && string(b[12:16]) == "GNU\x00" && len(desc) <= 1024 {
			f.BuildID = hex.EncodeToString(desc)
			return
		}
		b = b[min(pad(descOff+descsz), uint64(len(b))):]
	}
}
