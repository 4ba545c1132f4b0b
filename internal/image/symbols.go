package image

import (
	"fmt"
	"strings"
)

// strtab is a string table. Names taken from it share its memory.
type strtab struct {
	s string
	// left is how many bytes of names may still be taken. Real names hardly exceed the table, however linkers merge their
	// tails; a hostile table of one long string would cost time in proportion to the square of the file's size.
	left int
}

func newStrtab(b []byte) *strtab {
	return &strtab{s: string(b), left: 16*len(b) + 1<<20}
}

func (t *strtab) at(off uint32) (string, error) {
	if uint64(off) < uint64(len(t.s)) {
		s := t.s[off:]
		if n := strings.IndexByte(s, 0); n >= 0 && n <= t.left {
			t.left -= n
			return s[:n], nil
		}
	} else if off == 0 {
		return "", nil
	}
	return "", malformed("string %#x of a table of %#x bytes", off, len(t.s))
}

// parseSymbols reads Elf64_Sym records; len(b) is a multiple of their size.
func parseSymbols(b []byte, names *strtab) ([]Symbol, error) {
	syms := make([]Symbol, len(b)/symSize)
	for i := range syms {
		e, s := b[i*symSize:(i+1)*symSize], &syms[i]
		name, err := names.at(le.Uint32(e))
		if err != nil {
			return nil, fmt.Errorf("symbol %d: name: %w", i, err)
		}
		shndx := le.Uint16(e[6:])
		*s = Symbol{
			Name: name, Type: e[4] & 15, Bind: e[4] >> 4, Vis: e[5] & 3,
			Value: le.Uint64(e[8:]), Size: le.Uint64(e[16:]),
			Undefined: shndx == 0, Abs: shndx == shnAbs, TLS: e[4]&15 == sttTLS,
		}
	}
	return syms, nil
}

// splitVersion takes the version off a .symtab name, where linkers write it as name@VERSION or name@@VERSION.
func splitVersion(s *Symbol) {
	i := strings.IndexByte(s.Name, '@')
	if i <= 0 || i == len(s.Name)-1 {
		return
	}
	name, version := s.Name[:i], s.Name[i+1:]
	if def := strings.TrimPrefix(version, "@"); def != version {
		version = def
	} else {
		s.Hidden = !s.Undefined
	}
	s.Name, s.Version = name, version
}

// symbolCount returns the number of entries of .dynsym, which PT_DYNAMIC does not say. DT_HASH has it; DT_GNU_HASH
// tells the last symbol that is defined and hashed, and these come last. Where nothing is hashed, relocations refer to
// the symbols that matter (used is the number of those they need), and the next table in memory bounds the rest.
func (f *File) symbolCount(d *dynamicTags, used uint64) (uint64, error) {
	count := max(used, 1)
	if va := d.val[tagHash]; va != 0 {
		n, ok := f.Uint32(va + 4)
		if !ok {
			return 0, truncated("DT_HASH at %#x", va)
		}
		return max(count, uint64(n)), nil
	}
	if va := d.val[tagGNUHash]; va != 0 {
		n, err := f.gnuHashCount(va)
		if err != nil || n > 0 {
			return max(count, n), err
		}
	}
	// Undefined symbols without any that is hashed.
	symtab := d.val[tagSymtab]
	end := ^uint64(0)
	for _, t := range addressTags {
		if va := d.val[t]; va > symtab {
			end = min(end, va)
		}
	}
	b := f.Tail(symtab)
	b = b[:min(uint64(len(b)), end-symtab)]
	for n := count; (n+1)*symSize <= uint64(len(b)); n++ {
		e := b[n*symSize:]
		if shndx := le.Uint16(e[6:]); shndx != 0 || le.Uint32(e) == 0 || uint64(le.Uint32(e)) >= d.val[tagStrSz] {
			break
		}
		count = n + 1
	}
	return count, nil
}

// gnuHashCount returns the number of dynamic symbols according to the DT_GNU_HASH table at va, 0 if it hashes none.
func (f *File) gnuHashCount(va uint64) (uint64, error) {
	b := f.Tail(va)
	if len(b) < 16 {
		return 0, truncated("DT_GNU_HASH at %#x", va)
	}
	buckets, first, bloom := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[8:]))
	start := 16 + 8*bloom
	if start+4*buckets > uint64(len(b)) {
		return 0, truncated("DT_GNU_HASH: %d buckets at %#x", buckets, va)
	}
	var last uint64
	for i := range buckets {
		last = max(last, uint64(le.Uint32(b[start+4*i:])))
	}
	if last == 0 {
		return 0, nil
	}
	if last < first {
		return 0, malformed("DT_GNU_HASH: bucket of symbol %d before the first, %d", last, first)
	}
	chains := b[start+4*buckets:]
	for i := last - first; 4*i+4 <= uint64(len(chains)); i++ {
		if le.Uint32(chains[4*i:])&1 != 0 {
			return first + i + 1, nil
		}
	}
	return 0, truncated("DT_GNU_HASH: chain of symbol %d has no end", last)
}

