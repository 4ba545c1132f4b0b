package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"syspart/internal/pipeline"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// differences lists what is open with us and closed with TSPfixed or SysPart, by what brings it in.
func differences(ctx context.Context, w io.Writer, _ *data, apps []app) error {
	title(w, "Open with us, closed with TSPfixed or SysPart")
	fmt.Fprint(w, `By what brings calls in: the last edge on the shortest way to each that is no call by name, where it comes from, the function
that it leads to, and why that is a target; then the function that makes the call. A shortest way is one of possibly many
(`+"`syspart explain` prints it whole"+`). A call with * is closed with TSPfixed only, with + with SysPart only. The peers' lists are
for other versions of the servers and of libc, without name-service modules, vDSO and signal handlers of libraries, and
know 347 calls.
`)
	for i := range apps {
		a := &apps[i]
		fixed, part := a.system("tspfixed"), a.system("SysPart")
		if fixed == nil || part == nil {
			continue
		}
		if err := a.differences(ctx, w, fixed, part); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return nil
}

// cause is what brings calls in.
type cause struct{ edge, from, to, why string }

func (a *app) differences(ctx context.Context, w io.Writer, fixed, part *system) error {
	all := a.thread.Serving.Union(profile.SetAll)
	var both []string // open with both
	more := map[string]string{}
	nFixed, nPart := 0, 0
	for _, n := range all {
		switch {
		case fixed.allow[n] && part.allow[n]:
			both = append(both, n)
			continue
		case part.allow[n]:
			more[n] = n + "*"
			nFixed++
		case fixed.allow[n]:
			more[n] = n + "+"
			nPart++
		default:
			more[n] = n
			nFixed++
			nPart++
		}
	}
	seen, err := syscalls.FromNames(both...)
	if err != nil {
		return err
	}
	list, err := pipeline.Surpluses(ctx, a.profile, a.thread.Kind, seen, pipeline.Options{})
	if err != nil {
		return err
	}
	groups := map[cause][]string{}
	for _, s := range list {
		if more[s.Syscall] == "" {
			continue // neither open with us: the kernel's own
		}
		c := cause{s.Edge, place(s.From), function(s.Target), s.Why}
		made := ""
		if s.Site.Function != "" && s.Site.Function != s.Syscall {
			made = " (" + function(s.Site) + ")"
		}
		groups[c] = append(groups[c], more[s.Syscall]+made)
		delete(more, s.Syscall)
	}
	for _, n := range slices.Sorted(maps.Keys(more)) {
		c := cause{edge: "exec", why: "needed by a program that the server executes"}
		if slices.Contains(a.thread.Serving.Enforcer, n) {
			c = cause{edge: "enforcer", why: "installs the filters of threads that come later"}
		}
		groups[c] = append(groups[c], more[n])
	}
	open := set(all)
	fmt.Fprintf(w, "\n### %s, %s: %d more than TSPfixed, %d more than SysPart\n\n", a.name, a.thread.Kind, nFixed, nPart)
	head(w, "calls", "last indirect edge", "from", "to", "why")
	causes := slices.SortedFunc(maps.Keys(groups), func(x, y cause) int {
		return cmp.Or(len(groups[y])-len(groups[x]), cmp.Compare(x.to, y.to), cmp.Compare(x.from, y.from), cmp.Compare(x.edge+x.why, y.edge+y.why))
	})
	for _, c := range causes {
		row(w, strings.Join(groups[c], ", "), c.edge, c.from, c.to, c.why)
	}
	for _, s := range []*system{fixed, part} {
		less := map[string]bool{}
		for n := range s.allow {
			if !open[n] {
				less[n] = true
			}
		}
		fmt.Fprintf(w, "\nClosed with us, open with %s: %d (%s).\n", strings.Replace(s.name, "tspf", "TSPf", 1), len(less), strings.Join(sorted(less), " "))
	}
	return nil
}

func sorted(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

func place(p pipeline.Place) string {
	if p.Module == "" {
		return ""
	}
	return p.Module + "+" + p.Offset
}

func function(p pipeline.Place) string {
	if p.Module == "" {
		return ""
	}
	return p.Module + ":" + p.Function
}
