package pipeline

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/link"
	"syspart/internal/observe"
	"syspart/internal/phase"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// Profile finds the thread kinds of an observed server and what each can call. The error wraps phase.ErrNoLoop if no
// thread was seen in a loop.
func Profile(ctx context.Context, binary string, obs *observe.Observation, opt Options) (*profile.Profile, error) {
	l := newLoader(&opt)
	defer l.close()
	g, err := l.observed(ctx, binary, obs)
	if err != nil {
		return nil, err
	}
	f := phase.NewFinder(g)
	kinds, err := f.Kinds(obs)
	if err != nil {
		return nil, err
	}
	exe := g.P.Modules[0]
	p := &profile.Profile{SchemaVersion: profile.SchemaVersion,
		Program: profile.Program{Path: modulePath(exe), SHA256: hex.EncodeToString(exe.SHA256[:]), BuildID: exe.BuildID},
		Modules: modules(g.P), Executes: []profile.Execute{}}
	w := newWidened(g)
	var execs syscalls.Set
	p.Executes, execs, err = l.executed(ctx, obs, p.Program.Path, w)
	if err != nil {
		return nil, err
	}
	entry := f.Entry()
	var ofEntry *callgraph.Reach
	for i := range kinds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		opt.progress("partitions", i, len(kinds))
		k := &kinds[i]
		r := g.WalkSignals(f.Serving(k))
		w.add(r)
		own := r.Calls.Union(syscalls.Always())
		if lost := f.Unknown(k); len(lost) > 0 {
			own = syscalls.All()
			w.lost(lost)
		}
		var init *callgraph.Reach
		if starts := f.Init(k, entry); &starts[0] == &entry[0] {
			if ofEntry == nil {
				ofEntry = g.WalkSignals(entry)
				w.add(ofEntry)
			}
			init = ofEntry
		} else {
			init = g.WalkSignals(starts)
		}
		t := profile.Thread{Kind: k.Name, Role: k.Role, Samples: k.Samples, Instances: k.Instances,
			Transition: transition(g, f, k),
			Init:       init.Calls.Union(syscalls.Always()).Names(),
			Serving:    profile.Serving{Own: own.Names(), Exec: []string{}, Enforcer: []string{}}}
		if canExec(own) {
			t.Serving.Exec = execs.Minus(own).Names()
		}
		if canSpawn(own) && len(kinds) > 1 {
			t.Serving.Enforcer = enforcerCalls.Minus(own).Minus(set(t.Serving.Exec)).Names()
		}
		p.Threads = append(p.Threads, t)
	}
	p.Unresolved = w.list
	p.Assumptions = assumptions(g)
	return p, nil
}

// observed builds the call graph with the modules that a run showed beyond those that the loader brings.
func (l *loader) observed(ctx context.Context, binary string, obs *observe.Observation) (*callgraph.Graph, error) {
	base, err := l.load(ctx, binary, nil)
	if err != nil {
		return nil, err
	}
	var extra []link.Extra
	for _, m := range obs.Modules {
		if strings.HasPrefix(m.Path, "[") || !filepath.IsAbs(m.Path) || strings.HasSuffix(m.Path, " (deleted)") {
			continue
		}
		if moduleOf(base, m.Path) < 0 {
			extra = append(extra, link.Extra{Path: m.Path, Found: profile.FoundObserved})
		}
	}
	if len(extra) == 0 {
		return callgraph.New(base, l.opt.Level), nil
	}
	slices.SortFunc(extra, func(a, b link.Extra) int { return strings.Compare(a.Path, b.Path) })
	return l.graph(ctx, binary, extra)
}

// executed analyses the programs that the server was seen to execute, and those given.
func (l *loader) executed(ctx context.Context, obs *observe.Observation, self string, w *widened) ([]profile.Execute, syscalls.Set, error) {
	var all syscalls.Set
	out := []profile.Execute{}
	add := func(path, found string) error {
		if slices.ContainsFunc(out, func(e profile.Execute) bool { return e.Path == path }) {
			return nil
		}
		g, err := l.graph(ctx, path, nil)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// It cannot be read now: what it needs is not known, so its execution stays a gap, said loudly.
			out = append(out, profile.Execute{Path: path, Found: found, Needs: []string{}})
			w.put(profile.Unresolved{What: "execve", Function: "", Effect: fmt.Sprintf("%s was executed, but cannot be analysed (%v): its calls are not allowed for", path, err)})
			return nil
		}
		r := g.WalkSignals(phase.NewFinder(g).Entry())
		needs := r.Calls.Union(syscalls.Always())
		sum := g.P.Modules[0].SHA256
		out = append(out, profile.Execute{Path: path, SHA256: hex.EncodeToString(sum[:]), Found: found, Needs: needs.Names()})
		all = all.Union(needs)
		return nil
	}
	for _, e := range l.opt.Exec {
		if err := add(e, profile.FoundGiven); err != nil {
			return nil, all, err
		}
	}
	for _, e := range obs.Execs {
		if e.Path == "" {
			continue
		}
		if err := add(e.Path, profile.FoundObserved); err != nil {
			return nil, all, err
		}
	}
	slices.SortFunc(out, func(a, b profile.Execute) int { return strings.Compare(a.Path, b.Path) })
	return out, all, nil
}

func set(names []string) syscalls.Set {
	s, err := syscalls.FromNames(names...)
	if err != nil {
		panic("names made by ourselves: " + err.Error())
	}
	return s
}

// enforcerCalls is what a thread calls to get its filter.
var enforcerCalls = set([]string{"prctl", "seccomp"})

var (
	execCalls  = set([]string{"execve", "execveat"})
	spawnCalls = set([]string{"fork", "vfork", "clone", "clone3"})
)

func canExec(s syscalls.Set) bool  { return !s.Intersect(execCalls).Empty() }
func canSpawn(s syscalls.Set) bool { return !s.Intersect(spawnCalls).Empty() }

func transition(g *callgraph.Graph, f *phase.Finder, k *phase.Kind) profile.Transition {
	m, fn := g.Func(k.Func)
	h := f.Header(k)
	name := g.Name(k.Func)
	if h != fn.Entry {
		name += fmt.Sprintf("+%#x", h-fn.Entry)
	}
	t := profile.Transition{Module: modulePath(m), Offset: hexa(h), Function: name, Entry: hexa(fn.Entry), Edges: [][2]string{}, Stack: []profile.Frame{}, Bottom: k.Bottom}
	for _, e := range f.Enters(k) {
		t.Edges = append(t.Edges, [2]string{hexa(e[0]), hexa(e[1])})
	}
	for _, fr := range k.Below {
		t.Stack = append(t.Stack, profile.Frame{Module: fr.Module, Offset: hexa(fr.PC)})
	}
	return t
}
