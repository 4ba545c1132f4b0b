package value

import (
	"cmp"
	"slices"

	"syspart/internal/cfg"
)

// Liveness of the frame. Where two paths meet of which only one knows what a place of the frame holds, it is not known any
// more; what is there is lost sight of only if something may read it from there on. While a function is replayed, accesses to
// its frame are noted, and places that are dropped; these are judged at the end.

// access is a read or write of the frame.
type access struct {
	start, end int64 // places
	low        int32 // of code that may reach places: the State's Low
	kind       accessKind
}

type accessKind uint8

const (
	readsPlaces  accessKind = iota
	readsPassed             // a call, if they are its arguments, see passed
	readsReached            // code that has addresses of places in the frame
	readsAll
	writesPlaces
)

// drop is a place of the frame that is not known any more where block to begins, and what it held.
type drop struct {
	place
	to  int32
	val Val
}

// place is a place of the frame; own: it holds a copy of a parameter, as the compiler keeps one.
type place struct {
	off  int32
	size uint8
	own  bool
}

// maxJudged bounds the places that are judged, times the accesses that are gone through for each: more are lost.
const maxJudged = 1 << 22

// note notes an access to the frame.
func (a *Analysis) note(x access) {
	if a.tracking {
		a.accesses = append(a.accesses, x)
	}
}

// noteLoad notes that memory at v is read, which may be an escaped place of the frame.
func (a *Analysis) noteLoad(s *State, v Val) {
	if !a.tracking || !s.Escaped {
		return
	}
	back := v == 0
	a.T.each(v, func(e Expr) { back = back || e.Kind == Load || e.Kind == Result || e.Kind == Stack && e.Any })
	if back {
		a.note(access{low: s.Low, kind: readsReached})
	}
}

// dropped notes that x is not known any more where block to begins.
func (a *Analysis) dropped(to int32, x *Slot) {
	if a.isLost(x.Val) {
		return
	}
	if a.Go || a.twice || len(a.f.Pads) > 0 || len(a.drops) > maxJudged {
		a.lose(x.Val)
		return
	}
	a.drops = append(a.drops, drop{place{x.Off, x.Size, a.parameter(x)}, to, x.Val})
}

// isLost reports whether losing v makes no difference: all of it is lost, or no pointer.
func (a *Analysis) isLost(v Val) bool {
	lost := true
	for _, x := range a.T.Set(v) {
		k := a.T.Exprs[x].Kind
		lost = lost && (k == Const || k == Stack || k == TLSBase || a.Lost(x))
	}
	return lost
}

// judge loses what was in places that were dropped and may be read.
func (a *Analysis) judge() {
	slices.SortFunc(a.drops, func(x, y drop) int {
		return cmp.Or(cmp.Compare(x.off, y.off), cmp.Compare(x.size, y.size), cmp.Compare(b2i(x.own), b2i(y.own)), cmp.Compare(x.to, y.to), cmp.Compare(x.val, y.val))
	})
	done := 0
	for i := 0; i < len(a.drops); {
		j := i + 1
		for j < len(a.drops) && a.drops[j].place == a.drops[i].place {
			j++
		}
		if done += len(a.accesses) + len(a.f.Blocks); done > maxJudged {
			j = len(a.drops)
			for _, d := range a.drops[i:] {
				a.lose(d.val)
			}
		} else {
			a.readable(a.drops[i].place)
			for _, d := range a.drops[i:j] {
				if a.reads[d.to] == readBefore {
					a.lose(d.val)
				}
			}
		}
		i = j
	}
	a.drops = a.drops[:0]
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// What a block does first with a place, and from the fixed point on, what may happen to it from the block's start.
const (
	passes        uint8 = iota
	readBefore          // read before it is written
	writtenBefore       // written before it is read
)

// readable fills in reads: by block, what may happen to a place from there on.
func (a *Analysis) readable(p place) {
	n := len(a.f.Blocks)
	a.reads = resize(a.reads, n)
	start, end := int64(p.off), int64(p.off)+int64(p.size)
	for b := range n {
		last := int32(len(a.accesses))
		if b+1 < n {
			last = a.first[b+1]
		}
		a.reads[b] = a.firstUse(a.accesses[a.first[b]:last], p, start, end)
		if bl := &a.f.Blocks[b]; a.reads[b] == passes && (bl.Term == cfg.TermBad || end > 8 && len(bl.Succs) == 0) {
			a.reads[b] = readBefore
		}
	}
	for changed := true; changed; {
		changed = false
		for o := len(a.order) - 1; o >= 0; o-- {
			b := a.order[o]
			if a.reads[b] != passes {
				continue
			}
			for _, t := range a.f.Blocks[b].Succs {
				if a.reads[t] == readBefore {
					a.reads[b], changed = readBefore, true
					break
				}
			}
		}
	}
}

// firstUse returns what accesses do first with a place.
func (a *Analysis) firstUse(accesses []access, p place, start, end int64) uint8 {
	for i := range accesses {
		x := &accesses[i]
		overlap := min(end, x.end) - max(start, x.start)
		switch x.kind {
		case readsAll:
			return readBefore
		case readsReached:
			if !p.own || end > int64(x.low) {
				return readBefore
			}
		case readsPlaces:
			if overlap > 0 {
				return readBefore
			}
		case readsPassed:
			if overlap > 0 && !a.loads.has(p.off) {
				return readBefore
			}
		case writesPlaces:
			if overlap >= 4 { // half a pointer is none
				return writtenBefore
			}
		}
	}
	return passes
}
