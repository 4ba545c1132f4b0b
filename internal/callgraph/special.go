package callgraph

import (
	"slices"

	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/internal/value"
)

// What libc's interfaces say beyond the code, where a pointer passes through memory that is not followed: who calls main,
// what a new thread begins with, and which start routine it then calls.

// findSpecial finds these functions.
func (w *solver) findSpecial() {
	g := w.g
	for mi, m := range g.P.Modules {
		threads := m.Dyn.Soname == "libpthread.so.0"
		if !g.mods[mi].libc && !threads {
			continue
		}
		for i := range m.Funcs {
			fn := &m.Funcs[i]
			f := int32(m.Base) + int32(i)
			if fn.Name.Len > 0 && g.mods[mi].libc {
				if a := comparedArg(m.String(fn.Name)); a >= 0 {
					w.compared[f] |= 1 << a
				}
			}
			sp := specialFunc{clones: clones(m, fn, f), sigaction: m.SignalOf(i) == value.SigAction}
			if fn.Name.Len > 0 && fn.Flags&summary.Stub == 0 {
				switch m.String(fn.Name) {
				case "__libc_start_main":
					sp.main = w.callsMain(f, false)
				case "pthread_create":
					sp.create = true
				}
			}
			if sp.main != nil || sp.clones != nil || sp.create || sp.sigaction {
				w.special[f] = &sp
				w.isSpecial.set(f)
			}
		}
	}
}

// clones returns the indirect calls of a function that makes a new thread or child on a stack of its own (clone, clone3):
// it keeps the function for the child on that stack, where we would lose sight of it, and nothing else calls it
// (sysdeps/unix/sysv/linux/x86_64/clone.S and clone3.S of glibc).
func clones(m *link.Module, fn *summary.Func, f int32) []CallRef {
	found := false
	for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
		m.Each(m.Sys[k].Number, func(_ int32, e value.Expr) {
			found = found || e.Kind == value.Const && (e.Off == 56 || e.Off == 435)
		})
	}
	if !found {
		return nil
	}
	var out []CallRef
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		if m.Calls[k].Kind == summary.Indirect {
			out = append(out, CallRef{f, k})
		}
	}
	return out
}

// plainCalls are system calls that keep no address they are given, and read and write nothing at it but the structures of
// their interface: names of files, addresses of sockets, times, sets of signals or descriptors, numbers of descriptors.
var plainCalls = calls("access", "accept", "accept4", "bind", "chdir", "chmod", "chown", "clock_getres", "clock_gettime",
	"clock_nanosleep", "connect", "faccessat", "faccessat2", "fchmodat", "fchownat", "fstat", "fstatfs", "futex", "getcwd", "getgroups",
	"getpeername", "getrandom", "getrlimit", "getrusage", "getsockname", "getsockopt", "gettimeofday", "ioctl", "link", "linkat", "lstat",
	"mkdir", "mkdirat", "mknod", "mknodat", "munmap", "mprotect", "madvise", "nanosleep", "newfstatat", "open", "openat", "pipe", "pipe2", "poll",
	"ppoll", "prlimit64", "pselect6", "readlink", "readlinkat", "rename", "renameat", "renameat2", "rmdir", "rt_sigpending", "rt_sigprocmask",
	"rt_sigsuspend", "rt_sigtimedwait", "sched_getaffinity", "sched_setaffinity", "select", "setgroups", "setrlimit", "setsockopt",
	"socketpair", "stat", "statfs", "statx", "symlink", "sysinfo", "time", "times", "truncate", "uname", "unlink", "unlinkat", "utimensat",
	"wait4", "waitid")

func calls(names ...string) syscalls.Set {
	s, err := syscalls.FromNames(names...)
	if err != nil {
		panic("names in the source: " + err.Error())
	}
	return s
}

// plainData reports whether a system call is certainly one of plainCalls.
func plainData(m *link.Module, s *summary.SysSite) bool {
	if s.Kind != summary.Syscall64 || s.Number == 0 {
		return false
	}
	ok := true
	m.Each(s.Number, func(_ int32, e value.Expr) {
		ok = ok && e.Kind == value.Const && plainCalls.Has(int(uint32(e.Off)))
	})
	return ok
}

// sysSigaction is the number of rt_sigaction.
const sysSigaction = 13

