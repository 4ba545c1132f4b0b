package summary

import "syspart/internal/image"

// Version is the analyser's version: part of every cache key. Raise it whenever a summary of the same bytes would differ.
const Version = "1"

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
	Dyn      image.Dynamic
	Segments []image.Segment
	Relro    image.Range

	Funcs  []Func
	Blocks []Block
	Succs  []int32 // successor blocks, as indices into Blocks
	Calls  []Call
	Sys    []SysSite
	Stores []Store
	Rets   []Ret
	Takes  []Take
	Refs   []Ref
	Exprs  []Expr  // hash-consed
	Sets   []int32 // values: runs of expression indices
	Ptrs   []Ptr   // pointers that the loader or the linker put into data, sorted by Slot
	Objs   []Obj   // data objects with known bounds, sorted by Start
	Args   []ConstArg
	Strs   []Str  // constant strings at addresses that are passed to functions by name (dlopen, execve...)
	Text   []byte // names, one after another
}

// Name is a run of bytes in Module.Text.
type Name struct{ Off, Len uint32 }

// Set is a value: the run Sets[Off:Off+Len] of expression indices, each a possible value. Len 0 is "no value" (never
// computed); unknown is a run that contains an expression of kind Top.
type Set struct{ Off, Len uint32 }

// ExprKind is the kind of a symbolic value.
type ExprKind uint8

const (
	Top     ExprKind = iota // anything
	Junk                    // what a call leaves in a caller-saved register: not a value that a program may use
	Const                   // Off
	Addr                    // address Off of this module
	Sym                     // address of dynamic symbol A, plus Off
	Param                   // register argument A (0-5: rdi rsi rdx rcx r8 r9) or stack argument A-6 at entry, plus Off
	Result                  // what call Calls[A] returned, plus Off
	Load                    // the value in memory at address Exprs[A], plus Off
	Stack                   // address of a stack slot: Off bytes above the stack pointer at entry (the return address is 0)
	TLSBase                 // thread pointer (fs:0), plus Off
)

// Expr is a symbolic value.
type Expr struct {
	Off  int64
	A    int32
	Kind ExprKind
	Any  bool  // an unknown amount was added: an element of, or a position in, what the rest denotes
	Size uint8 // Load: bytes read, zero-extended (8: whole register; 0x84: 4 bytes sign-extended)
	_    uint8
}

// Func is one function.
type Func struct {
	Entry, End uint64 // End of the piece that contains Entry
	Name       Name
	Blocks     [2]uint32 // run of Blocks; runs of different functions do not overlap
	Start      uint32    // entry block, index into Blocks
	Calls      [2]uint32 // run of Calls
	Sys        [2]uint32
	Stores     [2]uint32
	Rets       [2]uint32
	Takes      [2]uint32
	Refs       [2]uint32
	Reads      uint8 // argument registers that are read before they are written, bit i for register argument i
	Flags      FuncFlags
	Incomplete Name   // why control flow is not fully known
	Slot       uint64 // PLT stubs: GOT slot
}

// FuncFlags are properties of a function.
type FuncFlags uint16

const (
	NoReturn   FuncFlags = 1 << iota // never returns
	Stub                             // PLT stub through Slot
	Incomplete                       // control flow not fully known: calls anything address-taken
	Variadic                         // saves its argument registers as variadic functions do
	HasPads                          // has landing pads
	StartsInit                       // entry, init, fini, constructor or destructor
)

// Block is a basic block.
type Block struct {
	Start, End uint64
	Succs      [2]uint32 // run of Module.Succs
	Flags      uint8     // BlockPad, BlockBad
	_          [7]uint8
}

const (
	BlockPad uint8 = 1 << iota // landing pad: a root besides the entry block
	BlockBad                   // control leaves known code here
)

// CallKind is the kind of a call site.
type CallKind uint8

const (
	Direct   CallKind = iota // Target is an address of this module
	BySym                    // through a GOT slot: Sym, and Target is the slot (call *slot(%rip); PLT stubs are Stub functions)
	Indirect                 // Value holds the possible targets
)

