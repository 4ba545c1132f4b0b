package link

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"syspart/internal/view"
)

// searcher finds libraries by the rules of a loader. It is safe for concurrent use after newSearcher.
type searcher struct {
	fs       rootFS
	musl     bool
	exe      *Module
	env      []string // LD_LIBRARY_PATH, expanded
	hwcaps   []string // glibc-hwcaps subdirectories, best first
	cache    *ldCache // nil: none
	defaults []string // default directories, those of ld.so.conf before them if there is no cache
	lib      string   // $LIB
	platform string   // $PLATFORM

	mu   sync.Mutex
	dirs map[string]bool // does a directory exist
}

// found is a file that a search ended with.
type found struct {
	name         string // as the loader names it
	inside, host string
	id           fileID
}

// glibcDirs are the directories that loaders are built with: Debian's, then those of the other distributions.
var glibcDirs = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}

// newSearcher prepares the search for an executable. warn takes what the loader only warns of.
func newSearcher(r rootFS, exe *Module, interp string, cpu cpuInfo, warn func(what string, err error)) *searcher {
	s := &searcher{fs: r, exe: exe, platform: cpu.platform, lib: "lib", dirs: map[string]bool{}}
	if strings.HasPrefix(path.Base(interp), "ld-musl-") {
		s.musl = true
		s.defaults = s.muslPath(interp)
		return s
	}
	s.hwcaps = hwcapDirs(cpu.level)
	data, err := r.readFile("/etc/ld.so.cache", maxCache)
	if err == nil {
		s.cache, err = parseCache(data)
	}
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		s.defaults = s.conf(nil, "/etc/ld.so.conf", 0)
	default:
		s.cache = nil
		warn("/etc/ld.so.cache", err)
		s.defaults = s.conf(nil, "/etc/ld.so.conf", 0)
	}
	s.defaults = append(s.defaults, glibcDirs...)
	if interp != "" {
		// $LIB is fixed when the loader is built; so is the place where the loader is installed, in the same terms.
		if where, _, err := r.resolve(interp); err == nil {
			dir := path.Dir(where)
			if i := strings.LastIndex(dir, "/lib"); i >= 0 {
				s.lib = dir[i+1:]
			}
			s.defaults = append(s.defaults, dir) // loaders outside the standard places have their libraries beside them
		}
	}
	return s
}

// setEnv sets LD_LIBRARY_PATH, in which $ORIGIN is that of the executable.
func (s *searcher) setEnv(dirs []string) {
	for _, list := range dirs {
		if list == "" {
			continue
		}
		for d := range strings.SplitSeq(strings.ReplaceAll(list, ";", ":"), ":") { // an empty one is the working directory
			s.env = append(s.env, s.dir(d, s.exe))
		}
	}
}

// muslPath returns musl's system directories: /etc/ld-musl-ARCH.path beside the interpreter's /lib, or the defaults
// (ldso/dynlink.c: load_library).
func (s *searcher) muslPath(interp string) []string {
	arch := strings.TrimSuffix(strings.TrimPrefix(path.Base(interp), "ld-musl-"), ".so.1")
	text, err := s.fs.readText(path.Join(path.Dir(path.Dir(interp)), "etc/ld-musl-"+arch+".path"))
	if err != nil || text == "" {
		return []string{"/lib", "/usr/local/lib", "/usr/lib"}
	}
	return strings.FieldsFunc(text, func(r rune) bool { return r == ':' || r == '\n' })
}

// conf appends the directories that an ld.so.conf names (elf/ldconfig.c: parse_conf).
func (s *searcher) conf(dirs []string, file string, depth int) []string {
	if depth > 8 || len(dirs) > 1024 {
		return dirs
	}
	text, err := s.fs.readText(file)
	if err != nil {
		return dirs
	}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "include"); ok && rest != strings.TrimLeft(rest, " \t") {
			for _, pattern := range strings.Fields(rest) {
				if !strings.HasPrefix(pattern, "/") {
					pattern = path.Dir(file) + "/" + pattern
				}
				for _, f := range s.fs.glob(pattern) {
					dirs = s.conf(dirs, f, depth+1)
				}
			}
			continue
		}
		if strings.HasPrefix(line, "hwcap ") {
			continue
		}
		for _, d := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t:,", r) }) {
			if d, _, _ = strings.Cut(d, "="); strings.HasPrefix(d, "/") {
				dirs = append(dirs, strings.TrimRight(d, "/"))
			}
		}
	}
	return dirs
}

// tokens expands $ORIGIN, $LIB and $PLATFORM, with or without braces, for a module (elf/dl-load.c: is_dst,
// _dl_dst_substitute).
func (s *searcher) tokens(text string, m *Module) string {
	if !strings.Contains(text, "$") {
		return text
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		text = text[i:]
		known := false
		for _, t := range [...]struct{ name, value string }{{"ORIGIN", ""}, {"PLATFORM", s.platform}, {"LIB", s.lib}} {
			rest, ok := strings.CutPrefix(text, "${"+t.name+"}")
			if !ok {
				rest, ok = strings.CutPrefix(text, "$"+t.name)
				ok = ok && (rest == "" || rest[0] != '_' && (rest[0] < 'A' || rest[0] > 'Z'))
			}
			if !ok {
				continue
			}
			if t.name == "ORIGIN" {
				t.value = s.origin(m)
			}
			b.WriteString(t.value)
			text, known = rest, true
			break
		}
		if !known {
			b.WriteByte('$')
			text = text[1:]
		}
	}
}

// origin returns $ORIGIN: for the executable the directory of /proc/self/exe, for a library that of its name, whose
// symbolic links are not resolved.
func (s *searcher) origin(m *Module) string {
	name := m.name
	if m == s.exe {
		name = m.Real
	}
	return name[:max(strings.LastIndexByte(name, '/'), 1)]
}

