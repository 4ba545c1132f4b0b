package profile

import "slices"

// Names of the serving sets, for Union.
const (
	SetAll      = ""         // all three: what the filter allows
	SetOwn      = "own"      // Serving.Own
	SetExec     = "exec"     // Serving.Exec
	SetEnforcer = "enforcer" // Serving.Enforcer
)

// Union returns the names in one serving set, or in all three (SetAll), of one thread kind, or of all ("" as kind),
// sorted and without duplicates. It is nil for a set or kind that does not exist; see Kind.
func (p *Profile) Union(set, kind string) []string {
	var all []string
	for i := range p.Threads {
		t := &p.Threads[i]
		if kind == "" || t.Kind == kind {
			all = append(all, t.Serving.Union(set)...)
		}
	}
	return sortNames(all)
}

// Union returns the names in one of the sets, or in all three (SetAll), sorted and without duplicates; nil for a set that
// does not exist.
func (s *Serving) Union(set string) []string {
	var all []string
	if set == SetAll || set == SetOwn {
		all = append(all, s.Own...)
	}
	if set == SetAll || set == SetExec {
		all = append(all, s.Exec...)
	}
	if set == SetAll || set == SetEnforcer {
		all = append(all, s.Enforcer...)
	}
	return sortNames(all)
}

// Kind returns the thread kind of that name, or nil.
func (p *Profile) Kind(name string) *Thread {
	for i := range p.Threads {
		if p.Threads[i].Kind == name {
			return &p.Threads[i]
		}
	}
	return nil
}

// sortNames sorts a list in place and removes duplicates.
func sortNames(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
