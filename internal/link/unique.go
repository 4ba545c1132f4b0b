package link

import (
	"debug/elf"
	"slices"
)

// InitOrder returns the modules of the start in the order in which their constructors run: each behind what it needs, as
// far as there are no cycles (elf/dl-sort-maps.c: _dl_sort_maps_dfs, the default since glibc 2.35). Relocations are
// processed in the same order, destructors run in the opposite one. Interpreter and vDSO are among them only if they are
// in the global scope.
func (p *Program) InitOrder() []int {
	order, seen := make([]int, 0, p.start), make([]bool, len(p.Modules))
	var visit func(m int)
	visit = func(m int) {
		if seen[m] {
			return
		}
		seen[m] = true
		for _, n := range p.Modules[m].Needed {
			if n != 0 {
				visit(n)
			}
		}
		order = append(order, m)
	}
	for m := p.start - 1; m > 0; m-- {
		if p.Modules[m].Global {
			visit(m)
		}
	}
	visit(0)
	return order
}

// unique returns the definition that stands for d: d itself unless it is STB_GNU_UNIQUE. Of such a symbol, whatever its
// version, there is one in the process: what the first reference is bound to that is processed (do_lookup_unique).
func (p *Program) unique(d definition) definition {
	if p.Musl || p.symbol(d).Bind != bindUnique {
		return d
	}
	p.uniqueOnce.Do(p.buildUnique)
	if u, ok := p.uniques[p.symbol(d).Name]; ok {
		return u
	}
	return d
}

// buildUnique fills p.uniques by going through the relocations of the start as the loader does. Only names matter that
// several modules define in several versions; all others have one answer for everyone.
func (p *Program) buildUnique() {
	p.uniques = map[string]definition{}
	versions := map[string][]string{}
	for _, m := range p.Modules[:p.start] {
		for i := range m.Dyn.Symbols {
			s := &m.Dyn.Symbols[i]
			if s.Bind == bindUnique && !s.Undefined && m.Global && !slices.Contains(versions[s.Name], s.Version) {
				versions[s.Name] = append(versions[s.Name], s.Version)
			}
		}
	}
	for _, i := range p.InitOrder() {
		m := p.Modules[i]
		for _, rel := range m.Dyn.Relocs {
			if rel.Sym == 0 || int(rel.Sym) >= len(m.Dyn.Symbols) {
				continue
			}
			s := &m.Dyn.Symbols[rel.Sym]
			if len(versions[s.Name]) < 2 || s.Bind == byte(elf.STB_LOCAL) {
				continue
			}
			if _, known := p.uniques[s.Name]; known {
				continue
			}
			r := &request{name: s.Name, hash: hashName(s.Name), version: s.Version, class: ClassOf(rel.Type)}
			if d := p.atStart(m, r); d.sym != 0 && p.symbol(d).Bind == bindUnique {
				p.uniques[s.Name] = d
			}
		}
	}
}

// LoaderFuncs returns the functions that glibc's loader looks up by name when the program starts, and calls through
// pointers that no relocation fills: the program's allocator (elf/dl-minimal.c: __rtld_malloc_init_real) and libc's own
// start (elf/dl-call-libc-early-init.c).
func (p *Program) LoaderFuncs() []Target {
	if p.Musl || p.Interp < 0 {
		return nil
	}
	var list []definition
	for _, name := range [...]string{"calloc", "free", "malloc", "realloc"} {
		list = p.add(list, p.inGlobal(&request{name: name, hash: hashName(name), version: "GLIBC_2.2.5", class: ClassPLT}))
	}
	for _, m := range p.Modules {
		if m.Global && m.Dyn.Soname == "libc.so.6" {
			const name = "__libc_early_init"
			r := &request{name: name, hash: hashName(name), version: "GLIBC_PRIVATE", exact: true, class: ClassPLT}
			list = p.add(list, p.inModule(r, int32(m.Index)))
		}
	}
	return p.targets(list)
}
