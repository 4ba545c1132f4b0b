package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"syspart/internal/callgraph"
	"syspart/internal/observe"
	"syspart/internal/phase"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// Step is one edge of a path.
type Step struct {
	Module, Function, Offset string
	Kind                     string // kind of the edge that leads here
	Rule                     string // in words: why there is that edge
}

// Path is a path from a start to a system-call site.
type Path struct {
	Kind    string // thread kind
	Phase   string // "init" or "serving"
	Steps   []Step
	Through []int // the steps that every way to the call leads through: closing one closes the call
	Syscall string
	Site    string
}

// Explanation says why a call is open, or why it is not.
type Explanation struct {
	Syscall string
	Open    []Path   // while serving, of each thread kind that may make the call
	Before  []Path   // before the transition
	Closed  []string // in words, one a thread kind that may not
}

// Question is what is asked of Explain.
type Question struct {
	Syscall string // a name
	Paths   int    // as many distinct paths a thread kind and phase; 0 is one
	Init    bool   // the phase before the transition, too, of kinds that may still make the call
}

// Explain finds, for each thread kind of a profile, why a call is open after the transition, or that it is closed, and then
// what it was needed for before.
func Explain(ctx context.Context, p *profile.Profile, q Question, opt Options) (*Explanation, error) {
	nr, ok := syscalls.Number(q.Syscall)
	if !ok {
		return nil, fmt.Errorf("%s: not the name of a system call of x86-64", q.Syscall)
	}
	q.Paths = max(q.Paths, 1)
	// Addresses mean nothing in other files. The kernel's own module and executed programs are no part of any path but their names.
	files := *p
	files.Executes = nil
	files.Modules = slices.DeleteFunc(slices.Clone(p.Modules), func(m profile.Module) bool { return m.Found == profile.FoundVDSO })
	if err := files.Verify(Identify); err != nil {
		return nil, err
	}
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(ctx, p.Program.Path, p)
	if err != nil {
		return nil, err
	}
	f := phase.NewFinder(g)
	x := &Explanation{Syscall: q.Syscall}
	for i := range p.Threads {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := &p.Threads[i]
		k, err := kindOf(f, t)
		if err != nil {
			return nil, err
		}
		open := whyOpen(g, f, k, p, t, nr, q.Paths)
		x.Open = append(x.Open, open...)
		if len(open) > 0 && !q.Init {
			continue
		}
		why := t.Kind + ": closed: nothing that can run after the transition makes it"
		if set(t.Init).Has(nr) {
			for _, starts := range [][]callgraph.Start{f.Init(k, f.Entry()), f.Entry()} {
				if before := pathsTo(g, starts, nr, t.Kind, "init", q.Paths); len(before) > 0 {
					x.Before = append(x.Before, before...)
					why += fmt.Sprintf("; its start makes it in %s, see below", before[0].Steps[len(before[0].Steps)-1].Function)
					break
				}
			}
		} else {
			why += "; its start has no need of it either"
		}
		if len(open) == 0 {
			x.Closed = append(x.Closed, why)
		}
	}
	return x, nil
}

// whyOpen returns the paths by which a kind comes to a call while it serves; none if the call is closed.
func whyOpen(g *callgraph.Graph, f *phase.Finder, k *phase.Kind, p *profile.Profile, t *profile.Thread, nr, n int) []Path {
	because := func(s Step) []Path {
		return []Path{{Kind: t.Kind, Phase: "serving", Syscall: syscalls.Name(nr), Steps: []Step{s}}}
	}
	if paths := pathsTo(g, f.Serving(k), nr, t.Kind, "serving", n); len(paths) > 0 {
		return paths
	}
	if lost := f.Unknown(k); len(lost) > 0 {
		return because(Step{Module: lost[0].Module, Offset: hexa(lost[0].PC), Kind: "unknown code",
			Rule: "every call is open: what runs when the main loop's callers go on here is not known"})
	}
	switch {
	case syscalls.Always().Has(nr):
		return because(Step{Kind: "kernel", Rule: "always open: the kernel issues it, or a thread ends with it"})
	case set(t.Serving.Exec).Has(nr):
		rule := "needed by a program that the server executes"
		for i := range p.Executes {
			if set(p.Executes[i].Needs).Has(nr) {
				rule += ", " + p.Executes[i].Path
				break
			}
		}
		return because(Step{Kind: "exec", Rule: rule})
	case set(t.Serving.Enforcer).Has(nr):
		return because(Step{Kind: "enforcer", Rule: "threads and children that are created later install their filters with it"})
	}
	if lost := gone(g.P, p); len(lost) > 0 && set(t.Serving.Own).Has(nr) {
		return because(Step{Module: lost[0].Path, Kind: "removed", Rule: "needed with a module that was removed and cannot be looked at any more"})
	}
	return nil
}

