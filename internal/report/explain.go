package report

import (
	"io"
	"path"
	"strconv"
	"strings"

	"syspart/internal/pipeline"
)

// Explanation prints the paths that lead to a call, a step a line, then the thread kinds for which it is closed, and the paths that
// led to it before.
func Explanation(w io.Writer, e *pipeline.Explanation, style Style) error {
	p := newPrinter(w, style)
	kinds := map[string]bool{}
	for i := range e.Open {
		kinds[e.Open[i].Kind] = true
	}
	name := p.dress(head, clean(e.Syscall))
	switch {
	case len(e.Open)+len(e.Before) == 0:
		p.printf("%s: not reachable in any phase\n", name)
	case len(e.Open) == 0:
		p.printf("%s: closed in every serving phase\n", name)
	default:
		p.printf("%s: open for %s\n", name, plural(len(kinds), "thread kind"))
	}
	p.paths(e.Open)
	if len(e.Closed) > 0 {
		p.title("closed")
		for _, c := range e.Closed {
			p.words("  -", 4, strings.Fields(clean(c)), nil)
		}
	}
	p.paths(e.Before)
	return p.err
}

// paths prints paths, those of one thread kind and phase counted.
func (p *printer) paths(list []pipeline.Path) {
	same := func(a, b *pipeline.Path) bool { return a.Kind == b.Kind && a.Phase == b.Phase }
	for i := 0; i < len(list); {
		n := 1
		for i+n < len(list) && same(&list[i], &list[i+n]) {
			n++
		}
		for k := range n {
			which := ""
			if n > 1 {
				which = ", path " + strconv.Itoa(k+1) + " of " + strconv.Itoa(n)
			}
			p.path(&list[i+k], which)
		}
		i += n
	}
}

// phases are in words.
var phases = map[string]string{"serving": "serving", "init": "before the transition"}

// path prints one path: where each step is, and in words what leads to it. Modules are named by their file names alone; the
// JSON form has their paths, and names of functions as the files have them, too.
func (p *printer) path(found *pipeline.Path, which string) {
	p.title("%s, %s%s", clean(found.Kind), phases[found.Phase], which)
	rows := [][]cell{heading("", "AT", "MODULE", "FUNCTION", "BY")}
	for i, s := range found.Steps {
		by := clean(s.Kind)
		if s.Rule != "" {
			by += ": " + clean(inWords(s.Rule))
		}
		rows = append(rows, []cell{number(i), text(clean(s.Offset)), text(clean(path.Base(s.Module))), text(clean(demangled(s.Function))), text(by)})
	}
	p.table(2, rows)
	if found.Site == "" {
		return
	}
	p.printf("  %s at %s\n", p.dress(alarm, clean(found.Syscall)), clean(found.Site))
	if n := len(found.Through); n > 0 {
		steps := "step"
		if n > 1 {
			steps = "steps"
		}
		p.words("  ", 4, strings.Fields("every way to it leads through "+steps+" "+enumerate(found.Through)), nil)
	}
}

// enumerate writes numbers out, which rise: 3, 5 and 6.
func enumerate(list []int) string {
	var s strings.Builder
	for i, n := range list {
		switch {
		case i > 0 && i == len(list)-1:
			s.WriteString(" and ")
		case i > 0:
			s.WriteString(", ")
		}
		s.WriteString(strconv.Itoa(n))
	}
	return s.String()
}
