package image

import (
	"fmt"
)

// tag indexes the entries of PT_DYNAMIC that this package looks at one value of.
type tag uint8

const (
	tagStrtab tag = iota
	tagStrSz
	tagSymtab
	tagSymEnt
	tagHash
	tagGNUHash
	tagRela
	tagRelaSz
	tagRelaEnt
	tagJmpRel
	tagPLTRelSz
	tagPLTRel
	tagRelr
	tagRelrSz
	tagRelrEnt
	tagPLTGOT
	tagInit
	tagFini
	tagPreinitArray
	tagPreinitSz
	tagInitArray
	tagInitArraySz
	tagFiniArray
	tagFiniArraySz
	tagFlags
	tagFlags1
	tagVersym
	tagVerdef
	tagVerdefNum
	tagVerneed
	tagVerneedNum
	tagCount
)

// addressTags are those whose value is the address of a table; they bound tables whose length is not stated.
var addressTags = [...]tag{
	tagStrtab, tagHash, tagGNUHash, tagRela, tagJmpRel, tagRelr, tagPLTGOT, tagInit, tagFini, tagPreinitArray,
	tagInitArray, tagFiniArray, tagVersym, tagVerdef, tagVerneed,
}

func tagOf(dt uint64) (tag, bool) {
	switch dt {
	case dtStrtab:
		return tagStrtab, true
	case dtStrSz:
		return tagStrSz, true
	case dtSymtab:
		return tagSymtab, true
	case dtSymEnt:
		return tagSymEnt, true
	case dtHash:
		return tagHash, true
	case dtGNUHash:
		return tagGNUHash, true
	case dtRela:
		return tagRela, true
	case dtRelaSz:
		return tagRelaSz, true
	case dtRelaEnt:
		return tagRelaEnt, true
	case dtJmpRel:
		return tagJmpRel, true
	case dtPLTRelSz:
		return tagPLTRelSz, true
	case dtPLTRel:
		return tagPLTRel, true
	case dtRelr:
		return tagRelr, true
	case dtRelrSz:
		return tagRelrSz, true
	case dtRelrEnt:
		return tagRelrEnt, true
	case dtPLTGOT:
		return tagPLTGOT, true
	case dtInit:
		return tagInit, true
	case dtFini:
		return tagFini, true
	case dtPreinitArray:
		return tagPreinitArray, true
	case dtPreinitSz:
		return tagPreinitSz, true
	case dtInitArray:
		return tagInitArray, true
	case dtInitArraySz:
		return tagInitArraySz, true
	case dtFiniArray:
		return tagFiniArray, true
	case dtFiniArraySz:
		return tagFiniArraySz, true
	case dtFlags:
		return tagFlags, true
	case dtFlags1:
		return tagFlags1, true
	case dtVersym:
		return tagVersym, true
	case dtVerdef:
		return tagVerdef, true
	case dtVerdefNum:
		return tagVerdefNum, true
	case dtVerneed:
		return tagVerneed, true
	case dtVerneedNum:
		return tagVerneedNum, true
	}
	return 0, false
}

// dynamicTags is PT_DYNAMIC: the last value of each tag, as the loader takes it, 0 if absent.
type dynamicTags struct {
	val [tagCount]uint64
	// Entries that name strings, in order: offsets into DT_STRTAB.
	strings []dynamicString
}

type dynamicString struct {
	tag, off uint64
}

// readTags reads the dynamic section at va up to DT_NULL, by address and not by the size of the program header, because
// that is what the loader does.
func (f *File) readTags(va uint64) (*dynamicTags, error) { return tagsIn(f.Tail(va), va) }

