package cfg

import (
	"syspart/internal/decode"
	"syspart/internal/image"
)

// Term says how a block ends.
type Term uint8

const (
	TermFall     Term = iota // falls into the next block (a leader follows)
	TermJump                 // direct jump inside the function
	TermCond                 // conditional jump; Succs: taken first, then fall-through (a target outside is in TailTo)
	TermCall                 // direct or indirect call; falls through unless NoReturn
	TermTail                 // direct jump out of the function: a tail call to TailTo
	TermSwitch               // indirect jump through a resolved jump table: Succs are its targets
	TermIndirect             // indirect jump that is no jump table: an indirect tail call, or unresolved
	TermRet
	TermTrap    // ud2, hlt, int3
	TermSyscall // a system-call instruction; falls through
	TermBad     // undecodable bytes, or control runs out of known code: unknown continuation
)

// Block is a basic block. Blocks end behind every call and every system-call instruction too, so that call sites are
// block ends. Succs are indices into Func.Blocks.
type Block struct {
	First, Last int32 // half-open range of Func.Insts
	Term        Term
	NoReturn    bool   // TermCall: proven not to return, or the last of its unwind entry: no fall-through successor
	TailTo      uint64 // TermTail, TermCond out of the function, and what falls out of its end: target address; else 0
	Succs       []int32
}

// Func is one function: an entry point and the blocks reachable from it inside its extent. Extents come from unwind
// entries and symbols; two functions may overlap (secondary entries), each then has its own copy of the shared blocks.
type Func struct {
	Entry  uint64
	Ranges []image.Range // extent: the piece with Entry first, then .cold parts merged into it
	Insts  []decode.Inst // instructions of its blocks, sorted by address
	Blocks []Block       // sorted by address; Blocks[Start] is the entry block
	Start  int32
	Name   string // a symbol's name, "" if none
	Origin Origin // why we think that a function starts here
	// NoReturn: no path from the entry reaches a return or a tail call that may return.
	NoReturn bool
	// Incomplete, if not empty, says why control flow is not fully known (undecodable bytes, unresolved indirect jump
	// that may be a jump table). Such a function must be treated as calling anything address-taken.
	Incomplete string
	// Stub: a PLT stub: only jumps through the GOT slot at Slot.
	Stub bool
	Slot uint64
	// Hub, if not 0, is the address of a computed goto, a block of its own, through which all computed gotos of the function
	// lead in its graph: what seems to come to it need not.
	Hub uint64
	// Landing pads are extra roots: blocks reached by exceptions. Their indices are here and they are reachable.
	Pads []int32
}

// Origin is a set of the reasons to believe that a function starts at an address.
type Origin uint16

const (
	FromSymbol Origin = 1 << iota // .dynsym or .symtab
	FromFrame                     // .eh_frame
	FromCall                      // target of a direct call
	FromTail                      // target of a direct jump out of another function
	FromTaken                     // its address is taken by an lea, an immediate or a relocation
	FromEntry                     // ELF entry, init, fini, init_array...
	FromPLT
	FromGo // the table of functions that Go programs carry
)

// JumpTable is a resolved indirect jump.
type JumpTable struct {
	Site    uint64
	Table   uint64 // address of its first entry
	Entries int
	Width   uint8 // 4 (relative to Base) or 8 (absolute)
	Base    uint64
}

// Graph is all the code of one file.
type Graph struct {
	File   *image.File
	Funcs  []*Func // sorted by Entry
	Tables []JumpTable
	// Orphans are executable ranges inside no function: padding, data, hand-written code never referred to.
	Orphans []image.Range

	extents []extent // sorted by start, for Containing
}

// Loop is a natural or irreducible loop of a function.
type Loop struct {
	Header  int32      // block; for an irreducible region the first entry in address order
	Entries []int32    // all entry blocks; more than one means irreducible
	Blocks  []int32    // sorted
	Parent  int32      // index of the enclosing loop, -1 if outermost
	Exits   [][2]int32 // edges leaving the loop, [from, to]
	Enter   [][2]int32 // edges entering the loop from outside, [from, to]
}
