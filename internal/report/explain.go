package report

import (
	"io"
	"path"

	"syspart/internal/pipeline"
)

// Explanation prints the paths that lead to a call, a step a line, then the thread kinds for which it is closed.
func Explanation(w io.Writer, e *pipeline.Explanation, style Style) error {
	p := newPrinter(w, style)
	serving := 0
	for i := range e.Open {
		if e.Open[i].Phase != "init" {
			serving++
		}
	}
	name := p.dress(head, clean(e.Syscall))
	switch {
	case serving == 0 && len(e.Open) == 0:
		p.printf("%s: not reachable in any phase\n", name)
	case serving == 0:
		p.printf("%s: closed in every serving phase\n", name)
	default:
		p.printf("%s: open for %s\n", name, plural(serving, "thread kind"))
	}
	for i := range e.Open {
		p.path(&e.Open[i])
	}
	if len(e.Closed) > 0 {
		p.title("closed")
		for _, c := range e.Closed {
			p.printf("  - %s\n", clean(c))
		}
	}
	return p.err
}

// path prints one path: where each step is, and in words what leads to it. Modules are named by their file names alone; the
// JSON form has their paths.
func (p *printer) path(found *pipeline.Path) {
	p.title("%s, %s", clean(found.Kind), clean(found.Phase))
	rows := [][]cell{heading("", "AT", "MODULE", "FUNCTION", "BY")}
	for i, s := range found.Steps {
		by := clean(s.Kind)
		if s.Rule != "" {
			by += ": " + clean(s.Rule)
		}
		rows = append(rows, []cell{number(i), text(clean(s.Offset)), text(clean(path.Base(s.Module))), text(clean(s.Function)), text(by)})
	}
	p.table(2, rows)
	p.printf("  %s at %s\n", p.dress(alarm, clean(found.Syscall)), clean(found.Site))
}
