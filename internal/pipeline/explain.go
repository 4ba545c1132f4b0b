package pipeline

import (
	"context"
	"fmt"
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

// Path is the shortest path from a start to a system-call site.
type Path struct {
	Kind    string // thread kind
	Phase   string // "init" or "serving"
	Steps   []Step
	Syscall string
	Site    string
}

// Explanation says why a call is open, or why it is not.
type Explanation struct {
	Syscall string
	Open    []Path
	Closed  []string // in words, one a thread kind
}

// Explain finds, for each thread kind of a profile, why a call is open after the transition, or that it is closed.
func Explain(ctx context.Context, p *profile.Profile, call string, opt Options) (*Explanation, error) {
	nr, ok := syscalls.Number(call)
	if !ok {
		return nil, fmt.Errorf("%s: not the name of a system call of x86-64", call)
	}
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(ctx, p.Program.Path, p)
	if err != nil {
		return nil, err
	}
	f := phase.NewFinder(g)
	x := &Explanation{Syscall: call}
	entry := f.Entry()
	for i := range p.Threads {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t := &p.Threads[i]
		k, err := kindOf(f, t)
		if err != nil {
			return nil, err
		}
		r := g.WalkSignals(f.Serving(k))
		lost := f.Unknown(k)
		switch {
		case r.Calls.Has(nr):
			x.Open = append(x.Open, pathTo(g, r, nr, t.Kind, "serving"))
			continue
		case len(lost) > 0:
			x.Open = append(x.Open, Path{Kind: t.Kind, Phase: "serving", Syscall: call,
				Steps: []Step{{Module: lost[0].Module, Offset: hexa(lost[0].PC), Kind: "unknown code",
					Rule: "every call is open: what runs when the main loop's callers go on here is not known"}}})
			continue
		case syscalls.Always().Has(nr):
			x.Open = append(x.Open, Path{Kind: t.Kind, Phase: "serving", Syscall: call,
				Steps: []Step{{Kind: "kernel", Rule: "always open: the kernel issues it, or a thread ends with it"}}})
			continue
		case set(t.Serving.Exec).Has(nr):
			x.Open = append(x.Open, Path{Kind: t.Kind, Phase: "serving", Syscall: call,
				Steps: []Step{{Kind: "exec", Rule: "needed by a program that the server executes"}}})
			continue
		case set(t.Serving.Enforcer).Has(nr):
			x.Open = append(x.Open, Path{Kind: t.Kind, Phase: "serving", Syscall: call,
				Steps: []Step{{Kind: "enforcer", Rule: "threads and children that are created later install their filters with it"}}})
			continue
		}
		why := t.Kind + ": closed: nothing that can run after the transition makes it"
		if set(t.Init).Has(nr) {
			init := g.WalkSignals(entry)
			if ev, ok := init.Sites[nr]; ok {
				m, _ := g.Func(ev.Func)
				why += fmt.Sprintf("; before it, %s (%s+%#x) can", g.Name(ev.Func), modulePath(m), ev.Site)
			}
		}
		x.Closed = append(x.Closed, why)
	}
	return x, nil
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

func pathTo(g *callgraph.Graph, r *callgraph.Reach, nr int, kind, ph string) Path {
	ev := r.Sites[nr]
	m, _ := g.Func(ev.Func)
	p := Path{Kind: kind, Phase: ph, Syscall: syscalls.Name(nr), Site: modulePath(m) + "+" + hexa(ev.Site)}
	target := ev.Func
	if n := len(ev.Via); n > 0 {
		target = ev.Via[n-1].Func
	}
	edges := r.Path(target)
	first := target
	if len(edges) > 0 {
		first = edges[0].From
	}
	s := Step{Kind: "start", Function: g.Name(first)}
	fm, _ := g.Func(first)
	s.Module = modulePath(fm)
	if st, ok := r.StartOf(first); ok {
		s.Rule, s.Offset = st.Why, hexa(st.Site)
	}
	p.Steps = append(p.Steps, s)
	for _, e := range edges {
		tm, tf := g.Func(e.To)
		sm, _ := g.Func(e.From)
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
		s := fmt.Sprintf("; %s, %s+%#x", ev.Kind, modulePath(m), ev.Place)
		if ev.Func >= 0 {
			s += " in or used by " + g.Name(ev.Func)
		}
		return s + "; rule: level " + g.Level.String() + ", " + g.Rule(e.Set)
	}
	return ""
}
