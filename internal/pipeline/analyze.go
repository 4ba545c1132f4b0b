package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/phase"
	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/internal/value"
	"syspart/profile"
)

// ErrStart: a starting point that the binary does not have.
var ErrStart = errors.New("no such starting point")

// Set is what can be reached from one starting point.
type Set struct {
	From      string // as the user wrote it: entry, main, FUNC+0xOFF, 0xADDR
	Calls     syscalls.Set
	Functions int // reachable functions
}

// Analysis is the result of Analyze.
type Analysis struct {
	Path, SHA256, BuildID                  string
	Modules                                []profile.Module
	Sets                                   []Set
	Functions, AddressTaken, IndirectSites int
	Edges                                  int // direct edges and, for every indirect site, its targets
	AverageTargets                         float64
	Unresolved                             []profile.Unresolved
	Assumptions                            []string
}

// Analyze computes what can be reached from starting points of a binary: "entry" (from the loader's first instruction
// on), "main", a function with or without offset ("ngx_worker_process_cycle+0x1f"), or an address ("0x4a3b0").
func Analyze(ctx context.Context, binary string, from []string, opt Options) (*Analysis, error) {
	l := newLoader(&opt)
	defer l.close()
	if len(from) == 0 {
		from = []string{"entry", "main"}
	}
	if l.cache == nil {
		return l.analysis(ctx, binary, from)
	}
	key, ok := answerKey(binary, from, &opt)
	if !ok {
		return l.analysis(ctx, binary, from)
	}
	if a, ok := l.recall(key); ok {
		return a, nil
	}
	a, err := l.analysis(ctx, binary, from)
	if err == nil {
		l.remember(key, a)
	}
	return a, err
}

// analysis does what Analyze says.
func (l *loader) analysis(ctx context.Context, binary string, from []string) (*Analysis, error) {
	g, err := l.graph(ctx, binary, nil)
	if err != nil {
		return nil, err
	}
	exe := g.P.Modules[0]
	a := &Analysis{Path: modulePath(exe), SHA256: hex.EncodeToString(exe.SHA256[:]), BuildID: exe.BuildID, Modules: modules(g.P),
		Functions: g.LiveCount(), AddressTaken: len(g.Taken())}
	var targets int
	a.IndirectSites, targets, a.Edges = count(g)
	if a.IndirectSites > 0 {
		a.AverageTargets = float64(targets) / float64(a.IndirectSites)
	}
	f := phase.NewFinder(g)
	w := newWidened(l, g)
	for _, s := range from {
		starts, err := start(g, f, s)
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var r *callgraph.Reach
		if s == "entry" {
			r = l.entered(g)
		} else {
			r = g.WalkSignals(starts)
		}
		w.add(r)
		w.programs(l, r)
		a.Sets = append(a.Sets, Set{From: s, Calls: r.Calls.Union(syscalls.Always()), Functions: r.Functions()})
	}
	a.Unresolved = w.sorted()
	a.Assumptions = assumptions(g)
	return a, nil
}

// count returns the live indirect sites, their targets, and all live edges.
func count(g *callgraph.Graph) (sites, targets, edges int) {
	sites, targets = g.IndirectCount()
	n := g.P.Funcs()
	for f := int32(0); int(f) < n; f++ {
		if g.Live(f) {
			_, t, e := g.EdgeCount(f)
			edges += e + t
		}
	}
	return sites, targets, edges
}

// start resolves a starting point.
func start(g *callgraph.Graph, f *phase.Finder, from string) ([]callgraph.Start, error) {
	exe := g.P.Modules[0]
	switch from {
	case "entry":
		return f.Entry(), nil
	case "main":
		va, err := Main(g)
		if err != nil {
			return nil, err
		}
		fn := g.P.Func(0, va)
		starts := []callgraph.Start{{Func: int32(fn), Why: "main", Site: va}}
		// main returns into libc's start code, which ends the process.
		return append(starts, f.AfterMain()...), nil
	}
	var va uint64
	if strings.HasPrefix(from, "0x") {
		v, err := strconv.ParseUint(from[2:], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: not an address: %w", from, ErrStart)
		}
		va = v
	} else {
		name, off, _ := strings.Cut(from, "+")
		found := false
		for i := range exe.Funcs {
			if fn := &exe.Funcs[i]; fn.Name.Len > 0 && exe.String(fn.Name) == name {
				va, found = fn.Entry, true
				break
			}
		}
		if !found {
			return nil, fmt.Errorf("%s: %s has no symbol of that name; give an address as 0x...: %w", from, exe.Path, ErrStart)
		}
		if off != "" {
			v, err := strconv.ParseUint(strings.TrimPrefix(off, "0x"), 16, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: bad offset: %w", from, ErrStart)
			}
			va += v
		}
	}
	s, ok := f.From(exe.Path, va)
	if !ok {
		return nil, fmt.Errorf("%s: no function of %s contains %#x: %w", from, exe.Path, va, ErrStart)
	}
	return []callgraph.Start{s}, nil
}

// Main returns the address of main: a symbol of that name, or the first argument of __libc_start_main.
func Main(g *callgraph.Graph) (uint64, error) {
	m := g.P.Modules[0]
	for i := range m.Funcs {
		if fn := &m.Funcs[i]; fn.Name.Len > 0 && m.String(fn.Name) == "main" {
			return fn.Entry, nil
		}
	}
	i := m.At(m.Entry)
	if i < 0 {
		return 0, fmt.Errorf("main: %s has no function at its entry; use --from entry: %w", m.Path, ErrStart)
	}
	// The entry code calls __libc_start_main(main, ...), by symbol or, in a static program, directly; musl's goes through
	// a C function that it passes the stack to.
	seen := map[int]bool{}
	var main uint64
	var visit func(i, depth int)
	visit = func(i, depth int) {
		if seen[i] || depth > 2 {
			return
		}
		seen[i] = true
		fn := &m.Funcs[i]
		for k := fn.Calls[0]; k < fn.Calls[1] && main == 0; k++ {
			c := &m.Calls[k]
			m.Each(c.Args[0], func(_ int32, e value.Expr) {
				if va := uint64(e.Off); (e.Kind == value.Addr || e.Kind == value.Const) && !e.Any && m.At(va) >= 0 && m.Exec(va) {
					main = va
				}
			})
			if c.Kind == summary.Direct && main == 0 {
				if j := m.At(c.Target); j >= 0 {
					visit(j, depth+1)
				}
			}
		}
	}
	visit(i, 0)
	if main == 0 {
		return 0, fmt.Errorf("main: the entry code of %s does not pass it to libc; use --from entry: %w", m.Path, ErrStart)
	}
	return main, nil
}
