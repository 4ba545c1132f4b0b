package decode

// Reg is a general-purpose register by its hardware number, RIP, or NoReg.
type Reg uint8

// The sixteen general-purpose registers in hardware order.
const (
	RAX Reg = iota
	RCX
	RDX
	RBX
	RSP
	RBP
	RSI
	RDI
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
	RIP       // only as the base of a memory operand; Disp then is the absolute address
	NoReg Reg = 0xff
)

// RegSet is a set of general-purpose registers, bit r for Reg r.
type RegSet uint16

// AllRegs holds every general-purpose register: what an opaque instruction clobbers.
const AllRegs RegSet = 0xffff

// Has reports whether r is a member.
func (s RegSet) Has(r Reg) bool { return r < 16 && s>>r&1 != 0 }

// Op is the class of an instruction: what value analysis and control flow need to know of it. An instruction that has no
// class of its own is OpOther; its effect on general-purpose registers is then exactly Reads and Writes.
type Op uint8

const (
	OpOther Op = iota
	OpNop      // nop of any length, endbr64, prefetch, fences: no effect, no operands
	OpMov      // Dst <- Src; also movabs
	OpMovZX    // Dst (Size) <- zero-extended Src (SrcSize)
	OpMovSX    // Dst (Size) <- sign-extended Src (SrcSize); movsxd, cbw/cwde/cdqe (RAX <- RAX)
	OpLea      // Dst <- address of the memory operand
	OpAdd
	OpSub
	OpAnd
	OpOr
	OpXor
	OpAdc
	OpSbb
	OpShl
	OpShr
	OpSar
	OpImul // two- and three-operand forms: Dst <- Src * (Imm or Dst)
	OpNeg
	OpNot
	OpInc
	OpDec
	OpCmp
	OpTest
	OpBt
	OpPush  // Src pushed
	OpPop   // Dst popped
	OpLeave // rsp <- rbp; pop rbp
	OpXchg
	OpCmov // Dst <- Src if Cond
	OpSet  // Dst (1 byte) <- Cond
	OpCmpxchg
	OpXadd
	OpToVec   // vector register <- general-purpose register (movd, movq, pinsr): the value leaves our sight
	OpFromVec // general-purpose register <- vector register
	OpCall
	OpJmp
	OpJcc // conditional jump; also jrcxz, loop*, xbegin (to its abort handler)
	OpRet
	OpSyscall  // syscall
	OpInt80    // int 0x80
	OpSysenter // sysenter
	OpTrap     // ud2, ud0, ud1, hlt, int3, other int n: control does not go on (int3 in padding)
	OpStos     // rep stos/movs/...: string instructions, see Reads, Writes, Mem
	OpBad      // bytes that are no instruction
)

// ArgKind says where an operand lives.
type ArgKind uint8

const (
	ArgNone    ArgKind = iota
	ArgReg             // general-purpose register Reg, Size bytes wide
	ArgRegHigh         // AH, CH, DH, BH: bits 8-15 of Reg
	ArgMem             // the memory operand (Base, Index, Scale, Disp, Seg)
	ArgImm             // Imm
	ArgVec             // a vector, mask, x87, MMX, segment, control or debug register
)

// Arg is one operand.
type Arg struct {
	Kind ArgKind
	Reg  Reg // NoReg unless Kind is ArgReg or ArgRegHigh
}

// Flags are properties of an instruction.
type Flags uint16

const (
	HasMem   Flags = 1 << iota // has a memory operand (explicit; lea too)
	MemRead                    // reads it (not lea)
	MemWrite                   // writes it
	Indirect                   // OpCall, OpJmp: the target is Src (a register or memory)
	Opaque                     // only the length is known: clobbers every general-purpose register and memory
	Lock
	Rep // f3 prefix on a string instruction, or repne
	NoTrack
	Addr32 // 67 prefix: 32-bit address computation
	Far    // far call, jump or return
	HasImm // has an immediate operand, Imm (not set for branch targets); tells `imul r, r, 0` from `imul r, r`
)

// Inst is one decoded instruction in the compact form that analyses work on.
type Inst struct {
	Addr    uint64 // address of its first byte
	Imm     int64  // immediate, sign-extended to 64 bits; for direct calls and jumps the absolute target
	Disp    int64  // displacement, sign-extended; the absolute address if Base is RIP
	Flags   Flags
	Reads   RegSet // general-purpose registers read, address registers and implicit ones included
	Writes  RegSet // general-purpose registers written, implicit ones included (partial writes count in Reads too)
	MemSize uint16 // bytes of the memory operand, 0 if unknown
	Op      Op
	Cond    uint8 // condition code 0-15 (hardware numbering) of OpJcc, OpCmov, OpSet; 0xff for jrcxz and loop
	Len     uint8 // 1 to 15
	Size    uint8 // operand width in bytes: 1, 2, 4, 8 (16, 32, 64 for vectors, 10 for x87, 0 if it means nothing)
	SrcSize uint8 // width of Src where it differs (OpMovZX, OpMovSX), else Size
	Dst     Arg
	Src     Arg   // second operand; for OpPush, indirect OpCall and OpJmp the operand; three-operand OpImul: Src and Imm
	Base    Reg   // NoReg if none
	Index   Reg   // NoReg if none
	Scale   uint8 // 1, 2, 4, 8
	Seg     uint8 // 0 none, 1 FS, 2 GS
}

// Next is the address behind the instruction.
func (i *Inst) Next() uint64 { return i.Addr + uint64(i.Len) }

// AbsMem reports whether the memory operand has an address known from the instruction alone (RIP-relative, or an absolute
// displacement without base and index and without segment), and that address.
func (i *Inst) AbsMem() (uint64, bool) {
	if i.Flags&HasMem == 0 || i.Seg != 0 || i.Index != NoReg {
		return 0, false
	}
	if i.Base == RIP || i.Base == NoReg {
		return uint64(i.Disp), true
	}
	return 0, false
}
