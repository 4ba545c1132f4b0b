package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"syspart/internal/callgraph"
	"syspart/internal/link"
	"syspart/internal/phase"
	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// Measure is what one level of the call graph leaves open for the server of a profile.
type Measure struct {
	Level        callgraph.Level
	AddressTaken int
	Sites        int     // indirect call sites of live functions, as Callgraph lists them
	Targets      float64 // of a site, on average
	Functions    int     // live
	Sets         []Set   // from "entry" and from "main", as Analyze has them
	Kinds        []Served
	Build        time.Duration // of the call graph; the modules are summarised and linked before
}

// Served is what a thread kind can reach from its transition on.
type Served struct {
	Kind, Role string
	Instances  int
	Functions  int
	Own        syscalls.Set
}

// Precision measures a level on the modules and thread kinds of a profile.
func Precision(ctx context.Context, p *profile.Profile, level callgraph.Level, opt Options) (*Measure, error) {
	opt.Level = level
	l := newLoader(&opt)
	defer l.close()
	prog, err := l.linked(ctx, p)
	if err != nil {
		return nil, err
	}
	m, g := measure(prog, level)
	f := phase.NewFinder(g)
	for _, from := range []string{"entry", "main"} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		starts, err := start(g, f, from)
		if err != nil {
			return nil, err
		}
		r := g.WalkSignals(starts)
		m.Sets = append(m.Sets, Set{From: from, Calls: r.Calls.Union(syscalls.Always()), Functions: r.Functions()})
	}
	for i := range p.Threads {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := &p.Threads[i]
		_, r, own, err := serves(g, f, t)
		if err != nil {
			return nil, err
		}
		m.Kinds = append(m.Kinds, Served{Kind: t.Kind, Role: t.Role, Instances: t.Instances, Functions: r.Functions(), Own: own})
	}
	return m, nil
}

// SeenCall is a call through a pointer that a run has made. Modules are file names, addresses those of the files.
type SeenCall struct {
	Module string
	Site   uint64
	To     string
	Entry  uint64
}

// Floors returns, for each thread kind of a profile, how many calls it could make while it serves if calls through pointers went
// only where they were seen to go: what no graph with the same direct calls can be below, but for what a run did not show.
func Floors(ctx context.Context, p *profile.Profile, seen []SeenCall, opt Options) ([]int, error) {
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(ctx, p.Program.Path, p)
	if err != nil {
		return nil, err
	}
	modules := map[string]int{}
	for i, m := range g.P.Modules {
		modules[filepath.Base(modulePath(m))] = i
	}
	type place struct {
		module int
		site   uint64
	}
	targets := map[place][]int32{}
	for _, s := range seen {
		from, ok := modules[s.Module]
		to, known := modules[s.To]
		if f := -1; ok && known {
			if f = g.P.Func(to, s.Entry); f >= 0 {
				targets[place{from, s.Site}] = append(targets[place{from, s.Site}], int32(f))
			}
		}
	}
	f := phase.NewFinder(g)
	var out []int
	for i := range p.Threads {
		k, err := kindOf(f, &p.Threads[i])
		if err != nil {
			return nil, err
		}
		r := g.WalkSeen(f.Serving(k), func(e callgraph.Edge) []int32 {
			m, _ := g.P.Where(int(e.From))
			return targets[place{m, e.Site}]
		})
		out = append(out, r.Calls.Union(syscalls.Always()).Len())
	}
	return out, nil
}

// measure builds the call graph of a program and counts what it has.
func measure(prog *link.Program, level callgraph.Level) (*Measure, *callgraph.Graph) {
	begin := time.Now()
	g := callgraph.New(prog, level)
	m := &Measure{Level: g.Level, Build: time.Since(begin), AddressTaken: len(g.Taken()), Functions: g.LiveCount()}
	targets := 0
	g.IndirectSites(func(s callgraph.Site) error {
		m.Sites++
		targets += len(s.Targets)
		return nil
	})
	if m.Sites > 0 {
		m.Targets = float64(targets) / float64(m.Sites)
	}
	return m, g
}

// serves walks from the transition of a profile's thread kind; own is the set that Profile gives it.
func serves(g *callgraph.Graph, f *phase.Finder, t *profile.Thread) (k *phase.Kind, r *callgraph.Reach, own syscalls.Set, err error) {
	if k, err = kindOf(f, t); err != nil {
		return nil, nil, own, err
	}
	r = g.WalkSignals(f.Serving(k))
	own = r.Calls.Union(syscalls.Always())
	if len(f.Unknown(k)) > 0 {
		own = syscalls.All()
	}
	return k, r, own, nil
}

// Place is an address in a function. Modules are file names.
type Place struct {
	Module   string `json:"module"`
	Function string `json:"function"`
	Offset   string `json:"offset"`
}

