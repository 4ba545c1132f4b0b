package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/link"
	"syspart/internal/observe"
	"syspart/internal/summary"
	"syspart/profile"
)

// widened collects the places where walks had to widen, each once.
type widened struct {
	l *loader
	g *callgraph.Graph
	*places
}

// places are those of several programs.
type places struct {
	seen map[profile.Unresolved]bool
	list []profile.Unresolved
}

func newWidened(l *loader, g *callgraph.Graph) *widened {
	return &widened{l: l, g: g, places: &places{seen: map[profile.Unresolved]bool{}, list: []profile.Unresolved{}}}
}

// of collects in the same list for another program.
func (w *widened) of(g *callgraph.Graph) *widened { return &widened{l: w.l, g: g, places: w.places} }

func (w *places) put(u profile.Unresolved) {
	if !w.seen[u] {
		w.seen[u] = true
		w.list = append(w.list, u)
	}
}

// sorted returns all of them in order.
func (w *places) sorted() []profile.Unresolved {
	slices.SortStableFunc(w.list, func(a, b profile.Unresolved) int {
		return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Module, b.Module), strings.Compare(a.Offset, b.Offset), strings.Compare(a.Effect, b.Effect))
	})
	return w.list
}

func (w *widened) add(r *callgraph.Reach) {
	for _, u := range r.Unknown {
		m, _ := w.g.Func(u.Func)
		why := u.Why
		if len(u.Via) > 0 {
			c := u.Via[len(u.Via)-1]
			cm, _ := w.g.Func(c.Func)
			why += fmt.Sprintf(" (passed on by %s at %s+%#x)", w.g.Name(c.Func), modulePath(cm), cm.Calls[c.Call].Site)
		}
		w.put(profile.Unresolved{What: "syscall number", Module: modulePath(m), Offset: hexa(u.Site), Function: w.g.Name(u.Func),
			Effect: "every call is open: the number is " + why})
	}
	for _, f := range r.IncompleteFuncs() {
		m, fn := w.g.Func(f)
		w.put(profile.Unresolved{What: "code", Module: modulePath(m), Offset: hexa(fn.Entry), Function: w.g.Name(f),
			Effect: "calls every address-taken function: " + m.String(fn.Incomplete)})
	}
	for _, s := range r.Foreign() {
		m, _ := w.g.Func(s.Func)
		w.put(profile.Unresolved{What: "foreign syscall", Module: modulePath(m), Offset: hexa(s.Site), Function: w.g.Name(s.Func),
			Effect: "a call through " + s.Why + " is denied: it uses another table of numbers"})
	}
	for _, s := range r.Given() {
		if isOpen(&s) && s.Unknown != "" {
			effect := fmt.Sprintf("which library is loaded is not known (%s): those that are needed, named by the system's configuration, observed or given are allowed for", s.Unknown)
			m, _ := w.g.Func(s.Func)
			if dirs := w.l.leftOut(w.g.P, m); len(dirs) > 0 {
				effect += "; not counted are others in " + strings.Join(dirs, ", ") + ", which the module has compiled in (--plugins counts them)"
			}
			w.place(&s, effect)
		}
	}
	for _, s := range r.Lookups() {
		if s.Unknown == "" {
			continue
		}
		m, _ := w.g.Func(s.Func)
		w.put(profile.Unresolved{What: "dlsym", Module: modulePath(m), Offset: hexa(s.Site), Function: w.g.Name(s.Func),
			Effect: fmt.Sprintf("which name is looked up is not known (%s): those that are strings of the module count, in what it opens", s.Unknown)})
	}
}

// lost notes frames below a main loop whose code is not known.
func (w *widened) lost(frames []observe.Frame) {
	for _, fr := range frames {
		w.put(profile.Unresolved{What: "code", Module: fr.Module, Offset: hexa(fr.PC),
			Effect: "every call is open: what runs when the main loop's callers go on here is not known"})
	}
}

