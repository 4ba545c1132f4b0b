package link

import (
	"sync"

	"syspart/internal/image"
	"syspart/internal/summary"
	"syspart/internal/view"
	"syspart/profile"
)

// Options says how and where a program is loaded. The zero value with Summarize set loads as the running system does, in
// an empty environment.
type Options struct {
	// Root is the file system's root, "" or "/" for the running system. All paths, those in symbolic links and in
	// ld.so.cache included, are then paths inside it.
	Root string
	// LibraryPath holds the directories of LD_LIBRARY_PATH.
	LibraryPath []string
	// Preload holds the entries of LD_PRELOAD. One that cannot be found is recorded in Program.Skipped: the loader goes on.
	Preload []string
	// Modules are modules that the program loads later, by dlopen or through libc; what they need comes with them.
	Modules []Extra
	// VDSO is the image of the vDSO; nil: that of this machine is read from our own process.
	VDSO []byte
	// NoVDSO leaves the vDSO out.
	NoVDSO bool
	// Summarize returns the summary of a file. data is nil except for the vDSO; path is a path of this machine, already
	// under Root. It is called from several goroutines at once, once per file.
	Summarize func(path string, data []byte) (*summary.Module, error)
	// Guess, if not nil, names libraries that are likely to be asked for later, by the names of functions that the executable
	// imports: their summaries are begun with the others'.
	Guess func(imports []string) []string
	// View is asked for all else of the file system; may be nil.
	View *view.View
}

// Extra is a module loaded later.
type Extra struct {
	Path  string // path inside Root, or a name without slash, which is searched for as dlopen does for the executable
	Found string // profile.Found*
	// Summary, if not nil, is that of a file which is not at Path any more: it is not looked for.
	Summary *summary.Module
	// Local says that it is known to be loaded without RTLD_GLOBAL (glibc loads its own modules so: NSS, gconv,
	// libgcc_s). Otherwise its symbols may serve modules that are loaded after it.
	Local bool
	// Opened says that it is known to be loaded by its name, whether or not others need it too.
	Opened bool
	// Optional says that a module that cannot be loaded is recorded in Program.Skipped instead of failing Load.
	Optional bool
}

// Module is one ELF object of a program.
type Module struct {
	*summary.Module
	Path   string // as the loader names it, cleaned, without Root; "[vdso]" for the vDSO
	Real   string // Path with symbolic links resolved, without Root: what /proc/PID/maps shows
	File   string // Real on this machine, with Root; "" for the vDSO and for files that are gone (Extra.Summary)
	Found  string // profile.Found*; FoundGiven for the executable and for LD_PRELOAD
	Index  int    // index in Program.Modules
	Needed []int  // DT_NEEDED, in its order, as indices into Program.Modules
	Base   uint32 // first global function number
	Later  bool   // loaded after the program has started
	Opened bool   // Extra.Opened, of any extra that means it
	Global bool   // in the global scope from the start

	name   string  // as the loader names it, not cleaned: what $ORIGIN derives from
	loader *Module // module that caused the loading; nil for the executable and the interpreter
	local  bool    // Extra.Local, of any extra that brings it in: all that do
	groups []int32 // later modules: the groups (Program.groups) in whose scope it is
	rpath  []string
	runp   []string
	expand bool // rpath and runp are filled
}

// Skip is something that the loader passes over with at most a warning.
type Skip struct {
	What string // a preload, an optional module, ld.so.cache
	Err  error
}

