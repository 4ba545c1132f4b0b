package image

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"
	"strings"
)

// Golang is what the Go run time needs to know of the code that Go's compiler and assembler made, and what stripping
// therefore leaves: its functions, and those of them that are found by number instead of by pointer.
type Golang struct {
	Text  Range // from runtime.text to runtime.etext; code of other languages lies outside
	Funcs []GoFunc
	// Methods are the functions in types' tables of methods, from which the run time fills interface tables and package
	// reflect makes calls, and the places at which a function goes on behind a panic that it has recovered from. Sorted.
	Methods []uint64

	steps []byte // of the stack pointer, by function: its table of program counters and values
}

// GoFunc is an entry of the table of functions.
type GoFunc struct {
	Entry uint64
	Name  string
	Args  int32 // bytes of arguments, results and room for register arguments in the caller's frame; negative if not known

	steps uint32 // where its part of the table of steps begins
	flags uint8  // internal/abi.FuncFlag
}

// Flags of functions that have no ordinary caller.
const (
	goTopFrame = 1 << iota // the run time looks no further: also where a signal handler begins
	goSPWrite              // goes on on another stack, and perhaps comes back
)

// goOutermost are functions of the run time's behind which nothing of their stack runs again: a goroutine ends, the first
// thread does not return, a new thread begins, and a thread that has left a goroutine does not come back to where it was
// (runtime/asm_amd64.s, sys_linux_amd64.s).
var goOutermost = []string{"runtime.goexit", "runtime.rt0_go", "runtime.clone", "runtime.mcall", "runtime.morestack"}

// goMark begins the build information of every Go program since 1.13 (debug/buildinfo).
var goMark = []byte("\xff Go buildinf:")

// MadeByGo reports whether the file holds code of Go's.
func (f *File) MadeByGo() bool {
	for i := range f.Segments {
		if data, ok := f.Bytes(f.Segments[i].Start, f.Segments[i].FileSize); ok && bytes.Contains(data, goMark) {
			return true
		}
	}
	return false
}

// At returns the function that begins at va, nil if none does.
func (g *Golang) At(va uint64) *GoFunc {
	i := sort.Search(len(g.Funcs), func(i int) bool { return g.Funcs[i].Entry >= va })
	if i < len(g.Funcs) && g.Funcs[i].Entry == va {
		return &g.Funcs[i]
	}
	return nil
}

// GoFrame is where the frame of a function of Go's lies at one of its instructions.
type GoFrame struct {
	Func uint64 // where the function begins
	Size int64  // bytes from the stack pointer to the return address
	// Outermost: nothing of the stack below runs again.
	Outermost bool
}

// Frame returns the frame at va (runtime/symtab.go, pcvalue: pairs of variable-length numbers, how much the value changes, its
// sign in the lowest bit, and for how many bytes of code it holds); false if va is not in code of Go's, has no ordinary caller,
// or its table is broken.
func (g *Golang) Frame(va uint64) (GoFrame, bool) {
	i := sort.Search(len(g.Funcs), func(i int) bool { return g.Funcs[i].Entry > va }) - 1
	if i < 0 || !g.Text.Contains(va) {
		return GoFrame{}, false
	}
	f := &g.Funcs[i]
	name := strings.TrimSuffix(f.Name, ".abi0")
	if slices.Contains(goOutermost, name) {
		return GoFrame{Func: f.Entry, Outermost: true}, true
	}
	// mstart returns to whoever has made the thread, if that is another language's library.
	if f.flags&(goTopFrame|goSPWrite) != 0 && name != "runtime.mstart" || uint64(f.steps) >= uint64(len(g.steps)) {
		return GoFrame{}, false
	}
	size, pc, p := int64(-1), f.Entry, g.steps[f.steps:]
	for first := true; pc <= va; first = false {
		change, n := binary.Uvarint(p)
		if n <= 0 || change == 0 && !first {
			return GoFrame{}, false
		}
		bytes, k := binary.Uvarint(p[n:])
		if k <= 0 || bytes > 1<<32 {
			return GoFrame{}, false
		}
		p = p[n+k:]
		if change&1 != 0 {
			size += int64(^(change >> 1))
		} else {
			size += int64(change >> 1)
		}
		pc += bytes
	}
	return GoFrame{Func: f.Entry, Size: size}, size >= 0 && size < 1<<30
}

// Words of runtime.moduledata, the same since Go 1.16 up to etext (runtime/symtab.go).
const (
	goPcHeader  = 0
	goFtab      = 16
	goFtabLen   = 17
	goMinPC     = 20
	goText      = 22
	goEtext     = 23
	goTypes118  = 35 // types, and etypes behind it
	goTypes120  = 37
	goMaxFuncs  = 1 << 24
	pcHeaderLen = 0x48
)

// Golang reads the tables of Go 1.18 and later; nil if the file has none that can be believed.
func (f *File) Golang() *Golang {
	if !f.MadeByGo() {
		return nil
	}
	for _, v := range []struct {
		magic []byte
		types uint64
	}{{[]byte("\xf1\xff\xff\xff\x00\x00\x01\x08"), goTypes120}, {[]byte("\xf0\xff\xff\xff\x00\x00\x01\x08"), goTypes118}} {
		for i := range f.Segments {
			s := &f.Segments[i]
			data := f.Tail(s.Start)
			for at := 0; ; at++ {
				n := bytes.Index(data[at:], v.magic)
				if n < 0 {
					break
				}
				at += n
				if at%8 != 0 || len(data)-at < pcHeaderLen {
					continue
				}
				if g := f.goTables(s.Start+uint64(at), v.types); g != nil {
					return g
				}
			}
		}
	}
	return nil
}

