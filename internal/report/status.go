package report

import (
	"io"
	"strconv"
	"strings"

	"syspart/internal/enforce/attach"
	"syspart/internal/syscalls"
)

type stateJSON struct {
	PID     int      `json:"pid"`
	TID     int      `json:"tid"`
	Name    string   `json:"name"`
	Program string   `json:"program"`
	Inside  string   `json:"inside"`  // kind whose main loop the thread is blocked in, or empty
	Filters int      `json:"filters"` // how many it carries
	Kinds   []string `json:"kinds"`   // kinds of the profile that are allowed just what it is
	Open    *int     `json:"open"`    // calls open; null if its filters cannot be read
	Allowed []string `json:"allowed"` // their names; null without filter, or if they cannot be read
}

// StatusJSON writes what each thread of a server carries as one document.
func StatusJSON(w io.Writer, states []attach.State) error {
	out := make([]stateJSON, 0, len(states))
	for i := range states {
		s := &states[i]
		j := stateJSON{PID: s.PID, TID: s.TID, Name: s.Comm, Program: s.Program, Inside: s.Inside, Filters: s.Filters, Kinds: list(s.Kinds)}
		switch {
		case s.Allowed != nil:
			n := s.Allowed.Len()
			j.Open, j.Allowed = &n, s.Allowed.Names()
		case s.Filters == 0 && !s.Strict:
			n := syscalls.All().Len()
			j.Open = &n
		}
		out = append(out, j)
	}
	return writeJSON(w, struct {
		SchemaVersion int         `json:"schemaVersion"`
		Threads       []stateJSON `json:"threads"`
	}{schemaVersion, out})
}

// Status prints what each thread of a server carries.
func Status(w io.Writer, states []attach.State, style Style) error {
	p := newPrinter(w, style)
	rows := [][]cell{heading(">PID", ">TID", "NAME", "PHASE", ">FILTERS", ">OPEN", "EQUALS")}
	filtered := 0
	for i := range states {
		s := &states[i]
		phase, equals, open := "-", cell{text: "-"}, cell{text: "all", dress: alarm, right: true}
		if s.Inside != "" {
			phase = "serving: " + s.Inside
		}
		switch {
		case s.Strict:
			open = cell{text: "4", right: true}
			equals = text("seccomp strict mode")
		case s.Allowed != nil:
			open = cell{text: strconv.Itoa(s.Allowed.Len()), right: true}
			equals = cell{text: "no kind of the profile", dress: alarm}
			if len(s.Kinds) > 0 {
				equals = cell{text: clean(strings.Join(s.Kinds, ", ")), dress: good}
			}
		case s.Filters > 0:
			open, equals = cell{text: "?", right: true}, text("filters can be read by root alone")
		}
		if s.Filters > 0 {
			filtered++
		}
		rows = append(rows, []cell{id(s.PID), id(s.TID), text(clean(s.Comm)), text(clean(phase)), number(s.Filters), open, equals})
	}
	p.table(0, rows)
	p.printf("%d of %s carry a filter\n", filtered, plural(len(states), "thread"))
	return p.err
}
