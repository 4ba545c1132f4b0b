package image

import "fmt"

// LandingPads returns the call-site records of the LSDA of fde that have a landing pad, in the table's order; none if fde
// has no LSDA. It reads the format that all personalities of GCC and LLVM on Linux share (C++, C with -fexceptions, Rust,
// Ada, Go's gccgo, Objective-C; libsupc++'s eh_personality.cc). What is caught is not looked at: an exception may go to
// every pad. A table that cannot be read is an error, since pads it hides could not be found otherwise.
func (f *File) LandingPads(fde *FDE) ([]LandingPad, error) {
	if fde.LSDA == 0 {
		return nil, nil
	}
	pads, err := f.parseLSDA(fde)
	if err != nil {
		return nil, fmt.Errorf("%s: LSDA at %#x: %w", f.Name, fde.LSDA, err)
	}
	return pads, nil
}

func (f *File) parseLSDA(fde *FDE) ([]LandingPad, error) {
	c := cursor{b: f.Tail(fde.LSDA), va: fde.LSDA}
	base := bases{data: f.pltGOT, fn: fde.Start}
	padBase := fde.Start
	if enc := c.u8(); enc != peOmit {
		if enc&peIndirect != 0 {
			return nil, malformed("landing pad base in encoding %#x", enc)
		}
		padBase = c.pointer(enc, base)
	}
	if enc := c.u8(); enc != peOmit {
		c.uleb() // offset of the type table
	}
	enc := c.u8()
	size := c.uleb()
	table := c.take(size)
	if c.bad {
		return nil, truncated("call-site table of %#x bytes", size)
	}
	if enc&0xf0 != 0 {
		return nil, malformed("call-site table in encoding %#x", enc)
	}
	t := cursor{b: table, va: c.addr() - size}
	var pads []LandingPad
	for t.pos < len(table) {
		start, length, pad := t.raw(enc), t.raw(enc), t.raw(enc)
		t.uleb() // action: index into the action table
		if t.bad {
			return nil, truncated("call-site record %#x bytes into the table", t.pos)
		}
		if pad == 0 {
			continue
		}
		r := Range{fde.Start + start, fde.Start + start + length}
		if start > fde.End-fde.Start || length > fde.End-r.Start || !f.Exec(padBase+pad) {
			return nil, malformed("landing pad %#x for %#x-%#x in %#x-%#x", padBase+pad, r.Start, r.End, fde.Start, fde.End)
		}
		// No two records protect the same instruction.
		if uint64(len(pads)) > fde.End-fde.Start {
			return nil, malformed("more landing pads than instructions")
		}
		pads = append(pads, LandingPad{Range: r, Pad: padBase + pad})
	}
	return pads, nil
}
