package report

import (
	"syspart/internal/attacks"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// purposeJSON is what a thread kind can and cannot do any more of one purpose.
type purposeJSON struct {
	Purpose string   `json:"purpose"`
	Open    []string `json:"open"`   // calls that its filter allows
	Closed  []string `json:"closed"` // calls that its start needed and that are denied from the transition on
}

// purposesOf returns the purposes that a kind has, or had, any call of.
func purposesOf(v *view) []purposeJSON {
	out := []purposeJSON{}
	for _, p := range syscalls.Purposes() {
		open, shut := p.Calls.Intersect(v.serving), p.Calls.Intersect(v.init.Minus(v.serving))
		if !open.Empty() || !shut.Empty() {
			out = append(out, purposeJSON{p.Name, open.Names(), shut.Names()})
		}
	}
	known := syscalls.All()
	if open, shut := v.serving.Minus(known), v.init.Minus(v.serving).Minus(known); !open.Empty() || !shut.Empty() {
		out = append(out, purposeJSON{syscalls.PurposeOf(syscalls.Limit), open.Names(), shut.Names()})
	}
	return out
}

// attacksJSON is what a filter puts an end to.
type attacksJSON struct {
	CVEs struct {
		Closed []string `json:"closed"` // defects of the kernel none of whose calls is open
		Open   []string `json:"open"`
	} `json:"cves"`
	Payloads []payloadJSON `json:"payloads"`
}

// payloadJSON counts the payloads of a class.
type payloadJSON struct {
	Form    string `json:"form"` // "shellcode" or "return-oriented"
	Class   string `json:"class"`
	Total   int    `json:"total"`
	Stopped int    `json:"stopped"` // those that need a call that is closed with all that do the same
}

// attacksOf says which attacks a set of open calls leaves.
func attacksOf(serving syscalls.Set) *attacksJSON {
	out := &attacksJSON{Payloads: []payloadJSON{}}
	out.CVEs.Closed, out.CVEs.Open = []string{}, []string{}
	open := func(call string) bool {
		nr, ok := syscalls.Number(call)
		return ok && serving.Has(nr)
	}
	for _, c := range attacks.CVEs() {
		if c.Shut(open) {
			out.CVEs.Closed = append(out.CVEs.Closed, c.ID)
		} else {
			out.CVEs.Open = append(out.CVEs.Open, c.ID)
		}
	}
	for _, form := range []struct {
		name string
		list []attacks.Attack
	}{{"shellcode", attacks.Shellcode()}, {"return-oriented", attacks.ROP()}} {
		for _, class := range attacks.Classes() {
			n := payloadJSON{Form: form.name, Class: class}
			for _, a := range form.list {
				if a.Class() != class {
					continue
				}
				n.Total++
				if a.Stopped(open, true) {
					n.Stopped++
				}
			}
			if n.Total > 0 {
				out.Payloads = append(out.Payloads, n)
			}
		}
	}
	return out
}

// calls prints what is open and what the transition has closed, by purpose.
func (p *printer) calls(v *view) {
	dress := dangerDress(syscalls.Danger())
	// group prints those of a set that have a purpose, a line each purpose.
	group := func(set syscalls.Set, dress func(string) string) {
		for _, purpose := range append(syscalls.Purposes(), syscalls.Purpose{Name: "unknown", Calls: set.Minus(syscalls.All())}) {
			if these := purpose.Calls.Intersect(set); !these.Empty() {
				p.words("    "+purpose.Name, 16, these.Names(), dress)
			}
		}
	}
	p.printf("  open        %s of the server's own code\n", plural(v.own.Len(), "call"))
	group(v.own, dress)
	if beyond := v.exec.Minus(v.own); !beyond.Empty() {
		p.words("  + exec", 14, beyond.Names(), dress)
	}
	if beyond := v.enforcer.Minus(v.own).Minus(v.exec); !beyond.Empty() {
		p.words("  + enforcer", 14, beyond.Names(), dress)
	}
}

// shut prints what the transition has closed.
func (p *printer) shut(v *view) {
	set := v.init.Minus(v.serving)
	if set.Empty() {
		p.printf("  closed      nothing that its start needed\n")
		return
	}
	p.printf("  closed      %s that its start needed\n", plural(set.Len(), "call"))
	for _, c := range purposesOf(v) {
		if len(c.Closed) > 0 {
			p.words("    "+c.Purpose, 16, c.Closed, nil)
		}
	}
}

// attacks prints what a filter puts an end to.
func (p *printer) attacks(serving syscalls.Set) {
	a := attacksOf(serving)
	n := len(a.CVEs.Closed) + len(a.CVEs.Open)
	p.printf("  attacks     %d of %d published kernel exploits are out of reach: all calls that lead to them are closed\n", len(a.CVEs.Closed), n)
	if len(a.CVEs.Closed) > 0 {
		p.words("    closed", 16, a.CVEs.Closed, func(string) string { return good })
	}
	if len(a.CVEs.Open) > 0 {
		p.words("    open", 16, a.CVEs.Open, nil)
	}
	rows := [][]cell{heading("PAYLOAD", "THAT", ">STOPPED", ">OF")}
	for _, c := range a.Payloads {
		rows = append(rows, []cell{text(c.Form), text(c.Class), number(c.Stopped), number(c.Total)})
	}
	p.table(4, rows)
}

// unions returns what any thread of the chosen kind ("": of all) is allowed, and what any could make before.
func unions(doc *profile.Profile, kind string) (v view) {
	for i := range doc.Threads {
		if t := &doc.Threads[i]; kind == "" || t.Kind == kind {
			one := viewOf(t)
			v.init, v.serving = v.init.Union(one.init), v.serving.Union(one.serving)
		}
	}
	return v
}
