package pipeline

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/link"
	"syspart/profile"
)

// Site is an indirect call site and what it can call. Modules are file names; addresses are ELF virtual addresses in hex.
type Site struct {
	Module  string      `json:"module"`
	Site    string      `json:"site"`
	Targets [][2]string `json:"targets"` // module and offset
	Rule    string      `json:"rule"`
}

// profiled builds the call graph of a binary with the modules of a profile, if there is one.
func (l *loader) profiled(ctx context.Context, binary string, p *profile.Profile) (*callgraph.Graph, error) {
	var extra []link.Extra
	if p != nil {
		extra = l.extras(p)
		l.asked = seenLookups(p)
	}
	return l.graph(ctx, binary, extra)
}

// Callgraph calls emit for every live indirect call site, module by module in address order.
func Callgraph(ctx context.Context, binary string, p *profile.Profile, opt Options, emit func(Site) error) error {
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(ctx, binary, p)
	if err != nil {
		return err
	}
	names := map[*int32][][2]string{} // target lists are shared; format each once
	return g.IndirectSites(func(s callgraph.Site) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var key *int32
		if len(s.Targets) > 0 {
			key = &s.Targets[0]
		}
		t, ok := names[key]
		if !ok {
			t = make([][2]string, 0, len(s.Targets))
			sorted := slices.Clone(s.Targets)
			slices.Sort(sorted)
			for _, f := range sorted {
				m, fn := g.Func(f)
				t = append(t, [2]string{filepath.Base(modulePath(m)), hexa(fn.Entry)})
			}
			names[key] = t
		}
		return emit(Site{Module: filepath.Base(modulePath(g.P.Modules[s.Module])), Site: hexa(s.Addr), Targets: t, Rule: s.Rule})
	})
}

// CallgraphDot writes the live functions and edges of a binary in Graphviz's language. Edges of calls that are not resolved
// go through a node for each set of targets.
func CallgraphDot(ctx context.Context, binary string, p *profile.Profile, opt Options, w io.Writer) error {
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(ctx, binary, p)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	id := func(f int32) string {
		m, _ := g.Func(f)
		return fmt.Sprintf("%q", filepath.Base(modulePath(m))+":"+g.Name(f))
	}
	fmt.Fprintln(b, "digraph calls {")
	fmt.Fprintln(b, "\tnode [shape=box]")
	sets := map[callgraph.Set]bool{}
	node := func(s callgraph.Set) string { return fmt.Sprintf("%q", fmt.Sprintf("set %d: %s", s, g.Rule(s))) }
	for f := int32(0); int(f) < g.P.Funcs(); f++ {
		if !g.Live(f) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var lines []string
		g.Edges(f, func(e callgraph.Edge) {
			to := "\"the loader\""
			switch {
			case e.To >= 0:
				to = id(e.To)
			case e.Kind != callgraph.LazyBinding:
				to = node(e.Set)
				sets[e.Set] = true
			}
			lines = append(lines, fmt.Sprintf("\t%s -> %s [label=%q]\n", id(f), to, e.Kind.String()))
		})
		slices.Sort(lines)
		b.WriteString(strings.Join(slices.Compact(lines), ""))
	}
	for _, x := range slices.Sorted(maps.Keys(sets)) {
		fmt.Fprintf(b, "\t%s [shape=diamond]\n", node(x))
		taken := slices.Clone(g.Targets(x))
		slices.Sort(taken)
		for _, f := range taken {
			fmt.Fprintf(b, "\t%s -> %s [label=%q]\n", node(x), id(f), g.Evidence(f).Kind.String())
		}
	}
	fmt.Fprintln(b, "}")
	return b.Flush()
}
