package pipeline

import (
	"context"

	"syspart/internal/callgraph"
	"syspart/internal/phase"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// Resolved counts places by how much is known of the name that they are given.
type Resolved struct {
	Full    int `json:"full"`    // every name
	Partial int `json:"partial"` // some names
	None    int `json:"none"`    // no name
}

// Loading is how the code that a server loads at run time was found, and what it costs.
type Loading struct {
	Dlopen, Dlsym, Exec Resolved
	Found               map[string]int // modules beyond those that the loader brings, by how they were found
	Programs            map[string]int // programs executed, likewise
	// Extra are the calls of the serving sets that the code loaded at run time adds: those that the same kinds cannot make
	// in the program as the loader starts it.
	Extra syscalls.Set
}

// Load measures the loading of a profile's server.
func Load(ctx context.Context, p *profile.Profile, opt Options) (*Loading, error) {
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(ctx, p.Program.Path, p)
	if err != nil {
		return nil, err
	}
	out := &Loading{Found: map[string]int{}, Programs: map[string]int{}}
	for _, m := range g.P.Modules[1:] {
		if m.Later {
			out.Found[m.Found]++
		}
	}
	for i := range p.Executes {
		out.Programs[p.Executes[i].Found]++
	}
	f := phase.NewFinder(g)
	r := g.WalkSignals(f.Entry())
	for _, s := range r.Given() {
		if isOpen(&s) {
			out.Dlopen.count(&s)
		} else {
			out.Exec.count(&s)
		}
	}
	for _, s := range r.Lookups() {
		out.Dlsym.count(&s)
	}
	var with syscalls.Set
	for i := range p.Threads {
		_, _, own, err := serves(g, f, &p.Threads[i])
		if err != nil {
			return nil, err
		}
		with = with.Union(own)
	}
	without, err := l.without(ctx, p)
	if err != nil {
		return nil, err
	}
	out.Extra = with.Minus(without)
	return out, nil
}

// without is what the kinds whose loops are in modules that the loader brings can make without any other module. If a loop
// or its callers are in a module loaded later (httpd's), it is what the program can make from its entry on.
func (l *loader) without(ctx context.Context, p *profile.Profile) (syscalls.Set, error) {
	var all syscalls.Set
	prog, err := l.bare(ctx, p.Program.Path)
	if err != nil {
		return all, err
	}
	g := callgraph.New(prog, l.opt.Level)
	f := phase.NewFinder(g)
	for i := range p.Threads {
		t := &p.Threads[i]
		inside := moduleOf(prog, t.Transition.Module) >= 0
		for _, fr := range t.Transition.Stack {
			inside = inside && moduleOf(prog, fr.Module) >= 0
		}
		if !inside {
			all = all.Union(g.WalkSignals(f.Entry()).Calls)
			continue
		}
		_, _, own, err := serves(g, f, t)
		if err != nil {
			return all, err
		}
		all = all.Union(own)
	}
	return all, nil
}

func (r *Resolved) count(s *callgraph.Given) {
	switch {
	case s.Unknown == "":
		r.Full++
	case len(s.Texts) > 0 || s.Null:
		r.Partial++
	default:
		r.None++
	}
}
