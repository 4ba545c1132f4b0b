package report

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"syspart/internal/syscalls"
	"syspart/profile"
)

// view is a thread kind's lists as sets.
type view struct {
	init, own, exec, enforcer syscalls.Set
	serving                   syscalls.Set // union of own, exec and enforcer
}

// viewOf turns names into sets. A name that the table lacks cannot be in one: profiles are validated against the table
// when they are loaded.
func viewOf(t *profile.Thread) view {
	set := func(names []string) (s syscalls.Set) {
		for _, n := range names {
			if nr, ok := syscalls.Number(n); ok {
				s.Add(nr)
			}
		}
		return s
	}
	v := view{init: set(t.Init), own: set(t.Serving.Own), exec: set(t.Serving.Exec), enforcer: set(t.Serving.Enforcer)}
	v.serving = v.own.Union(v.exec).Union(v.enforcer)
	return v
}

func (v *view) dangerous() syscalls.Set { return v.serving.Intersect(syscalls.Danger()) }

func (v *view) allOpen() bool { return opensAll(v.serving) }

// ioUring reports whether the kind can have the kernel perform calls that no filter sees. An existing ring needs
// io_uring_enter only, a ring with a kernel thread not even that; setting one up needs io_uring_setup.
func (v *view) ioUring() bool {
	return v.serving.Has(mustNumber("io_uring_setup")) || v.serving.Has(mustNumber("io_uring_enter"))
}

// mustNumber is for names that are written in this package.
func mustNumber(name string) int {
	nr, ok := syscalls.Number(name)
	if !ok {
		panic("report: no system call " + name)
	}
	return nr
}

// Profile prints what a profile allows for the chosen kind ("" for all) and what that closes.
func Profile(w io.Writer, doc *profile.Profile, kind string, style Style) error {
	p := newPrinter(w, style)
	p.program(doc.Program.Path, doc.Program.BuildID)
	p.printf("  %s, %s, %s, %s\n", plural(len(doc.Modules), "module"), plural(len(doc.Threads), "thread kind"),
		plural(len(doc.Executes), "executed program"), plural(len(doc.Unresolved), "unresolved place"))
	if n := len(doc.Unresolved); n > 0 {
		p.printf("  %s\n", p.dress(alarm, "! "+plural(n, "place")+" could not be resolved: what is open because of that is listed below"))
	}

	p.summary(doc, kind)
	p.printf("\n")
	rows := [][]cell{heading("KIND", "ROLE", ">SAMPLES", ">INSTANCES", ">BEFORE", ">AFTER", ">OWN", ">DENIED", "DANGEROUS CALLS OPEN")}
	for i := range doc.Threads {
		t := &doc.Threads[i]
		if kind != "" && t.Kind != kind {
			continue
		}
		v := viewOf(t)
		danger := cell{text: strconv.Itoa(v.dangerous().Len())}
		if v.allOpen() {
			danger = cell{text: "ALL", dress: alarm}
		}
		rows = append(rows, []cell{text(clean(t.Kind)), text(t.Role), number(t.Samples), number(t.Instances), number(v.init.Len()),
			number(v.serving.Len()), number(v.own.Len()), number(syscalls.All().Minus(v.serving).Len()), danger})
	}
	p.table(0, rows)
	p.printf("before: calls that a thread can make from its start on; after: calls that its filter allows; own: those of the\n"+
		"server's own code among them; denied: of the %d calls that the table has\n", syscalls.All().Len())

	first := map[view]string{} // kinds that were printed, by what they may do
	for i := range doc.Threads {
		t := &doc.Threads[i]
		if kind != "" && t.Kind != kind {
			continue
		}
		may := viewOf(t)
		may.init = syscalls.Set{}
		p.kind(t, first[may])
		if first[may] == "" {
			first[may] = t.Kind
		}
	}
	p.executes(doc.Executes)
	p.unresolved(doc.Unresolved)
	p.assumptions(doc.Assumptions)
	return p.err
}

