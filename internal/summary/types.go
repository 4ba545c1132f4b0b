package summary

import (
	"sort"

	"syspart/internal/image"
	"syspart/internal/value"
)

//go:generate go run gen/main.go

// Module is all that one file says by itself: the object file of our linking. It is a pure function of the file's bytes
// and refers to nothing outside it. All tables are flat; indices are into the tables of the same Module. Addresses are
// ELF virtual addresses.
type Module struct {
	SHA256   [32]byte
	BuildID  string
	Size     int64
	Kind     image.Kind
	Static   bool
	Interp   string
	Entry    uint64
	TLS      image.Range
	Relro    image.Range
	Dyn      image.Dynamic
	Segments []image.Segment
	Sections []image.Range // bounds of allocated sections, if the file has section headers
	Got      []image.Range // the sections among them that hold the loader's slots

	Funcs  []Func
	Blocks []Block
	Succs  []int32 // successor blocks, as indices into Blocks
	Calls  []Call
	Sys    []SysSite
	Frame  []FrameVal
	Firsts []First // in Go code, sorted by Call
	Stores []Store
	Rets   []Ret
	Takes  []Take
	Refs   []Ref
	Losts  []int32      // expressions that a function loses sight of: Addr, Sym and Load; indices into Exprs
	Exprs  []value.Expr // the values' expressions; Load's A and Result's A are indices into Exprs and Calls
	Runs   [][2]int32   // larger sets: runs of Sets
	Sets   []int32
	Ptrs   []Ptr  // pointers that the loader or the linker put into data, sorted by Slot
	Always []Ptr  // pointers that the runtime itself follows, see PtrRole
	Objs   []Obj  // data objects with known bounds, sorted by Start, disjoint
	Words  []Word // what variables hold from the start that numbers of system calls may be read from, sorted by Addr
	Strs   []Str  // identifiers at addresses that code makes or data point to; only in files that may look names up
	Text   []byte // names, one after another
}

// Name is a run of bytes in Module.Text.
type Name struct{ Off, Len uint32 }

// Func is one function.
type Func struct {
	Entry, End uint64 // End of the piece that contains Entry
	Slot       uint64 // PLT stubs: GOT slot
	Name       Name
	Incomplete Name      // why control flow is not fully known
	Blocks     [2]uint32 // run of Blocks; runs of different functions do not overlap
	Calls      [2]uint32 // run of Calls
	Sys        [2]uint32
	Frame      [2]uint32
	Stores     [2]uint32
	Rets       [2]uint32
	Takes      [2]uint32
	Refs       [2]uint32
	Losts      [2]uint32
	Exprs      [2]uint32 // run of Exprs: the expressions that its facts use, operands first
	Start      uint32    // entry block, index into Blocks
	Sym        uint32    // PLT stubs: dynamic symbol of the slot's relocation, 0 if it has none (IRELATIVE)
	Flags      FuncFlags
	LostParams uint8 // bit k: argument k (0-5 registers, 6 and 7 the first stack-passed ones) is lost sight of
	// Args is a lower bound of the number of register arguments (0-6): the last one that the function, or what it hands its
	// arguments on to, certainly consumes. 0 also for stubs, and for incomplete and variadic functions.
	Args uint8
	_    [4]uint8
}

// FuncFlags are properties of a function.
type FuncFlags uint16

const (
	NoReturn   FuncFlags = 1 << iota // never returns
	Stub                             // PLT stub through Slot
	Incomplete                       // control flow not fully known: calls anything address-taken
	HasPads                          // has landing pads
	Void                             // returns, and certainly leaves no value in rax then
	Variadic                         // perhaps: looks at al, stores an argument register whole into its frame, or passes on the address of what it is given on the stack
	Guessed                          // nothing but its address says that a function begins there
)

// Block is a basic block.
type Block struct {
	Start, End uint64
	Succs      [2]uint32 // run of Module.Succs
	Flags      uint8     // BlockPad, BlockBad, ...
	_          [7]uint8
}

const (
	BlockPad uint8 = 1 << iota // landing pad: a root besides the entry block
	BlockBad                   // control leaves known code here
	// The block branches on eax as it was when the block began: if it was not 0, to its first or to its second successor.
	// For a block behind a call that is the call's result, which tells a second return of setjmp from its first.
	BlockTakenNonZero
	BlockFallNonZero
	BlockHub // cfg.Func's Hub: control may go on to its successors without having come here
)

// CallKind is the kind of a call site.
type CallKind uint8

const (
	Direct   CallKind = iota // Target is an address of this module
	BySym                    // to dynamic symbol Sym, through a GOT slot
	Indirect                 // Value holds the possible targets
)

// Call is a call site or a tail jump.
type Call struct {
	Site     uint64 // address of the instruction
	Target   uint64
	Value    value.Val    // Indirect: the target
	Args     [6]value.Val // values of the argument registers
	StackArg [2]value.Val // values of the first two stack-passed arguments
	Block    uint32
	Sym      uint32 // BySym: dynamic symbol; Direct: see Callee
	Kind     CallKind
	Tail     bool
	NoReturn bool // known not to return
	// Prepared is an upper bound of the number of register arguments (0-6): the last one whose register is not certainly
	// left over from an earlier call.
	Prepared   uint8
	UsesResult bool // what the callee leaves in rax is certainly wanted; false for tail jumps
	_          [3]uint8
}

// SysSite is a system-call instruction.
type SysSite struct {
	Site   uint64
	Number value.Val
	Args   [6]value.Val // rdi rsi rdx r10 r8 r9
	Block  uint32
	Kind   SysKind
	_      [7]uint8
}

// SysKind says which entry instruction is used.
type SysKind uint8

const (
	Syscall64 SysKind = iota
	Int80
	Sysenter
)