// action notes the handler that call k, of sigaction, installs.
func (w *solver) action(f int32, m *link.Module, fn *summary.Func, k uint32, eval func(value.Val) *pointers) {
	if sp := w.special[f]; sp != nil && sp.sigaction {
		return // its callers are looked at
	}
	c := &m.Calls[k]
	if returns(m, fn) {
		return // behind rt_sigreturn
	}
	if c.Args[1] == 0 {
		w.anyHandler = true
		return
	}
	unknown := false
	note := func(p *pointers) {
		unknown = unknown || p.any
		for _, t := range slices.Clone(p.list) {
			w.functions(t, func(h int32) { w.handler(f, c.Site, h) })
		}
	}
	m.Each(c.Args[1], func(x int32, e value.Expr) {
		switch e.Kind {
		case value.Const: // null, or an address of a fixed file
			unknown = unknown || e.Off != 0
		case value.Stack:
			found := e.Any
			for i := fn.Frame[0]; i < fn.Frame[1]; i++ {
				if fv := &m.Frame[i]; fv.Call == k && int64(fv.Off) == e.Off && fv.Size == 8 {
					found = true
					note(eval(fv.Value))
				}
			}
			unknown = unknown || e.Any || !found && !saved(m, fn, e)
		default:
			if saved(m, fn, e) || e.Kind == value.Load && savesFar(m) {
				return
			}
			var p pointers
			for _, t := range w.held[uint32(x)-fn.Exprs[0]] {
				w.load(f, t, &p, func(token) { p.any = true })
			}
			p.any = p.any || w.anyHeld[uint32(x)-fn.Exprs[0]]
			note(&p)
		}
	})
	w.anyHandler = w.anyHandler || unknown
}

// returns reports whether a function makes rt_sigreturn, behind which nothing runs.
func returns(m *link.Module, fn *summary.Func) bool {
	for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
		if v := m.Sys[k].Number; v > 0 && m.Exprs[v].Kind == value.Const && m.Exprs[v].Off == 15 {
			return true
		}
	}
	return false
}

// savesFar reports whether a module lets sigaction save what was installed before outside frames and variables: then what
// it installs from there is what it saved.
func savesFar(m *link.Module) bool {
	for k := range m.Calls {
		c := &m.Calls[k]
		if c.Args[2] <= 0 || m.SymbolOf(c) != "sigaction" {
			continue
		}
		switch m.Exprs[c.Args[2]].Kind {
		case value.Load, value.Result, value.Param:
			return true
		}
	}
	return false
}

// saved reports whether a structure of the function's is one that sigaction has filled with what was installed before:
// another call has it as its third argument.
func saved(m *link.Module, fn *summary.Func, at value.Expr) bool {
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		found := false
		m.Each(m.Calls[k].Args[2], func(_ int32, e value.Expr) {
			found = found || e == at || e.Kind == value.Addr && at.Kind == value.Addr && (e.Any || at.Any) && e.Off-at.Off < 4096 && at.Off-e.Off < 4096
		})
		if found {
			return true
		}
	}
	return false
}

// handler notes that the kernel may call h.
func (w *solver) handler(by int32, site uint64, h int32) {
	if slices.Contains(w.handlers, h) {
		return
	}
	w.handlers = append(w.handlers, h)
	w.anyParam[h] = 0xff
	w.g.enliven(Edge{Site: site, From: by, To: h, Kind: Signal})
	w.push(h)
}

// caller reports whether the third argument of a call is the address of who wants a module loaded, which the loader compares with
// the bounds of modules: that of _dl_open, whose second one has the bit __RTLD_DLOPEN (elf/rtld.c and
// include/dlfcn.h of glibc).
func (w *solver) caller(c CallRef) bool {
	m, _ := w.g.fn(c.Func)
	if !w.g.mods[m.Index].libc {
		return false
	}
	v := m.Calls[c.Call].Args[1]
	return v > 0 && m.Exprs[v].Kind == value.Const && m.Exprs[v].Off&0x80000000 != 0
}

// starter notes that new threads or children begin with f. If pthread_create hands it over, it calls the start routine
// (nptl/pthread_create.c of glibc: start_thread).
func (w *solver) starter(f int32) {
	if slices.Contains(w.starters, f) {
		return
	}
	mi, _ := w.g.P.Where(int(f))
	m := w.g.P.Modules[mi]
	takes := func(fn *summary.Func) bool {
		return slices.ContainsFunc(m.Takes[fn.Takes[0]:fn.Takes[1]], func(t summary.Take) bool { return w.g.P.Func(mi, t.Target) == int(f) })
	}
	for c, sp := range w.special {
		if _, fn := w.g.fn(c); sp.create && m.Base <= uint32(c) && int(c) < int(m.Base)+len(m.Funcs) {
			ok := takes(fn)
			for k := fn.Calls[0]; k < fn.Calls[1] && !ok; k++ {
				if j := m.Callee(&m.Calls[k]); j >= 0 {
					ok = takes(&m.Funcs[j])
				}
			}
			if ok {
				w.starters = append(w.starters, f)
				w.push(f)
				return
			}
		}
	}
}