// Call is a call site or a tail jump.
type Call struct {
	Site     uint64 // address of the instruction
	Target   uint64
	Value    Set    // Indirect: the target
	Args     [6]Set // values of the argument registers
	StackArg [2]Set // values of the first two stack-passed arguments
	Block    uint32
	Sym      uint32
	Kind     CallKind
	Tail     bool
	Prepared uint8 // upper bound of the number of register arguments prepared (TypeArmor): 0-6
	RetUsed  bool  // the result may be read
	NoReturn bool  // known not to return
	_        [3]uint8
}

// SysSite is a system-call instruction.
type SysSite struct {
	Site   uint64
	Number Set
	Args   [6]Set // rdi rsi rdx r10 r8 r9
	Block  uint32
	Kind   SysKind
	_      [3]uint8
}

// SysKind says which entry instruction is used.
type SysKind uint8

const (
	Syscall64 SysKind = iota
	Int80
	Sysenter
)

// Store is a store of Size bytes to memory that is not the function's own private stack.
type Store struct {
	Site  uint64
	Addr  Set
	Value Set
	Block uint32
	Size  uint32
}

// Ret is a value returned.
type Ret struct {
	Value Set
	Block uint32
	_     uint32
}

// Fate says where a code pointer goes that a function makes.
type Fate uint8

const (
	FateEscape   Fate = iota // somewhere we cannot follow: counts as address-taken
	FateArg                  // argument K of call Index
	FateStore                // stored by store Index
	FateRet                  // returned
	FateCalled               // only called: the call's Value has it
	FateCompared             // only compared, or never used
)

// Take is a place where a function makes a code pointer (or the address of a symbol of another module), once per fate.
type Take struct {
	Site   uint64
	Target uint64 // address of this module; 0 if Sym
	Block  uint32
	Sym    uint32 // dynamic symbol, 0 if Target
	Index  uint32 // Calls, Stores
	Fate   Fate
	K      uint8
	_      [2]uint8
}

// Ref is a reference of code to data.
type Ref struct {
	Site  uint64
	Addr  uint64
	Block uint32
	Size  uint16 // bytes read or written directly; 0: the address itself is taken
	Write bool
	Known bool // Size 0: every use of the address is a load or store at a known offset, which has a Ref of its own
}

// Ptr is a pointer in data: by relative relocation, by symbolic relocation (Sym, plus Addend), or by a data word of a
// fixed-address file or an entry of a relative pointer table.
type Ptr struct {
	Slot   uint64
	Target uint64
	Addend int64
	Sym    uint32
	Kind   PtrKind
	_      [3]uint8
}

// PtrKind says where a pointer comes from.
type PtrKind uint8

const (
	PtrRelative PtrKind = iota
	PtrSym              // R_X86_64_64, GLOB_DAT
	PtrPLT              // JUMP_SLOT: used by PLT stubs alone
	PtrIFunc            // IRELATIVE: Target is the resolver
	PtrWord             // fixed-address file: a word that equals a function's address
	PtrTLS              // thread-local: DTPMOD, TPOFF, TLSDESC
	PtrCopy             // COPY
	PtrRel32            // 32-bit offset in a relative pointer table
)

// Obj is a data object bounded by a symbol.
type Obj struct {
	Start, End uint64
	Sym        Name
}

// ConstArg is reserved for constants of arguments that later filters check.
type ConstArg struct {
	Call uint32
	Arg  uint32
	Val  int64
}

// Str is a constant string.
type Str struct {
	Addr uint64
	Text Name
}

// At returns the index of the function whose entry is va, or -1.
func (m *Module) At(va uint64) int {
	lo, hi := 0, len(m.Funcs)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if m.Funcs[mid].Entry < va {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(m.Funcs) && m.Funcs[lo].Entry == va {
		return lo
	}
	return -1
}

// String returns the text of a name.
func (m *Module) String(n Name) string { return string(m.Text[n.Off : n.Off+n.Len]) }

// Values returns the expressions of a set.
func (m *Module) Values(s Set) []int32 { return m.Sets[s.Off : s.Off+s.Len] }
