package pipeline

import (
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/link"
)

// pam returns the files of the modules that the configuration of PAM names (pam.d(5)): those of every service, since which
// one a server asks for is its own configuration. A module without a path lies in the directory that libpam has compiled in.
func (l *loader) pam(libpam *link.Module) []string {
	var dirs []string
	for i := range libpam.Strs {
		s := libpam.String(libpam.Strs[i].Text)
		if strings.HasPrefix(s, "/") && strings.Contains(s, "security") {
			dirs = append(dirs, s)
		}
	}
	var out []string
	add := func(name string) {
		paths := []string{name}
		if !strings.HasPrefix(name, "/") {
			paths = paths[:0]
			for _, d := range dirs {
				paths = append(paths, filepath.Join(d, name))
			}
		}
		for _, p := range paths {
			if p = l.locate(p); p != "" && !slices.Contains(out, p) {
				out = append(out, p)
				return
			}
		}
	}
	etc := filepath.Join("/", l.opt.Root, "etc")
	files := l.view.Glob(filepath.Join(etc, "pam.d", "*"))
	for _, f := range append(files, filepath.Join(etc, "pam.conf")) {
		text, err := l.view.ReadFile(f)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			for _, w := range strings.Fields(line) {
				if strings.HasSuffix(w, ".so") {
					add(w)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}
