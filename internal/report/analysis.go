package report

import (
	"io"
	"slices"

	"syspart/internal/pipeline"
	"syspart/internal/syscalls"
)

// Analysis prints an analysis as tables: one row a starting point, then the calls of each.
func Analysis(w io.Writer, a *pipeline.Analysis, style Style) error {
	p := newPrinter(w, style)
	p.program(a.Path, a.BuildID)
	p.printf("  %s, %s (%s address-taken), %s\n", plural(len(a.Modules), "module"), plural(a.Functions, "live function"),
		group(a.AddressTaken), plural(a.Edges, "edge"))
	p.printf("  %s with %.1f targets on average\n", plural(a.IndirectSites, "indirect site"), a.AverageTargets)

	rows := [][]cell{heading("FROM", ">FUNCTIONS", ">CALLS", "")}
	for _, s := range a.Sets {
		row := []cell{text(clean(s.From)), number(s.Functions), number(s.Calls.Len())}
		if opensAll(s.Calls) {
			row = append(row, cell{text: "ALL OPEN", dress: alarm})
		}
		rows = append(rows, row)
	}
	p.printf("\n")
	p.table(0, rows)

	danger := syscalls.Danger()
	for _, s := range a.Sets {
		p.title("%s: %s", clean(s.From), plural(s.Calls.Len(), "call"))
		if opensAll(s.Calls) {
			p.allOpen()
			continue
		}
		p.words("", 2, s.Calls.Names(), dangerDress(danger))
	}
	p.unresolved(a.Unresolved)
	p.assumptions(a.Assumptions)
	return p.err
}

// Loops prints the loops of a binary, likeliest main loop first.
func Loops(w io.Writer, loops []pipeline.Loop, style Style) error {
	p := newPrinter(w, style)
	if len(loops) == 0 {
		p.printf("no loop that waits for events was found\n")
		return p.err
	}
	loops = slices.Clone(loops)
	slices.SortStableFunc(loops, func(a, b pipeline.Loop) int { return a.Rank - b.Rank })
	rows := [][]cell{heading(">RANK", "MODULE", "FUNCTION", "HEADER", ">DEPTH", "WAITS IN")}
	for _, l := range loops {
		waits := ""
		for i, c := range l.Calls {
			if i > 0 {
				waits += " "
			}
			waits += clean(c)
		}
		if waits == "" && l.Blocking {
			waits = "yes"
		}
		rows = append(rows, []cell{number(l.Rank), text(clean(l.Module)), text(clean(demangled(l.Function))), text(clean(l.Header)), number(l.Depth), text(waits)})
	}
	p.table(0, rows)
	return p.err
}

// program prints the first line of every table.
func (p *printer) program(path, buildID string) {
	line := p.dress(head, clean(path))
	if buildID != "" {
		line += "  build-id " + clean(buildID)
	}
	p.printf("%s\n", line)
}

// allOpen says loudly that nothing is closed.
func (p *printer) allOpen() {
	p.printf("  %s\n", p.dress(alarm, "ALL calls are open: a system call's number comes from outside, so it can be any (see unresolved)"))
}

// opensAll reports whether a set holds every call that the kernel has.
func opensAll(s syscalls.Set) bool { return syscalls.All().Minus(s).Empty() }

// dangerDress marks names of dangerous calls.
func dangerDress(danger syscalls.Set) func(string) string {
	return func(name string) string {
		if nr, ok := syscalls.Number(name); ok && danger.Has(nr) {
			return alarm
		}
		return plain
	}
}
