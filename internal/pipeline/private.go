package pipeline

import (
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/image"
	"syspart/profile"
)

// copyable says why the program cannot have a copy of its own of a library; errors wrap errUnfit.
func (h *hardening) copyable(path string) error {
	prog, err := h.image(h.p.Program.Path)
	if err != nil {
		return err
	}
	lib, err := h.image(path)
	if err != nil {
		return err
	}
	switch {
	case strings.Contains(prog.Interp, "ld-musl-"):
		return unfit("its main loop is in %s, and musl's loader would load that beside a copy", path)
	case strings.HasPrefix(lib.Dyn.Soname, "libc.") || lib.Kind != image.KindShared || path == prog.Interp:
		return unfit("its main loop is in %s, of which there cannot be two", path)
	case strings.Contains(lib.Dyn.Rpath+lib.Dyn.Runpath, "ORIGIN"):
		return unfit("its main loop is in %s, which finds what it needs from its own directory", path)
	}
	if needs(prog, lib) {
		return nil
	}
	// The copy comes where the library did not: before others of the same rank, or before main instead of later. What it says
	// must not then mean something else to any of them.
	return h.alone(path, !h.started(path))
}

// needs reports whether a program itself needs a library.
func needs(prog, lib *image.File) bool {
	return lib.Dyn.Soname != "" && slices.Contains(prog.Dyn.Needed, lib.Dyn.Soname)
}

// started reports whether a library is loaded with the program, not later.
func (h *hardening) started(path string) bool {
	return slices.ContainsFunc(h.p.Modules, func(m profile.Module) bool { return m.Path == path && m.Found == profile.FoundNeeded })
}

// image returns a module's file.
func (h *hardening) image(path string) (*image.File, error) {
	if img := h.images[path]; img != nil {
		return img, nil
	}
	img, err := image.Open(path)
	if err == nil {
		h.images[path] = img
	}
	return img, err
}

// private has the program load the copy of a library, from the given directory, where it or another module asks for the
// library.
func (h *hardening) private(prog, lib *hardenedFile, dir string) error {
	name := dir + "/" + lib.Name
	soname := lib.w.Image().Dyn.Soname
	lib.As = soname
	if needs(prog.w.Image(), lib.w.Image()) {
		return prog.w.ReplaceNeeded(soname, name)
	}
	if !h.started(lib.Path) && (soname == "" || !defaultDir(filepath.Dir(lib.Path))) {
		// It is loaded by its path: glibc compares that with the names that modules give themselves.
		lib.As = lib.Path
		if err := lib.w.SetSoname(lib.Path); err != nil {
			return err
		}
	}
	return prog.w.AddNeeded(name)
}

// defaultDir reports whether the loader looks for names in a directory by itself (glibc's Makeconfig, Debian's
// /etc/ld.so.conf.d): what is there is loaded by its name, not by its path.
func defaultDir(dir string) bool {
	return slices.Contains([]string{"/lib", "/usr/lib", "/lib64", "/usr/lib64", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"}, dir)
}

// byLinkers are names that old linkers put into every file.
var byLinkers = map[string]bool{"_init": true, "_fini": true, "_edata": true, "_end": true, "__bss_start": true}

// alone refuses a library of which another module defines a symbol, too, or, if it is loaded earlier than it was, for which a
// module looks that starts with the program. What it needs and brings is looked at as well.
func (h *hardening) alone(lib string, earlier bool) error {
	type module struct {
		path string
		img  *image.File
		with bool // comes with the library
		now  bool // is there when the program starts
	}
	var all []module
	for _, m := range append([]profile.Module{{Path: h.p.Program.Path, Found: profile.FoundNeeded}}, h.p.Modules...) {
		if m.Found == profile.FoundVDSO {
			continue
		}
		img, err := h.image(m.Path)
		if err != nil {
			return err
		}
		all = append(all, module{m.Path, img, m.Path == lib, m.Found == profile.FoundNeeded || m.Found == profile.FoundLoader})
	}
	for grown := true; grown; {
		grown = false
		for i := range all {
			if !all[i].with {
				continue
			}
			for k := range all {
				if q := &all[k]; !q.with && !q.now && q.img.Dyn.Soname != "" && slices.Contains(all[i].img.Dyn.Needed, q.img.Dyn.Soname) {
					q.with, grown = true, true
				}
			}
		}
	}
	defines := map[string]string{}
	for i := range all {
		for _, s := range all[i].img.Dyn.Symbols {
			if all[i].with && !s.Undefined && !s.Abs && s.Bind != 0 && s.Name != "" && !byLinkers[s.Name] {
				defines[s.Name] = all[i].path
			}
		}
	}
	for i := range all {
		for _, s := range all[i].img.Dyn.Symbols {
			by, ok := defines[s.Name]
			if !ok || s.Abs || s.Bind == 0 || all[i].with && by == all[i].path || all[i].with && s.Undefined {
				continue
			}
			if !s.Undefined || earlier && all[i].now {
				return unfit("%s would be loaded earlier, and both it and %s say %s", by, all[i].path, s.Name)
			}
		}
	}
	return nil
}
