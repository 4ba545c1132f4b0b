package image

import (
	"cmp"
	"fmt"
	"slices"
)

// Frames returns the parsed .eh_frame: found through PT_GNU_EH_FRAME, as unwinders do, or else by its section; nil without
// an error if the file has neither. FDEs for addresses where the file has no code (which the linker discarded) are left
// out, and ranges are cut to the code their segment has in the file. The result is computed once.
func (f *File) Frames() (*Frames, error) {
	f.framesOnce.Do(func() {
		f.frames, f.framesErr = f.parseFrames()
		if f.framesErr != nil {
			f.frames, f.framesErr = nil, fmt.Errorf("%s: .eh_frame: %w", f.Name, f.framesErr)
		}
	})
	return f.frames, f.framesErr
}

// frameParser reads the entries of one .eh_frame. Positions are offsets into c.b.
type frameParser struct {
	file *File
	c    cursor
	out  Frames
	cies map[int]cieIndex
	last int // position of the CIE used last, and its index
	idx  cieIndex
	// covered is the sum of the FDEs' sizes. They do not overlap in real files; work on those that do is bounded by it.
	covered uint64
}

// cieIndex is the index of a CIE in Frames, with what reading its FDEs takes.
type cieIndex struct {
	i               int32
	ptrEnc, lsdaEnc uint8
	sized           bool // augmentation 'z': FDEs have sized augmentation data
}

// frameTable is .eh_frame_hdr: the addresses of the FDEs, if it lists them.
type frameTable struct {
	fdes []uint64 // sorted
}

func (f *File) parseFrames() (*Frames, error) {
	start, table, err := f.ehFrameStart()
	if err != nil || start == 0 {
		return nil, err
	}
	b := f.Tail(start)
	if b == nil {
		return nil, truncated("nothing at %#x", start)
	}
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Name == ".eh_frame" && s.Start == start {
			b = b[:min(uint64(len(b)), s.End-s.Start)]
		}
	}
	p := &frameParser{file: f, c: cursor{b: b, va: start}, cies: map[int]cieIndex{}, last: -1}
	p.out.FDEs = make([]FDE, 0, max(len(table.fdes), 16))
	if len(table.fdes) == 0 {
		if err := p.walk(nil); err != nil {
			return nil, err
		}
	} else if err := p.walkAll(table.fdes); err != nil {
		return nil, err
	}
	slices.SortFunc(p.out.FDEs, func(a, b FDE) int {
		if c := cmp.Compare(a.Start, b.Start); c != 0 {
			return c
		}
		return cmp.Compare(a.End, b.End)
	})
	return &p.out, nil
}

// ehFrameStart returns the address of .eh_frame, 0 if there is none, and the FDEs that .eh_frame_hdr lists.
func (f *File) ehFrameStart() (uint64, frameTable, error) {
	var table frameTable
	if f.ehFrameHdr == 0 {
		for i := range f.Sections {
			if s := &f.Sections[i]; s.Name == ".eh_frame" && s.Flags&shfAlloc != 0 && s.Type != shtNobits && s.End > s.Start {
				return s.Start, table, nil
			}
		}
		return 0, table, nil
	}
	c := cursor{b: f.Tail(f.ehFrameHdr), va: f.ehFrameHdr}
	base := bases{data: f.ehFrameHdr}
	head := c.take(4)
	if head == nil {
		return 0, table, truncated(".eh_frame_hdr at %#x", f.ehFrameHdr)
	}
	version, frameEnc, countEnc, tableEnc := head[0], head[1], head[2], head[3]
	if version != 1 {
		return 0, table, malformed(".eh_frame_hdr: version %d", version)
	}
	start := c.pointer(frameEnc, base)
	if c.bad || frameEnc == peOmit || frameEnc&peIndirect != 0 {
		return 0, table, malformed(".eh_frame_hdr: pointer to .eh_frame")
	}
	if countEnc == peOmit || tableEnc == peOmit {
		return start, table, nil
	}
	count := c.pointer(countEnc, base)
	// An entry is two values of at least a byte.
	if c.bad || count > uint64(len(c.b)-c.pos)/2 {
		return 0, table, truncated(".eh_frame_hdr: %d entries", count)
	}
	table.fdes = make([]uint64, count)
	for i := range table.fdes {
		c.raw(tableEnc) // the function's start, which the FDE repeats
		table.fdes[i] = c.pointer(tableEnc, base)
	}
	if c.bad {
		return 0, table, truncated(".eh_frame_hdr: %d entries", count)
	}
	slices.Sort(table.fdes)
	return start, table, nil
}

