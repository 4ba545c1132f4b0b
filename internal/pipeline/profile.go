package pipeline

import (
	"context"
	"crypto/sha256"
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
	p, err := l.document(ctx, g, f, kinds, obs.Execs, f.Init)
	if err == nil {
		seen(p.Unresolved, obs.Arguments)
		p.Unresolved = append(p.Unresolved, dark(f.Dark)...)
	}
	return p, err
}

// threadPlace is what profiles call a place where stacks end that could not be read.
const threadPlace = "thread"

// dark notes the threads that get no filter, for their loops could not be found.
func dark(list []phase.Dark) (out []profile.Unresolved) {
	for _, d := range list {
		out = append(out, profile.Unresolved{What: threadPlace, Module: d.Module, Offset: hexa(d.PC),
			Effect: fmt.Sprintf("%d without filter, called by code without call-frame information: %s", d.Count, strings.Join(d.Names, between))})
	}
	return out
}

// document writes the profile of a program whose thread kinds are known; execs are the programs that it was seen to
// execute, init says where a kind's threads begin.
func (l *loader) document(ctx context.Context, g *callgraph.Graph, f *phase.Finder, kinds []phase.Kind, execs []observe.Exec,
	init func(k *phase.Kind, entry []callgraph.Start) []callgraph.Start) (*profile.Profile, error) {
	exe := g.P.Modules[0]
	p := &profile.Profile{SchemaVersion: profile.SchemaVersion,
		Program: profile.Program{Path: modulePath(exe), SHA256: hex.EncodeToString(exe.SHA256[:]), BuildID: exe.BuildID},
		Modules: modules(g.P)}
	w := newWidened(l, g)
	ps := l.newPrograms(ctx, w)
	seen, err := ps.seen(execs)
	if err != nil {
		return nil, err
	}
	entry := f.Entry()
	var ofEntry *callgraph.Reach
	fromEntry := func() *callgraph.Reach {
		if ofEntry == nil {
			ofEntry = g.WalkSignals(entry)
			w.add(ofEntry)
		}
		return ofEntry
	}
	for i := range kinds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l.opt.progress("partitions", i, len(kinds))
		k := &kinds[i]
		r := g.WalkSignals(f.Serving(k))
		w.add(r)
		own := r.Calls.Union(syscalls.Always())
		named, gaps, err := ps.given(g, r)
		if err != nil {
			return nil, err
		}
		switch {
		case l.opt.ExecPolicy == ExecNone:
			own = own.Minus(execCalls)
		case l.opt.ExecPolicy == ExecAny && gaps > 0:
			own = syscalls.All()
		}
		if lost := f.Unknown(k); len(lost) > 0 {
			own = syscalls.All()
			w.lost(lost)
		}
		var before *callgraph.Reach
		if starts := init(k, entry); &starts[0] == &entry[0] {
			before = fromEntry()
		} else {
			before = g.WalkSignals(starts)
		}
		t := profile.Thread{Kind: k.Name, Role: k.Role, Samples: k.Samples, Instances: k.Instances,
			Transition: transition(g, f, k),
			Init:       before.Calls.Union(syscalls.Always()).Names(),
			Serving:    profile.Serving{Own: own.Names(), Exec: []string{}, Enforcer: []string{}}}
		if canExec(own) {
			t.Serving.Exec = ps.needs(slices.Concat(seen, named)).Minus(own).Names()
		}
		if canSpawn(own) && len(kinds) > 1 {
			t.Serving.Enforcer = enforcerCalls.Minus(own).Minus(set(t.Serving.Exec)).Names()
		}
		p.Threads = append(p.Threads, t)
	}
	if _, _, err := ps.given(g, fromEntry()); err != nil {
		return nil, err
	}
	p.Executes = ps.sorted()
	p.Unresolved = w.sorted()
	p.Assumptions = assumptions(g)
	return p, nil
}

// observed builds the call graph with the modules that a run showed beyond those that the loader brings.
func (l *loader) observed(ctx context.Context, binary string, obs *observe.Observation) (*callgraph.Graph, error) {
	base, err := l.load(ctx, binary, nil)
	if err != nil {
		return nil, err
	}
	l.asked = lookedUp(obs.Arguments)
	opens := openedNames(obs.Arguments)
	var extra []link.Extra
	for _, m := range obs.Modules {
		if strings.HasPrefix(m.Path, "[") || !filepath.IsAbs(m.Path) || moduleOf(base, m.Path) >= 0 {
			continue
		}
		e := link.Extra{Path: m.Path, Found: profile.FoundObserved, Opened: means(opens, m.Path)}
		if !l.holds(&m) {
			if e.Summary, err = l.analyse(m.Path, m.Data, sha256.Sum256(m.Data)); err != nil {
				return nil, err
			}
		}
		extra = append(extra, e)
	}
	slices.SortFunc(extra, func(a, b link.Extra) int { return strings.Compare(a.Path, b.Path) })
	return l.graph(ctx, binary, extra)
}

// holds reports whether a file that a run had mapped is still where it was; also if what was mapped is not known.
func (l *loader) holds(m *observe.Module) bool {
	if m.Data == nil {
		return true // if it is missing, the link says so
	}
	now, err := l.summarize(filepath.Join("/", l.opt.Root, m.Path), nil)
	return err == nil && now.SHA256 == sha256.Sum256(m.Data)
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
	to := k.Func
	for _, fr := range k.Below {
		pf := profile.Frame{Module: fr.Module, Offset: hexa(fr.PC)}
		mi := moduleOf(g.P, fr.Module)
		if sites := callsTo(g, mi, to); len(sites) > 1 {
			for i, s := range sites {
				if s < fr.PC && fr.PC-s <= maxCall {
					pf.Nth = i + 1
				}
			}
		}
		t.Stack = append(t.Stack, pf)
		to = containing(g, mi, fr.PC-1)
	}
	return t
}
