package decode

// spec describes one opcode: its class, what its operands are and how they are accessed. A zero spec is no instruction.
type spec struct {
	attr attr
	r, w RegSet // registers read and written beside the operands
	op   Op
	size width // operand width, and Inst.Size
	mem  width // width of the memory operand; wSame if it is size
	imm  imm
	x    special
}

// attr are the properties of an opcode that the generic part of the decoder interprets.
type attr uint32

const (
	known   attr = 1 << iota // the opcode is assigned (set by the table builders)
	modrm                    // a ModRM byte follows
	rmR                      // the operand in ModRM.rm (or in the opcode, see opReg) is read
	rmW                      // ... is written
	regR                     // the operand in ModRM.reg (or the accumulator, see acc) is read
	regW                     // ... is written
	rmV                      // ModRM.rm, if a register, is no general-purpose one
	regV                     // ModRM.reg is no general-purpose register
	swap                     // ModRM.reg is Dst and ModRM.rm is Src; with noReg or opReg: that operand is Src
	noReg                    // ModRM.reg is no operand
	memOnly                  // no instruction if ModRM.rm is a register
	regOnly                  // no instruction if ModRM.rm is memory
	noTouch                  // the memory operand is not accessed: lea, nop, prefetch
	rmWide                   // a register in ModRM.rm is as wide as mem says: movzx, movsx, crc32
	immSrc                   // Src is the immediate
	clSrc                    // Src is CL
	opReg                    // the operand is the register in the opcode's low three bits
	acc                      // an operand is the accumulator: Dst, or Src with swap
	vR                       // the register in VEX.vvvv is general-purpose and read
	vW                       // ... and written
	anyPfx                   // 66, f2 and f3 do not select another opcode
	opaque                   // only the length is known
	vsib                     // the index is a vector register
)

// width is a rule for the width of an operand.
type width uint8

const (
	wSame    width = 0   // mem only: as wide as size
	w1       width = 1   // fixed widths stand for themselves
	w2       width = 2   //
	w4       width = 4   //
	w8       width = 8   //
	w10      width = 10  //
	w16      width = 16  //
	w32      width = 32  //
	wUnknown width = 128 // not known, 0 in Inst
	wV       width = 129 // 2 with 66, 8 with REX.W, else 4
	wY       width = 130 // 8 with REX.W, else 4
	wStack   width = 131 // 2 with 66, else 8
	wFar     width = 132 // far pointer: operand size + 2
	wVL      width = 133 // vector length: 16, 32 or 64
	wHalf    width = 134 // half of it
	wQuarter width = 135 //
	wEighth  width = 136 //
	wDup     width = 137 // movddup: 8 if the vector length is 16, else the vector length
	wPair    width = 138 // cmpxchg8b, cmpxchg16b: 16 with REX.W, else 8
	wMaskW   width = 139 // kmovw, kmovq: 8 with W, else 2
	wMaskB   width = 140 // kmovb, kmovd: 4 with W, else 1
	wFull    width = 141 // EVEX full vector: its length, or one element (4, with W 8) when broadcast
	wFullH   width = 142 // ... with elements of 2 bytes
	wHalfV   width = 143 // EVEX half vector, or one element of 4 (with W 8) when broadcast
	wHalfH   width = 144 // ... one element of 2
	wQuartH  width = 145 // EVEX quarter vector, or one element of 2 when broadcast
	wByWord  width = 146 // 2 with W, else 1
	wHalfW   width = 147 // wHalfV, with W wFull
)

// imm is the kind of immediate that follows.
type imm uint8

const (
	iNone  imm = iota
	iB         // 8 bits, sign-extended
	iBU        // 8 bits, zero-extended
	iW         // 16 bits, zero-extended
	iZ         // 16 bits with 66, else 32, sign-extended
	iV         // as wide as the operand: movabs
	iD         // 32 bits
	iOne       // none encoded; the value is 1
	iJB        // 8-bit branch distance
	iJZ        // 32-bit branch distance, whatever the prefixes
	iJW        // 32-bit branch distance, 16 bits with 66: xbegin
	iMoffs     // absolute address
	iEnter     // 16 bits, then 8
	iTwo       // two times 8 bits: extrq, insertq
)

// special selects code for what the generic part cannot express.
type special uint8

const (
	xNone    special = iota
	xGroup           // another spec: groups[spec.size][ModRM.reg]
	xNop90           // 90: nop, or an exchange with R8
	xXchgA           // exchange with the accumulator
	xMovsxd          // movsxd, which 66 makes a plain mov
	xCbw             // cbw, cwde, cdqe
	xString          // string instructions
	xPopMem          // pop into memory, addressed after the pop
	xCond            // condition code in the opcode
	xBitMem          // bit tests of memory with the bit number in a register
	xJcxz            // jrcxz, loop
	xX87             // d8 to df
	xFlow            // indirect, far and software-interrupt transfers
	xXlat            // xlat
	xMaskMov         // maskmovq, maskmovdqu: store at RDI
	xPrivReg         // mov to and from control and debug registers: mod is ignored
	xSreg            // mov to and from segment registers
	xStackV          // push and pop of flags and segment registers
	xGrp7            // 0f 01
	xGrp15           // 0f ae
	xGrp9            // 0f c7
	xNop1E           // f3 0f 1e: rdssp among nops
	xXabort          // c6 f8
	xXbegin          // c7 f8
	xPadlock         // 0f a6, 0f a7: VIA's, without memory operand
	xBMI             // VEX group 17: blsr, blsmsk, blsi
	xTBM             // XOP groups 1 and 2
	xElem            // EVEX: an 8-bit displacement counts elements of 4 or, with W, 8 bytes
	xElemB           // ... of 1 or, with W, 2 bytes
)

// Register sets for the implicit operands.
const (
	sAX RegSet = 1 << RAX
	sCX RegSet = 1 << RCX
	sDX RegSet = 1 << RDX
	sBX RegSet = 1 << RBX
	sSP RegSet = 1 << RSP
	sBP RegSet = 1 << RBP
	sSI RegSet = 1 << RSI
	sDI RegSet = 1 << RDI
)
