package summary

import (
	"syspart/internal/cfg"
	"syspart/internal/decode"
)

// condE and condNE are the condition codes "equal" and "not equal" of the hardware's numbering.
const condE, condNE = 4, 5

// resultBranch says where a block goes on if the call before it, whose result is in eax when the block begins, has
// returned something other than 0: BlockTakenNonZero, BlockFallNonZero, or 0 if that is not what the block branches on.
// It sees test and cmp with 0 of eax or of a register that eax was copied to.
func resultBranch(f *cfg.Func, b *cfg.Block) uint8 {
	if b.Term != cfg.TermCond || len(b.Succs) != 2 || b.Last-b.First < 2 {
		return 0
	}
	result := decode.RegSet(1) << decode.RAX // registers that hold the result
	insts := f.Insts[b.First:b.Last]
	tested := false
	for i := range insts[:len(insts)-1] {
		in := &insts[i]
		holds := func(a decode.Arg) bool { return a.Kind == decode.ArgReg && result.Has(a.Reg) }
		// Only the last instruction that may set flags counts: the one right before the branch.
		tested = i == len(insts)-2 && in.Size == 4 && holds(in.Dst) &&
			(in.Op == decode.OpTest && in.Src == in.Dst || in.Op == decode.OpCmp && in.Flags&decode.HasImm != 0 && in.Imm == 0)
		copies := in.Op == decode.OpMov && in.Size >= 4 && in.Dst.Kind == decode.ArgReg && holds(in.Src)
		result &^= in.Writes
		if copies {
			result |= 1 << in.Dst.Reg
		}
	}
	switch jcc := &insts[len(insts)-1]; {
	case !tested || jcc.Op != decode.OpJcc:
		return 0
	case jcc.Cond == condNE:
		return BlockTakenNonZero
	case jcc.Cond == condE:
		return BlockFallNonZero
	}
	return 0
}
