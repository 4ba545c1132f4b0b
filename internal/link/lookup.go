package link

import (
	"debug/elf"
	"slices"
	"sync"

	"syspart/internal/image"
)

// symIndex finds the definitions of a name in all modules. Entries of one bucket are linked in order of module and
// symbol, which is the order in which the loader meets them.
type symIndex struct {
	heads   []int32 // by hash & (len-1); -1 for none
	entries []symEntry
}

type symEntry struct {
	hash uint32
	sym  uint32
	mod  int32
	next int32
}

// hashName is the hash of DT_GNU_HASH.
func hashName(s string) uint32 {
	h := uint32(5381)
	for i := 0; i < len(s); i++ {
		h = h*33 + uint32(s[i])
	}
	return h
}

const (
	// definitionTypes are the symbol types that lookups take (ALLOWED_STT of elf/dl-lookup.c).
	definitionTypes = 1<<elf.STT_NOTYPE | 1<<elf.STT_OBJECT | 1<<elf.STT_FUNC | 1<<elf.STT_COMMON | 1<<elf.STT_TLS | 1<<elf.STT_GNU_IFUNC
	muslTypes       = definitionTypes &^ (1 << elf.STT_GNU_IFUNC)
	bindUnique      = 10 // STB_GNU_UNIQUE
)

// defines reports whether a symbol can be found by a lookup at all (check_match and do_lookup_x of elf/dl-lookup.c;
// find_sym of musl's ldso/dynlink.c).
func (p *Program) defines(s *image.Symbol) bool {
	if s.Name == "" || s.Value == 0 && !s.Abs && s.Type != byte(elf.STT_TLS) {
		return false
	}
	types := uint32(definitionTypes)
	if p.Musl {
		types = muslTypes
	} else if s.Vis == byte(elf.STV_HIDDEN) || s.Vis == byte(elf.STV_INTERNAL) {
		return false
	}
	return types>>s.Type&1 != 0 && (s.Bind == byte(elf.STB_GLOBAL) || s.Bind == byte(elf.STB_WEAK) || s.Bind == bindUnique)
}

// buildIndex fills p.index.
func (p *Program) buildIndex() {
	n := 0
	for _, m := range p.Modules {
		n += len(m.Dyn.Symbols)
	}
	size := 16
	for size < n {
		size *= 2
	}
	x := symIndex{heads: make([]int32, size), entries: make([]symEntry, 0, n)}
	for i := range x.heads {
		x.heads[i] = -1
	}
	for i := len(p.Modules) - 1; i >= 0; i-- { // backwards: each entry goes to the front of its chain
		syms := p.Modules[i].Dyn.Symbols
		for j := len(syms) - 1; j > 0; j-- {
			if s := &syms[j]; p.defines(s) {
				h := hashName(s.Name)
				head := &x.heads[h&uint32(size-1)]
				x.entries = append(x.entries, symEntry{hash: h, sym: uint32(j), mod: int32(i), next: *head})
				*head = int32(len(x.entries) - 1)
			}
		}
	}
	p.index = x
}

// request is what a lookup asks for.
type request struct {
	name    string
	hash    uint32
	version string // "" for an unversioned reference
	exact   bool   // dlvsym: the version itself and no other
	newest  bool   // dlsym: the default version, rather than the oldest
	class   Class
}

// chain returns the first entry of the request's bucket.
func (p *Program) chain(r *request) int32 {
	p.indexOnce.Do(p.buildIndex)
	return p.index.heads[r.hash&uint32(len(p.index.heads)-1)]
}

