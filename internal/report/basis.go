package report

import (
	"fmt"
	"slices"
	"strings"

	"syspart/profile"
)

// meaning says to an administrator what an unresolved place means and what can be done.
type meaning struct {
	what string // of profile.Unresolved
	text string
	gap  bool // something that the server may need can be closed because of it
}

// meanings are in the order of what they open: an unknown number opens every call, unknown code calls every function, a program that is
// executed may be any.
var meanings = []meaning{
	{"syscall number", "The number of a system call comes from outside of the program, so every call stays open. Nothing can be done about it here.", false},
	{"code", "Code that could not be followed: whatever it could call counts as called. More may be open than is needed, nothing is closed because of it.", false},
	{"foreign syscall", "Calls by the gate for 32-bit programs are always denied. If the server uses this code, it cannot run behind a filter.", true},
	{"execve", "The server executes programs whose names are known only when it runs. Programs that were seen or named are allowed for; another one may " +
		"need calls that are closed. Profile while it runs them, name them (profile --exec FILE), or have it run none (profile --exec-policy none).", true},
	{"dlopen", "The server loads libraries whose names are known only when it runs: plug-ins, modules of its configuration. Those that were seen or named " +
		"are allowed for; another one may need calls that are closed. Profile with the configuration that is served, or name them (profile --module FILE).", true},
	{"thread", "Threads that were seen in no loop, as their stacks cannot be read (code made at run time, code without call-frame information), get no " +
		"filter: what they do is not restricted.", true},
	{"dlsym", "Functions are looked up by names that are made when the server runs: every name that the module has counts. " +
		"More may be open than is needed.", false},
}

// unresolved prints every place where the analysis widened, what opens most first, with what it means.
func (p *printer) unresolved(list []profile.Unresolved) {
	if len(list) == 0 {
		return
	}
	p.title("unresolved: %s", plural(len(list), "place"))
	rest := slices.Clone(list)
	for _, m := range append(slices.Clone(meanings), meaning{text: "The analysis had to assume what is said with each:", gap: true}) {
		isIt := func(u profile.Unresolved) bool { return m.what == "" || u.What == m.what }
		if !slices.ContainsFunc(rest, isIt) {
			continue
		}
		p.sentence("  ", m.text)
		for _, u := range rest {
			if !isIt(u) {
				continue
			}
			where := clean(u.Module)
			if u.Offset != "" {
				where += " " + clean(u.Offset)
			}
			if u.Function != "" {
				where += fmt.Sprintf(" (%s)", clean(demangled(u.Function)))
			}
			what := clean(u.What)
			if m.gap || u.What == "syscall number" {
				what = p.dress(alarm, "! "+what)
			}
			p.printf("    %s\n", strings.TrimRight(what+" "+where, " "))
			p.sentence("        ", clean(inWords(u.Effect)))
			if u.Seen != "" {
				p.sentence("        ", "seen there: "+clean(firstOf(u.Seen)))
			}
		}
		rest = slices.DeleteFunc(rest, isIt)
	}
}

// ofMachine are words of assumptions about where a server runs; all others are about how its code is made.
var ofMachine = []string{"environment", "the processor", "is loaded with"}

// assumptions prints what a result rests on.
func (p *printer) assumptions(list []string) {
	if len(list) == 0 {
		return
	}
	p.title("assumptions")
	p.sentence("  ", "The result holds for these files alone (syspart check compares them). It rests on more that no analysis of files can show:")
	for _, part := range []struct {
		text    string
		machine bool
	}{
		{"The server is started as it was when it was profiled, on such a machine:", true},
		{"Its code is what compilers make, and is not changed while it runs; what is written in assembly keeps to the same rules:", false},
	} {
		said := false
		for _, a := range list {
			if slices.ContainsFunc(ofMachine, func(w string) bool { return strings.Contains(a, w) }) != part.machine {
				continue
			}
			if !said {
				p.sentence("  ", part.text)
				said = true
			}
			p.words("    -", 6, strings.Fields(clean(a)), nil)
		}
	}
}

// sentence prints text, wrapped, behind an indentation.
func (p *printer) sentence(indent, text string) {
	p.words(indent[1:], len(indent), strings.Fields(text), nil)
}

// maxSeen is how many names that a run has shown are printed for one place.
const maxSeen = 10

// firstOf shortens a list of names.
func firstOf(seen string) string {
	names := strings.Split(seen, ", ")
	if len(names) <= maxSeen {
		return seen
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxSeen], ", "), len(names)-maxSeen)
}
