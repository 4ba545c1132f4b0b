// Package decode turns x86-64 machine code into the compact instructions that the analyses work on.
//
// It decodes by tables of its own: first the length (prefixes, REX, VEX, EVEX and XOP maps, ModRM, SIB, displacement,
// immediate), then the class, operands and register effects. There is one table per opcode map (legacy.go, legacy0f.go,
// vex.go, evex.go); an entry (spec.go) says how the operands are encoded and used, special.go has what tables cannot say.
//
// Decode(code []byte, va uint64, in *Inst) bool decodes the first instruction of code, which lies at va, into *in and
// reports whether it is one; on false in.Op is OpBad and in.Len 1. It never reads behind code, never panics, allocates nothing.
//
// # Soundness
//
// Writes, MemWrite, control flow and length are what the analyses lean on: nothing that an instruction may write, and no
// place where control may go, is left out. An instruction of which only the length is known (virtual machines, enclaves,
// AMX tiles, opcodes not yet assigned in the maps whose layout is regular, stores far from their memory operand) is marked
// Opaque and clobbers every register and all memory: unknown widens. Reads is exact too, so it serves in both directions,
// except that an Opaque instruction reads everything.
//
// Opcodes that the hardware refuses are OpBad where a table shows it, but not all reserved fields are checked: VEX.vvvv,
// VEX.L, LOCK on instructions that cannot have it and undocumented x87 aliases pass. Code that runs has none of them, and
// data taken for code then looks valid a little longer.
//
// # Limits
//
// 64-bit mode only. APX (REX2, EVEX map 4) and Knights Corner are not known and yield OpBad. Segments other than FS and GS
// have base 0 and are ignored; so is, as on Intel, a 66 prefix before a branch distance. Flags are not modelled, nor are
// vector registers beyond their being none of ours.
package decode