// match looks for a request in the entries of one module, of which i is the first, and returns the symbol (0 if there
// is none) and the first entry of another module (check_match, do_lookup_x).
func (p *Program) match(r *request, i int32) (sym uint32, next int32) {
	entries := p.index.entries
	mod := entries[i].mod
	m := p.Modules[mod]
	only, versions := uint32(0), 0 // definitions in versions that an unversioned request does not name
	for ; i >= 0 && entries[i].mod == mod; i = entries[i].next {
		e := &entries[i]
		if sym != 0 || e.hash != r.hash {
			continue
		}
		s := &m.Dyn.Symbols[e.sym]
		if s.Name != r.name || s.Undefined && r.class == ClassPLT {
			continue
		}
		switch {
		case p.Musl:
			if !s.Hidden && !(s.Undefined && s.Type == byte(elf.STT_TLS)) {
				sym = e.sym
			}
		case r.version != "":
			if s.Version == r.version || s.Version == "" && !s.Hidden && (!r.exact || !versioned(m)) {
				sym = e.sym
			}
		case s.Version == "" || !r.newest && s.Version == oldest(m):
			sym = e.sym
		case !s.Hidden:
			if versions++; versions == 1 {
				only = e.sym
			}
		}
	}
	if sym == 0 && versions == 1 {
		sym = only
	}
	return sym, i
}

// oldest returns the first version that a module defines: index 2 of its version table, which an unversioned reference
// is bound to, hidden or not, because that is what such a reference meant when it was made.
func oldest(m *Module) string {
	if v := m.Dyn.VersionsDefined; len(v) > 0 {
		return v[0]
	}
	return ""
}

// versioned reports whether a module has versions at all, wanted ones included (DT_VERSYM).
func versioned(m *Module) bool {
	return len(m.Dyn.VersionsDefined) > 0 || slices.ContainsFunc(m.Dyn.Symbols, func(s image.Symbol) bool { return s.Version != "" })
}

// definition is a symbol of a module.
type definition struct {
	mod int32
	sym uint32 // 0: none
}

// first returns the first definition in the order of modules for which in holds.
func (p *Program) first(r *request, in func(mod int32) bool) definition {
	for i := p.chain(r); i >= 0; {
		mod := p.index.entries[i].mod
		sym, next := p.match(r, i)
		if sym != 0 && in(mod) {
			return definition{mod, sym}
		}
		i = next
	}
	return definition{}
}

// inModule returns the definition in one module.
func (p *Program) inModule(r *request, mod int32) definition {
	return p.first(r, func(m int32) bool { return m == mod })
}

// inGlobal returns the definition in the global scope.
func (p *Program) inGlobal(r *request) definition {
	return p.first(r, func(m int32) bool {
		return p.Modules[m].Global && !(r.class == ClassCopy && m == 0)
	})
}

// inGroup returns the first definition in the scope of a module loaded later.
func (p *Program) inGroup(r *request, group []int32) definition {
	for i := p.chain(r); i >= 0; i = p.index.entries[i].next {
		if p.index.entries[i].hash != r.hash {
			continue
		}
		for _, mod := range group {
			if d := p.inModule(r, mod); d.sym != 0 {
				return d
			}
		}
		break
	}
	return definition{}
}

// all appends every definition in modules for which in holds.
func (p *Program) all(list []definition, r *request, in func(m *Module) bool) []definition {
	for i := p.chain(r); i >= 0; {
		mod := p.index.entries[i].mod
		sym, next := p.match(r, i)
		if d := (definition{mod, sym}); sym != 0 && in(p.Modules[mod]) && !slices.Contains(list, d) {
			list = append(list, d)
		}
		i = next
	}
	return list
}

