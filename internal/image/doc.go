// Package image reads one ELF file safely: segments, PT_DYNAMIC, symbols with versions, relocations (RELR included),
// unwind tables, notes and build-id. It uses its own readers throughout, so files without section headers work and a
// hostile file yields an error, never a panic: every size is capped by the file's length, every offset checked.
//
//	Open(path string) (*File, error)                 the whole file is read (mapped privately)
//	Parse(name string, data []byte) (*File, error)   the same from memory (vDSO, tests, fuzzing)
//
//	(*File).Name, Kind, Static (no PT_INTERP and not a library), Interp, Entry, Segments, Sections, Dyn Dynamic,
//	        SHA256 [32]byte, BuildID string (hex, "" if none), TLS Range, Relro Range, Symtab []Symbol (.symtab when present)
//	(*File).Bytes(va, n) ([]byte, bool)  file bytes at a virtual address (bss reads as absent)
//	(*File).Uint64(va), Uint32(va), CString(va)
//	(*File).Exec(va) bool, Write(va) bool, Mapped(va) bool
//	(*File).Frames() (*Frames, error)    .eh_frame found by PT_GNU_EH_FRAME or by section; nil and no error if none
//	(*File).LandingPads(fde *FDE) ([]LandingPad, error)
//	(*File).Text() []Range               executable ranges: sections if there are any, else executable segments
//
// Errors wrap the sentinels ErrNotELF, ErrArch (names the architecture and class found), ErrTruncated, ErrFormat, ErrScript.
package image