// FrameVal is what a place of the caller's frame holds at a call that is given an address at or up to 64 bytes below it:
// the fields of a struct that is passed by address.
type FrameVal struct {
	Call  uint32
	Off   int32 // offset of the place as in a Stack expression
	Size  uint32
	Value value.Val
}

// First is what a call in Go code is given in rax, where that is known.
type First struct {
	Call  uint32
	Value value.Val
}

// First returns what call k is given in rax, 0 if that is not known.
func (m *Module) First(k uint32) value.Val {
	i := sort.Search(len(m.Firsts), func(i int) bool { return m.Firsts[i].Call >= k })
	if i < len(m.Firsts) && m.Firsts[i].Call == k {
		return m.Firsts[i].Value
	}
	return 0
}

// Store is a store of Size bytes (0: unknown) to memory other than the function's own frame.
type Store struct {
	Site  uint64
	Addr  value.Val
	Value value.Val
	Block uint32
	Size  uint32
}

// Ret is a value returned.
type Ret struct {
	Value value.Val
	Block uint32
}

// Take is a place where a function makes a code pointer.
type Take struct {
	Site   uint64
	Target uint64
	Block  uint32
	_      uint32
}

// Ref is a reference of code to data.
type Ref struct {
	Site  uint64
	Addr  uint64
	Block uint32
	Size  uint16 // bytes read or written directly; 0: the address itself is taken
	Write bool
	_     uint8
}

// Ptr is a pointer in data: by relative relocation, by symbolic relocation (Sym, plus Addend), or by a data word of a
// fixed-address file.
type Ptr struct {
	Slot   uint64
	Target uint64
	Addend int64
	Sym    uint32
	Kind   PtrKind
	Role   PtrRole
	_      [2]uint8
}

// PtrKind says where a pointer comes from.
type PtrKind uint8

const (
	PtrRelative PtrKind = iota
	PtrSym              // R_X86_64_64, GLOB_DAT
	PtrPLT              // JUMP_SLOT: used by PLT stubs alone
	PtrIFunc            // IRELATIVE: Target is the resolver
	PtrWord             // fixed-address file: a word that lies within the file's segments
	PtrTLS              // thread-local: DTPMOD, TPOFF, TLSDESC
	PtrCopy             // COPY
	PtrDistance         // four bytes of constant data: the distance of the function Target from an address that code makes
)

// PtrRole says who follows a pointer of Module.Always, and so how what it points to is called.
type PtrRole uint8

const (
	RoleNone        PtrRole = iota // not of Always
	RoleInit                       // constructors: DT_INIT, preinit_array, init_array
	RoleFini                       // destructors: DT_FINI, fini_array
	RolePersonality                // personality routines of the unwinder
	RoleMethod                     // what Go finds by number: only a pointer, not run by itself
)

// Obj is a data object bounded by a symbol.
type Obj struct{ Start, End uint64 }

// Word is eight bytes of writable data.
type Word struct{ Addr, Value uint64 }

// Str is a constant string.
type Str struct {
	Addr uint64
	Text Name
}

// At returns the index of the function whose entry is va, or -1.
func (m *Module) At(va uint64) int {
	lo := m.after(va)
	if lo > 0 && m.Funcs[lo-1].Entry == va {
		return lo - 1
	}
	return -1
}

// Before returns the number of functions whose entry is below va.
func (m *Module) Before(va uint64) int {
	n := m.after(va)
	if n > 0 && m.Funcs[n-1].Entry == va {
		n--
	}
	return n
}

// after returns the number of functions whose entry is at most va.
func (m *Module) after(va uint64) int {
	lo, hi := 0, len(m.Funcs)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if m.Funcs[mid].Entry <= va {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Callee returns the index of the function that a direct call goes to, or -1.
func (m *Module) Callee(c *Call) int {
	if c.Kind != Direct {
		return -1
	}
	return int(c.Sym) - 1
}

// BlockOf returns the index of the block of function f that contains va, or -1.
func (m *Module) BlockOf(f int, va uint64) int {
	r := m.Funcs[f].Blocks
	for b := r[0]; b < r[1]; b++ {
		if va >= m.Blocks[b].Start && va < m.Blocks[b].End {
			return int(b)
		}
	}
	return -1
}

// Containing returns the functions that have a block with va in it, those that start nearest to it first.
func (m *Module) Containing(va uint64) []int {
	var out []int
	for f := m.after(va) - 1; f >= 0 && len(out) < 4; f-- {
		if m.BlockOf(f, va) >= 0 {
			out = append(out, f)
		}
		if m.after(va)-f > 64 {
			break
		}
	}
	if out == nil { // a part far from its entry (.cold)
		for f := range m.Funcs {
			if m.BlockOf(f, va) >= 0 {
				out = append(out, f)
			}
		}
	}
	return out
}

// String returns the text of a name.
func (m *Module) String(n Name) string { return string(m.Text[n.Off : n.Off+n.Len]) }

// Each calls f for each expression of v.
func (m *Module) Each(v value.Val, f func(index int32, e value.Expr)) {
	if v >= 0 {
		f(int32(v), m.Exprs[v])
		return
	}
	r := m.Runs[^v]
	for _, x := range m.Sets[r[0]:r[1]] {
		f(x, m.Exprs[x])
	}
}

// Exec reports whether va is in an executable segment.
func (m *Module) Exec(va uint64) bool {
	for i := range m.Segments {
		if m.Segments[i].Exec && m.Segments[i].Contains(va) {
			return true
		}
	}
	return false
}

// Mapped reports whether va is in a segment.
func (m *Module) Mapped(va uint64) bool {
	for i := range m.Segments {
		if m.Segments[i].Contains(va) {
			return true
		}
	}
	return false
}