// spawn notes that the call c of pthread_create starts threads with t.
func (w *solver) spawn(c CallRef, t token) {
	g := w.g
	if !slices.Contains(g.spawned[c], t.fn) {
		g.spawned[c] = append(g.spawned[c], t.fn)
		m, _ := g.fn(c.Func)
		g.enliven(Edge{Site: m.Calls[c.Call].Site, From: c.Func, To: t.fn, Kind: SpawnCall})
		w.anyArgument(t.fn, 0)
	}
	if !slices.Contains(w.starts, t) {
		w.starts = append(w.starts, t)
		for _, s := range w.starters {
			w.push(s)
		}
	}
}

// attachStarts lets a call of a function that threads begin with go to all start routines.
func (w *solver) attachStarts(c CallRef) {
	for _, t := range w.starts {
		w.attach(c, t.fn)
	}
}

// callsMain returns the sites at which main is called if h is libc's __libc_start_main, which keeps the pointer in a frame
// whose address it passes on, to setjmp alone, where we would lose sight of it. It calls main itself or through a function
// that it hands main to, and nowhere else (csu/libc-start.c and sysdeps/nptl/libc_start_call_main.h of glibc).
//
// In a static program, where functions may have lost their names, it is the function that the entry calls (entered).
func (w *solver) callsMain(h int32, entered bool) []CallRef {
	m, fn := w.g.fn(h)
	if !entered && (fn.Name.Len == 0 || !w.g.mods[m.Index].libc || m.String(fn.Name) != "__libc_start_main") {
		return nil
	}
	var out []CallRef
	unknown := func(f int32) {
		_, x := w.g.fn(f)
		for k := x.Calls[0]; k < x.Calls[1]; k++ {
			if c := &m.Calls[k]; c.Kind == summary.Indirect && c.Value == 0 {
				out = append(out, CallRef{f, k})
			}
		}
	}
	handed := []int32{}
	certain := false // main is seen to be handed on
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		c := &m.Calls[k]
		t := int32(w.g.P.Func(m.Index, c.Target))
		if c.Kind != summary.Direct || t < 0 || c.Args[0] < 0 {
			continue
		}
		x := m.Exprs[c.Args[0]]
		switch is := c.Args[0] > 0 && x.Kind == value.Param && x.A == 0 && !x.Any; {
		case is && !certain:
			handed, certain = []int32{t}, true
		case is || c.Args[0] == 0 && !certain:
			handed = append(handed, t)
		}
	}
	if !certain {
		handed = append(handed, h)
	}
	slices.Sort(handed)
	for _, f := range slices.Compact(handed) {
		unknown(f)
	}
	if certain && len(out) == 0 {
		unknown(h)
	}
	return out
}

// startsMain returns the main function if f is the entry of a fixed-address program, whose only call hands main to
// __libc_start_main (sysdeps/x86_64/start.S of glibc), and notes where it is called; else -1.
func (w *solver) startsMain(mi int, fn *summary.Func, f int32) int32 {
	m := w.g.P.Modules[mi]
	if mi != 0 || fn.Entry != m.Entry || fn.Flags&summary.Incomplete != 0 || fn.Calls[1]-fn.Calls[0] != 1 || m.Calls[fn.Calls[0]].Args[0] <= 0 {
		return -1
	}
	c := &m.Calls[fn.Calls[0]]
	x := m.Exprs[c.Args[0]]
	if x.Kind != value.Addr && x.Kind != value.Const || x.Any {
		return -1
	}
	main := int32(w.g.P.Func(mi, uint64(x.Off)))
	known := w.callees(mi, m, c, f, fn.Calls[0])
	if main < 0 || !known.ok {
		return -1
	}
	for _, h := range known.list {
		sites := w.callsMain(h, w.g.P.Interp < 0 && c.Kind == summary.Direct)
		if len(sites) == 0 {
			return -1
		}
		for _, c := range sites {
			w.attach(c, main)
		}
	}
	return main
}

// comparedArg says which argument of a function of libc's is only compared, by the function's name: the handle of the module
// that registers a handler. -1 if none is.
func comparedArg(name string) int {
	switch name {
	case "__cxa_finalize":
		return 0
	case "__cxa_atexit", "__cxa_thread_atexit_impl":
		return 2
	case "__register_atfork":
		return 3
	}
	return -1
}
