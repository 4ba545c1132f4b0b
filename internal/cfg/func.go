package cfg

import (
	"sort"

	"syspart/internal/image"
)

// blockStart is the address of block b's first instruction.
func (f *Func) blockStart(b int32) uint64 { return f.Insts[f.Blocks[b].First].Addr }

// BlockAt returns the index of the block that holds the byte at va, or -1. Where instructions overlap (a jump behind a
// lock prefix) it prefers the block with an instruction that begins at va.
func (f *Func) BlockAt(va uint64) int32 {
	i := f.InstAt(va)
	if i < 0 {
		return -1
	}
	return int32(sort.Search(len(f.Blocks), func(b int) bool { return f.Blocks[b].Last > i }))
}

// InstAt returns the index of the instruction that begins at va, else of the one whose bytes include va, else -1.
func (f *Func) InstAt(va uint64) int32 {
	n := sort.Search(len(f.Insts), func(i int) bool { return f.Insts[i].Addr > va })
	// Instructions are at most 15 bytes long; overlapping ones are never far apart.
	for i := n - 1; i >= 0 && va-f.Insts[i].Addr < 15; i-- {
		if in := &f.Insts[i]; va < in.Next() {
			return int32(i)
		}
	}
	return -1
}

// Succs returns the successor lists of the function's blocks.
func (f *Func) Succs() [][]int32 {
	s := make([][]int32, len(f.Blocks))
	for i := range f.Blocks {
		s[i] = f.Blocks[i].Succs
	}
	return s
}

// Roots returns the blocks that are reached from outside: the entry block and the landing pads.
func (f *Func) Roots() []int32 {
	return append([]int32{f.Start}, f.Pads...)
}

// Loops returns the function's loops, see FindLoops.
func (f *Func) Loops() []Loop { return FindLoops(f.Succs(), f.Roots()) }

// Dominators returns the immediate dominators of the function's blocks, see Dominators.
func (f *Func) Dominators() []int32 { return Dominators(f.Succs(), f.Roots()) }

// At returns the function whose entry is va, or nil.
func (g *Graph) At(va uint64) *Func {
	i := sort.Search(len(g.Funcs), func(i int) bool { return g.Funcs[i].Entry >= va })
	if i < len(g.Funcs) && g.Funcs[i].Entry == va {
		return g.Funcs[i]
	}
	return nil
}

// Containing returns the functions that have an instruction with a byte at va, sorted by entry. For a return address
// ask for the byte before it.
func (g *Graph) Containing(va uint64) []*Func {
	var fs []*Func
	// Extents are sorted by start; reach is the highest end of this and all earlier ones.
	n := sort.Search(len(g.extents), func(i int) bool { return g.extents[i].Start > va })
	for i := n - 1; i >= 0 && g.extents[i].reach > va; i-- {
		if e := &g.extents[i]; va < e.End && e.fn.InstAt(va) >= 0 {
			fs = append(fs, e.fn)
		}
	}
	sort.Slice(fs, func(i, j int) bool { return fs[i].Entry < fs[j].Entry })
	return fs
}

// extent is one range of one function.
type extent struct {
	image.Range
	reach uint64
	fn    *Func
}

// index prepares Containing and finds the orphans.
func (g *Graph) index(text []image.Range) {
	var runs []image.Range
	for _, fn := range g.Funcs {
		for _, r := range fn.Ranges {
			g.extents = append(g.extents, extent{Range: r, fn: fn})
		}
		for i := range fn.Insts {
			in := &fn.Insts[i]
			if n := len(runs); n > 0 && in.Addr <= runs[n-1].End && in.Addr >= runs[n-1].Start {
				runs[n-1].End = max(runs[n-1].End, in.Next())
				continue
			}
			runs = append(runs, image.Range{Start: in.Addr, End: in.Next()})
		}
	}
	sort.SliceStable(g.extents, func(i, j int) bool { return g.extents[i].Start < g.extents[j].Start })
	reach := uint64(0)
	for i := range g.extents {
		reach = max(reach, g.extents[i].End)
		g.extents[i].reach = reach
	}
	sort.Slice(runs, func(i, j int) bool { return runs[i].Start < runs[j].Start })
	k := 0
	for _, t := range text {
		at := t.Start
		for at < t.End {
			for k < len(runs) && runs[k].End <= at {
				k++
			}
			if k == len(runs) || runs[k].Start >= t.End {
				g.Orphans = append(g.Orphans, image.Range{Start: at, End: t.End})
				break
			}
			if runs[k].Start > at {
				g.Orphans = append(g.Orphans, image.Range{Start: at, End: runs[k].Start})
			}
			at = runs[k].End
		}
	}
}
