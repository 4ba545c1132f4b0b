package cfg

import (
	"fmt"
	"slices"

	"syspart/internal/decode"
	"syspart/internal/image"
)

// sanity returns what is wrong with a graph in itself: invariants that hold whatever the file.
func sanity(g *Graph) (errs []string) {
	fail := func(fn *Func, format string, args ...any) {
		errs = append(errs, fmt.Sprintf("%#x %s: ", fn.Entry, fn.Name)+fmt.Sprintf(format, args...))
	}
	for i, fn := range g.Funcs {
		if i > 0 && g.Funcs[i-1].Entry >= fn.Entry {
			fail(fn, "not sorted")
		}
		if len(fn.Blocks) == 0 || len(fn.Insts) == 0 || len(fn.Ranges) == 0 {
			fail(fn, "empty")
			continue
		}
		if fn.blockStart(fn.Start) != fn.Entry {
			fail(fn, "block %d is not the entry", fn.Start)
		}
		if !fn.Ranges[0].Contains(fn.Entry) {
			fail(fn, "entry outside the first range")
		}
		for k := range fn.Insts {
			in := &fn.Insts[k]
			if k > 0 && fn.Insts[k-1].Addr >= in.Addr {
				fail(fn, "instructions not sorted at %#x", in.Addr)
			}
			if !slices.ContainsFunc(fn.Ranges, func(r image.Range) bool { return r.Contains(in.Addr) }) {
				fail(fn, "instruction outside the ranges at %#x", in.Addr)
			}
		}
		at := int32(0)
		preds := make([]int, len(fn.Blocks))
		for b := range fn.Blocks {
			bl := &fn.Blocks[b]
			if bl.First != at || bl.Last <= bl.First || int(bl.Last) > len(fn.Insts) {
				fail(fn, "block %d is [%d,%d) behind %d", b, bl.First, bl.Last, at)
				break
			}
			at = bl.Last
			for k := bl.First; k+1 < bl.Last; k++ {
				if fn.Insts[k].Next() != fn.Insts[k+1].Addr {
					fail(fn, "block %d has a gap at %#x", b, fn.Insts[k].Addr)
				}
				if ends(fn.Insts[k].Op) {
					fail(fn, "block %d does not end at %#x", b, fn.Insts[k].Addr)
				}
			}
			for _, s := range bl.Succs {
				if s < 0 || int(s) >= len(fn.Blocks) {
					fail(fn, "block %d has successor %d", b, s)
					continue
				}
				preds[s]++
			}
			checkTerm(fn, int32(b), fail)
		}
		if int(at) != len(fn.Insts) {
			fail(fn, "blocks end at instruction %d of %d", at, len(fn.Insts))
		}
		for b, n := range preds {
			if n == 0 && int32(b) != fn.Start && !slices.Contains(fn.Pads, int32(b)) {
				fail(fn, "block at %#x has no predecessor", fn.blockStart(int32(b)))
			}
		}
	}
	return errs
}

// checkTerm checks how a block ends against its last instruction.
func checkTerm(fn *Func, b int32, fail func(*Func, string, ...any)) {
	bl := &fn.Blocks[b]
	last := &fn.Insts[bl.Last-1]
	starts := func(i int) uint64 { return fn.blockStart(bl.Succs[i]) }
	ok := true
	switch bl.Term {
	case TermFall:
		ok = !ends(last.Op) && (len(bl.Succs) == 1 && starts(0) == last.Next() || len(bl.Succs) == 0 && bl.TailTo == last.Next())
	case TermJump:
		ok = last.Op == decode.OpJmp && len(bl.Succs) == 1 && starts(0) == uint64(last.Imm)
	case TermTail:
		ok = last.Op == decode.OpJmp && len(bl.Succs) == 0 && bl.TailTo == uint64(last.Imm)
	case TermCond:
		ok = last.Op == decode.OpJcc && (len(bl.Succs) == 2 && starts(0) == uint64(last.Imm) && starts(1) == last.Next() ||
			len(bl.Succs) == 1 && bl.TailTo == uint64(last.Imm) && starts(0) == last.Next() ||
			len(bl.Succs) == 1 && bl.TailTo == last.Next() && starts(0) == uint64(last.Imm) || fn.Incomplete != "" || bl.TailTo != 0)
	case TermCall:
		ok = last.Op == decode.OpCall && (bl.NoReturn && len(bl.Succs) == 0 || len(bl.Succs) == 1 && starts(0) == last.Next() ||
			bl.TailTo == last.Next())
	case TermSwitch:
		ok = last.Op == decode.OpJmp && last.Flags&decode.Indirect != 0 && len(bl.Succs) > 0
	case TermIndirect:
		ok = last.Op == decode.OpJmp && last.Flags&(decode.Indirect|decode.Far) != 0 && len(bl.Succs) == 0
	case TermRet:
		ok = last.Op == decode.OpRet && len(bl.Succs) == 0
	case TermTrap:
		ok = last.Op == decode.OpTrap && len(bl.Succs) == 0
	case TermSyscall:
		ok = len(bl.Succs) <= 1
	case TermBad:
		ok = fn.Incomplete != ""
	}
	if !ok {
		fail(fn, "block at %#x ends by %d at %#x with successors %v and tail %#x", fn.blockStart(b), bl.Term, last.Addr, bl.Succs, bl.TailTo)
	}
}

// frameStarts returns the unwind entries that are neither a function nor a part of one.
func frameStarts(g *Graph) (lost []uint64, err error) {
	frames, err := g.File.Frames()
	if err != nil || frames == nil {
		return nil, err
	}
	for i := range frames.FDEs {
		va := frames.FDEs[i].Start
		if g.At(va) != nil || !g.File.Exec(va) || frames.CIEs[frames.FDEs[i].CIE].Signal && g.At(va+1) != nil {
			continue
		}
		if !slices.ContainsFunc(g.Funcs, func(fn *Func) bool {
			return slices.ContainsFunc(fn.Ranges, func(r image.Range) bool { return r.Start == va })
		}) {
			lost = append(lost, va)
		}
	}
	return lost, nil
}

// describe renders a graph completely, to compare two.
func describe(g *Graph) string {
	out := make([]byte, 0, 1<<20)
	for _, fn := range g.Funcs {
		out = fmt.Appendf(out, "%#x %v %d %v %q %v %#x %v\n", fn.Entry, fn.Ranges, fn.Start, fn.NoReturn, fn.Incomplete, fn.Stub, fn.Slot, fn.Pads)
		for i := range fn.Blocks {
			b := &fn.Blocks[i]
			out = fmt.Appendf(out, " %#x %d %d %v %#x %v\n", fn.blockStart(int32(i)), b.Last-b.First, b.Term, b.NoReturn, b.TailTo, b.Succs)
		}
	}
	return string(fmt.Appendf(out, "%v\n%v\n", g.Tables, g.Orphans))
}
