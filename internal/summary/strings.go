package summary

import (
	"slices"
	"strings"

	"syspart/internal/value"
)

// strings lists the identifiers that code or data point to, in files that may look symbols up by name: the loader, libc,
// and those that import dlsym; and the names of the libraries that code passes to dlopen.
func (b *builder) strings() {
	m := b.mod
	defer func() {
		b.libraries()
		slices.SortFunc(m.Strs, func(x, y Str) int { return cmp(x.Addr, y.Addr) })
		m.Strs = slices.CompactFunc(m.Strs, func(x, y Str) bool { return x.Addr == y.Addr })
	}()
	looks := len(m.Dyn.Needed) == 0
	for i := range m.Dyn.Symbols {
		switch strings.TrimLeft(m.Dyn.Symbols[i].Name, "_") {
		case "dlsym", "dlvsym", "libc_dlsym", "libc_start_main", "g_module_symbol":
			looks = true
		}
	}
	if !looks {
		return
	}
	var at []uint64
	for i := range m.Refs {
		if m.Refs[i].Size == 0 {
			at = append(at, m.Refs[i].Addr)
		}
	}
	for i := range m.Ptrs {
		if k := m.Ptrs[i].Kind; k == PtrRelative || k == PtrWord {
			at = append(at, m.Ptrs[i].Target)
		}
	}
	slices.Sort(at)
	at = slices.Compact(at)
	for _, va := range at {
		if b.file.Write(va) {
			continue
		}
		if s, ok := b.identifier(va); ok {
			m.Strs = append(m.Strs, Str{Addr: va, Text: Name{uint32(len(m.Text)), uint32(len(s))}})
			m.Text = append(m.Text, s...)
		}
	}
}

// libraries lists the constant first arguments of dlopen.
func (b *builder) libraries() {
	m := b.mod
	for i := range m.Calls {
		c := &m.Calls[i]
		k := 0
		switch m.SymbolOf(c) {
		case "dlopen":
		case "dlmopen":
			k = 1
		default:
			continue
		}
		m.Each(c.Args[k], func(_ int32, e value.Expr) {
			if e.Any || e.Kind != value.Addr && e.Kind != value.Const || b.file.Write(uint64(e.Off)) {
				return
			}
			if s, ok := b.file.CString(uint64(e.Off)); ok && len(s) > 0 && len(s) < 256 {
				m.Strs = append(m.Strs, Str{Addr: uint64(e.Off), Text: Name{uint32(len(m.Text)), uint32(len(s))}})
				m.Text = append(m.Text, s...)
			}
		})
	}
}

// SymbolOf returns the name of the dynamic symbol that a call goes to, directly or through a PLT stub; "" if to none.
func (m *Module) SymbolOf(c *Call) string {
	sym := uint32(0)
	switch c.Kind {
	case BySym:
		sym = c.Sym
	case Direct:
		if i := m.Callee(c); i >= 0 && m.Funcs[i].Flags&Stub != 0 {
			sym = m.Funcs[i].Sym
		}
	}
	if sym == 0 {
		return ""
	}
	return m.Dyn.Symbols[sym].Name
}

// StringAt returns the listed string at an address.
func (m *Module) StringAt(va uint64) (string, bool) {
	i, ok := slices.BinarySearchFunc(m.Strs, va, func(s Str, va uint64) int { return cmp(s.Addr, va) })
	if !ok {
		return "", false
	}
	return m.String(m.Strs[i].Text), true
}

func (b *builder) identifier(va uint64) (string, bool) {
	s, ok := b.file.CString(va)
	if !ok || len(s) < 3 || len(s) > 127 {
		return "", false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c == '_' || c == '.' && i > 0 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' && i > 0) {
			return "", false
		}
	}
	return s, true
}
