// Package cfg finds the functions of a file and builds their control-flow graphs.
//
// Sound in this sense: every instruction that can execute in a function lies in a block of it, or the function is marked
// Incomplete. Over-approximated: a resolved jump table may have targets that never occur; a call is assumed to return
// unless proven otherwise.
//
//	Build(f *image.File) (*Graph, error)               functions to a fixed point (call targets, taken addresses), in parallel
//	(*Graph).At(va uint64) *Func                       the function whose entry is va
//	(*Graph).Containing(va uint64) []*Func             functions with an instruction at va
//	(*Func).BlockAt(va uint64) int32                   the block with an instruction at va
//	(*Func).Loops() []Loop                             its loops
//	Dominators(succs [][]int32, root []int32) []int32  Cooper-Harvey-Kennedy on flat slices; -1 for unreachable and roots
//	FindLoops(succs [][]int32, roots []int32) []Loop   nesting, exits, entries, irreducible regions too
//
// # Functions
//
// A function starts at each symbol of a function, unwind entry, entry that the loader calls, direct call target, target
// of a jump out of another function, and address taken by an lea, a relocation, or (fixed-address files) an immediate or
// a data word. Its extent is its unwind entry; without one its symbol's size; without either the space up to the next
// entry. Code is found by recursive descent inside the extent, so data among the code is harmless. Unwind entries that
// only one function jumps into, in ways that tail calls are not made (.cold parts), become ranges of that function.
//
// # Indirect jumps
//
// A backward slice over registers and stack slots says where the target comes from. If from a table of 32-bit offsets or
// of pointers, the comparison that guards the index bounds it; without one the table is read while its entries point into
// the function and nothing else refers to what follows. If from memory or an argument, the jump is an indirect tail call,
// unless addresses inside the function are taken somewhere: then it may be a computed goto to any of them, and the
// function is incomplete. If the slice cannot tell, the function is incomplete.
//
// # Assumptions
//
// What it takes for granted, and what would break it:
//   - Unwind entries end where their code ends: a call that is the last instruction of one does not return.
//   - Imported functions of the C and C++ run-time libraries that are specified not to return do not (noReturnNames).
//   - Spill slots are written through RSP or RBP only, and a register that holds a jump table's base wherever the program
//     was compiled to read that table holds nothing else there on any path that can be executed.
//   - A callee leaves RSP as it found it. Returns to addresses that the function itself pushes are recognised only where
//     straight-line code pushes them.
//   - Hand-written code without symbol or unwind entry that is reached only through pointers computed at run time is not
//     found (Graph.Orphans has its bytes); nor is taken for code what cannot be decoded, in files with unwind tables.
package cfg
