package callgraph

// dataPlace is what is known of a data token: what does not change about its address, and whether it has escaped.
type dataPlace struct {
	addr        uint64
	first, last int32 // fine areas of the address, and of the end of what it may point to
	kind        uint8 // of token; 0: no place

	inside, writable, relro, points bool
	named                           bool // a name that is looked up may be there
	distances                       bool // there are distances to functions
	gone                            bool // the token has escaped
}

// placeTable has the places of a module by token: open addressing, for it is asked for every pointer at every step.
type placeTable struct {
	places []dataPlace
	n      int
}

// at returns the place of a token, and whether it is new, to be filled in. It is valid until the next call.
func (t *placeTable) at(x token) (p *dataPlace, isNew bool) {
	kind := uint8(1)
	if x.wide {
		kind |= 2
	}
	if x.entry {
		kind |= 4
	}
	if 2*t.n >= len(t.places) {
		t.grow()
	}
	if p = t.find(x.addr, kind); p.kind != 0 {
		return p, false
	}
	p.addr, p.kind = x.addr, kind
	t.n++
	return p, true
}

func (t *placeTable) find(addr uint64, kind uint8) *dataPlace {
	mask := uint64(len(t.places) - 1)
	// Neighbours, such as the fields of an object, lie beside each other.
	for i := (addr>>6*0x9e3779b97f4a7c15>>32<<3 + addr>>3&7 + uint64(kind)) & mask; ; i = (i + 1) & mask {
		if p := &t.places[i]; p.kind == 0 || p.addr == addr && p.kind == kind {
			return p
		}
	}
}

func (t *placeTable) grow() {
	old := t.places
	t.places = make([]dataPlace, max(64, 2*len(old)))
	for i := range old {
		if p := &old[i]; p.kind != 0 {
			*t.find(p.addr, p.kind) = *p
		}
	}
}
