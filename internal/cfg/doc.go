// Package cfg finds the functions of a file and builds their control-flow graphs.
//
// Sound in this sense: every instruction that can execute in a function lies in a block of it, or the function is marked
// Incomplete. Over-approximated: a resolved jump table may have targets that never occur; a call is assumed to return
// unless proven otherwise.
//
//	Build(f *image.File) (*Graph, error)               functions to a fixed point (call targets, taken addresses), in parallel
//	(*Graph).At(va uint64) *Func                       the function whose entry is va
//	(*Graph).Containing(va uint64) []*Func             functions with an instruction at va
//	Dominators(succs [][]int32, root []int32) []int32  Cooper-Harvey-Kennedy on flat slices; -1 for unreachable and roots
//	FindLoops(succs [][]int32, roots []int32) []Loop   nesting, exits, entries, irreducible regions too
package cfg
