package image

import (
	"cmp"
	"slices"
)

// parseRelocs fills Dyn.Relocs from DT_RELA, DT_JMPREL and DT_RELR, and returns how many symbols they need: the highest
// index plus one.
func (f *File) parseRelocs(d *dynamicTags) (uint64, error) {
	if n := d.val[tagRelaEnt]; n != relaSize && n != 0 {
		return 0, malformed("DT_RELAENT: relocations of %d bytes", n)
	}
	if n := d.val[tagRelrEnt]; n != 8 && n != 0 {
		return 0, malformed("DT_RELRENT: %d bytes", n)
	}
	if t := d.val[tagPLTRel]; t != dtRela && d.val[tagPLTRelSz] != 0 {
		return 0, malformed("DT_PLTREL: %d", t)
	}
	rela, err := f.relaTable("DT_RELA", d.val[tagRela], d.val[tagRelaSz])
	if err != nil {
		return 0, err
	}
	plt, err := f.relaTable("DT_JMPREL", d.val[tagJmpRel], d.val[tagPLTRelSz])
	if err != nil {
		return 0, err
	}
	// Some linkers count DT_JMPREL's entries to DT_RELA's as well; the loader applies them once.
	if at := d.val[tagJmpRel] - d.val[tagRela]; len(plt) > 0 && at < uint64(len(rela)) && at%relaSize == 0 {
		if at+uint64(len(plt)) < uint64(len(rela)) {
			rela = slices.Concat(rela[:at], rela[at+uint64(len(plt)):])
		} else {
			rela = rela[:at]
		}
	}
	var relr []byte
	if va, n := d.val[tagRelr], d.val[tagRelrSz]; va != 0 && n != 0 {
		b, ok := f.Bytes(va, n&^7)
		if !ok {
			return 0, truncated("DT_RELR: %#x bytes at %#x", n, va)
		}
		relr = b
	}

	n := (len(rela) + len(plt)) / relaSize
	extra, err := f.relrCount(relr)
	if err != nil {
		return 0, err
	}
	relocs := make([]Reloc, 0, n+extra)
	relocs = f.appendRelr(relocs, relr)
	var used uint64
	relocs, used = appendRela(relocs, rela, false)
	relocs, usedPLT := appendRela(relocs, plt, true)
	// Stable: where two apply to one place, the order in which they do stays.
	slices.SortStableFunc(relocs, func(a, b Reloc) int { return cmp.Compare(a.Off, b.Off) })
	f.Dyn.Relocs = relocs
	return max(used, usedPLT), nil
}

func (f *File) relaTable(what string, va, n uint64) ([]byte, error) {
	if va == 0 || n == 0 {
		return nil, nil
	}
	if n%relaSize != 0 {
		return nil, malformed("%s: %#x bytes are no whole number of relocations", what, n)
	}
	b, ok := f.Bytes(va, n)
	if !ok {
		return nil, truncated("%s: %#x bytes at %#x", what, n, va)
	}
	return b, nil
}

func appendRela(relocs []Reloc, b []byte, plt bool) (_ []Reloc, used uint64) {
	for ; len(b) >= relaSize; b = b[relaSize:] {
		info := le.Uint64(b[8:])
		sym := uint32(info >> 32)
		if sym != 0 {
			used = max(used, uint64(sym)+1)
		}
		relocs = append(relocs, Reloc{
			Off: le.Uint64(b), Type: uint32(info), Sym: sym, PLT: plt, Addend: int64(le.Uint64(b[16:])),
		})
	}
	return relocs, used
}

// eachRelr calls place for every address that the DT_RELR table b relocates (gABI, "Relative relocation table"): an even
// word is an address, an odd one a bitmap of the 63 words that follow the last.
func eachRelr(b []byte, place func(va uint64) error) error {
	var next uint64
	for ; len(b) >= 8; b = b[8:] {
		word := le.Uint64(b)
		if word&1 == 0 {
			if err := place(word); err != nil {
				return err
			}
			next = word + 8
			continue
		}
		va := next
		for bits := word >> 1; bits != 0; bits >>= 1 {
			if bits&1 != 0 {
				if err := place(va); err != nil {
					return err
				}
			}
			va += 8
		}
		next += 63 * 8
	}
	return nil
}

// relrCount counts the places and checks that they ascend within the file's contents, so that their number is bounded by
// the file's size.
func (f *File) relrCount(b []byte) (n int, err error) {
	var last uint64
	err = eachRelr(b, func(va uint64) error {
		if n > 0 && va < last+8 {
			return malformed("DT_RELR: %#x after %#x", va, last)
		}
		if _, ok := f.Uint64(va); !ok {
			return malformed("DT_RELR: relocates %#x, which the file does not hold", va)
		}
		last = va
		n++
		return nil
	})
	return n, err
}

func (f *File) appendRelr(relocs []Reloc, b []byte) []Reloc {
	// The callback cannot fail: relrCount has read the same places.
	_ = eachRelr(b, func(va uint64) error {
		word, _ := f.Uint64(va)
		relocs = append(relocs, Reloc{Off: va, Type: rRelative, Addend: int64(word)})
		return nil
	})
	return relocs
}

// staticRelocs finds the relocations of a fixed-address static program, which has no PT_DYNAMIC: its start code applies
// the R_X86_64_IRELATIVE entries between __rela_iplt_start and __rela_iplt_end, which nothing in a stripped file points
// to. They are found by their shape in read-only memory: type and symbol word exactly R_X86_64_IRELATIVE, a writable
// aligned place, an executable resolver. A chance match would add a function pointer, never hide one.
func (f *File) staticRelocs() []Reloc {
	var relocs []Reloc
	for i := range f.Segments {
		s := &f.Segments[i]
		if s.Write {
			continue
		}
		b := f.data[s.Off : s.Off+s.FileSize]
		for p := int(-s.Start & 7); p+relaSize <= len(b); p += 8 {
			if le.Uint64(b[p+8:]) != rIRelative {
				continue
			}
			off, resolver := le.Uint64(b[p:]), le.Uint64(b[p+16:])
			if off%8 == 0 && f.Write(off) && f.Exec(resolver) {
				relocs = append(relocs, Reloc{Off: off, Type: rIRelative, Addend: int64(resolver)})
			}
		}
	}
	slices.SortStableFunc(relocs, func(a, b Reloc) int { return cmp.Compare(a.Off, b.Off) })
	return relocs
}