// walkAll reads the FDEs that .eh_frame_hdr lists: those in .eh_frame, and then those in other segments, where tools that
// add code to a file put theirs. What lies in neither is refused.
func (p *frameParser) walkAll(fdes []uint64) error {
	main := Range{p.c.va, p.c.va + uint64(len(p.c.b))}
	var in, out []uint64
	for _, va := range fdes {
		switch s := p.file.segment(va); {
		case main.Contains(va):
			in = append(in, va)
		case s != nil && va-s.Start < s.FileSize && !s.Contains(main.Start):
			out = append(out, va)
		default:
			return malformed(".eh_frame_hdr: entry at %#x, .eh_frame at %#x", va, main.Start)
		}
	}
	if len(in) > 0 {
		if err := p.walkTable(in); err != nil {
			return err
		}
	}
	for i, va := range out {
		if s := p.file.segment(va); p.c.va != s.Start {
			p.c = cursor{b: p.file.Tail(s.Start), va: s.Start}
			p.cies, p.last = map[int]cieIndex{}, -1
		} else if i > 0 && out[i-1] == va {
			continue
		}
		p.c.pos, p.c.bad = int(va-p.c.va), false
		if _, err := p.entry(); err != nil {
			return err
		}
	}
	return nil
}

// walkTable reads the listed FDEs that lie in .eh_frame, which are those the unwinder finds, and all others up to the last of
// them. Listed entries behind a terminator in mid-table (crtend.o not linked last), behind damage, and before the start
// of the section (none is known) are read one by one.
func (p *frameParser) walkTable(fdes []uint64) error {
	seen := make([]bool, len(fdes))
	n := 0
	// Why walk stopped does not matter: what it did not reach is read below.
	_ = p.walk(func(va uint64) (more bool) {
		for n < len(fdes) && fdes[n] < va {
			n++
		}
		for ; n < len(fdes) && fdes[n] == va; n++ {
			seen[n] = true
		}
		return n < len(fdes)
	})
	for i, va := range fdes {
		if seen[i] || i > 0 && fdes[i-1] == va {
			continue
		}
		p.c.pos, p.c.bad = int(va-p.c.va), false
		if _, err := p.entry(); err != nil {
			return err
		}
	}
	return nil
}

// walk reads the entries one after another up to the terminator or the end. After each it asks visit, if not nil, whether
// to go on.
func (p *frameParser) walk(visit func(va uint64) (more bool)) error {
	for p.c.pos+4 <= len(p.c.b) {
		va := p.c.addr()
		end, err := p.entry()
		if err != nil {
			return err
		}
		if end == 0 || visit != nil && !visit(va) {
			return nil
		}
		p.c.pos = end
	}
	return nil
}

// entry reads the CIE or FDE at the cursor and returns the position behind it, 0 for a terminator.
func (p *frameParser) entry() (end int, err error) {
	start := p.c.pos
	body, idPos, id, err := p.header()
	if err != nil || body == nil {
		return 0, err
	}
	end = idPos + len(body)
	if id == 0 {
		_, err = p.cieAt(start)
		return end, err
	}
	if id > uint64(idPos) {
		return 0, malformed("FDE at %#x: CIE %#x bytes before it", p.c.va+uint64(start), id)
	}
	cie, err := p.cieAt(idPos - int(id))
	if err == nil {
		err = p.fde(body, idPos, cie)
	}
	if err != nil {
		return 0, fmt.Errorf("FDE at %#x: %w", p.c.va+uint64(start), err)
	}
	return end, nil
}

// header reads the length of the entry at the cursor and its ID (0 for a CIE, else the distance from the ID back to the
// CIE). It returns the entry from its ID on, nil for a terminator, and the ID's position.
func (p *frameParser) header() (body []byte, idPos int, id uint64, err error) {
	c := &p.c
	start := c.addr()
	length := uint64(c.u32())
	if length == 0xffffffff {
		length = c.u64()
	}
	if c.bad {
		return nil, 0, 0, truncated("entry at %#x", start)
	}
	if length == 0 {
		return nil, 0, 0, nil
	}
	idPos = c.pos
	body = c.take(length)
	if len(body) < 4 {
		return nil, 0, 0, truncated("entry of %#x bytes at %#x", length, start)
	}
	// Unlike .debug_frame, .eh_frame has a 4-byte ID after an 8-byte length too.
	return body, idPos, uint64(le.Uint32(body)), nil
}

// cieAt returns the CIE at pos, which it reads when first asked for. The cursor moves.
func (p *frameParser) cieAt(pos int) (cieIndex, error) {
	if pos == p.last {
		return p.idx, nil
	}
	idx, ok := p.cies[pos]
	if !ok {
		p.c.pos, p.c.bad = pos, false
		body, idPos, id, err := p.header()
		if err == nil && (body == nil || id != 0) {
			err = malformed("no CIE")
		}
		var cie CIE
		if err == nil {
			cie, idx, err = p.cie(body, idPos)
		}
		if err != nil {
			return idx, fmt.Errorf("CIE at %#x: %w", p.c.va+uint64(pos), err)
		}
		idx.i = int32(len(p.out.CIEs))
		p.out.CIEs = append(p.out.CIEs, cie)
		p.cies[pos] = idx
	}
	p.last, p.idx = pos, idx
	return idx, nil
}