// place notes a place that brings code in or executes a program.
func (w *widened) place(s *callgraph.Given, effect string) {
	m, _ := w.g.Func(s.Func)
	what := "execve"
	if isOpen(s) {
		what = "dlopen"
	}
	w.put(profile.Unresolved{What: what, Module: modulePath(m), Offset: hexa(s.Site), Function: w.g.Name(s.Func), Effect: s.Callee + ": " + effect})
}

func isOpen(s *callgraph.Given) bool { return s.Callee == "dlopen" || s.Callee == "dlmopen" }

// programs notes the places where reached code executes programs that are not known.
func (w *widened) programs(l *loader, r *callgraph.Reach) {
	for _, s := range r.Given() {
		if _, unknown := l.executables(&s); unknown != "" {
			w.program(&s, unknown)
		}
	}
}

func (w *widened) program(s *callgraph.Given, unknown string) {
	w.place(s, fmt.Sprintf("which program is executed is not known (%s): those that are proven, observed or given are allowed for", unknown))
}

func hexa(v uint64) string { return fmt.Sprintf("%#x", v) }

// assumptions lists what the result rests on.
func assumptions(g *callgraph.Graph) []string {
	a := []string{
		"code follows the System V psABI: callees keep rbx, rbp, r12-r15 and the stack pointer, and do not write their callers' frames except through addresses passed to them; a call to another module hands on nothing in rax or r10",
		"the entries of the program and of its loader are entered by the kernel and by the loader alone, main by libc's start function alone or by pointers that it did not get",
		"code is not changed at run time; code made at run time (just-in-time compilers) makes no system calls of its own and calls only address-taken functions",
		"pointers to code are not computed otherwise than by relocations, address-making instructions, tables of the compiler and names looked up",
		"data objects end where their symbols or sections say; a pointer is moved at most 128 bytes outside of its object",
		"below a function that never returns, a thread has no frame that longjmp or an exception returns to, but for those seen and libc's own",
		"numbers of system calls that pass through a variable are those that code is seen to store in it",
		"a call by name prepares as many arguments as the function has that it goes to, and no function needs an argument that a call through a pointer to it has not prepared",
		"a copy of a parameter that lies in the frame below all that is passed on by address is the compiler's own; a place of the frame that its function reads is no argument on the stack",
		"in constant data without symbols, an object that is reached by an exact pointer ends where another address that code or data have begins, an indexed one where one begins that is aligned to 32 bytes",
		"functions of the name service are called by libc's look-ups in it, by their names; what a name-service module alone has of its functions it calls itself",
		"a library does not look its own functions up by a name put together at run time, and nobody looks up functions of libc or the loader so",
		"where a module lets sigaction save handlers outside of frames and variables, those that it installs from there are saved ones; libc's own system calls for handlers install its own",
		"system calls that take structures of plain data (names, socket addresses, times, sets) hand no pointers in them on",
		"the kernel calls functions whose addresses it finds in memory, none that a system call has in a register",
	}
	if slices.ContainsFunc(g.P.Modules, isGo) {
		a = append(a, "Go's compiler makes pointers to functions by relocations, address-making instructions and the tables of its run time alone, and Go's code keeps to Go's calling convention")
	}
	if g.Gated() {
		a = append(a, callgraph.GateAssumption)
	}
	a = append(a, g.P.Assumptions()...)
	slices.Sort(a)
	return a
}

// moduleOf finds a module by the path that profiles use.
func moduleOf(p *link.Program, path string) int {
	for i, m := range p.Modules {
		if modulePath(m) == path || m.Path == path {
			return i
		}
	}
	return -1
}

// isGo reports whether a module has code that Go's compiler made, whose methods are found by number.
func isGo(m *link.Module) bool {
	return slices.ContainsFunc(m.Always, func(p summary.Ptr) bool { return p.Role == summary.RoleMethod })
}
