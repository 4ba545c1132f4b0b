package image

// Range is a half-open range of virtual addresses as the file states them (unbiased).
type Range struct{ Start, End uint64 }

// Contains reports whether va lies in r.
func (r Range) Contains(va uint64) bool { return va >= r.Start && va < r.End }

// Segment is one PT_LOAD.
type Segment struct {
	Range         // memory extent (p_memsz)
	Off, FileSize uint64
	Exec, Write   bool
}

// Section is one section header, when the file has any. Nothing may depend on them being there.
type Section struct {
	Name  string
	Range // empty unless the section is loaded
	Type  uint32
	Flags uint64
}

// Symbol is one entry of .dynsym or .symtab. Version is the symbol's version name ("GLIBC_2.34"), empty if it has none;
// Hidden says that it is not the default version (sym@V instead of sym@@V). VersionFile names the file (DT_NEEDED name)
// that the version is wanted from: set for undefined symbols and for those that a copy relocation defines, as their version
// is their library's. Names in .symtab lose the "@V" that linkers append; VersionFile is empty there.
type Symbol struct {
	Name        string
	Version     string
	VersionFile string
	Value, Size uint64
	Type, Bind  uint8 // STT_*, STB_*
	Vis         uint8 // STV_*
	Hidden      bool
	Undefined   bool
	TLS, Abs    bool
}

// Reloc is one dynamic relocation. DT_RELR entries appear as R_X86_64_RELATIVE with the addend read from memory.
type Reloc struct {
	Off    uint64
	Type   uint32 // R_X86_64_*
	Sym    uint32 // index into Dynamic.Symbols, 0 if none
	PLT    bool   // from DT_JMPREL
	Addend int64
}

// Dynamic is what PT_DYNAMIC says: all that binding one module to others needs. It is a value that is stored with the
// module's summary, so it refers to no file and holds no absolute path of its own making.
type Dynamic struct {
	Soname                             string
	Needed                             []string
	Rpath                              string   // DT_RPATH, unexpanded
	Runpath                            string   // DT_RUNPATH, unexpanded
	Flags                              uint64   // DT_FLAGS
	Flags1                             uint64   // DT_FLAGS_1
	Symbolic                           bool     // DT_SYMBOLIC or DF_SYMBOLIC
	Symbols                            []Symbol // .dynsym; entry 0 is the null symbol
	Relocs                             []Reloc  // sorted by Off
	Init, Fini                         uint64   // 0 if none
	PreinitArray, InitArray, FiniArray Range
	VersionsDefined                    []string // DT_VERDEF without the base definition, which names the file
	Filters                            []string // DT_AUXILIARY and DT_FILTER: libraries whose symbols come first
	Audit                              []string // DT_AUDIT and DT_DEPAUDIT: libraries loaded into a link map of their own
}

// Kind tells executables from libraries.
type Kind uint8

const (
	KindExec   Kind = iota // ET_EXEC: fixed address
	KindPIE                // ET_DYN that is a program: DF_1_PIE, or PT_INTERP and no DT_SONAME (libc.so.6 has both)
	KindShared             // ET_DYN library, loader or vDSO
)

// FDE is one entry of .eh_frame: a contiguous piece of code with the rules to unwind it.
type FDE struct {
	Range
	CIE   int32  // index into Frames.CIEs
	LSDA  uint64 // 0 if none
	Insts []byte // call-frame instructions, a slice of the file
}

// CIE is a common information entry.
type CIE struct {
	CodeAlign           uint64
	DataAlign           int64
	RetReg              uint8
	Signal              bool   // augmentation 'S': a signal frame
	Personality         uint64 // 0 if none; the address of the pointer if PersonalityIndirect
	PersonalityIndirect bool
	Insts               []byte
}

// Frames is a parsed .eh_frame: FDEs sorted by start.
type Frames struct {
	CIEs []CIE
	FDEs []FDE
}

// LandingPad is one call-site record of an LSDA that has a landing pad.
type LandingPad struct {
	Range        // the protected calls
	Pad   uint64 // where control goes
}