// cie reads a CIE (DWARF 6.4.1 with the augmentations of the LSB: z R P L S, B of arm64, and GCC 2's "eh").
func (p *frameParser) cie(body []byte, idPos int) (cie CIE, idx cieIndex, err error) {
	c := cursor{b: body, va: p.c.va + uint64(idPos), pos: 4}
	version := c.u8()
	aug := c.cstring()
	if version != 1 && version != 3 && version != 4 {
		return cie, idx, malformed("version %d", version)
	}
	if aug == "eh" {
		c.u64()
	}
	if version == 4 {
		if addr, seg := c.u8(), c.u8(); addr != 8 || seg != 0 {
			return cie, idx, malformed("addresses of %d bytes, segments of %d", addr, seg)
		}
	}
	cie.CodeAlign = c.uleb()
	cie.DataAlign = c.sleb()
	ret := uint64(0)
	if version == 1 {
		ret = uint64(c.u8())
	} else {
		ret = c.uleb()
	}
	if ret > 255 {
		return cie, idx, malformed("return address in column %d", ret)
	}
	cie.RetReg = uint8(ret)
	idx.ptrEnc, idx.lsdaEnc = peAbs, peOmit
	insts := -1
	for i := 0; i < len(aug) && aug != "eh"; i++ {
		switch aug[i] {
		case 'z':
			n := c.uleb()
			if c.bad || i != 0 || n > uint64(len(body)-c.pos) {
				return cie, idx, malformed("augmentation %q", aug)
			}
			idx.sized = true
			insts = c.pos + int(n)
		case 'R':
			idx.ptrEnc = c.u8()
		case 'P':
			enc := c.u8()
			cie.Personality = c.pointer(enc, bases{data: p.file.pltGOT})
			cie.PersonalityIndirect = enc != peOmit && enc&peIndirect != 0 && cie.Personality != 0
		case 'L':
			idx.lsdaEnc = c.u8()
		case 'S':
			cie.Signal = true
		case 'B': // arm64's pointer authentication key: no data
		default:
			// What follows is of unknown length: without 'z' nothing behind it can be found.
			if !idx.sized {
				return cie, idx, malformed("augmentation %q", aug)
			}
			i = len(aug)
		}
	}
	if insts >= 0 {
		if c.pos > insts {
			return cie, idx, malformed("augmentation %q: data too short", aug)
		}
		c.pos = insts
	}
	if c.bad {
		return cie, idx, truncated("augmentation %q", aug)
	}
	cie.Insts = body[c.pos:]
	return cie, idx, nil
}

// fde reads the FDE of which body is the part from the CIE pointer on, and appends it.
func (p *frameParser) fde(body []byte, idPos int, cie cieIndex) error {
	c := cursor{b: body, va: p.c.va + uint64(idPos), pos: 4}
	base := bases{data: p.file.pltGOT}
	start := c.pointer(cie.ptrEnc, base)
	size := c.raw(cie.ptrEnc)
	if c.bad || cie.ptrEnc&peIndirect != 0 {
		return malformed("address in encoding %#x", cie.ptrEnc)
	}
	base.fn = start
	fde := FDE{CIE: cie.i}
	if cie.sized {
		n := c.uleb()
		if c.bad || n > uint64(len(body)-c.pos) {
			return truncated("augmentation data")
		}
		insts := c.pos + int(n)
		if n > 0 && cie.lsdaEnc != peOmit {
			lsda := c.pointer(cie.lsdaEnc, base)
			if cie.lsdaEnc&peIndirect != 0 && lsda != 0 {
				v, ok := p.file.Uint64(lsda)
				if !ok {
					return malformed("pointer to its LSDA at %#x", lsda)
				}
				lsda = v
			}
			if c.bad || c.pos > insts {
				return malformed("LSDA in encoding %#x", cie.lsdaEnc)
			}
			fde.LSDA = lsda
		}
		c.pos = insts
	}
	fde.Insts = body[c.pos:]
	if code := uint64(len(p.file.Tail(start))); code > 0 && size > 0 && p.file.Exec(start) {
		fde.Range = Range{start, start + min(size, code)}
		p.out.FDEs = append(p.out.FDEs, fde)
		p.covered += fde.End - fde.Start
	}
	if p.covered > 4*uint64(len(p.file.data)) {
		return malformed("entries cover %#x bytes of code in a file of %#x", p.covered, len(p.file.data))
	}
	return nil
}
