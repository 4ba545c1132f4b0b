package summary

import (
	"slices"
	"strings"
)

// strings lists the identifiers that code or data point to, in files that may look symbols up by name: the loader, libc,
// and those that import dlsym.
func (b *builder) strings() {
	m := b.mod
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
