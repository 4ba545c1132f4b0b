package pipeline

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/profile"
)

// maxDirectory bounds the libraries of a directory of modules that are looked at.
const maxDirectory = 2000

// escape makes a name a pattern that only it matches.
var escape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// plugins returns libraries that a module may load by a name that is not known although all that it looks up in them is
// known: those in the directories that it has as strings which export one of these names (SysPart, section 4.3: libraries
// that are to be found by their symbols). The names of one site are alternatives, those of several parts of an interface.
func (l *loader) plugins(g *callgraph.Graph, r *callgraph.Reach) []link.Extra {
	unknown := map[int]bool{}    // modules that load libraries by unknown names
	looked := map[int][]string{} // names that a module looks up
	for _, s := range r.Given() {
		if isOpen(&s) && s.Unknown != "" {
			m, _ := g.Func(s.Func)
			unknown[m.Index] = true
		}
	}
	open := map[int]bool{} // modules that look up names that are not known
	for _, s := range r.Lookups() {
		m, _ := g.Func(s.Func)
		open[m.Index] = open[m.Index] || s.Unknown != ""
		looked[m.Index] = append(looked[m.Index], s.Texts...)
	}
	var out []link.Extra
	add := func(file string) {
		has := slices.ContainsFunc(g.P.Modules, func(o *link.Module) bool { return o.Path == file || o.Real == file })
		if !has && !slices.ContainsFunc(out, func(e link.Extra) bool { return e.Path == file }) {
			out = append(out, link.Extra{Path: file, Found: profile.FoundHeuristic, Local: true, Optional: true})
		}
	}
	for mi, m := range g.P.Modules {
		if unknown[mi] {
			for _, file := range append(l.formatted(m), l.family(g.P, m)...) {
				add(file)
			}
		}
		all := l.opt.Plugins && unknown[mi]
		if !all && (!unknown[mi] || open[mi] || len(looked[mi]) == 0) {
			continue
		}
		for _, file := range l.directories(m) {
			if all || l.exportsAny(file, looked[mi]) {
				add(file)
			}
		}
	}
	return out
}

// leftOut returns the directories whose names are strings of a module and that hold libraries which are not in the program.
func (l *loader) leftOut(p *link.Program, m *link.Module) []string {
	var dirs []string
	for _, file := range l.directories(m) {
		has := slices.ContainsFunc(p.Modules, func(o *link.Module) bool { return o.Path == file || o.Real == file })
		if dir := filepath.Dir(file); !has && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// directories returns the libraries in the directories whose absolute names are strings of a module, each file once.
func (l *loader) directories(m *link.Module) []string {
	var out []string
	for i := range m.Strs {
		dir := m.String(m.Strs[i].Text)
		if !strings.HasPrefix(dir, "/") || strings.Count(dir, "/") < 2 {
			continue
		}
		// Only of libraries is it noted that they are there: processes come to /proc, and files to /tmp.
		names := l.view.Glob(filepath.Join(escape.Replace(filepath.Join("/", l.opt.Root, dir)), "*.so*"))
		for _, n := range names[:min(maxDirectory, len(names))] {
			if n = filepath.Base(n); !strings.HasSuffix(n, ".so") && !strings.Contains(n, ".so.") {
				continue
			}
			path := filepath.Join(dir, n)
			if real, err := l.view.EvalSymlinks(filepath.Join("/", l.opt.Root, path)); err == nil && l.opt.Root == "" {
				path = real
			}
			if !slices.Contains(out, path) {
				out = append(out, path)
			}
		}
	}
	slices.Sort(out)
	return out
}

// formatted returns the libraries whose names a module puts together behind the name of the directory that it, or what it is
// part of, was installed in: "%s/lib/%s/libjvm.so" is such a format, of a module in the first lib.
func (l *loader) formatted(m *link.Module) []string {
	root := filepath.Join("/", l.opt.Root)
	var out []string
	for i := range m.Strs {
		rest, ok := strings.CutPrefix(m.String(m.Strs[i].Text), "%s/")
		if !ok || strings.ContainsAny(strings.ReplaceAll(rest, "%s", ""), `%*?[\`) || strings.Contains(filepath.Base(rest), "%") {
			continue
		}
		pattern := strings.ReplaceAll(rest, "%s", "*")
		for dir, n := filepath.Dir(modulePath(m)), 0; n < 3 && strings.Count(dir, "/") > 1; dir, n = filepath.Dir(dir), n+1 {
			for _, file := range l.view.Glob(filepath.Join(root, dir, pattern)) {
				if rel, err := filepath.Rel(root, file); err == nil && !slices.Contains(out, "/"+rel) {
					out = append(out, "/"+rel)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// family returns the libraries in the directory of a module that need others there which the program has: parts of what was
// installed together, loaded by names that the module puts together or is told (a Java virtual machine's, by Java code). In a
// directory that loaders search for everyone nothing follows from that.
func (l *loader) family(p *link.Program, m *link.Module) []string {
	dir := filepath.Dir(modulePath(m))
	if link.IsDefault(dir) {
		return nil
	}
	there := map[string]bool{} // names by which modules of the program in the directory are needed
	for mi, o := range p.Modules {
		if filepath.Dir(modulePath(o)) != dir {
			continue
		}
		if mi == p.Interp || isLibc(o.Dyn.Soname) {
			return nil
		}
		there[filepath.Base(o.Path)] = true
		if o.Dyn.Soname != "" {
			there[o.Dyn.Soname] = true
		}
	}
	host := filepath.Join("/", l.opt.Root, dir)
	names := l.view.Glob(filepath.Join(escape.Replace(host), "*.so*"))
	var out []string
	for _, n := range names[:min(maxDirectory, len(names))] {
		n = filepath.Base(n)
		if there[n] || !strings.HasSuffix(n, ".so") && !strings.Contains(n, ".so.") {
			continue
		}
		data, _, err := l.contents(filepath.Join(host, n))
		if err != nil {
			continue
		}
		f, err := image.Heads(n, bytes.NewReader(data), int64(len(data)), false)
		if err == nil && slices.ContainsFunc(f.Dyn.Needed, func(name string) bool { return there[name] }) {
			out = append(out, filepath.Join(dir, n))
		}
	}
	return out
}

// exportsAny reports whether a file is a library that exports one of the names. Of most files its symbols are read and no
// more: a directory may hold all libraries of the system.
func (l *loader) exportsAny(file string, names []string) bool {
	file = filepath.Join("/", l.opt.Root, file)
	data, sum, err := l.contents(file)
	if err != nil {
		return false
	}
	// A name that is not in the file is not among its symbols; symbols may share their ends.
	if !slices.ContainsFunc(names, func(name string) bool { return bytes.Contains(data, append([]byte(name), 0)) }) {
		return false
	}
	f, err := image.ParseDebug(file, data, sum, nil)
	if err != nil {
		return false
	}
	exports := slices.ContainsFunc(f.Dyn.Symbols, func(s image.Symbol) bool { return !s.Undefined && slices.Contains(names, s.Name) })
	if exports {
		_, err = l.summarize(file, nil)
	}
	return exports && err == nil
}