// resolve returns what a reference of module m by symbol sym is bound to.
//
// In the global scope there is one answer. A module loaded later searches its own scope then, but before that everything
// that had been loaded with RTLD_GLOBAL until then; so may a symbol that is bound lazily. Which modules those are is not
// known here, so every one counts that is not known to be local.
func (p *Program) resolve(m *Module, sym uint32, class Class, list []definition) []definition {
	ref := &m.Dyn.Symbols[sym]
	own := definition{int32(m.Index), sym}
	if ref.Bind == byte(elf.STB_LOCAL) || !p.Musl && (ref.Vis == byte(elf.STV_HIDDEN) || ref.Vis == byte(elf.STV_INTERNAL)) {
		if ref.Undefined {
			return list
		}
		return append(list, own)
	}
	r := &request{name: ref.Name, hash: hashName(ref.Name), version: ref.Version, class: class}
	if m.Index == p.VDSO {
		return p.add(list, p.inModule(r, own.mod)) // bound to nothing else, nor is anything to it
	}
	first := len(list)
	if d := p.atStart(m, r); d.sym != 0 {
		list = append(list, p.unique(d))
	} else {
		for _, g := range m.groups {
			list = p.add(list, p.inGroup(r, p.groups[g]))
		}
		if m.Later || class == ClassPLT && ref.Undefined && !bindsNow(m) {
			list = p.all(list, r, func(o *Module) bool { return o.Later && !o.local })
		}
		for _, d := range list[first:] {
			// The first module to ask for a unique symbol decides for all, whatever their scopes.
			if p.symbol(d).Bind == bindUnique {
				list = p.all(list, r, func(o *Module) bool { return o.Later })
				break
			}
		}
	}
	if ref.Vis == byte(elf.STV_PROTECTED) && !ref.Undefined && !p.Musl {
		for i, d := range list[first:] {
			if d.mod == own.mod {
				continue
			}
			// References to code are the module's own; the address of an object or function is that of a fixed-address
			// executable if it has a copy or a PLT entry of it that was found.
			plt := *r
			plt.class = ClassPLT
			if class == ClassPLT || p.inGlobal(&plt).mod != own.mod {
				list[first+i] = own
			}
		}
	}
	return list
}

// atStart returns the definition that the modules of the start have for a reference of m: its own with DT_SYMBOLIC, else
// the first in the global scope.
func (p *Program) atStart(m *Module, r *request) definition {
	if !p.Musl && m.Dyn.Symbolic {
		if d := p.inModule(r, int32(m.Index)); d.sym != 0 {
			return d
		}
	}
	return p.inGlobal(r)
}

// bindsNow reports whether all symbols of a module are bound when it is loaded (DF_BIND_NOW, DF_1_NOW).
func bindsNow(m *Module) bool {
	return m.Dyn.Flags&uint64(elf.DF_BIND_NOW) != 0 || m.Dyn.Flags1&1 != 0
}

// add appends a definition that is one and not yet in the list.
func (p *Program) add(list []definition, d definition) []definition {
	if d.sym == 0 || slices.Contains(list, d) {
		return list
	}
	return append(list, d)
}

func (p *Program) symbol(d definition) *image.Symbol { return &p.Modules[d.mod].Dyn.Symbols[d.sym] }

// target makes a Target of a definition.
func (p *Program) target(d definition) Target {
	s := p.symbol(d)
	return Target{Module: int(d.mod), Value: s.Value, Type: s.Type, Sym: d.sym, IFunc: s.Type == byte(elf.STT_GNU_IFUNC)}
}

// binding holds the targets of all symbols of a module.
type binding struct {
	once    sync.Once
	start   []uint32 // by symbol, one more than there are
	targets []Target
}

// Lookup returns what dynamic symbol sym of module m can be bound to: nothing for a symbol that is not defined anywhere,
// one target in nearly every other case. There are two when the address of a function is that of its PLT entry in a
// fixed-address executable (the function first), and more when the symbol depends on which modules were loaded before.
// The result must not be changed.
func (p *Program) Lookup(m int, sym uint32) []Target {
	b := &p.bindings[m]
	b.once.Do(func() { p.bind(p.Modules[m], b) })
	if int(sym)+1 >= len(b.start) {
		return nil
	}
	return b.targets[b.start[sym]:b.start[sym+1]:b.start[sym+1]]
}

// bind fills the targets of a module.
func (p *Program) bind(m *Module, b *binding) {
	syms := m.Dyn.Symbols
	b.start = make([]uint32, len(syms)+1)
	b.targets = make([]Target, 0, len(syms))
	var list []definition
	for i := range syms {
		b.start[i] = uint32(len(b.targets))
		if i == 0 || syms[i].Name == "" {
			continue
		}
		list = p.resolve(m, uint32(i), ClassPLT, list[:0])
		n := len(list)
		list = p.resolve(m, uint32(i), ClassData, list)
		for j, d := range list {
			if j < n || !slices.Contains(list[:j], d) {
				b.targets = append(b.targets, p.target(d))
			}
		}
	}
	b.start[len(syms)] = uint32(len(b.targets))
}

