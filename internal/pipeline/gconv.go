package pipeline

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/view"
)

// Modules of gconv convert between charsets for iconv, wide streams, locales and message catalogues. Which one libc loads
// hangs on names from anywhere, the environment's locale among them, and there are some 250 of them. So those whose charsets
// are constants join a program, and of the others those alone that could add a call: that are not plain.

// gconvImports are what a plain module may call: what libc's own conversions (iconv/gconv_simple.c) and the functions that
// load and call a module (gconv_open.c, gconv_dl.c) call as well (glibc iconv/skeleton.c, loop.c), and what calls nothing.
var gconvImports = map[string]bool{"_dl_mcount_wrapper_check": true, "__stack_chk_fail": true, "__assert_fail": true, "__libc_assert_fail": true,
	"__gconv_transliterate": true, "__gconv_get_alias_db": true, "malloc": true, "free": true, "abort": true,
	"strcmp": true, "__strcasecmp": true, "strcasecmp": true, "strlen": true, "memcmp": true, "memcpy": true, "__memcpy_chk": true, "memmove": true,
	"mempcpy": true, "__mempcpy": true, "memset": true, "bsearch": true, "__rawmemchr": true, "rawmemchr": true,
	"__cxa_finalize": true, "__gmon_start__": true, "_ITM_deregisterTMCloneTable": true, "_ITM_registerTMCloneTable": true}

// gconvDir returns the directory of modules that libc has compiled in, "" if there is none.
func (l *loader) gconvDir(p *link.Program) string {
	i := slices.IndexFunc(p.Modules, func(m *link.Module) bool { return m.Dyn.Soname == "libc.so.6" })
	if i < 0 {
		return ""
	}
	file := p.Modules[i].File
	dir, ok := l.gconvDirs[file]
	if !ok {
		dir = gconvIn(l.view, file)
		if l.gconvDirs == nil {
			l.gconvDirs = map[string]string{}
		}
		l.gconvDirs[file] = dir
	}
	return dir
}

// gconvIn finds the name in libc's file: its code copies it piece by piece, so no address tells where it lies.
func gconvIn(v *view.View, libc string) string {
	data, err := v.ReadFile(libc)
	if err != nil {
		return ""
	}
	const end = "/gconv\x00"
	for {
		i := bytes.Index(data, []byte(end))
		if i < 0 {
			return ""
		}
		if start := bytes.LastIndexByte(data[:i], 0) + 1; data[start] == '/' {
			return string(data[start : i+len(end)-1])
		}
		data = data[i+len(end):]
	}
}

// notPlain returns the libraries of a directory that have an instruction which enters the kernel, or import anything but
// gconvImports and what libraries of the directory define: the others cannot make a call that libc's own conversions do not
// make at the same places.
func (l *loader) notPlain(dir string) []string {
	if dir == "" {
		return nil
	}
	if list, ok := l.gconv[dir]; ok {
		return list
	}
	type library struct {
		path    string
		enters  bool
		imports []string
	}
	var libs []library
	defined := map[string]bool{}
	host := filepath.Join("/", l.opt.Root, dir)
	entries, _ := l.view.ReadDir(host) // none: no modules
	for _, name := range entries {
		if !strings.HasSuffix(name, ".so") {
			continue
		}
		lib := library{path: filepath.Join(dir, name)}
		data, sum, err := l.contents(filepath.Join(host, name))
		if err != nil {
			continue
		}
		f, err := image.ParseDebug(lib.path, data, sum, nil)
		if err != nil {
			continue // libc cannot load it either
		}
		for i := range f.Segments {
			if s := &f.Segments[i]; s.Exec && mayEnter(f.Data()[s.Off:s.Off+s.FileSize]) {
				lib.enters = l.enters(filepath.Join(host, name))
			}
		}
		for i := range f.Dyn.Symbols {
			switch s := &f.Dyn.Symbols[i]; {
			case s.Name == "":
			case s.Undefined:
				lib.imports = append(lib.imports, s.Name)
			default:
				defined[s.Name] = true
			}
		}
		libs = append(libs, lib)
	}
	var out []string
	for _, lib := range libs {
		if lib.enters || slices.ContainsFunc(lib.imports, func(name string) bool { return !gconvImports[name] && !defined[name] }) {
			out = append(out, lib.path)
		}
	}
	if l.gconv == nil {
		l.gconv = map[string][]string{}
	}
	l.gconv[dir] = out
	return out
}

// mayEnter reports whether code has, at whatever byte, syscall, sysenter or int 0x80.
func mayEnter(code []byte) bool {
	return bytes.Contains(code, []byte{0x0f, 0x05}) || bytes.Contains(code, []byte{0x0f, 0x34}) || bytes.Contains(code, []byte{0xcd, 0x80})
}

// enters reports whether a file has an instruction that enters the kernel, or code that is not understood.
func (l *loader) enters(file string) bool {
	m, err := l.summarize(file, nil)
	return err != nil || len(m.Sys) > 0 || slices.ContainsFunc(m.Funcs, func(f summary.Func) bool { return f.Flags&summary.Incomplete != 0 })
}

// charsets returns the modules of the charsets that reached code names to iconv_open.
func (l *loader) charsets(p *link.Program, r *callgraph.Reach) []string {
	var names []string
	for _, s := range r.Charsets() {
		names = append(names, s.Texts...)
	}
	dir := l.gconvDir(p)
	if len(names) == 0 || dir == "" {
		return nil
	}
	return l.gconvModules(dir, names)
}

// gconvModules returns the modules that convert from and to charsets, by the configuration in their directory
// (gconv-modules, gconv-modules.d; glibc iconv/gconv_conf.c). A charset without a line is built in or does not exist.
func (l *loader) gconvModules(dir string, names []string) []string {
	host := filepath.Join("/", l.opt.Root, dir)
	files := l.view.Glob(filepath.Join(host, "gconv-modules.d", "*.conf"))
	var lines [][]string
	alias := map[string]string{}
	for _, f := range append([]string{filepath.Join(host, "gconv-modules")}, files...) {
		text, err := l.view.ReadFile(f)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			switch w := strings.Fields(line); {
			case len(w) >= 3 && w[0] == "alias":
				alias[charset(w[1])] = charset(w[2])
			case len(w) >= 4 && w[0] == "module":
				lines = append(lines, []string{charset(w[1]), charset(w[2]), w[3]})
			}
		}
	}
	var out []string
	seen := map[string]bool{"INTERNAL": true}
	for i := 0; i < len(names); i++ { // a conversion may go by way of another charset
		name := charset(names[i])
		if to, ok := alias[name]; ok {
			name = to
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		for _, line := range lines {
			if line[0] != name && line[1] != name {
				continue
			}
			names = append(names, line[0], line[1])
			file := line[2]
			if !filepath.IsAbs(file) {
				file = filepath.Join(dir, file)
			}
			if filepath.Ext(file) != ".so" {
				file += ".so"
			}
			if file = l.locate(file); file != "" && !slices.Contains(out, file) {
				out = append(out, file)
			}
		}
	}
	slices.Sort(out)
	return out
}

// charset is the name of a charset as libc compares it: without what follows a slash (//TRANSLIT), in capitals.
func charset(name string) string {
	name, _, _ = strings.Cut(name, "/")
	return strings.ToUpper(name)
}