// summary says in a few lines what a profile comes to.
func (p *printer) summary(doc *profile.Profile, kind string) {
	v := unions(doc, kind)
	if v.allOpen() {
		return
	}
	shut := v.init.Minus(v.serving)
	a := attacksOf(v.serving)
	stopped, payloads := 0, 0
	for _, c := range a.Payloads {
		stopped, payloads = stopped+c.Stopped, payloads+c.Total
	}
	p.printf("  while it serves, %d of %d calls are open in some thread; %d that its start needed are closed in all\n", v.serving.Len(), syscalls.All().Len(), shut.Len())
	p.printf("  of published attacks that stops %d of %d on the kernel and %d of %d payloads\n", len(a.CVEs.Closed), len(a.CVEs.Closed)+len(a.CVEs.Open), stopped, payloads)
}

// kind prints one thread kind in full; of one that may do the same as another, same, only what differs.
func (p *printer) kind(t *profile.Thread, same string) {
	v := viewOf(t)
	p.title("%s (%s)", clean(t.Kind), t.Role)
	at := clean(t.Transition.Module) + " " + clean(t.Transition.Offset)
	if t.Transition.Function != "" {
		at += " (" + clean(demangled(t.Transition.Function)) + ")"
	}
	p.printf("  main loop   %s\n", at)
	if t.Transition.Static {
		p.printf("              %s\n", p.dress(alarm, "ranked statically: no run has shown that the thread enters it"))
	} else {
		p.printf("  evidence    %s of %s\n", plural(t.Samples, "sample"), plural(t.Instances, "thread"))
	}
	if v.allOpen() {
		p.allOpen()
		return
	}
	if v.ioUring() {
		p.printf("  %s\n", p.dress(alarm, "io_uring is allowed: it performs calls that no filter sees"))
	}
	if same != "" {
		p.printf("  open        the same %s as for %s\n", plural(v.serving.Len(), "call"), clean(same))
		p.shut(&v)
		return
	}
	p.calls(&v)
	p.shut(&v)
	p.danger(v)
	p.attacks(v.serving)
}

// danger prints the groups of dangerous calls: what of them stays open, what is closed.
func (p *printer) danger(v view) {
	rows := [][]cell{heading("DANGER", "OPEN", "CLOSED (* used before the transition)")}
	marked := syscalls.Danger()
	for _, g := range syscalls.Groups() {
		if g.Calls.Intersect(marked).Empty() {
			continue
		}
		open, shut := g.Calls.Intersect(v.serving), g.Calls.Minus(v.serving)
		o := cell{text: "-", dress: good}
		if !open.Empty() {
			o = cell{text: strings.Join(open.Names(), " "), dress: alarm}
		}
		rows = append(rows, []cell{text(g.Name), o, text(p.shorten(shut, v.init))})
	}
	p.table(2, rows)
}

// shorten names the closed calls of a group: those that init used, with a star, and how many others.
func (p *printer) shorten(shut, init syscalls.Set) string {
	used := shut.Intersect(init).Names()
	for i := range used {
		used[i] += "*"
	}
	rest := shut.Minus(init).Names()
	const few = 4
	if len(rest) > few {
		rest = append(slices.Clone(rest[:few-1]), "and "+strconv.Itoa(len(rest)-few+1)+" more")
	}
	if len(used)+len(rest) == 0 {
		return "-"
	}
	return strings.Join(append(used, rest...), " ")
}

// executes prints the programs that the server runs.
func (p *printer) executes(list []profile.Execute) {
	if len(list) == 0 {
		return
	}
	p.title("executes")
	rows := [][]cell{heading("PROGRAM", "FOUND", ">NEEDS")}
	for _, e := range list {
		rows = append(rows, []cell{text(clean(e.Path)), text(e.Found), number(len(e.Needs))})
	}
	p.table(2, rows)
}

// Check prints whether a profile still fits the files: mismatches is what Profile.Mismatches returned.
func Check(w io.Writer, doc *profile.Profile, mismatches []error, style Style) error {
	p := newPrinter(w, style)
	for _, err := range mismatches {
		p.printf("%s %s\n", p.dress(alarm, "changed"), clean(err.Error()))
	}
	if len(mismatches) == 0 {
		p.printf("%s %s and its %s\n", p.dress(good, "fits"), clean(doc.Program.Path), plural(len(doc.Modules), "module"))
	}
	return p.err
}