// Program is a program: its modules, and how they are bound to each other. All methods are safe for concurrent use.
type Program struct {
	Modules []*Module // executable, preloads, DT_NEEDED breadth-first, interpreter there or last, vDSO, later modules
	Root    string    // "" for the running system
	Musl    bool      // musl's rules, not glibc's
	Interp  int       // index of the dynamic loader, -1 if the executable is static
	VDSO    int       // index of the vDSO, -1 if there is none
	Skipped []Skip

	funcs  uint32
	owner  []uint16  // by global function number: the module
	start  int       // number of modules that are there at the start, vDSO included
	groups [][]int32 // scopes of modules loaded later: the module and what it needs, breadth-first
	search *searcher
	names  map[string]*Module // names that the loader knows a module by

	indexOnce sync.Once
	index     symIndex
	bindings  []binding // per module

	uniqueOnce sync.Once
	uniques    map[string]definition // STB_GNU_UNIQUE symbols that depend on the order of relocations
}

// Class is the class of a reference (ELF_RTYPE_CLASS_* of glibc's elf/dl-lookup.c). It decides whether an undefined
// symbol with a value, the canonical PLT entry of a fixed-address executable, is a definition.
type Class uint8

const (
	ClassData Class = iota // the address is used as a value: it is
	ClassPLT               // calls and thread-local storage: it is not
	ClassCopy              // a copy relocation: the executable is left out
)

// Target is a definition that a reference is bound to.
type Target struct {
	Module int    // index into Program.Modules
	Value  uint64 // st_value: an address of the module as its file states it, or an offset into its TLS block
	Type   uint8  // STT_*
	Sym    uint32 // index into the module's dynamic symbols
	IFunc  bool   // Value is a resolver; the target is what it returns
}

// Copy is a copy relocation: at start the loader copies Size bytes of an object in a library to its place in the
// executable, which is the object for everyone from then on.
type Copy struct {
	Module  int    // the module with the relocation: the executable
	Addr    uint64 // where the object is in Module
	Size    uint64
	Sym     uint32 // dynamic symbol in Module
	Source  int    // module that has the initial contents
	Value   uint64 // where they are in Source
	SrcSize uint64 // size of the symbol in Source; the loader copies the smaller of the two
	SrcSym  uint32
}

// Scopes of LookupName besides indices of modules.
const (
	ScopeGlobal = -1 // dlsym(RTLD_DEFAULT) and dlopen(NULL)
	ScopeAny    = -2 // unknown handle: every module's definition
)

// Funcs returns the number of functions of all modules; global function numbers are below it.
func (p *Program) Funcs() int { return int(p.funcs) }

// Func returns the global number of the function of a module whose entry is va, -1 if there is none.
func (p *Program) Func(module int, va uint64) int {
	m := p.Modules[module]
	if i := m.At(va); i >= 0 {
		return int(m.Base) + i
	}
	return -1
}

// Where returns the module of a global function number and the function's index in it. global must be below Funcs.
func (p *Program) Where(global int) (module, index int) {
	module = int(p.owner[global])
	return module, global - int(p.Modules[module].Base)
}

// Assumptions returns, in words, what the binding rests on besides the files.
func (p *Program) Assumptions() []string {
	if p.Interp < 0 {
		return nil
	}
	a := []string{
		"the dynamic loader's environment (LD_LIBRARY_PATH, LD_PRELOAD, LD_AUDIT, LD_DYNAMIC_WEAK, LD_PROFILE), and that of gconv (GCONV_PATH), is as given to the analysis",
		"the processor has the same instruction-set level (glibc-hwcaps) as the analysing one",
	}
	for _, m := range p.Modules {
		if m.Later && !p.Musl {
			return append(a, "no module is loaded with RTLD_DEEPBIND or into a namespace of its own (dlmopen)")
		}
	}
	return a
}

// foundInterp and foundVDSO are the ways in which the two modules come that the kernel maps.
const (
	foundInterp = profile.FoundLoader
	foundVDSO   = profile.FoundVDSO
)

// df1NoDefLib is DF_1_NODEFLIB: the default directories are not searched for what the module needs.
const df1NoDefLib = 0x800

// isDynamic reports whether a loader takes part when m is started or, for a library, loaded.
func isDynamic(m *summary.Module) bool { return m.Interp != "" || m.Kind == image.KindShared }
