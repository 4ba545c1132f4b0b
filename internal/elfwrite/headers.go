package elfwrite

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrRefused: the file cannot be rewritten safely. The error says why.
var ErrRefused = errors.New("cannot be rewritten")

// ErrPatch: a patch does not fit the file.
var ErrPatch = errors.New("patch does not fit")

// ErrVerify: an output is not what it should be.
var ErrVerify = errors.New("output differs from what was meant")

var le = binary.LittleEndian

// Constants of the ELF format (System V gABI, chapters 4 and 5; elf.h of glibc for the GNU extensions).
const (
	ehdrSize, phdrSize, shdrSize = 64, 56, 64

	offEntry, offPhoff, offShoff           = 24, 32, 40
	offPhnum, offShentsz, offShnum, offStr = 56, 58, 60, 62

	ptNull, ptLoad, ptDynamic, ptInterp, ptNote, ptPhdr = 0, 1, 2, 3, 4, 6
	ptGNUEhFrame, ptGNUProperty                         = 0x6474e550, 0x6474e553

	pfX, pfR = 1, 4

	shtNull, shtProgbits, shtStrtab, shtNobits, shtDynsym = 0, 1, 3, 8, 11
	symSize, symShndx                                     = 24, 6
	shfAlloc, shfExec                                     = 2, 4

	dynSize                                       = 16
	dtNull, dtNeeded, dtStrtab, dtStrsz, dtSoname = 0, 1, 5, 10, 14

	pageSize = 4096
	maxVA    = 1 << 47
)

// phdr is a program header.
type phdr struct {
	typ, flags            uint32
	off, va, pa, fsz, msz uint64
	align                 uint64
}

func readPhdr(b []byte) phdr {
	return phdr{le.Uint32(b), le.Uint32(b[4:]), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:]),
		le.Uint64(b[40:]), le.Uint64(b[48:])}
}

func (p *phdr) append(b []byte) []byte {
	b = le.AppendUint32(b, p.typ)
	b = le.AppendUint32(b, p.flags)
	for _, v := range [...]uint64{p.off, p.va, p.pa, p.fsz, p.msz, p.align} {
		b = le.AppendUint64(b, v)
	}
	return b
}

// shdr is a section header.
type shdr struct {
	name, typ            uint32
	flags, va, off, size uint64
	link, info           uint32
	align, entsize       uint64
}

func readShdr(b []byte) shdr {
	return shdr{le.Uint32(b), le.Uint32(b[4:]), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:]),
		le.Uint32(b[40:]), le.Uint32(b[44:]), le.Uint64(b[48:]), le.Uint64(b[56:])}
}

func (s *shdr) append(b []byte) []byte {
	b = le.AppendUint32(b, s.name)
	b = le.AppendUint32(b, s.typ)
	for _, v := range [...]uint64{s.flags, s.va, s.off, s.size} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, s.link)
	b = le.AppendUint32(b, s.info)
	b = le.AppendUint64(b, s.align)
	return le.AppendUint64(b, s.entsize)
}

// inFile reports whether n bytes at off lie in a file of size bytes.
func inFile(off, n, size uint64) bool { return off <= size && n <= size-off }

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

func alignUp(v, to uint64) uint64 { return (v + to - 1) &^ (to - 1) }

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
