package image

import (
	"bytes"
	"fmt"
	"io"
	"path"

	"github.com/ulikunitz/xz"
)

// maxDebugData is the most that .gnu_debugdata may unpack to, in bytes: those of distributions hold a few MiB.
const maxDebugData = 64 << 20

// maxDictionary is the largest dictionary, as xz writes its size (xz file format 1.2.1, section 5.3.1), that is allocated
// for .gnu_debugdata: 64 MiB, that of xz -9.
const maxDictionary = 28

// DebugFile is where the separate debug file of a module with the given build-id lies below a root directory (GDB manual,
// "Debugging Information in Separate Files"); "" if the build-id is too short to have one.
func DebugFile(buildID string) string {
	if len(buildID) < 4 {
		return ""
	}
	return path.Join("/usr/lib/debug/.build-id", buildID[:2], buildID[2:]+".debug")
}

// BuildID returns the build-id of an image from its program headers alone, hexadecimal, "" if it has none there or is no image.
func BuildID(data []byte) string {
	f := &File{Size: int64(len(data)), data: data}
	if checkHeader("", data) != nil {
		return ""
	}
	if _, err := f.parseProgramHeaders(); err != nil {
		return ""
	}
	return f.BuildID
}

// ParseDebug is Parse for an image that nobody changes any more, so that it is not copied, and whose SHA-256 is known. Its
// debug file, if it has one, is in memory as well: a stripped image gets the symbols of its debug file. A debug file that is
// malformed or is that of another image (by its build-id) is as good as none.
func ParseDebug(name string, data []byte, sum [32]byte, debug []byte) (*File, error) {
	if err := check(name, data); err != nil {
		return nil, err
	}
	f, err := parse(name, data, sum)
	if err != nil || f.Symtab != nil && !f.mini {
		return f, err
	}
	if syms, id, err := symbolsOf(debug); err == nil && syms != nil && id == f.BuildID && id != "" {
		f.Symtab, f.mini = syms, false
	}
	return f, nil
}

// symbolsOf returns .symtab of a file of which only the sections matter: those of a debug file have no segments' contents.
func symbolsOf(data []byte) ([]Symbol, string, error) {
	if err := checkHeader("debug file", data); err != nil {
		return nil, "", err
	}
	f := &File{data: data}
	if err := f.parseSections(); err != nil {
		return nil, "", err
	}
	return f.Symtab, f.BuildID, nil
}

// debugData fills Symtab of a file without .symtab from what is packed into it (GDB manual, "MiniDebugInfo"). A section
// that cannot be read is as good as none.
func (f *File) debugData(packed []byte) {
	if !smallDictionary(packed) {
		return
	}
	r, err := xz.NewReader(bytes.NewReader(packed))
	if err != nil {
		return
	}
	b, err := io.ReadAll(io.LimitReader(r, maxDebugData+1))
	if err != nil || len(b) > maxDebugData {
		return
	}
	if syms, _, err := symbolsOf(b); err == nil && syms != nil {
		f.Symtab, f.mini = syms, true
	}
}

// smallDictionary reports whether the first block of an xz file wants a dictionary of at most 64 MiB (xz file format
// 1.2.1, sections 2.1.1, 3.1 and 5.3.1).
func smallDictionary(b []byte) bool {
	const streamHeader = 12
	if len(b) < streamHeader+8 {
		return false
	}
	h := b[streamHeader:]
	flags, h := h[1], h[2:]
	vli := func() (v uint64) {
		for shift := 0; len(h) > 0 && shift < 63; shift += 7 {
			c := h[0]
			h = h[1:]
			if v |= uint64(c&0x7f) << shift; c < 0x80 {
				break
			}
		}
		return v
	}
	for _, has := range []byte{0x40, 0x80} { // sizes of the block, packed and unpacked
		if flags&has != 0 {
			vli()
		}
	}
	if flags&0x03 != 0 || vli() != 0x21 || vli() != 1 || len(h) == 0 { // LZMA2 alone
		return false
	}
	return h[0] <= maxDictionary
}

// debugSection unpacks .gnu_debugdata, if there is one.
func (f *File) debugSection(tab []byte) error {
	for i := range f.Sections {
		if f.Sections[i].Name != ".gnu_debugdata" || f.Sections[i].Type != shtProgbits {
			continue
		}
		h := parseSectionHeader(tab[i*shdrSize:])
		b, err := f.table(f.Sections[i].Name, h.off, 1, h.size)
		if err != nil {
			return fmt.Errorf("section %d (%s): %w", i, f.Sections[i].Name, err)
		}
		f.debugData(b)
		return nil
	}
	return nil
}
