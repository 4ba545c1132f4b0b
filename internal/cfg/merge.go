package cfg

import (
	"cmp"
	"slices"
	"sort"

	"syspart/internal/image"
)

// jumpers says who jumps into an unwind entry from outside.
type jumpers struct {
	from  int32 // the only unwind entry, -1 if none, -2 if several or one without unwind entry
	names int32 // the unwind entry of the function that a symbol of this part names, -1 if none
	start bool  // at its start
	odd   bool  // in a way that tail calls do not show: conditionally, into its middle, by a table or an exception
}

// merge makes split-off parts (.cold) ranges of the function that jumps into them: an unwind entry that nothing calls,
// takes the address of or exports, and that only one function jumps into, in a way that a tail call would not be made,
// or whose symbol or frame says that it is none. It reports whether it merged anything.
func (b *builder) merge() (grown bool) {
	in := make([]jumpers, len(b.fdes))
	for i := range in {
		in[i] = jumpers{from: -1, names: -1}
	}
	jump := func(n *node, to uint64, odd bool) {
		c := b.fdeOf(to)
		if c < 0 || c == n.fde || n.fde >= 0 && b.partOf(n.fde, to) {
			return
		}
		j := &in[c]
		from := int32(n.fde)
		if from < 0 || j.from != -1 && j.from != from {
			from = -2
		}
		j.from = from
		j.start = j.start || to == b.fdes[c].Start
		j.odd = j.odd || odd || to != b.fdes[c].Start
		if n.fde >= 0 && b.cold[b.fdes[c].Start] != "" && b.cold[b.fdes[c].Start] == b.names[b.fdes[n.fde].Start].text {
			j.names = int32(n.fde)
		}
	}
	for _, n := range b.nodes {
		if n.junk {
			continue
		}
		for _, t := range n.tails {
			if !t.call && !t.fall {
				jump(n, t.to, t.cond)
			}
		}
		for _, o := range n.outs {
			jump(n, o, true)
		}
	}
	touched := make(map[int]bool)
	join := func(f int, part image.Range) {
		if !b.partOf(f, part.Start) {
			b.parts[f] = append(b.parts[f], part)
			slices.SortFunc(b.parts[f], func(x, y image.Range) int { return cmp.Compare(x.Start, y.Start) })
			touched[f] = true
			grown = true
		}
	}
	for c := range in {
		j := &in[c]
		start := b.fdes[c].Start
		if j.from == -1 || b.merged[c] || b.plt[c] || b.origin[start]&^(FromFrame|FromTail) != 0 {
			continue
		}
		from := j.from
		if from == -2 {
			from = j.names
		}
		if from < 0 || b.merged[from] || b.plt[from] || touched[c] || len(b.parts[c]) > 0 {
			continue
		}
		named := b.cold[start] != ""
		framed := b.midFrame(c)
		if !(named || framed || j.odd && j.start && !b.midFrame(int(from))) {
			continue
		}
		b.merged[c] = j.from >= 0 // else others jump here as well, and it stays a function for them
		join(int(from), b.fdes[c].Range)
	}
	// What tables and exceptions lead to belongs to the function in any case, to several if need be.
	for _, n := range b.nodes {
		if n.fde < 0 || n.junk {
			continue
		}
		for _, t := range n.tails {
			// Hand-written code may go on behind its unwind entry (glibc's clone ends it before the system call).
			if t.fall && !t.call && b.fdeOf(t.to) < 0 && t.to == b.fdes[n.fde].End && b.origin[t.to]&^(FromFrame|FromTail) == 0 {
				if text, ok := b.textAt(t.to); ok {
					join(n.fde, b.gap(t.to, t.to, text.End))
				}
			}
		}
		for _, o := range n.outs {
			if c := b.fdeOf(o); c < 0 {
				text, _ := b.textAt(o)
				join(n.fde, b.gap(o, o, text.End))
			} else if !b.plt[c] {
				join(n.fde, b.fdes[c].Range)
			}
		}
	}
	if grown {
		b.dropMerged()
	}
	return grown
}

// splitOff reports whether va lies in an unwind entry that cannot be a function: a part that a compiler split off.
func (b *builder) splitOff(va uint64) bool {
	c := b.fdeOf(va)
	return c >= 0 && !b.plt[c] && (b.merged[c] || b.cold[b.fdes[c].Start] != "" || b.midFrame(c))
}

