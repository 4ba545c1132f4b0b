package image

// Constants of the ELF format that this package reads (System V gABI, chapters 4 and 5; x86-64 psABI 4.4; elf.h of
// glibc for the GNU extensions). Only what is used.
const (
	etRel, etExec, etDyn, etCore = 1, 2, 3, 4

	ptLoad, ptDynamic, ptInterp, ptNote, ptTLS = 1, 2, 3, 4, 7
	ptGNUEhFrame, ptGNURelro                   = 0x6474e550, 0x6474e552

	pfX, pfW = 1, 2

	shtProgbits, shtSymtab, shtStrtab, shtNote, shtNobits = 1, 2, 3, 7, 8
	shfAlloc, shfExec                                     = 2, 4

	shnXindex = 0xffff
	shnAbs    = 0xfff1

	sttTLS = 6

	ntGNUBuildID = 3

	ehdrSize, phdrSize, shdrSize, symSize, relaSize, dynSize = 64, 56, 64, 24, 24, 16
)

// Tags of PT_DYNAMIC.
const (
	dtNull         = 0
	dtNeeded       = 1
	dtPLTRelSz     = 2
	dtPLTGOT       = 3
	dtHash         = 4
	dtStrtab       = 5
	dtSymtab       = 6
	dtRela         = 7
	dtRelaSz       = 8
	dtRelaEnt      = 9
	dtStrSz        = 10
	dtSymEnt       = 11
	dtInit         = 12
	dtFini         = 13
	dtSoname       = 14
	dtRpath        = 15
	dtSymbolic     = 16
	dtPLTRel       = 20
	dtJmpRel       = 23
	dtInitArray    = 25
	dtFiniArray    = 26
	dtInitArraySz  = 27
	dtFiniArraySz  = 28
	dtRunpath      = 29
	dtFlags        = 30
	dtPreinitArray = 32
	dtPreinitSz    = 33
	dtRelrSz       = 35
	dtRelr         = 36
	dtRelrEnt      = 37
	dtGNUHash      = 0x6ffffef5
	dtDepAudit     = 0x6ffffefb
	dtAudit        = 0x6ffffefc
	dtVersym       = 0x6ffffff0
	dtFlags1       = 0x6ffffffb
	dtVerdef       = 0x6ffffffc
	dtVerdefNum    = 0x6ffffffd
	dtVerneed      = 0x6ffffffe
	dtVerneedNum   = 0x6fffffff
	dtAuxiliary    = 0x7ffffffd
	dtFilter       = 0x7fffffff

	dfSymbolic = 2
	df1PIE     = 0x08000000
)

// Relocation types of the x86-64 psABI that the reader itself makes or looks for.
const (
	rRelative  = 8
	rIRelative = 37
)

// machines names the architectures that somebody is likely to hand us by mistake.
var machines = map[uint16]string{
	2: "sparc", 3: "i386", 8: "mips", 20: "powerpc", 21: "powerpc64", 22: "s390", 40: "arm", 42: "sh", 43: "sparc64",
	50: "ia64", 62: "x86-64", 183: "aarch64", 243: "riscv", 247: "bpf", 258: "loongarch", 0x9026: "alpha",
}
