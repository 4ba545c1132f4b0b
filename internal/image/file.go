package image

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
)

// MaxSize is the size in bytes of the largest file that Open and Parse accept.
const MaxSize = 1 << 30

var le = binary.LittleEndian

// File is one parsed ELF file. Its exported fields and everything its methods return must not be modified; it may be used
// by any number of goroutines.
type File struct {
	Name     string // as given to Open or Parse
	Kind     Kind
	Static   bool   // a program without PT_INTERP
	Interp   string // PT_INTERP, "" if none
	Entry    uint64
	Size     int64     // of the file, in bytes
	Segments []Segment // PT_LOAD, sorted by address, disjoint
	Sections []Section // as the file orders them; nil if it has none
	Dyn      Dynamic
	SHA256   [32]byte // of the whole file
	BuildID  string   // hexadecimal, "" if none
	TLS      Range    // PT_TLS: the initialisation image and its zeros; empty if none
	Relro    Range    // PT_GNU_RELRO: read-only once relocated; empty if none
	// Symtab is .symtab, else that of the debug file or the one packed into .gnu_debugdata; entry 0 is the null symbol. It is
	// nil if the file is stripped and there is neither.
	Symtab []Symbol

	data       []byte
	mini       bool   // Symtab is that of .gnu_debugdata: some functions only
	notes      int    // bytes of notes looked through
	ehFrameHdr uint64 // PT_GNU_EH_FRAME, 0 if none
	pltGOT     uint64 // DT_PLTGOT: the base of datarel pointers in .eh_frame
	framesOnce sync.Once
	frames     *Frames
	framesErr  error
}

// Open reads and parses the file at path, following symbolic links. The file is read completely into private memory, so
// it may change or shrink afterwards. Errors are those of the operating system and of Parse, and ErrTooLarge. Anything
// but a regular file is ErrNotELF.
func Open(path string) (*File, error) {
	// O_NONBLOCK: do not wait for a writer when path is a FIFO.
	fd, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer fd.Close()
	return Read(fd)
}

// Read is Open for a file that is open already, which it does not close.
func Read(fd *os.File) (*File, error) {
	path := fd.Name()
	info, err := fd.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrNotELF)
	}
	// The first bytes tell whether the rest is worth reading.
	head := make([]byte, min(info.Size(), 256))
	n, err := fd.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := checkHeader(path, head[:n]); err != nil {
		return nil, err
	}
	if info.Size() > MaxSize {
		return nil, fmt.Errorf("%s: %w: %d bytes", path, ErrTooLarge, info.Size())
	}
	data := make([]byte, info.Size())
	n, err = fd.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return parse(path, data[:n], sha256.Sum256(data[:n]))
}

// Segments returns the segments of an open file, of which it reads the beginning alone. Errors are those of Read, as far as
// program headers have them.
func Segments(fd *os.File) ([]Segment, error) {
	info, err := fd.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", fd.Name(), ErrNotELF)
	}
	const beginning = ehdrSize + 1<<16 // as much as headers may take (parseProgramHeaders), where they follow the file's own
	data := make([]byte, min(info.Size(), beginning))
	n, err := fd.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", fd.Name(), err)
	}
	f := &File{Name: fd.Name(), Size: info.Size(), data: data[:n]}
	if err := checkHeader(f.Name, f.data); err != nil {
		return nil, err
	}
	if _, err := f.parseProgramHeaders(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	return f.Segments, nil
}

// check looks at what must be right before anything else is read.
func check(name string, data []byte) error {
	if err := checkHeader(name, data); err != nil {
		return err
	}
	if len(data) > MaxSize {
		return fmt.Errorf("%s: %w: %d bytes", name, ErrTooLarge, len(data))
	}
	return nil
}

// Parse parses a file that is in memory. It copies data, which the caller may reuse. The name appears in errors only.
func Parse(name string, data []byte) (*File, error) {
	if err := check(name, data); err != nil {
		return nil, err
	}
	return parse(name, slices.Clone(data), sha256.Sum256(data))
}