// midFrame reports whether the frame at the first instruction of an unwind entry is not that of a function just called:
// its call-frame instructions begin with changes that take effect at once (DWARF 5, 6.4.2).
func (b *builder) midFrame(fde int) bool {
	insts := b.fdes[fde].Insts
	if len(insts) == 0 {
		return false
	}
	switch op := insts[0]; {
	case op&0xc0 == 0x80: // DW_CFA_offset
		return true
	case op == 0x0c, op == 0x0d, op == 0x0e, op == 0x0f: // DW_CFA_def_cfa, _register, _offset, _expression
		return true
	}
	return false
}

// dropMerged removes the functions that have become parts, with the labels in them.
func (b *builder) dropMerged() {
	keep := b.nodes[:0]
	for _, n := range b.nodes {
		if i := b.fdeOf(n.fn.Entry); i >= 0 && b.merged[i] && b.origin[n.fn.Entry]&^(FromFrame|FromTail) == 0 {
			delete(b.at, n.fn.Entry)
			delete(b.noret, n.fn.Entry)
			continue
		}
		keep = append(keep, n)
	}
	clear(b.nodes[len(keep):])
	b.nodes = keep
}

// labelsAsFunctions makes functions of what is left: addresses in the middle of unwind entries that another function
// jumps to or falls into, or whose address is taken other than by a jump table.
func (b *builder) labelsAsFunctions() (grown bool) {
	for _, n := range b.nodes {
		if n.junk {
			continue
		}
		for _, t := range n.tails {
			grown = b.add(t.to, FromTail) || grown
		}
		for _, o := range n.outs {
			if n.fde < 0 || !b.partOf(n.fde, o) { // into a procedure linkage table, or unknown code
				grown = b.add(o, FromTail) || grown
			}
		}
	}
	for _, n := range b.nodes {
		if n.junk {
			continue
		}
		for _, va := range n.taken {
			if b.at[va] == nil && !b.deref[va] {
				grown = b.add(va, FromTaken) || grown
			}
		}
	}
	return b.pointersAsFunctions() || grown
}

// partOf reports whether va lies in the unwind entry or in a range that belongs to it.
func (b *builder) partOf(fde int, va uint64) bool {
	return b.fdes[fde].Contains(va) || slices.ContainsFunc(b.parts[fde], func(r image.Range) bool { return r.Contains(va) })
}

// pointersAsFunctions makes functions of the code addresses in data, but for those in jump tables.
func (b *builder) pointersAsFunctions() (grown bool) {
	tables := b.pointerTables()
	for _, p := range b.ptrs {
		if b.at[p.to] == nil && !tables.contain(p.slot) && b.credible(p.to) {
			grown = b.add(p.to, FromTaken) || grown
		}
	}
	return grown
}

// credible reports whether a data word of a file with a fixed address may be a pointer to the address va within an
// unwind entry: an instruction begins there. Relocations need no such test.
func (b *builder) credible(va uint64) bool {
	if b.f.Kind != image.KindExec {
		return true
	}
	i := b.fdeOf(va)
	if i < 0 {
		return true
	}
	n := b.at[b.fdes[i].Start]
	if n == nil {
		return true
	}
	k := n.fn.InstAt(va)
	return k < 0 || n.fn.Insts[k].Addr == va
}

// slots is a sorted list of disjoint ranges.
type slots []image.Range

func (s slots) contain(va uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].End > va })
	return i < len(s) && va >= s[i].Start
}

// pointerTables returns where the resolved jump tables of 64-bit addresses lie.
func (b *builder) pointerTables() (tables slots) {
	for _, n := range b.nodes {
		for _, t := range n.tables {
			if t.Width == 8 {
				tables = append(tables, image.Range{Start: t.Table, End: t.Table + uint64(t.Entries)*8})
			}
		}
	}
	slices.SortFunc(tables, func(x, y image.Range) int { return cmp.Compare(x.Start, y.Start) })
	out := tables[:0]
	for _, t := range tables {
		if n := len(out); n > 0 && t.Start <= out[n-1].End {
			out[n-1].End = max(out[n-1].End, t.End)
			continue
		}
		out = append(out, t)
	}
	return out
}