// version is a version that symbols may have: its name and, if it is wanted from another file, that file.
type version struct {
	name, file string
	known      bool
}

const (
	versionHidden = 0x8000 // bit of a DT_VERSYM entry
	versionFirst  = 2      // 0 and 1 are "local" and "unversioned"

	verdefSize, verdefAuxSize, verneedSize, vernauxSize = 20, 8, 16, 16
	verFlagBase                                         = 1 // the file itself
)

// applyVersions fills the versions of the symbols in Dyn (DT_VERSYM, DT_VERDEF and DT_VERNEED; LSB core, "Symbol
// Versioning").
func (f *File) applyVersions(d *dynamicTags, names *strtab) error {
	var table []version
	set := func(index uint16, v version) {
		index &^= versionHidden
		for len(table) <= int(index) {
			table = append(table, version{})
		}
		v.known = true
		table[index] = v
	}
	if err := f.verdef(d, names, set); err != nil {
		return fmt.Errorf("DT_VERDEF: %w", err)
	}
	if err := f.verneed(d, names, set); err != nil {
		return fmt.Errorf("DT_VERNEED: %w", err)
	}
	va := d.val[tagVersym]
	if va == 0 {
		return nil
	}
	syms := f.Dyn.Symbols
	b, ok := f.Bytes(va, 2*uint64(len(syms)))
	if !ok {
		return truncated("DT_VERSYM: %d symbols at %#x", len(syms), va)
	}
	for i := range syms {
		v := le.Uint16(b[2*i:])
		index := v &^ versionHidden
		if index < versionFirst {
			continue
		}
		if int(index) >= len(table) || !table[index].known {
			return malformed("DT_VERSYM: symbol %d (%s) has undeclared version %d", i, syms[i].Name, index)
		}
		syms[i].Version, syms[i].VersionFile = table[index].name, table[index].file
		syms[i].Hidden = v&versionHidden != 0
	}
	return nil
}

// chain walks a list of records that are linked by byte offsets; next is 0 at the end. It demands that the list goes
// forward, and steps (shared by nested lists) bounds the work on lists that overlap.
type chain struct {
	b     []byte
	steps *int
}

func (c *chain) record(size int) ([]byte, error) {
	if len(c.b) < size {
		return nil, truncated("entry")
	}
	if *c.steps--; *c.steps < 0 {
		return nil, malformed("overlapping entries")
	}
	return c.b, nil
}

func (c *chain) skip(n uint32) error {
	if uint64(n) > uint64(len(c.b)) {
		return truncated("next entry at %#x", n)
	}
	c.b = c.b[n:]
	return nil
}

func (f *File) verdef(d *dynamicTags, names *strtab, set func(uint16, version)) error {
	if d.val[tagVerdef] == 0 {
		return nil
	}
	list := chain{b: f.Tail(d.val[tagVerdef])}
	steps := len(list.b) / verdefAuxSize
	list.steps = &steps
	for range d.val[tagVerdefNum] {
		e, err := list.record(verdefSize)
		if err != nil {
			return err
		}
		aux := list
		if err := aux.skip(le.Uint32(e[12:])); err != nil {
			return err
		}
		a, err := aux.record(verdefAuxSize)
		if err != nil {
			return err
		}
		name, err := names.at(le.Uint32(a))
		if err != nil {
			return err
		}
		// The base definition names the file itself; only the others are versions one may ask for.
		set(le.Uint16(e[4:]), version{name: name})
		if le.Uint16(e[2:])&verFlagBase == 0 {
			f.Dyn.VersionsDefined = append(f.Dyn.VersionsDefined, name)
		}
		next := le.Uint32(e[16:])
		if next == 0 {
			break
		}
		if err := list.skip(next); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) verneed(d *dynamicTags, names *strtab, set func(uint16, version)) error {
	if d.val[tagVerneed] == 0 {
		return nil
	}
	list := chain{b: f.Tail(d.val[tagVerneed])}
	steps := len(list.b) / vernauxSize
	list.steps = &steps
	for range d.val[tagVerneedNum] {
		e, err := list.record(verneedSize)
		if err != nil {
			return err
		}
		file, err := names.at(le.Uint32(e[4:]))
		if err != nil {
			return err
		}
		aux := list
		if err := aux.skip(le.Uint32(e[8:])); err != nil {
			return err
		}
		for range le.Uint16(e[2:]) {
			a, err := aux.record(vernauxSize)
			if err != nil {
				return err
			}
			name, err := names.at(le.Uint32(a[8:]))
			if err != nil {
				return err
			}
			set(le.Uint16(a[6:]), version{name: name, file: file})
			next := le.Uint32(a[12:])
			if next == 0 {
				break
			}
			if err := aux.skip(next); err != nil {
				return err
			}
		}
		next := le.Uint32(e[12:])
		if next == 0 {
			break
		}
		if err := list.skip(next); err != nil {
			return err
		}
	}
	return nil
}
