// Package decode turns x86-64 machine code into the compact instructions that the analyses work on.
//
// It decodes by tables of its own: first the length (prefixes, REX, VEX, EVEX and XOP maps, ModRM, SIB, displacement,
// immediate), which is decided here alone, then the class, operands and register effects of the instructions that touch
// general-purpose registers, memory or control flow. An instruction whose length is known but whose effect is not is
// marked Opaque and clobbers every register: unknown widens.
//
// Decode(code []byte, va uint64, in *Inst) bool decodes the first instruction of code, which lies at va, into *in and
// reports whether it is one; on false in.Op is OpBad and in.Len 1. It never reads behind code, never panics, allocates nothing.
package decode
