package summary

import (
	"slices"
	"strings"

	"syspart/internal/value"
)

// strings lists the identifiers that code or data point to, in files that may look symbols up by name: the loader, libc,
// and those that import dlsym; in all files the absolute names of files and the names of libraries that code or data point
// to, in files that import iconv_open those that may be of charsets; and what calls are given that load libraries or execute
// programs.
func (b *builder) strings() {
	m := b.mod
	at := b.pointed()
	converts := m.Imports("iconv_open")
	defer func() {
		for _, va := range at {
			if s, ok := b.file.ShortString(va, maxName); ok && (fileName(s) || converts && charset(s)) {
				b.text(va, s)
			}
		}
		b.passed()
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
	for _, va := range at {
		if s, ok := b.identifier(va); ok {
			b.text(va, s)
		}
	}
}

// Longest strings that are listed, in bytes.
const (
	maxName       = 255 // names of files, charsets
	maxText       = 4095
	maxIdentifier = 127
)

// text notes a string.
func (b *builder) text(va uint64, s string) {
	m := b.mod
	m.Strs = append(m.Strs, Str{Addr: va, Text: Name{uint32(len(m.Text)), uint32(len(s))}})
	m.Text = append(m.Text, s...)
}

// pointed returns the addresses of constant data that code makes or data hold, sorted.
func (b *builder) pointed() []uint64 {
	m := b.mod
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
	return slices.DeleteFunc(slices.Compact(at), b.file.Write)
}

// charset reports whether a string may be the name of a charset as iconv_open takes it, also with //TRANSLIT behind it.
func charset(s string) bool {
	if len(s) < 2 || len(s) > 63 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.:+()/", c) >= 0) {
			return false
		}
	}
	return true
}

// fileName reports whether a string may be an absolute name of a file, or the name of a library.
func fileName(s string) bool {
	if len(s) < 2 || s[0] != '/' && !strings.HasSuffix(s, ".so") && !strings.Contains(s, ".so.") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Takers are the functions of libc that are given the name of a library, a program or a command line, and in which
// argument.
var Takers = map[string]int{"dlopen": 0, "dlmopen": 1, "execve": 0, "execv": 0, "execvp": 0, "execvpe": 0, "execl": 0, "execlp": 0, "execle": 0,
	"execveat": 1, "posix_spawn": 1, "posix_spawnp": 1, "system": 0, "popen": 0, "wordexp": 0}

// makers are the functions that put strings together.
var makers = map[string]bool{"snprintf": true, "sprintf": true, "snprintf_chk": true, "sprintf_chk": true, "strcpy": true, "strcpy_chk": true,
	"stpcpy": true, "stpcpy_chk": true, "strcat": true, "strcat_chk": true}

// passed lists the constant names that calls of Takers are given and, in files that have such calls, the constant parts of
// strings that are put together.
func (b *builder) passed() {
	m := b.mod
	takes := false
	for name := range Takers {
		takes = takes || m.Imports(name)
	}
	if !takes {
		return
	}
	for i := range m.Calls {
		c := &m.Calls[i]
		name := strings.TrimLeft(m.SymbolOf(c), "_")
		if makers[name] {
			for _, v := range c.Args[1:] {
				b.constants(v)
			}
		} else if k, ok := Takers[name]; ok {
			b.constants(c.Args[k])
		}
	}
}

// constants lists the constant strings that a value can be the address of.
func (b *builder) constants(v value.Val) {
	b.mod.Each(v, func(_ int32, e value.Expr) {
		if e.Any || e.Kind != value.Addr && e.Kind != value.Const || b.file.Write(uint64(e.Off)) {
			return
		}
		if s, ok := b.file.ShortString(uint64(e.Off), maxText); ok && len(s) > 0 {
			b.text(uint64(e.Off), s)
		}
	})
}

// Imports reports whether the module imports a function of one of the names.
func (m *Module) Imports(names ...string) bool {
	for i := range m.Dyn.Symbols {
		if s := &m.Dyn.Symbols[i]; s.Undefined && slices.Contains(names, s.Name) {
			return true
		}
	}
	return false
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
	s, ok := b.file.ShortString(va, maxIdentifier)
	if !ok || len(s) < 3 {
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