// LookupClass returns what a reference of one class is bound to; see Lookup, which gives those of ClassPLT and ClassData.
func (p *Program) LookupClass(m int, sym uint32, class Class) []Target {
	mod := p.Modules[m]
	if sym == 0 || int(sym) >= len(mod.Dyn.Symbols) {
		return nil
	}
	var targets []Target
	for _, d := range p.resolve(mod, sym, class, nil) {
		targets = append(targets, p.target(d))
	}
	return targets
}

// LookupName returns what dlsym, or dlvsym if version is not empty, can return for a name. scope is ScopeGlobal, ScopeAny
// or the module that a handle stands for, which is searched with what it needs.
func (p *Program) LookupName(name, version string, scope int) []Target {
	r := &request{name: name, hash: hashName(name), version: version, exact: true, newest: true, class: ClassData}
	var list []definition
	switch scope {
	case ScopeAny:
		list = p.all(nil, r, func(m *Module) bool { return m.Index != p.VDSO })
	case ScopeGlobal, 0:
		if list = p.add(nil, p.inGlobal(r)); len(list) == 0 {
			list = p.all(nil, r, func(m *Module) bool { return m.Later && (scope == ScopeGlobal || !m.local) })
		}
	default:
		group := reach(p.Modules[scope], func(m *Module) (needs []*Module) {
			for _, n := range m.Needed {
				needs = append(needs, p.Modules[n])
			}
			return needs
		})
		for _, m := range group {
			if d := p.inModule(r, int32(m.Index)); d.sym != 0 {
				list = append(list, d)
				break
			}
		}
	}
	return p.targets(list)
}

// LookupNext returns what dlsym(RTLD_NEXT, name), called in module from, can return: the first definition behind that
// module in the global scope, and for a module loaded later those in what else was loaded.
func (p *Program) LookupNext(name, version string, from int) []Target {
	r := &request{name: name, hash: hashName(name), version: version, exact: true, newest: true, class: ClassData}
	m := p.Modules[from]
	var list []definition
	if m.Global {
		list = p.add(nil, p.first(r, func(mod int32) bool { return int(mod) > from && p.Modules[mod].Global }))
	}
	if m.Later || len(list) == 0 {
		list = p.all(list, r, func(o *Module) bool { return o.Later && o != m })
	}
	return p.targets(list)
}

func (p *Program) targets(list []definition) []Target {
	targets := make([]Target, len(list))
	for i, d := range list {
		targets[i] = p.target(d)
	}
	return targets
}

// Copies returns the copy relocations, in order of module and address. The definition that a reference anywhere finds is
// then the executable's; Copies tells where its initial contents come from. A relocation whose source is not defined
// anywhere copies nothing and is left out.
func (p *Program) Copies() []Copy {
	var copies []Copy
	for _, m := range p.Modules {
		for _, rel := range m.Dyn.Relocs {
			if elf.R_X86_64(rel.Type) != elf.R_X86_64_COPY || rel.Sym == 0 || int(rel.Sym) >= len(m.Dyn.Symbols) {
				continue
			}
			for _, d := range p.resolve(m, rel.Sym, ClassCopy, nil) {
				src := p.symbol(d)
				copies = append(copies, Copy{
					Module: m.Index, Addr: rel.Off, Size: m.Dyn.Symbols[rel.Sym].Size, Sym: rel.Sym,
					Source: int(d.mod), Value: src.Value, SrcSize: src.Size, SrcSym: d.sym,
				})
			}
		}
	}
	return copies
}

// ClassOf returns the class of a relocation, R_X86_64_* (sysdeps/x86_64/dl-machine.h: elf_machine_type_class).
func ClassOf(reloc uint32) Class {
	switch elf.R_X86_64(reloc) {
	case elf.R_X86_64_JMP_SLOT, elf.R_X86_64_DTPMOD64, elf.R_X86_64_DTPOFF64, elf.R_X86_64_TPOFF64, elf.R_X86_64_TLSDESC:
		return ClassPLT
	case elf.R_X86_64_COPY:
		return ClassCopy
	}
	return ClassData
}
