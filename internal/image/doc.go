// Package image reads one ELF file safely: segments, PT_DYNAMIC, symbols with versions, relocations (RELR included),
// unwind tables, notes and build-id. It uses its own readers throughout, so files without section headers work and a
// hostile file yields an error, never a panic: every size is capped by the file's length, every offset checked.
//
//	Open(path string) (*File, error)                 the whole file is read into memory
//	Parse(name string, data []byte) (*File, error)   the same from a copy of data (vDSO, tests, fuzzing)
//
//	(*File).Name, Kind, Static (no PT_INTERP and not a library), Interp, Entry, Segments, Sections, Dyn Dynamic,
//	        SHA256 [32]byte, Size, BuildID string (hex, "" if none), TLS Range, Relro Range, Symtab []Symbol (.symtab when present)
//	(*File).Bytes(va, n) ([]byte, bool)  file bytes at a virtual address (bss reads as absent)
//	(*File).Tail(va) []byte              file bytes from va to the end of its segment's file contents
//	(*File).Uint64(va), Uint32(va), CString(va), ShortString(va, most)
//	(*File).Exec(va) bool, Write(va) bool, Mapped(va) bool
//	(*File).Frames() (*Frames, error)    .eh_frame found by PT_GNU_EH_FRAME or by section; nil and no error if none
//	(*File).LandingPads(fde *FDE) ([]LandingPad, error)
//	(*File).Text() []Range               executable ranges: sections if there are any, else executable segments
//
// Errors wrap the sentinels ErrNotELF, ErrArch (names the architecture and class found), ErrTruncated, ErrFormat, ErrScript.
//
// # Soundness
//
// What the dynamic loader or the unwinder would use is what is read: PT_DYNAMIC by its virtual address, the symbol table
// as long as hash tables and relocations say. Sections serve only what nothing else describes (.symtab, .eh_frame of a
// file without PT_GNU_EH_FRAME, finer executable ranges). A table that is there and cannot be read is an error, never
// an empty table, because a missing symbol or relocation would narrow what the analyses allow.
//
// # Limits
//
// The file is read, not mapped: a mapping dies by SIGBUS when somebody truncates the file under us, and the content hash
// touches every byte anyway. Files above MaxSize are refused. DT_REL is ignored, as glibc and musl do on x86-64. Contents
// are as the file has them: relocations are not applied. Compressed sections and .gnu_debugdata are not looked into.
package image