// tagsIn reads the dynamic section at va, which b begins with.
func tagsIn(b []byte, va uint64) (*dynamicTags, error) {
	d := new(dynamicTags)
	for ; ; b = b[dynSize:] {
		if len(b) < dynSize {
			return nil, truncated("PT_DYNAMIC at %#x has no end", va)
		}
		dt, v := le.Uint64(b), le.Uint64(b[8:])
		switch dt {
		case dtNull:
			return d, nil
		case dtNeeded, dtSoname, dtRpath, dtRunpath, dtAuxiliary, dtFilter, dtAudit, dtDepAudit:
			d.strings = append(d.strings, dynamicString{dt, v})
		case dtSymbolic:
			d.val[tagFlags] |= dfSymbolic
		case dtFlags:
			d.val[tagFlags] |= v
		default:
			if t, ok := tagOf(dt); ok {
				d.val[t] = v
			}
		}
	}
}

// parseDynamic fills Dyn from the dynamic section at va.
func (f *File) parseDynamic(va uint64) error {
	d, err := f.readTags(va)
	if err != nil {
		return err
	}
	dyn := &f.Dyn
	dyn.Flags, dyn.Flags1 = d.val[tagFlags], d.val[tagFlags1]
	dyn.Symbolic = dyn.Flags&dfSymbolic != 0
	dyn.Init, dyn.Fini = d.val[tagInit], d.val[tagFini]
	f.pltGOT = d.val[tagPLTGOT]

	arrays := []struct {
		what       string
		start, len tag
		to         *Range
	}{
		{"DT_PREINIT_ARRAY", tagPreinitArray, tagPreinitSz, &dyn.PreinitArray},
		{"DT_INIT_ARRAY", tagInitArray, tagInitArraySz, &dyn.InitArray},
		{"DT_FINI_ARRAY", tagFiniArray, tagFiniArraySz, &dyn.FiniArray},
	}
	for _, a := range arrays {
		start, n := d.val[a.start], d.val[a.len]
		if start == 0 || n == 0 {
			continue
		}
		if _, ok := f.Bytes(start, n); !ok {
			return truncated("%s: %#x bytes at %#x", a.what, n, start)
		}
		*a.to = Range{start, start + n}
	}

	names := newStrtab(nil)
	if va := d.val[tagStrtab]; va != 0 {
		b, ok := f.Bytes(va, d.val[tagStrSz])
		if !ok {
			return truncated("DT_STRTAB: %#x bytes at %#x", d.val[tagStrSz], va)
		}
		names = newStrtab(b)
	}
	if err := dyn.setStrings(d.strings, names); err != nil {
		return err
	}

	used, err := f.parseRelocs(d)
	if err != nil {
		return err
	}
	if va := d.val[tagSymtab]; va != 0 {
		if n := d.val[tagSymEnt]; n != symSize && n != 0 {
			return malformed("DT_SYMENT: symbols of %d bytes", n)
		}
		n, err := f.symbolCount(d, used)
		if err != nil {
			return err
		}
		b := f.Tail(va)
		if n > uint64(len(b)/symSize) {
			return truncated("DT_SYMTAB: %d symbols at %#x", n, va)
		}
		if dyn.Symbols, err = parseSymbols(b[:n*symSize], names); err != nil {
			return fmt.Errorf("DT_SYMTAB: %w", err)
		}
	} else if used > 1 {
		return malformed("relocations refer to symbol %d, but there is no DT_SYMTAB", used-1)
	}
	return f.applyVersions(d, names)
}

// setStrings fills the fields that are strings.
func (dyn *Dynamic) setStrings(entries []dynamicString, names *strtab) error {
	for _, e := range entries {
		if e.off > 1<<32-1 {
			return malformed("PT_DYNAMIC: tag %d: string %#x", e.tag, e.off)
		}
		s, err := names.at(uint32(e.off))
		if err != nil {
			return fmt.Errorf("PT_DYNAMIC: tag %d: %w", e.tag, err)
		}
		switch e.tag {
		case dtNeeded:
			dyn.Needed = append(dyn.Needed, s)
		case dtSoname:
			dyn.Soname = s
		case dtRpath:
			dyn.Rpath = s
		case dtRunpath:
			dyn.Runpath = s
		case dtAuxiliary, dtFilter:
			dyn.Filters = append(dyn.Filters, s)
		case dtAudit, dtDepAudit:
			dyn.Audit = append(dyn.Audit, s)
		}
	}
	return nil
}
