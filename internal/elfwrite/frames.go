package elfwrite

import (
	"cmp"
	"math"
	"slices"
)

// Encodings of pointers (LSB core, "DWARF Extensions").
const (
	peUdata4, peSdata4         = 0x03, 0x0b
	pePCRel, peDataRel         = 0x10, 0x30
	cfaDefCFA, cfaOffset       = 0x0c, 0x80
	regRSP, regReturn    uint8 = 7, 16
)

// frameEntry is an entry of .eh_frame_hdr: addresses of a function and of its FDE.
type frameEntry struct{ fn, fde uint64 }

// oldTable is the file's .eh_frame_hdr.
type oldTable struct {
	frames  uint64 // address of .eh_frame
	entries []frameEntry
}

// frameTable reads .eh_frame_hdr in the one encoding that linkers write; nil if the file has none or another one, and if that
// lists nothing or names no .eh_frame: readers do not agree on what such a one says.
func (w *Writer) frameTable() *oldTable {
	for i := range w.ph {
		p := &w.ph[i]
		if p.typ != ptGNUEhFrame {
			continue
		}
		b, ok := w.img.Bytes(p.va, p.fsz)
		if !ok || len(b) < 12 || b[0] != 1 || b[1] != pePCRel|peSdata4 || b[2] != peUdata4 || b[3] != peDataRel|peSdata4 {
			return nil
		}
		n := le.Uint32(b[8:])
		if n == 0 || uint64(n) > uint64(len(b)-12)/8 || le.Uint32(b[4:]) == 0 {
			return nil
		}
		rel := func(base uint64, b []byte) uint64 { return base + uint64(int64(int32(le.Uint32(b)))) }
		t := &oldTable{frames: rel(p.va+4, b[4:])}
		for b = b[12:]; n > 0; n, b = n-1, b[8:] {
			t.entries = append(t.entries, frameEntry{rel(p.va, b), rel(p.va, b[4:])})
		}
		return t
	}
	return nil
}

// newTable is the .eh_frame_hdr at address va with the old entries and those of the new frames, whose FDEs are given.
func (w *Writer) newTable(va uint64, old *oldTable, fdes []uint64) ([]byte, error) {
	entries := slices.Clone(old.entries)
	for i, f := range w.frames {
		entries = append(entries, frameEntry{f.Start, fdes[i]})
	}
	slices.SortStableFunc(entries, func(a, b frameEntry) int { return cmp.Compare(int64(a.fn-va), int64(b.fn-va)) })
	b := []byte{1, pePCRel | peSdata4, peUdata4, peDataRel | peSdata4}
	far := false
	put := func(v uint64) {
		d := int64(v)
		far = far || d < math.MinInt32 || d > math.MaxInt32
		b = le.AppendUint32(b, uint32(d))
	}
	put(old.frames - (va + 4))
	b = le.AppendUint32(b, uint32(len(entries)))
	for _, e := range entries {
		put(e.fn - va)
		put(e.fde - va)
	}
	if far {
		return nil, refused("the file spans more than 2 GiB")
	}
	return b, nil
}

// ehFrames is the .eh_frame at address va that describes the new frames, and the addresses of their FDEs.
func (w *Writer) ehFrames(va uint64) (b []byte, fdes []uint64, err error) {
	b = entry(nil, func(b []byte) []byte {
		b = append(b, 0, 0, 0, 0) // a CIE
		b = append(b, 1, 'z', 'R', 0, 1, 0x78, regReturn, 1, pePCRel|peSdata4)
		return append(b, cfaDefCFA, regRSP, 8, cfaOffset|regReturn, 1)
	})
	for _, f := range w.frames {
		at := va + uint64(len(b))
		fdes = append(fdes, at)
		d := int64(f.Start - (at + 8))
		if d < math.MinInt32 || d > math.MaxInt32 || f.Size > math.MaxInt32 {
			return nil, nil, refused("frame at %#x is out of reach", f.Start)
		}
		back := uint32(len(b)) + 4
		b = entry(b, func(b []byte) []byte {
			b = le.AppendUint32(b, back)
			b = le.AppendUint32(b, uint32(d))
			b = le.AppendUint32(b, uint32(f.Size))
			return append(append(b, 0), f.Insts...)
		})
	}
	return append(b, 0, 0, 0, 0), fdes, nil
}

// debugFrames is the same as .debug_frame: with addresses instead of distances, and without augmentation (DWARF 6.4.1).
func (w *Writer) debugFrames() []byte {
	if len(w.frames) == 0 {
		return nil
	}
	b := entry(nil, func(b []byte) []byte {
		b = append(b, 0xff, 0xff, 0xff, 0xff)
		b = append(b, 1, 0, 1, 0x78, regReturn)
		return append(b, cfaDefCFA, regRSP, 8, cfaOffset|regReturn, 1)
	})
	for _, f := range w.frames {
		b = entry(b, func(b []byte) []byte {
			b = le.AppendUint32(b, 0) // the CIE is the first entry
			b = le.AppendUint64(b, f.Start)
			b = le.AppendUint64(b, f.Size)
			return append(b, f.Insts...)
		})
	}
	return b
}

// entry appends an entry: its length, what body appends, and DW_CFA_nop up to a multiple of 8.
func entry(b []byte, body func([]byte) []byte) []byte {
	start := len(b)
	b = body(append(b, 0, 0, 0, 0))
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	le.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}