// goTables reads what belongs to the header of the table of functions at va.
func (f *File) goTables(va, types uint64) *Golang {
	for _, at := range f.pointersTo(va) {
		word := func(k uint64) uint64 { w, _ := f.Pointer(at + 8*k); return w }
		g := &Golang{Text: Range{word(goText), word(goEtext)}}
		tables, _ := f.Uint64(va + 0x40)
		n, _ := f.Uint64(va + 8)
		names, _ := f.Uint64(va + 0x20)
		steps, _ := f.Uint64(va + 0x38)
		g.steps = f.Tail(va + steps)
		flags := uint64(37) // in a record; behind the line at which a function starts, since Go 1.20
		if types == goTypes120 {
			flags = 41
		}
		if g.Text.Start >= g.Text.End || !f.Exec(g.Text.Start) || word(goFtab) != va+tables || n == 0 || n > goMaxFuncs || word(goFtabLen) != n+1 {
			continue
		}
		table := f.Tail(va + tables)
		if uint64(len(table)) < 8*n+4 {
			continue
		}
		offset := make(map[uint32]string, n)
		ok := true
		for i := uint64(0); i < n && ok; i++ {
			off, rec := le.Uint32(table[8*i:]), uint64(le.Uint32(table[8*i+4:]))
			entry := g.Text.Start + uint64(off)
			if ok = rec+flags < uint64(len(table)) && g.Text.Contains(entry) && (i > 0 || entry == word(goMinPC)); !ok {
				break
			}
			name, _ := f.CString(va + names + uint64(le.Uint32(table[rec+4:])))
			g.Funcs = append(g.Funcs, GoFunc{entry, name, int32(le.Uint32(table[rec+8:])), le.Uint32(table[rec+16:]), table[rec+flags]})
			offset[off] = name
			if back := le.Uint32(table[rec+12:]); back != 0 {
				g.Methods = append(g.Methods, entry+uint64(back))
			}
		}
		if !ok || !sort.SliceIsSorted(g.Funcs, func(i, j int) bool { return g.Funcs[i].Entry < g.Funcs[j].Entry }) {
			continue
		}
		if !f.goMethods(g, Range{word(types), word(types + 1)}, offset) {
			continue
		}
		slices.Sort(g.Methods)
		g.Methods = slices.Compact(g.Methods)
		return g
	}
	return nil
}

// goMethods adds the functions in tables of methods (internal/abi.Method): name, type, and the function twice, called with a
// pointer and with the value, as distances from the beginnings of types and text. Anything that looks like one counts. What
// the linker has found unused has -1 as both functions.
func (f *File) goMethods(g *Golang, types Range, functions map[uint32]string) bool {
	if types.Start >= types.End {
		return false
	}
	data, ok := f.Bytes(types.Start, types.End-types.Start)
	if !ok {
		return false
	}
	for at := 0; at+16 <= len(data); at += 4 {
		pointer, direct := le.Uint32(data[at+8:]), le.Uint32(data[at+12:])
		p, ok1 := functions[pointer]
		d, ok2 := functions[direct]
		if !ok1 || !ok2 || uint64(le.Uint32(data[at+4:])) >= uint64(len(data)) {
			continue
		}
		name := goName(data, uint64(le.Uint32(data[at:])))
		if name == "" || !goMethod(p, name) || !goMethod(d, name) {
			continue
		}
		g.Methods = append(g.Methods, g.Text.Start+uint64(pointer), g.Text.Start+uint64(direct))
	}
	return true
}

// goName returns the name at off (internal/abi.Name: a byte of flags, the length, the name), "" if there is none.
func goName(data []byte, off uint64) string {
	if off+2 >= uint64(len(data)) || data[off]&^0xf != 0 {
		return ""
	}
	n, size := binary.Uvarint(data[off+1:])
	start := off + 1 + uint64(max(size, 0))
	if size <= 0 || n == 0 || n > 4096 || start+n > uint64(len(data)) {
		return ""
	}
	return string(data[start : start+n])
}

// goMethod reports whether a function can be the method of that name: package.Type.Method, not package.Function of another
// name. Names may have been made unreadable.
func goMethod(function, name string) bool {
	last := function[strings.LastIndexByte(function, '/')+1:]
	i := strings.IndexByte(last, '.')
	return i < 0 || strings.Contains(last[i+1:], ".") || last[i+1:] == name
}

// Pointer returns the pointer at va as it will be once the file is loaded, before symbols are bound; false if there is none.
func (f *File) Pointer(va uint64) (uint64, bool) {
	const relative = 8 // R_X86_64_RELATIVE
	rs := f.Dyn.Relocs
	if i := sort.Search(len(rs), func(i int) bool { return rs[i].Off >= va }); i < len(rs) && rs[i].Off == va {
		return uint64(rs[i].Addend), rs[i].Type == relative
	}
	return f.Uint64(va)
}

// pointersTo returns the places of aligned words in data that will hold va, in order.
func (f *File) pointersTo(va uint64) []uint64 {
	var out []uint64
	for i := range f.Dyn.Relocs {
		if r := &f.Dyn.Relocs[i]; uint64(r.Addend) == va && r.Off%8 == 0 {
			out = append(out, r.Off)
		}
	}
	for i := range f.Segments {
		s := &f.Segments[i]
		data := f.Tail(s.Start)
		for at := (8 - s.Start%8) % 8; at+8 <= uint64(len(data)) && !s.Exec; at += 8 {
			if le.Uint64(data[at:]) == va {
				out = append(out, s.Start+at)
			}
		}
	}
	return out
}
