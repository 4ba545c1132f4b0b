package image

import "fmt"

// maxSections is more than linkers ever leave in a program or library; only objects have section numbers above 16 bits.
const maxSections = 1 << 16

// sectionHeader is a section header as the file has it.
type sectionHeader struct {
	name, typ       uint32
	flags, va       uint64
	off, size       uint64
	link            uint32
	align, entrySze uint64
}

func parseSectionHeader(b []byte) sectionHeader {
	return sectionHeader{
		name: le.Uint32(b), typ: le.Uint32(b[4:]), flags: le.Uint64(b[8:]), va: le.Uint64(b[16:]),
		off: le.Uint64(b[24:]), size: le.Uint64(b[32:]), link: le.Uint32(b[40:]), align: le.Uint64(b[48:]),
		entrySze: le.Uint64(b[56:]),
	}
}

// parseSections fills Sections and Symtab, and BuildID if no PT_NOTE had it. A file without section headers is fine; one
// whose headers lie behind its end is truncated.
func (f *File) parseSections() error {
	shoff, shentsize := le.Uint64(f.data[40:]), le.Uint16(f.data[58:])
	shnum, shstrndx := uint64(le.Uint16(f.data[60:])), uint32(le.Uint16(f.data[62:]))
	if shoff == 0 {
		return nil
	}
	if shentsize != shdrSize {
		if shnum == 0 {
			return nil
		}
		return malformed("section headers of %d bytes", shentsize)
	}
	if shnum == 0 || shstrndx == shnXindex {
		// Numbers that do not fit the ELF header are in section 0 (gABI, "Section Header").
		b, err := f.table("section headers", shoff, shdrSize, 1)
		if err != nil {
			return err
		}
		h := parseSectionHeader(b)
		if shnum == 0 {
			shnum = h.size
		}
		if shstrndx == shnXindex {
			shstrndx = h.link
		}
	}
	if shnum > maxSections {
		return malformed("%d section headers", shnum)
	}
	tab, err := f.table("section headers", shoff, shdrSize, shnum)
	if err != nil || shnum == 0 {
		return err
	}
	names := newStrtab(nil)
	if shstrndx != 0 {
		if names, err = f.sectionStrings(tab, shstrndx); err != nil {
			return fmt.Errorf("section names: %w", err)
		}
	}
	f.Sections = make([]Section, shnum)
	for i := range f.Sections {
		h := parseSectionHeader(tab[i*shdrSize:])
		s := &f.Sections[i]
		s.Type, s.Flags = h.typ, h.flags
		if s.Name, err = names.at(h.name); err != nil && shstrndx != 0 {
			return fmt.Errorf("section %d: name: %w", i, err)
		}
		if h.flags&shfAlloc != 0 {
			if h.va+h.size < h.va {
				return malformed("section %d (%s): %#x bytes at address %#x", i, s.Name, h.size, h.va)
			}
			s.Range = Range{h.va, h.va + h.size}
		}
		switch h.typ {
		case shtSymtab:
			if f.Symtab == nil {
				if f.Symtab, err = f.parseSymtab(tab, &h); err != nil {
					return fmt.Errorf("section %d (%s): %w", i, s.Name, err)
				}
			}
		case shtNote:
			if b, err := f.table(s.Name, h.off, 1, h.size); err == nil {
				f.findBuildID(b, h.align)
			}
		}
	}
	if f.Symtab == nil {
		return f.debugSection(tab)
	}
	return nil
}

// sectionStrings returns the string table that is section number i of the section headers tab.
func (f *File) sectionStrings(tab []byte, i uint32) (*strtab, error) {
	if uint64(i) >= uint64(len(tab)/shdrSize) {
		return nil, malformed("string table is section %d of %d", i, len(tab)/shdrSize)
	}
	h := parseSectionHeader(tab[int(i)*shdrSize:])
	if h.typ != shtStrtab {
		return nil, malformed("section %d is no string table", i)
	}
	b, err := f.table(fmt.Sprintf("section %d", i), h.off, 1, h.size)
	if err != nil {
		return nil, err
	}
	return newStrtab(b), nil
}

func (f *File) parseSymtab(tab []byte, h *sectionHeader) ([]Symbol, error) {
	if h.entrySze != symSize {
		return nil, malformed("symbols of %d bytes", h.entrySze)
	}
	b, err := f.table("symbols", h.off, symSize, h.size/symSize)
	if err != nil {
		return nil, err
	}
	names, err := f.sectionStrings(tab, h.link)
	if err != nil {
		return nil, err
	}
	syms, err := parseSymbols(b, names)
	if err != nil {
		return nil, err
	}
	for i := range syms {
		splitVersion(&syms[i])
	}
	return syms, nil
}
