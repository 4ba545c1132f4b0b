package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"syspart/internal/callgraph"
	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/observe"
	"syspart/internal/phase"
	"syspart/internal/summary"
	"syspart/profile"
)

// ErrMoved: a loop of a profile is not where the profile says in the files that are there now.
var ErrMoved = errors.New("the profile's main loop is not in these files; profile the server again: syspart profile -o FILE -- CMD")

// Renew makes a profile anew for the files that are there now, without a run: the same loops, where they still stand, with
// what can be reached from them in the new files. A loop stands if its module has not changed; if it has, if its function
// has its name, lies where it did and has a loop at the same place. Return addresses below it, in modules that have
// changed, are those of the call that leads to the frame above. The error wraps ErrMoved if a loop or a return
// address is not found so. What modules needed that are gone stays allowed.
func Renew(ctx context.Context, p *profile.Profile, opt Options) (*profile.Profile, error) {
	l := newLoader(&opt)
	defer l.close()
	return l.renew(ctx, p, l.extras(p))
}

// renew makes a profile anew with modules that are loaded later.
func (l *loader) renew(ctx context.Context, p *profile.Profile, extra []link.Extra) (*profile.Profile, error) {
	l.asked = seenLookups(p)
	g, err := l.graph(ctx, p.Program.Path, extra)
	if err != nil {
		return nil, err
	}
	r := &renewal{l: l, g: g, f: phase.NewFinder(g), changed: map[string]bool{}}
	for _, m := range p.Modules {
		now := moduleOf(g.P, m.Path)
		r.changed[m.Path] = now < 0 || fmt.Sprintf("%x", g.P.Modules[now].SHA256) != m.SHA256
	}
	exe := g.P.Modules[0]
	r.changed[p.Program.Path] = fmt.Sprintf("%x", exe.SHA256) != p.Program.SHA256
	kinds := make([]phase.Kind, 0, len(p.Threads))
	for i := range p.Threads {
		k, err := r.kind(&p.Threads[i])
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, *k)
	}
	var execs []observe.Exec
	for _, e := range p.Executes {
		if e.Found == profile.FoundObserved || e.Found == profile.FoundGiven {
			execs = append(execs, observe.Exec{Path: e.Path})
		}
	}
	// Where the threads of a kind begin shows in frames that a profile does not keep, unless it has them all.
	init := func(k *phase.Kind, entry []callgraph.Start) []callgraph.Start {
		if !k.Bottom {
			return entry
		}
		return r.f.Init(k, entry)
	}
	now, err := l.document(ctx, g, r.f, kinds, execs, init)
	if err != nil {
		return nil, err
	}
	keep(p, now, gone(g.P, p))
	r.seen(p.Unresolved, now.Unresolved)
	for _, u := range p.Unresolved { // of the run
		if u.What == threadPlace {
			now.Unresolved = append(now.Unresolved, u)
		}
	}
	return now, nil
}

type renewal struct {
	l       *loader
	g       *callgraph.Graph
	f       *phase.Finder
	changed map[string]bool // by path
}

// kind finds a kind in the new files.
func (r *renewal) kind(t *profile.Thread) (*phase.Kind, error) {
	if r.changed[t.Transition.Module] && !r.stands(t) {
		return nil, fmt.Errorf("thread kind %s: %s has changed, and %s with it: %w", t.Kind, t.Transition.Module, t.Transition.Function, ErrMoved)
	}
	k, err := kindOf(r.f, t)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrMoved)
	}
	k.Samples, k.Instances = t.Samples, t.Instances
	to := k.Func
	for i := range k.Below {
		fr := &k.Below[i]
		if r.changed[fr.Module] {
			pc, ok := r.returnTo(fr.Module, to, t.Transition.Stack[i].Nth)
			if !ok {
				return nil, fmt.Errorf("thread kind %s: %s has changed, and where it calls %s is not clear: %w", t.Kind, fr.Module, r.g.Name(to), ErrMoved)
			}
			fr.PC = pc
		}
		mi := moduleOf(r.g.P, fr.Module)
		if mi < 0 {
			return nil, fmt.Errorf("thread kind %s: %s is not in the program any more: %w", t.Kind, fr.Module, ErrMoved)
		}
		if to = containing(r.g, mi, fr.PC-1); to < 0 {
			return nil, fmt.Errorf("thread kind %s: no function of %s contains %#x: %w", t.Kind, fr.Module, fr.PC, ErrMoved)
		}
	}
	return k, nil
}

// containing returns the function of a module that contains an address, -1 if there is none.
func containing(g *callgraph.Graph, mi int, va uint64) int32 {
	if mi < 0 {
		return -1
	}
	m := g.P.Modules[mi]
	if l := m.Containing(va); len(l) > 0 {
		return int32(m.Base) + int32(l[0])
	}
	return -1
}

// stands reports whether a changed module has the function of a loop by its name, at the same address.
func (r *renewal) stands(t *profile.Thread) bool {
	mi := moduleOf(r.g.P, t.Transition.Module)
	if mi < 0 {
		return false
	}
	m := r.g.P.Modules[mi]
	for i := range m.Funcs {
		if fn := &m.Funcs[i]; fn.Name.Len > 0 && hexa(fn.Entry) == t.Transition.Entry {
			name := m.String(fn.Name)
			return t.Transition.Function == name || len(t.Transition.Function) > len(name) && t.Transition.Function[:len(name)+1] == name+"+"
		}
	}
	return false
}

// maxCall is how long a call instruction may be, in bytes.
const maxCall = 15

// callsTo returns the places in a module that call a function, perhaps through a stub, in address order.
func callsTo(g *callgraph.Graph, mi int, to int32) []uint64 {
	if mi < 0 || to < 0 {
		return nil
	}
	m := g.P.Modules[mi]
	var sites []uint64
	for i := range m.Funcs {
		f := int32(m.Base) + int32(i)
		if !g.Live(f) || m.Funcs[i].Flags&summary.Stub != 0 {
			continue
		}
		g.Edges(f, func(e callgraph.Edge) {
			if e.To >= 0 && leadsTo(g, e.To, to) && e.Kind != callgraph.SpawnCall {
				sites = append(sites, e.Site)
			}
		})
	}
	slices.Sort(sites)
	return slices.Compact(sites)
}

// leadsTo reports whether f is a function or a stub that leads to it.
func leadsTo(g *callgraph.Graph, f, to int32) bool {
	if f == to {
		return true
	}
	_, fn := g.Func(f)
	found := false
	if fn.Flags&summary.Stub != 0 {
		g.Edges(f, func(e callgraph.Edge) { found = found || e.To == to })
	}
	return found
}

// returnTo returns the address behind the call of a module that leads to a function: the only one, or the nth.
func (r *renewal) returnTo(module string, to int32, nth int) (uint64, bool) {
	mi := moduleOf(r.g.P, module)
	sites := callsTo(r.g, mi, to)
	switch {
	case nth == 0 && len(sites) == 1:
		return after(r.g.P.Modules[mi], sites[0])
	case nth > 0 && nth <= len(sites) && len(sites) > 1:
		return after(r.g.P.Modules[mi], sites[nth-1])
	}
	return 0, false
}

// after returns the address behind an instruction.
func after(m *link.Module, site uint64) (uint64, bool) {
	path := m.Path
	if m.Real != "" {
		path = m.Real
	}
	f, err := image.Open(path)
	if err != nil {
		return 0, false
	}
	var in decode.Inst
	if code := f.Tail(site); len(code) == 0 || !decode.Decode(code, site, &in) {
		return 0, false
	}
	return site + uint64(in.Len), true
}