// parse owns data, whose header has been checked and whose SHA-256 is sum.
func parse(name string, data []byte, sum [32]byte) (*File, error) {
	f := &File{Name: name, Size: int64(len(data)), data: data, SHA256: sum}
	if err := f.parse(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// Data returns the whole file. It must not be changed.
func (f *File) Data() []byte { return f.data }

// packed reports whether UPX has made the file: behind the program headers lie a checksum and its magic number (l_info in
// UPX's src/stub/src/include/linux.h), and there are no sections.
func (f *File) packed() bool {
	phoff, size, count := le.Uint64(f.data[32:]), uint64(le.Uint16(f.data[54:])), uint64(le.Uint16(f.data[56:]))
	at := phoff + size*count + 4
	return at+4 <= uint64(len(f.data)) && string(f.data[at:at+4]) == "UPX!" && le.Uint16(f.data[60:]) == 0
}

func (f *File) parse() error {
	// The file may have changed since its first bytes were checked.
	if err := checkIdent(f.data); err != nil {
		return err
	}
	dyn, err := f.parseProgramHeaders()
	if err != nil {
		return err
	}
	if f.packed() {
		return ErrPacked
	}
	if err := f.parseSections(); err != nil {
		return err
	}
	if dyn != 0 {
		if err := f.parseDynamic(dyn); err != nil {
			return err
		}
	} else {
		f.Dyn.Relocs = f.staticRelocs()
	}
	switch {
	case le.Uint16(f.data[16:]) == etExec:
		f.Kind = KindExec
	case f.Dyn.Flags1&df1PIE != 0, f.Interp != "" && f.Dyn.Soname == "":
		f.Kind = KindPIE
	default:
		f.Kind = KindShared
	}
	f.Static = f.Interp == "" && f.Kind != KindShared
	return nil
}

// segment returns the PT_LOAD that holds va, or nil.
func (f *File) segment(va uint64) *Segment {
	lo, hi := 0, len(f.Segments)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if f.Segments[mid].End <= va {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(f.Segments) && f.Segments[lo].Start <= va {
		return &f.Segments[lo]
	}
	return nil
}

// Tail returns the file's bytes from va to the end of what the file has of va's segment; nil if the file has no byte at
// va. It is a view of the file's memory: do not modify it.
func (f *File) Tail(va uint64) []byte {
	s := f.segment(va)
	if s == nil || va-s.Start >= s.FileSize {
		return nil
	}
	end := s.Off + s.FileSize
	return f.data[s.Off+(va-s.Start) : end : end]
}

// Bytes returns the n bytes at va, as the file has them. It reports false unless one segment has all of them in the file:
// bss reads as absent. The bytes are a view of the file's memory: do not modify them.
func (f *File) Bytes(va, n uint64) ([]byte, bool) {
	b := f.Tail(va)
	if b == nil || uint64(len(b)) < n {
		return nil, false
	}
	return b[:n:n], true
}

// Uint64 returns the little-endian word at va as the file has it, without relocations; false as for Bytes.
func (f *File) Uint64(va uint64) (uint64, bool) {
	b := f.Tail(va)
	if len(b) < 8 {
		return 0, false
	}
	return le.Uint64(b), true
}

// Uint32 is Uint64 for four bytes.
func (f *File) Uint32(va uint64) (uint32, bool) {
	b := f.Tail(va)
	if len(b) < 4 {
		return 0, false
	}
	return le.Uint32(b), true
}

// CString returns the NUL-terminated string at va, without the NUL; false if the file's contents of the segment end
// before a NUL.
func (f *File) CString(va uint64) (string, bool) {
	b := f.Tail(va)
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", false
	}
	return string(b[:i]), true
}

// ShortString is CString for strings of at most most bytes, false for longer ones: it looks no further. Where strings have no
// end (Go's lie one behind another), what CString returns is as long as all of them.
func (f *File) ShortString(va uint64, most int) (string, bool) {
	b := f.Tail(va)
	i := bytes.IndexByte(b[:min(len(b), most+1)], 0)
	if i < 0 {
		return "", false
	}
	return string(b[:i]), true
}

// Mapped reports whether va lies in a PT_LOAD, bss included.
func (f *File) Mapped(va uint64) bool { return f.segment(va) != nil }

// Exec reports whether va lies in an executable PT_LOAD.
func (f *File) Exec(va uint64) bool {
	s := f.segment(va)
	return s != nil && s.Exec
}

// Write reports whether va lies in a PT_LOAD that is mapped writable. Relro says what is read-only later.
func (f *File) Write(va uint64) bool {
	s := f.segment(va)
	return s != nil && s.Write
}

// Text returns the executable ranges, sorted and disjoint: the executable sections, cut to what executable segments have
// in the file, or those segments' file contents when there is no such section.
func (f *File) Text() []Range {
	var segs, secs []Range
	for i := range f.Segments {
		if s := &f.Segments[i]; s.Exec && s.FileSize > 0 {
			segs = append(segs, Range{s.Start, s.Start + s.FileSize})
		}
	}
	for i := range f.Sections {
		s := &f.Sections[i]
		if s.Flags&(shfAlloc|shfExec) != shfAlloc|shfExec || s.Type == shtNobits {
			continue
		}
		for _, g := range segs {
			if r := (Range{max(s.Start, g.Start), min(s.End, g.End)}); r.Start < r.End {
				secs = append(secs, r)
			}
		}
	}
	if len(secs) == 0 {
		return segs
	}
	slices.SortFunc(secs, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	out := secs[:1]
	for _, r := range secs[1:] {
		if last := &out[len(out)-1]; r.Start < last.End {
			last.End = max(last.End, r.End)
		} else {
			out = append(out, r)
		}
	}
	return out
}
