package report

import (
	"io"
	"strconv"

	"syspart/internal/enforce/attach"
)

// Attached prints what became of each thread's filter, then how many serve with one.
func Attached(w io.Writer, r *attach.Result, style Style) error {
	p := newPrinter(w, style)
	rows := [][]cell{heading(">PID", ">TID", "NAME", "KIND", "FILTER")}
	for i := range r.Threads {
		t := &r.Threads[i]
		kind, what := clean(t.Kind), cell{text: t.Status.String(), dress: good}
		if kind == "" {
			kind = "-"
		}
		if t.Status == attach.Outside || t.Status == attach.Failed {
			what = cell{text: "none: " + clean(t.Why()), dress: alarm}
		}
		rows = append(rows, []cell{id(t.PID), id(t.TID), text(clean(t.Comm)), text(kind), what})
	}
	p.table(0, rows)
	p.printf("%d of %s have their filter\n", r.Count(attach.Installed)+r.Count(attach.Already), plural(len(r.Threads), "thread"))
	return p.err
}

// id is a cell with the number of a process or thread.
func id(n int) cell { return cell{text: strconv.Itoa(n), right: true} }
