package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"syspart/internal/attacks"
	"syspart/internal/callgraph"
	"syspart/internal/pipeline"
	"syspart/profile"
)

func title(w io.Writer, text string) { fmt.Fprintf(w, "\n## %s\n\n", text) }

// row prints a row of a table.
func row(w io.Writer, cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

func head(w io.Writer, cells ...string) {
	row(w, cells...)
	fmt.Fprintln(w, "|"+strings.Repeat("---|", len(cells)))
}

// phases is tables 1 and 11: main loops per thread kind.
func phases(_ context.Context, w io.Writer, d *data, apps []app) error {
	title(w, "Serving phases (the paper's tables 1 and 11)")
	fmt.Fprint(w, "Concurrency is processes/threads, `*` for several; other loops are those of other kinds of threads, with us also of the\nmaster process.\n\n")
	head(w, "application", "concurrency: paper", "TSP's function", "SysPart's main loop", "other loops: paper", "ours", "main loop: ours")
	for _, a := range apps {
		row(w, a.name, d.loops.cell(a.name, "concurrency"), d.loops.cell(a.name, "tsp_serving_function"), d.loops.cell(a.name, "syspart_main_loop"),
			d.loops.cell(a.name, "other_loops"), fmt.Sprint(len(a.profile.Threads)-1), a.thread.Kind)
	}
	fmt.Fprint(w, "\nEach kind of threads, with the first instruction of its loop:\n\n")
	head(w, "application", "thread kind", "role", "main loop", "threads")
	for _, a := range apps {
		for i := range a.profile.Threads {
			t := &a.profile.Threads[i]
			mark, many := "", "1"
			if t == a.thread {
				mark = " (serves requests)"
			}
			if t.Instances > 1 {
				many = "*"
			}
			row(w, a.name, t.Kind+mark, t.Role, t.Transition.Function+" "+t.Transition.Offset, many)
		}
	}
	return nil
}

// allowed is table 2.
func allowed(ctx context.Context, w io.Writer, d *data, apps []app) error {
	title(w, "Allowed calls while serving (the paper's table 2)")
	fmt.Fprint(w, `Ours: entry is what the program can make from its entry point on, main from its main function, both with the modules that
were found at run time; own what the partition of the kind that serves requests needs, exec what programs that it executes
need beyond that, filter what its filter allows (with what installs later filters), union that over all kinds. The peers':
whole life for sysfilter, from main and while serving for TSP and TSPfixed; SysPart's three are from main, from the
boundary that TSP chose, and from its own main loop.

`)
	head(w, "application", "entry", "main", "own", "exec", "filter", "union", "sysfilter", "TSP main", "TSP", "TSPfixed main", "TSPfixed", "SysPart main", "SysPart at TSP's", "SysPart")
	for _, a := range apps {
		m, err := pipeline.Precision(ctx, a.profile, callgraph.Best, pipeline.Options{})
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		n := func(i int) string { return fmt.Sprint(i) }
		cells := []string{a.name, n(m.Sets[0].Calls.Len()), n(m.Sets[1].Calls.Len()), n(len(a.thread.Serving.Own)), n(len(a.thread.Serving.Exec)),
			n(len(a.thread.Serving.Union(profile.SetAll))), n(len(a.profile.Union(profile.SetAll, "")))}
		for _, c := range []string{"sysfilter_all", "tsp_main", "tsp_serving", "tspfixed_main", "tspfixed_serving", "syspart_main", "syspart_serving", "syspart_mainloop"} {
			cells = append(cells, d.counts.cell(a.name, c))
		}
		row(w, cells...)
	}
	return nil
}

// peers are the columns of the tables that are recomputed for all systems.
var peers = []struct{ name, title string }{{"sysfilter", "sysfilter"}, {"tsp", "TSP"}, {"tspfixed", "TSPfixed"}, {"SysPart", "SysPart"}, {ours, "ours"}}

// each prints one row an application, one column a system.
func each(w io.Writer, apps []app, value func(a *app, s *system) string) {
	cells := []string{"application"}
	for _, p := range peers {
		cells = append(cells, p.title)
	}
	head(w, cells...)
	for i := range apps {
		cells := []string{apps[i].name}
		for _, p := range peers {
			if s := apps[i].system(p.name); s != nil {
				cells = append(cells, value(&apps[i], s))
			} else {
				cells = append(cells, "-")
			}
		}
		row(w, cells...)
	}
}

// cves is table 3.
func cves(_ context.Context, w io.Writer, _ *data, apps []app) error {
	title(w, "Kernel CVEs closed (the paper's table 3)")
	fmt.Fprintf(w, "Of %d; one is closed if all calls that its exploit needs are.\n\n", len(attacks.CVEs()))
	each(w, apps, func(_ *app, s *system) string {
		n := 0
		for _, c := range attacks.CVEs() {
			if c.Shut(s.open) {
				n++
			}
		}
		return fmt.Sprintf("%d (%s%%)", n, percent(n, len(attacks.CVEs())))
	})
	return nil
}

// payloads is tables 4 and 5.
func payloads(_ context.Context, w io.Writer, d *data, apps []app) error {
	title(w, "Payloads stopped (the paper's tables 4 and 5)")
	other, names := 0, map[string]bool{}
	for _, p := range attacks.Shellcode() {
		count := false
		for _, u := range p.Unknown {
			if !strings.HasPrefix(u, "syscall_") { // a number that the data do not resolve
				count, names[u] = true, true
			}
		}
		if count {
			other++
		}
	}
	fmt.Fprintf(w, `A payload is stopped if a call that it needs is closed; with equivalents, if all calls of a group that do the same are. %d of
the shellcode payloads also name what is no call of x86-64 (%s):
such names, and numbers that the data do not resolve, are passed over, for all columns. In parentheses the paper's own
figure. Without equivalents it comes out to the last digit when recv is passed over, too, as the paper does; we take it for
recvfrom. lighttpd's for SysPart is that of TSP's boundary. With equivalents the paper must have used more groups than it
publishes.
`, other, strings.Join(sorted(names), ", "))
	for _, what := range []struct {
		name string
		list []attacks.Attack
		own  *[2]figures
	}{{"shellcode", attacks.Shellcode(), &d.stops}, {"return-oriented payloads", attacks.ROP(), nil}} {
		for k, with := range []string{"without", "with"} {
			fmt.Fprintf(w, "\n%s (%d), %s equivalents, in percent:\n\n", strings.ToUpper(what.name[:1])+what.name[1:], len(what.list), with)
			each(w, apps, func(a *app, s *system) string {
				n := 0
				for i := range what.list {
					if what.list[i].Stopped(s.open, k == 1) {
						n++
					}
				}
				value := percent(n, len(what.list))
				if what.own != nil && s.name != ours {
					value += " (" + what.own[k].cell(a.name, strings.ToLower(s.name)) + ")"
				}
				return value
			})
		}
	}
	return nil
}

// sensitive is table 6.
func sensitive(_ context.Context, w io.Writer, d *data, apps []app) error {
	title(w, "Sensitive calls (the paper's table 6)")
	fmt.Fprint(w, "Applications of the paper for which a call is closed.\n\n")
	cells := []string{"call"}
	for _, p := range peers {
		cells = append(cells, p.title)
	}
	head(w, cells...)
	for _, c := range d.sensitive {
		cells := []string{c}
		for _, p := range peers {
			closed, of := 0, 0
			for i := range apps {
				s := apps[i].system(p.name)
				if s == nil || len(apps[i].systems) == 1 {
					continue // none of the paper's
				}
				of++
				if !s.allow[c] {
					closed++
				}
			}
			cells = append(cells, fmt.Sprintf("%d of %d", closed, of))
		}
		row(w, cells...)
	}
	return nil
}