// dir expands and completes one directory of a search path.
func (s *searcher) dir(d string, m *Module) string {
	d = s.fs.abs(s.tokens(d, m))
	if t := strings.TrimRight(d, "/"); t != "" {
		return t
	}
	return "/"
}

// paths returns DT_RPATH and DT_RUNPATH of a module, expanded. Where there is a RUNPATH, glibc ignores the RPATH.
func (s *searcher) paths(m *Module) (rpath, runpath []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !m.expand {
		m.expand = true
		split := func(list string) (dirs []string) {
			if list == "" {
				return nil
			}
			for _, d := range strings.Split(list, ":") {
				dirs = append(dirs, s.dir(d, m))
			}
			return dirs
		}
		m.runp = split(m.Dyn.Runpath)
		if len(m.runp) == 0 {
			m.rpath = split(m.Dyn.Rpath)
		}
	}
	return m.rpath, m.runp
}

// find searches for a library that a module asks for. It does not look among the modules loaded already.
func (s *searcher) find(name string, from *Module) (found, error) {
	t := &try{s: s, name: name}
	t.missing = MissingError{Library: name, NeededBy: from.Path}
	if strings.Contains(name, "/") {
		file := s.fs.abs(s.tokens(name, from))
		if t.file(file) {
			return t.found, nil
		}
		t.missing.Searched = append(t.missing.Searched, file)
		return found{}, &t.missing
	}
	if s.musl {
		return s.findMusl(t, from)
	}
	rpath, runpath := s.paths(from)
	if len(runpath) == 0 {
		sawExe := false
		for m := from; m != nil; m = m.loader {
			rpath, _ = s.paths(m)
			if t.path(rpath, s.hwcaps) {
				return t.found, nil
			}
			sawExe = sawExe || m == s.exe
		}
		if rpath, _ = s.paths(s.exe); !sawExe && t.path(rpath, s.hwcaps) {
			return t.found, nil
		}
	}
	if t.path(s.env, s.hwcaps) || t.path(runpath, s.hwcaps) {
		return t.found, nil
	}
	noDefault := from.Dyn.Flags1&df1NoDefLib != 0
	if s.cache != nil {
		t.missing.Searched = append(t.missing.Searched, "/etc/ld.so.cache")
		if file, ok := s.cache.lookup(name, s.hwcaps); ok && !(noDefault && inDefault(file)) && t.file(file) {
			return t.found, nil
		}
	}
	if !noDefault && t.path(s.defaults, s.hwcaps) {
		return t.found, nil
	}
	return found{}, &t.missing
}

// IsDefault reports whether a directory is one that loaders search for everyone, by themselves or by Debian's ld.so.conf.
func IsDefault(dir string) bool {
	return slices.Contains(glibcDirs, dir) || dir == "/usr/local/lib" || dir == "/usr/local/lib/x86_64-linux-gnu"
}

// inDefault reports whether a file lies in one of the loader's own directories.
func inDefault(file string) bool {
	for _, d := range glibcDirs {
		if strings.HasPrefix(file, d+"/") {
			return true
		}
	}
	return false
}

// findMusl searches as musl does: the environment, RUNPATH or RPATH of the module and of those that caused its loading,
// the system's directories.
func (s *searcher) findMusl(t *try, from *Module) (found, error) {
	if t.path(s.env, nil) {
		return t.found, nil
	}
	for m := from; m != nil; m = m.loader {
		rpath, runpath := s.paths(m)
		if t.path(rpath, nil) || t.path(runpath, nil) {
			return t.found, nil
		}
	}
	if t.path(s.defaults, nil) {
		return t.found, nil
	}
	return found{}, &t.missing
}

// exists reports whether a directory exists, and remembers it.
func (s *searcher) exists(dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok, known := s.dirs[dir]
	if !known {
		ok = s.fs.isDir(dir)
		s.dirs[dir] = ok
	}
	return ok
}

// try is one search.
type try struct {
	s       *searcher
	name    string
	found   found
	missing MissingError
}

// path tries directories in order, the glibc-hwcaps subdirectories of each before the directory itself.
func (t *try) path(dirs, hwcaps []string) bool {
	for _, dir := range dirs {
		t.missing.Searched = append(t.missing.Searched, dir)
		if !t.s.exists(dir) {
			continue
		}
		prefix := strings.TrimSuffix(dir, "/") + "/"
		if len(hwcaps) > 0 && t.s.exists(prefix+"glibc-hwcaps") {
			for _, h := range hwcaps {
				if t.file(prefix + "glibc-hwcaps/" + h + "/" + t.name) {
					return true
				}
			}
		}
		if t.file(prefix + t.name) {
			return true
		}
	}
	return false
}

// file tries one file. Files of another architecture are passed over; what is no ELF file at all is not: the loader
// gives up there, and so does whoever reads the file next.
func (t *try) file(name string) bool {
	inside, host, id, err := t.s.fs.stat(name)
	if err != nil {
		return false
	}
	if foreign(t.s.fs.view, host) {
		t.missing.Foreign = append(t.missing.Foreign, name)
		return false
	}
	t.found = found{name: name, inside: inside, host: host, id: id}
	return true
}

// foreign reports whether a file is an ELF file for another architecture or word size (elf/dl-load.c: open_verify).
func foreign(v *view.View, host string) bool {
	h, err := v.Head(host)
	if err != nil || len(h) < 20 || string(h[:4]) != elf.ELFMAG {
		return false
	}
	return elf.Class(h[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(h[elf.EI_DATA]) != elf.ELFDATA2LSB ||
		elf.Machine(binary.LittleEndian.Uint16(h[18:])) != elf.EM_X86_64
}
