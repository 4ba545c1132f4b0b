// Package elfwrite rewrites one x86-64 ELF program or library: it adds an executable segment and changes bytes in place.
// Everything else stays where it is, byte for byte.
//
//	New(name string, data []byte) (*Writer, error)   a file to be rewritten, or the reason why it is not (ErrRefused)
//	(*Writer).Base() uint64                          address of the new code's first byte
//	(*Writer).SetCode(code []byte)                   the new segment's contents
//	(*Writer).AddFrame(Frame)                        call-frame information for new code
//	(*Writer).Patch(Patch) error                     bytes at an address, the original ones checked
//	(*Writer).SetEntry(va uint64)                    another entry point
//	(*Writer).ReplaceNeeded(old, new string) error   another library where the file names one in DT_NEEDED
//	(*Writer).AddNeeded(name string) error           one more
//	(*Writer).SetSoname(name string) error           another DT_SONAME
//	(*Writer).Bytes() ([]byte, error)                the new file, re-read and compared with the old one
//	Same(name string, have, want []byte) error       whether a file is, in memory, what it should be
//
// Nothing here depends on the machine: the same input gives the same bytes.
//
// # The new segment
//
// It is the last PT_LOAD, readable and executable, behind all others, so that loaders which take the span of an image from
// its first and last PT_LOAD are right. Its program header needs a place, in this order of preference: a PT_NULL entry; unused
// bytes behind the table; the PT_NOTE of .note.gnu.property, whose contents PT_GNU_PROPERTY describes as well. Else the
// whole table moves into the new segment, which then lies as far from its file offset as the first PT_LOAD does, because
// kernels before 5.18 compute the table's address from that distance.
//
// Files with section headers get a section for each new part, behind the others, so that indices stay; otherwise strip and
// objcopy would drop the parts. A file whose table moved does not survive them: they write the table behind the ELF header,
// where there is no room.
//
// # Names
//
// A library that the loader is to find by another name needs new strings: the dynamic strings get a copy in the new segment,
// longer by those, and DT_STRTAB and the section .dynstr move there. A new entry needs a spare DT_NULL, of which linkers
// leave some.
//
// # Unwinding
//
// Frames go into a copy of .eh_frame_hdr's table in the new segment, which PT_GNU_EH_FRAME then names, and into a
// .debug_frame section for debuggers, which look for sections by name; strip removes that one. A file without a
// .eh_frame_hdr in the encoding that all linkers write, or with an empty one, or with a .debug_frame of its own, does without
// the respective part.
//
// # Refusals
//
// Refused is what cannot be kept whole: bytes behind the last structure (self-extracting programs and others that find their
// data from the file's end), PT_LOAD entries out of order, two PT_DYNAMIC or PT_GNU_EH_FRAME, more section or program headers
// than the format counts simply, names, tables and unwind entries that lie in the file's headers or are about addresses behind
// its last segment, and whatever package image refuses.
package elfwrite
