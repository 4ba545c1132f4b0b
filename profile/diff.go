package profile

import (
	"fmt"
	"slices"
	"strings"
)

// Change is what differs in the calls of one thread kind.
type Change struct {
	Kind    string   `json:"kind"`
	In      string   `json:"in"`      // "both", "first" or "second" profile
	Added   []string `json:"added"`   // calls that the filter of the second allows and that of the first does not
	Removed []string `json:"removed"` // the other way round
}

// Diff compares what two profiles allow, kind by kind in the order of their names; kinds that are alike are left out. A kind
// that only one of them has adds or removes all its calls.
func Diff(a, b *Profile) []Change {
	out := []Change{}
	names := map[string]bool{}
	for _, p := range []*Profile{a, b} {
		for i := range p.Threads {
			names[p.Threads[i].Kind] = true
		}
	}
	for name := range names {
		x, y := a.Kind(name), b.Kind(name)
		c := Change{Kind: name, In: "both"}
		var before, after []string
		if x != nil {
			before = x.Serving.Union(SetAll)
		} else {
			c.In = "second"
		}
		if y != nil {
			after = y.Serving.Union(SetAll)
		} else {
			c.In = "first"
		}
		c.Added, c.Removed = minus(after, before), minus(before, after)
		if c.In != "both" || len(c.Added)+len(c.Removed) > 0 {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(x, y Change) int {
		if x.Kind < y.Kind {
			return -1
		}
		return 1
	})
	return out
}

// minus returns the names of a that b has not, in order.
func minus(a, b []string) []string {
	out := []string{}
	for _, n := range a {
		if !slices.Contains(b, n) {
			out = append(out, n)
		}
	}
	return out
}

// Merge makes one profile of several of the same program, of runs with different configurations: it allows each kind what
// any of them does. coverage says in how many each kind is. Kinds are the same if their loops and the stacks below are; of
// different ones with the same name the later are numbered. The error says which files the profiles do not agree on.
func Merge(list ...*Profile) (merged *Profile, coverage map[string]int, err error) {
	if len(list) == 0 {
		return nil, nil, fmt.Errorf("%w: nothing to merge", ErrInvalid)
	}
	m := list[0].clone()
	coverage = map[string]int{}
	for i := range m.Threads {
		coverage[m.Threads[i].Kind] = 1
	}
	for _, p := range list[1:] {
		if p.Program != m.Program {
			return nil, nil, fmt.Errorf("%w: profiles of different programs, %s (%s) and %s (%s)", ErrChanged, m.Program.Path, short(m.Program.SHA256), p.Program.Path, short(p.Program.SHA256))
		}
		for _, x := range p.Modules {
			at := slices.IndexFunc(m.Modules, func(y Module) bool { return y.Path == x.Path })
			switch {
			case at < 0:
				m.Modules = append(m.Modules, x)
			case m.Modules[at].SHA256 != x.SHA256:
				return nil, nil, fmt.Errorf("%w: %s is another file in each of the profiles", ErrChanged, x.Path)
			}
		}
		for i := range p.Threads {
			m.mergeKind(&p.Threads[i], coverage)
		}
		for _, x := range p.Executes {
			at := slices.IndexFunc(m.Executes, func(y Execute) bool { return y.Path == x.Path })
			switch {
			case at < 0:
				m.Executes = append(m.Executes, x)
			case m.Executes[at].SHA256 != x.SHA256:
				return nil, nil, fmt.Errorf("%w: %s is another file in each of the profiles", ErrChanged, x.Path)
			}
		}
		for _, x := range p.Unresolved {
			at := slices.IndexFunc(m.Unresolved, func(y Unresolved) bool { y.Seen = x.Seen; return x == y })
			if at < 0 {
				m.Unresolved = append(m.Unresolved, x)
			} else {
				m.Unresolved[at].Seen = joinSeen(m.Unresolved[at].Seen, x.Seen)
			}
		}
		for _, x := range p.Assumptions {
			if !slices.Contains(m.Assumptions, x) {
				m.Assumptions = append(m.Assumptions, x)
			}
		}
	}
	m.normalize()
	return m, coverage, nil
}

func (p *Profile) mergeKind(t *Thread, coverage map[string]int) {
	for i := range p.Threads {
		k := &p.Threads[i]
		if !sameKind(k, t) {
			continue
		}
		k.Samples += t.Samples
		k.Instances = max(k.Instances, t.Instances)
		k.Init = sortNames(append(slices.Clone(k.Init), t.Init...))
		k.Serving.Own = sortNames(append(slices.Clone(k.Serving.Own), t.Serving.Own...))
		k.Serving.Exec = minus(sortNames(append(slices.Clone(k.Serving.Exec), t.Serving.Exec...)), k.Serving.Own)
		k.Serving.Enforcer = minus(minus(sortNames(append(slices.Clone(k.Serving.Enforcer), t.Serving.Enforcer...)), k.Serving.Own), k.Serving.Exec)
		coverage[k.Kind]++
		return
	}
	c := *t
	for n := 2; p.Kind(c.Kind) != nil; n++ {
		c.Kind = fmt.Sprintf("%s#%d", t.Kind, n)
	}
	p.Threads = append(p.Threads, c)
	coverage[c.Kind] = 1
}

func sameKind(a, b *Thread) bool {
	x, y := &a.Transition, &b.Transition
	return a.Role == b.Role && x.Module == y.Module && x.Offset == y.Offset && x.Entry == y.Entry && x.Bottom == y.Bottom && slices.Equal(x.Stack, y.Stack)
}

// joinSeen unites two lists of names (Unresolved.Seen).
func joinSeen(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	names := append(strings.Split(a, ", "), strings.Split(b, ", ")...)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
