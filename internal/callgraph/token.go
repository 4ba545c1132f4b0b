package callgraph

import (
	"slices"

	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/summary"
)

// token is a pointer that is followed: to a function, or into data. A data token is exact, or, if an unknown amount was
// added to it, wide: it may point anywhere into the object that addr lies in. One that is entry stands for what a constant
// table holds, whatever entry is read: for any of the pointers in the span of the wide token that it would be otherwise.
type token struct {
	addr  uint64
	fn    int32 // global number, -1 for data
	mod   int16
	wide  bool
	entry bool
}

// maxTokens bounds the pointers that one parameter, result or expression is followed for; more escape.
const maxTokens = 24

// pointers is what a place can hold: some tokens, and if any is set whatever has escaped besides.
type pointers struct {
	list []token
	any  bool
}

// put adds a token; false if it was there. A list that grows too long stays as it is, and the caller lets t escape.
func (p *pointers) put(t token) (added, full bool) {
	if slices.Contains(p.list, t) {
		return false, false
	}
	if len(p.list) >= maxTokens {
		full, added = true, !p.any
		p.any = true
		return added, true
	}
	p.list = append(p.list, t)
	return true, false
}

// areas are the bounds of what can be told apart in a module's data: coarse ones that are sure (segments, sections, sized
// symbols), and fine ones for what is read-only once the loader is done, where each address that code makes or that data
// point to begins something of its own. An object that is reached through an exact pointer ends where the next one begins;
// one that is indexed may have inner places that others point to, and ends at the next coarse bound.
type areas struct {
	coarse []uint64
	fine   []uint64
	got    []image.Range
	direct map[uint64]bool // addresses that code reads or writes directly
	sized  map[uint64]bool // addresses at which a symbol says that an object begins
}

// fineAreas adds what references bound in read-only data to coarse bounds.
func fineAreas(m *link.Module, coarse []uint64) []uint64 {
	constant := func(va uint64) bool {
		if m.Relro.Contains(va) {
			return true
		}
		for i := range m.Segments {
			if s := &m.Segments[i]; s.Contains(va) {
				return !s.Write
			}
		}
		return false
	}
	b := slices.Clone(coarse)
	add := func(va uint64) {
		if constant(va) && objectAt(m, va) == nil {
			b = append(b, va)
		}
	}
	for i := range m.Refs {
		if m.Refs[i].Size == 0 {
			add(m.Refs[i].Addr)
		}
	}
	for i := range m.Ptrs {
		switch q := &m.Ptrs[i]; q.Kind {
		case summary.PtrRelative, summary.PtrWord:
			add(q.Target)
		}
	}
	slices.Sort(b)
	return slices.Compact(b)
}

const objectAlign = 32

// bound returns the index of the area that va lies in, -1 if none.
func bound(b []uint64, va uint64) int {
	lo, hi := 0, len(b)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); b[mid] > va {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo - 1
}

// span is what a data token can point to.
func (a *areas) span(t token) image.Range {
	r := bound(a.fine, t.addr)
	if r < 0 || r+1 >= len(a.fine) {
		return image.Range{}
	}
	if !t.wide {
		return image.Range{Start: a.fine[r], End: a.fine[r+1]}
	}
	out := image.Range{Start: a.fine[r], End: a.fine[r+1]}
	for last := a.coarse[min(bound(a.coarse, t.addr)+1, len(a.coarse)-1)]; out.End < last && out.End%objectAlign != 0; r++ {
		out.End = a.fine[r+1]
	}
	r = bound(a.fine, t.addr)
	if a.direct[t.addr] || a.sized[t.addr] {
		return out
	}
	if r > 0 && t.addr-a.fine[r] <= nearObject && !a.inGot(a.fine[r-1]) {
		out.Start = a.fine[r-1]
	}
	// A base that was moved down out of its object.
	if c := bound(a.fine, out.End); out.End-t.addr <= nearObject && c+1 < len(a.fine) && !a.inGot(out.End) {
		out.End = a.fine[c+1]
	}
	return out
}

func (a *areas) inGot(va uint64) bool {
	for _, x := range a.got {
		if x.Contains(va) {
			return true
		}
	}
	return false
}
