package pipeline

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/link"
	"syspart/internal/observe"
	"syspart/profile"
)

// What a run has shown the places to be given whose names the analysis does not know. Libraries so named are observed as
// modules, programs as executed; a name that is looked up makes what it means address-taken (callgraph.Asked).

// between are what separates names in profile.Unresolved.Seen.
const between = ", "

// seen notes with each place the names that it was given.
func seen(list []profile.Unresolved, args []observe.Argument) {
	for i := range list {
		u := &list[i]
		site, err := strconv.ParseUint(u.Offset, 0, 64)
		if err != nil {
			continue
		}
		var names []string
		for _, a := range args {
			if a.Module == u.Module && site < a.PC && a.PC-site <= maxCallSite && kindOfPlace(a.What) == u.What {
				names = append(names, programsOf(a.Name)...)
			}
		}
		slices.Sort(names)
		u.Seen = strings.Join(slices.Compact(names), between)
	}
}

// maxCallSite is the length in bytes of the longest call instruction that compilers make.
const maxCallSite = 8

// kindOfPlace is what profiles call a place that calls a function.
func kindOfPlace(function string) string {
	switch function {
	case "dlmopen":
		return "dlopen"
	case "dlvsym":
		return "dlsym"
	}
	return function
}

// programsOf returns a name or, of a shell with a command line, the names of the shell and of the programs in the line: other
// words may be secrets.
func programsOf(name string) []string {
	shell, line, ok := strings.Cut(name, " -c ")
	if !ok {
		return []string{name}
	}
	words, _ := commands(line)
	return append(words, shell)
}

// lookedUp returns the names that modules were seen to look up, by their paths.
func lookedUp(args []observe.Argument) map[string][]string {
	out := map[string][]string{}
	for _, a := range args {
		if kindOfPlace(a.What) == "dlsym" {
			out[a.Module] = append(out[a.Module], a.Name)
		}
	}
	return out
}

// seenLookups is lookedUp for a run that a profile tells of.
func seenLookups(p *profile.Profile) map[string][]string {
	out := map[string][]string{}
	for _, u := range p.Unresolved {
		if u.What == "dlsym" && u.Seen != "" {
			out[u.Module] = append(out[u.Module], strings.Split(u.Seen, between)...)
		}
	}
	return out
}

// openedNames returns the names of libraries that modules but libc, which knows what it looks up in them, were seen to open.
func openedNames(args []observe.Argument) []string {
	var out []string
	for _, a := range args {
		if kindOfPlace(a.What) == "dlopen" && !isLibc(a.Module) {
			out = append(out, a.Name)
		}
	}
	return out
}

// seenOpens is openedNames for a run that a profile tells of.
func seenOpens(p *profile.Profile) []string {
	var out []string
	for _, u := range p.Unresolved {
		if u.What == "dlopen" && u.Seen != "" && !isLibc(u.Module) {
			out = append(out, strings.Split(u.Seen, between)...)
		}
	}
	return out
}

// isLibc reports whether a file is glibc, by its name.
func isLibc(path string) bool { return filepath.Base(path) == "libc.so.6" }

// means reports whether one of the names by which libraries are opened means a file.
func means(names []string, path string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return n == path || filepath.Base(n) == filepath.Base(path) })
}

// askedOf returns the names that modules of a program were seen to look up.
func (l *loader) askedOf(p *link.Program) []callgraph.Asked {
	var out []callgraph.Asked
	for i, m := range p.Modules {
		if names := l.asked[modulePath(m)]; len(names) > 0 {
			out = append(out, callgraph.Asked{Module: i, Names: names})
		}
	}
	return out
}

// seen carries over what was seen at places of modules that have not changed.
func (r *renewal) seen(old, now []profile.Unresolved) {
	for i := range now {
		u := &now[i]
		for _, was := range old {
			if was.What == u.What && was.Module == u.Module && was.Offset == u.Offset && !r.changed[u.Module] {
				u.Seen = was.Seen
			}
		}
	}
}