// Surplus is a system call that a thread kind can make without having been seen to, by the shortest path from its main loop.
type Surplus struct {
	Syscall string `json:"syscall"`
	Site    Place  `json:"site"`   // where it is made; empty if no known code makes it
	Edge    string `json:"edge"`   // kind of the last indirect edge on the path, "start" if all are direct
	From    Place  `json:"from"`   // the site of that edge
	Target  Place  `json:"target"` // the function that it leads to
	Why     string `json:"why"`    // why that function is a target, or why the walk starts there
	// Through are the functions that every path leads through, the one next to the call first.
	Through []Place `json:"through"`
}

// Surpluses lists the calls in a thread kind's own set, at the level of opt, that seen has not; by name.
func Surpluses(ctx context.Context, p *profile.Profile, kind string, seen syscalls.Set, opt Options) ([]Surplus, error) {
	t := p.Kind(kind)
	if t == nil {
		return nil, fmt.Errorf("profile: no thread kind %s", kind)
	}
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(ctx, p.Program.Path, p)
	if err != nil {
		return nil, err
	}
	f := phase.NewFinder(g)
	k, r, own, err := serves(g, f, t)
	if err != nil {
		return nil, err
	}
	// Handlers of signals are next to everything, so they are the reason only where there is no other.
	loop := g.Walk(f.Serving(k))
	var out []Surplus
	for _, name := range own.Minus(seen).Names() {
		nr, _ := syscalls.Number(name)
		s := Surplus{Syscall: name}
		switch lost := f.Unknown(k); {
		case loop.Calls.Has(nr):
			s = surplus(g, loop, nr)
		case r.Calls.Has(nr):
			s = surplus(g, r, nr)
		case len(lost) > 0:
			s.Edge, s.Why = callgraph.UnknownCode.String(), "what runs when the main loop's callers go on is not known"
			s.From = Place{Module: filepath.Base(lost[0].Module), Offset: hexa(lost[0].PC)}
		default:
			s.Edge, s.Why = callgraph.Root.String(), "always open"
		}
		out = append(out, s)
	}
	return out, nil
}

// surplus looks for the last indirect edge on the path to a call.
func surplus(g *callgraph.Graph, r *callgraph.Reach, nr int) Surplus {
	ev := r.Sites[nr]
	s := Surplus{Syscall: syscalls.Name(nr), Site: placeOf(g, ev.Func, ev.Site)}
	to := ev.Func
	if n := len(ev.Via); n > 0 {
		to = ev.Via[n-1].Func
	}
	edges := r.Path(to)
	first := to
	if len(edges) > 0 {
		first = edges[0].From
	}
	st, _ := r.StartOf(first)
	s.Edge, s.From, s.Target, s.Why = callgraph.Root.String(), placeOf(g, first, st.Site), placeOf(g, first, st.Site), st.Why
	if why := takenAt(g, first); st.Blocks == nil && why != "" {
		s.Why += "; " + why
	}
	for _, e := range edges {
		if direct(e.Kind) {
			continue
		}
		_, fn := g.Func(e.To)
		s.Edge, s.From, s.Target, s.Why = e.Kind.String(), placeOf(g, e.From, e.Site), placeOf(g, e.To, fn.Entry), takenAt(g, e.To)
	}
	if ev.Why != "" {
		s.Why = "the number is " + ev.Why + "; " + s.Why
	}
	for _, f := range r.Through(nr) {
		if _, fn := g.Func(f); fn.Flags&summary.Stub == 0 {
			s.Through = append(s.Through, placeOf(g, f, fn.Entry))
		}
	}
	return s
}

// direct reports whether an edge's target is known without a guess or an analysis of pointers.
func direct(k callgraph.EdgeKind) bool {
	switch k {
	case callgraph.Root, callgraph.DirectCall, callgraph.SymbolCall, callgraph.IFuncCall, callgraph.ConstCall, callgraph.LazyBinding:
		return true
	}
	return false
}

// takenAt says where a function's address is taken, "" if its pointers were followed.
func takenAt(g *callgraph.Graph, f int32) string {
	ev := g.Evidence(f)
	if ev.Kind == callgraph.NotTaken {
		return ""
	}
	s := fmt.Sprintf("%s, %s+%#x", ev.Kind, filepath.Base(modulePath(g.P.Modules[ev.Module])), ev.Place)
	if ev.Func >= 0 {
		s += " in or used by " + g.Name(ev.Func)
	}
	return s
}

func placeOf(g *callgraph.Graph, f int32, va uint64) Place {
	m, _ := g.Func(f)
	return Place{Module: filepath.Base(modulePath(m)), Function: g.Name(f), Offset: hexa(va)}
}
