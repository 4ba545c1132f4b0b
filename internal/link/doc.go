// Package link binds module summaries to a program, as the dynamic loader would (ld.so(8); elf/dl-load.c, dl-lookup.c of
// glibc; ldso/dynlink.c of musl).
//
//	type Options struct {
//		Root        string   // the file system's root ("" or "/" for the running system)
//		LibraryPath []string // LD_LIBRARY_PATH
//		Preload     []string // LD_PRELOAD
//		Modules     []Extra  // modules loaded later: {Path, Found}; their DT_NEEDED come too
//		VDSO        []byte   // image of the vDSO; nil: that of this machine is read from our own process
//		Summarize   func(path string, data []byte) (*summary.Module, error) // data nil: read path (already under Root)
//	}
//	func Load(ctx, exe string, opt Options) (*Program, error)
//	type Module struct { *summary.Module; Path string /* without Root */; File string /* with Root */; Found string; Index int; Needed []int; Base uint32 /* first global function number */ }
//	type Program struct { Modules []*Module; ... }
//	func (p *Program) Lookup(m int, sym uint32) []Target     what dynamic symbol sym of module m can be bound to
//	func (p *Program) LookupName(name, version string, scope int) []Target
//	type Target struct { Module int; Value uint64; Type uint8; Sym uint32; IFunc bool }
//	func (p *Program) Func(module int, va uint64) int  global number of the function with that entry, -1 if none
//	func (p *Program) Where(global int) (module, index int)
//
// A missing library is a typed error (*MissingError: library, needed by, searched where). Order of Modules: executable,
// preloads, DT_NEEDED breadth-first, interpreter where the breadth-first order puts it (or last), vDSO, modules loaded
// later with what they need. Function numbers are global: module Base + index.
package link
