package summary

import (
	"encoding/binary"
	"slices"
	"sort"

	"syspart/internal/value"
)

// maxDistances bounds the entries of one table.
const maxDistances = 4096

// distances finds the functions that constant data refer to by their distance from an address: tables of four-byte words
// that code adds to the table's own address, or to that of a function, before it calls (compact pointer tables of
// position-independent code). A table begins at an address that a function makes; its entries are the words from there on
// that lead to the entry of a function.
func (b *builder) distances() {
	m := b.mod
	have := map[uint64]bool{}
	var found []Ptr
	table := func(at, base uint64) {
		for k := uint64(0); k < maxDistances; k++ {
			d, ok := b.file.Bytes(at+4*k, 4)
			if !ok || have[at+4*k] {
				return
			}
			va := base + uint64(int64(int32(binary.LittleEndian.Uint32(d))))
			if b.graph.At(va) == nil || va == base {
				return
			}
			have[at+4*k] = true
			found = append(found, Ptr{Slot: at + 4*k, Target: va, Kind: PtrDistance})
		}
	}
	for i := range m.Funcs {
		f := &m.Funcs[i]
		if b.inGo(f.Entry) {
			continue // Go's are those of image.Golang.Methods
		}
		for k := f.Refs[0]; k < f.Refs[1]; k++ {
			r := &m.Refs[k]
			if r.Size != 0 || r.Addr%4 != 0 || b.file.Write(r.Addr) || b.file.Exec(r.Addr) {
				continue
			}
			table(r.Addr, r.Addr)
		}
		// Distances from a function are small, and so are many numbers: only where a function that makes its address reads
		// four bytes there.
		for x := f.Exprs[0]; x < f.Exprs[1] && f.Takes[0] < f.Takes[1]; x++ {
			e := &m.Exprs[x]
			if e.Kind != value.Load || e.Size&^value.SignBit != 4 {
				continue
			}
			if a := &m.Exprs[e.A]; a.Kind == value.Addr && !b.file.Write(uint64(a.Off)) && !b.file.Exec(uint64(a.Off)) {
				for t := f.Takes[0]; t < f.Takes[1]; t++ {
					table(uint64(a.Off), m.Takes[t].Target)
				}
			}
		}
	}
	if len(found) == 0 {
		return
	}
	slices.SortFunc(found, func(x, y Ptr) int { return cmp(x.Slot, y.Slot) })
	m.Ptrs = append(m.Ptrs, found...)
	sort.SliceStable(m.Ptrs, func(i, j int) bool { return m.Ptrs[i].Slot < m.Ptrs[j].Slot })
}