// kindOf rebuilds a kind from its place in a profile.
func kindOf(f *phase.Finder, t *profile.Thread) (*phase.Kind, error) {
	header, err1 := strconv.ParseUint(t.Transition.Offset, 0, 64)
	entry, err2 := strconv.ParseUint(t.Transition.Entry, 0, 64)
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("profile: thread kind %s: bad transition %q in function %q", t.Kind, t.Transition.Offset, t.Transition.Entry)
	}
	k := &phase.Kind{Name: t.Kind, Role: t.Role, Bottom: t.Transition.Bottom}
	if !f.SetLoop(k, t.Transition.Module, entry, header) {
		return nil, fmt.Errorf("profile: thread kind %s: %s has no loop at %s; profile the server again", t.Kind, t.Transition.Module, t.Transition.Offset)
	}
	for _, fr := range t.Transition.Stack {
		pc, err := strconv.ParseUint(fr.Offset, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("profile: thread kind %s: bad return address %q", t.Kind, fr.Offset)
		}
		k.Below = append(k.Below, observe.Frame{Module: fr.Module, PC: pc})
	}
	return k, nil
}

// pathsTo returns up to n paths from starts to a call, none if it is not reached. Handlers of signals are next to everything and
// say little, so paths from them come last, and only to where no other leads.
func pathsTo(g *callgraph.Graph, starts []callgraph.Start, nr int, kind, ph string, n int) []Path {
	var out []Path
	last := map[Step]bool{}
	for _, walk := range []func([]callgraph.Start) *callgraph.Reach{g.Walk, g.WalkSignals} {
		if len(out) == n {
			break
		}
		r := walk(starts)
		if !r.Calls.Has(nr) {
			continue
		}
		var more []Path
		through := r.Through(nr)
		for _, route := range r.Routes(nr, n) {
			if p := pathOf(g, &route, through, nr, kind, ph); !last[p.Steps[len(p.Steps)-1]] {
				more = append(more, p)
			}
		}
		for _, p := range more[:min(len(more), n-len(out))] {
			out = append(out, p)
			last[p.Steps[len(p.Steps)-1]] = true
		}
	}
	return out
}

// pathOf writes a route out; through are the functions that every way leads through.
func pathOf(g *callgraph.Graph, route *callgraph.Route, through []int32, nr int, kind, ph string) Path {
	ev := &route.Maker
	m, _ := g.Func(ev.Func)
	p := Path{Kind: kind, Phase: ph, Syscall: syscalls.Name(nr), Site: modulePath(m) + "+" + hexa(ev.Site)}
	fm, fn := g.Func(route.Start.Func)
	at := route.Start.Site
	if at == 0 {
		at = fn.Entry
	}
	p.Steps = append(p.Steps, Step{Module: modulePath(fm), Function: g.Name(route.Start.Func), Offset: hexa(at), Kind: "start", Rule: route.Start.Why})
	for _, e := range route.Edges {
		tm, tf := g.Func(e.To)
		sm, _ := g.Func(e.From)
		if slices.Contains(through, e.To) {
			p.Through = append(p.Through, len(p.Steps))
		}
		p.Steps = append(p.Steps, Step{Module: modulePath(tm), Function: g.Name(e.To), Offset: hexa(tf.Entry), Kind: e.Kind.String(),
			Rule: fmt.Sprintf("called at %s+%#x%s", modulePath(sm), e.Site, taken(g, e))})
	}
	for i := len(ev.Via) - 1; i >= 0; i-- {
		c := ev.Via[i]
		cm, _ := g.Func(c.Func)
		to := ev.Func
		if i > 0 {
			to = ev.Via[i-1].Func
		}
		tm, tf := g.Func(to)
		p.Steps = append(p.Steps, Step{Module: modulePath(tm), Function: g.Name(to), Offset: hexa(tf.Entry), Kind: "number passed on",
			Rule: fmt.Sprintf("called at %s+%#x with the number of the call as an argument", modulePath(cm), cm.Calls[c.Call].Site)})
	}
	if ev.Why != "" {
		p.Steps = append(p.Steps, Step{Module: modulePath(m), Function: g.Name(ev.Func), Offset: hexa(ev.Site), Kind: "unknown number", Rule: "every call is open: the number is " + ev.Why})
	}
	return p
}

// taken says in words by which rule an indirect edge is there.
func taken(g *callgraph.Graph, e callgraph.Edge) string {
	switch e.Kind {
	case callgraph.FlowCall:
		return "; a pointer to it was followed to this call"
	case callgraph.ConstCall:
		return "; the pointer is a constant"
	case callgraph.SpawnCall:
		return "; a thread is started with it"
	case callgraph.TakenCall, callgraph.UnknownCode:
		ev := g.Evidence(e.To)
		m := g.P.Modules[ev.Module]
		s := fmt.Sprintf("; %s, %s", ev.Kind, modulePath(m))
		if ev.Kind != callgraph.TakenSeen {
			s += fmt.Sprintf("+%#x", ev.Place)
		}
		if ev.Func >= 0 {
			s += " in or used by " + g.Name(ev.Func)
		}
		return s + "; rule: level " + g.Level.String() + ", " + g.Rule(e.Set)
	}
	return ""
}
