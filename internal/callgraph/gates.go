package callgraph

import (
	"slices"

	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/internal/value"
)

// Some code of glibc runs only for what a program has asked for through other functions of libc's interface, and keeps in
// objects that are libc's alone. It is behind a gate: its calls and system calls are none until a function that opens the
// gate, a key, is live. Some keys open it only by what they are given: they do not count where all that call them by name give
// them numbers that do not.
//
//   - pthread_create sets processors and scheduling of the new thread if its attributes say so (nptl/pthread_create.c,
//     create_thread and collect_default_sched). Attributes say so after pthread_attr_setaffinity_np or, given
//     PTHREAD_EXPLICIT_SCHED, pthread_attr_setinheritsched; pthread_setattr_default_np sets those that threads get without.
//   - The mutex functions change the thread's priority for mutexes with the protocol PTHREAD_PRIO_PROTECT (nptl/tpp.c),
//     which pthread_mutexattr_setprotocol sets if it is given that; it refuses what is none of the three protocols.
//   - glob looks up who is logged in and users' directories if its flags have GLOB_TILDE or GLOB_TILDE_CHECK (posix/glob.c);
//     the patterns that it hands to itself have no flags that it was not given.
//   - A thread that ends unregisters the services that it has registered with svc_register, which asks the port mapper
//     (sunrpc/rpc_thread.c and svc.c): libc's own part of Sun's remote procedure calls, not libtirpc's.
//   - The loader profiles a library with setitimer if LD_PROFILE names it (elf/dl-profile.c). The environment is as given,
//     and we give it none.
//
// It rests on programs leaving pthread_attr_t, pthread_mutexattr_t and pthread_mutex_t to libc, and on mutexes that are
// shared with other processes having been made without that protocol there: GateAssumption.

// GateAssumption is what gates rest on, in words.
const GateAssumption = "objects of libc's thread library are written by its functions alone: threads get processors and priorities, and mutexes ceilings, only where the program asks for them"

// gate is shut until one of its keys is live.
type gate struct {
	keys []int32
}

// sysRef is a system-call site: number Sys of the module of function Func.
type sysRef struct {
	Func int32
	Sys  uint32
}

// gates are those of a program.
type gates struct {
	list   []gate
	funcs  bitset          // functions with something behind a gate
	keys   bitset          // functions that open one, and stubs that lead to them
	turned bitset          // keys that do, as far as is known
	tame   bitset          // keys that do not where they are called by name
	leads  map[int32]int32 // stubs to keys that are tame
	calls  map[CallRef]int // index into list
	sys    map[sysRef]int
}

// behind reports whether a call is behind a gate that is shut.
func (g *Graph) behind(c CallRef) bool {
	i, ok := g.gates.calls[c]
	return ok && g.shut(i)
}

// behindSys reports whether a system call is behind a gate that is shut.
func (g *Graph) behindSys(s sysRef) bool {
	i, ok := g.gates.sys[s]
	return ok && g.shut(i)
}

func (g *Graph) shut(i int) bool {
	return !slices.ContainsFunc(g.gates.list[i].keys, g.gates.turned.has)
}

// Gated reports whether code of the program is behind gates that are shut.
func (g *Graph) Gated() bool {
	for i := range g.gates.list {
		if g.shut(i) {
			return true
		}
	}
	return false
}

// reached notes that something of this kind leads to f, which may be a key.
func (w *solver) reached(f int32, kind EdgeKind) {
	gs := &w.g.gates
	if !gs.keys.has(f) {
		return
	}
	key := f
	if k, ok := gs.leads[f]; ok {
		key = k
	}
	if gs.tame.has(key) && (kind == DirectCall || kind == SymbolCall || kind == IFuncCall) || !gs.turned.set(key) {
		return
	}
	for c, i := range gs.calls { // what is behind the gate is looked at again
		if slices.Contains(gs.list[i].keys, key) && w.entered.has(c.Func) {
			w.entered[c.Func>>6] &^= 1 << (uint(c.Func) & 63)
			w.push(c.Func)
		}
	}
}

// disarm marks those of some functions of libc as tame that all calls by name give a harmless number as argument k. What they
// give themselves is what they were given. Those that are given to somebody else to call count all the same.
func (g *Graph) disarm(libc *link.Module, functions []int, k int, harmless func(n uint32) bool) {
	keys := globals(libc, functions)
	var names []string
	for i := range libc.Dyn.Symbols {
		if s := &libc.Dyn.Symbols[i]; !s.Undefined && slices.Contains(functions, libc.At(s.Value)) {
			names = append(names, s.Name)
		}
	}
	stubs := map[int32]int32{}
	for mi, m := range g.P.Modules {
		if m != libc && !m.Imports(names...) {
			continue
		}
		for i := range m.Funcs {
			if f := int32(m.Base) + int32(i); m.Funcs[i].Flags&summary.Stub != 0 {
				for _, t := range g.throughStub(f) {
					if slices.Contains(keys, t) {
						stubs[f] = t
					}
				}
			}
		}
		for i := range m.Funcs {
			f := int32(m.Base) + int32(i)
			for j := m.Funcs[i].Calls[0]; j < m.Funcs[i].Calls[1]; j++ {
				c, wild := &m.Calls[j], false
				if c.Kind == summary.Indirect {
					continue
				}
				m.Each(c.Args[k], func(_ int32, e value.Expr) {
					wild = wild || e.Kind != value.Const || e.Any || !harmless(uint32(e.Off))
				})
				if !wild {
					continue
				}
				g.callTargets(mi, m, c, func(t int32) {
					keys = slices.DeleteFunc(keys, func(x int32) bool { return x == t && x != f })
				})
			}
		}
	}
	for _, f := range keys {
		g.gates.tame.set(f)
	}
	for s, f := range stubs {
		if g.gates.tame.has(f) {
			g.gates.keys.set(s)
			g.gates.leads[s] = f
		}
	}
}

// findGates finds what is behind gates.
func (g *Graph) findGates() {
	n := g.P.Funcs()
	g.gates = gates{funcs: newBitset(n), keys: newBitset(n), turned: newBitset(n), tame: newBitset(n), leads: map[int32]int32{},
		calls: map[CallRef]int{}, sys: map[sysRef]int{}}
	if g.P.Musl || g.P.Interp < 0 {
		return
	}
	for mi, m := range g.P.Modules {
		switch {
		case mi == g.P.Interp:
			i := g.newGate(nil)
			for f := range m.Funcs {
				g.gateSys(m, f, i, calls("setitimer"))
			}
		case m.Dyn.Soname == "libc.so.6":
			g.gateThreads(m)
			g.gateMutexes(m)
			g.gateServices(m)
			g.gateGlob(m)
		}
	}
}

func (g *Graph) newGate(keys []int32) int {
	for _, k := range keys {
		g.gates.keys.set(k)
	}
	g.gates.list = append(g.gates.list, gate{keys})
	return len(g.gates.list) - 1
}

// gateSys puts the system calls of function f (of module m) whose numbers are all in which behind gate i.
func (g *Graph) gateSys(m *link.Module, f, i int, which syscalls.Set) {
	fn := &m.Funcs[f]
	for k := fn.Sys[0]; k < fn.Sys[1]; k++ {
		s := &m.Sys[k]
		if s.Number == 0 || s.Kind != summary.Syscall64 {
			continue
		}
		all := true
		m.Each(s.Number, func(_ int32, e value.Expr) {
			all = all && e.Kind == value.Const && !e.Any && which.Has(int(uint32(e.Off)))
		})
		if all {
			f := int32(m.Base) + int32(f)
			g.gates.sys[sysRef{f, k}] = i
			g.gates.funcs.set(f)
		}
	}
}

// gateCall puts call k of function f (of module m) behind gate i.
func (g *Graph) gateCall(m *link.Module, f int, k uint32, i int) {
	g.gates.calls[CallRef{int32(m.Base) + int32(f), k}] = i
	g.gates.funcs.set(int32(m.Base) + int32(f))
}

// exports returns the functions that a module exports by the names, in all versions; false if one of them is missing.
func exports(m *link.Module, names ...string) ([]int, bool) {
	found := make([]bool, len(names))
	var out []int
	for k := range m.Dyn.Symbols {
		s := &m.Dyn.Symbols[k]
		i := slices.Index(names, s.Name)
		if i < 0 || s.Undefined {
			continue
		}
		if f := m.At(s.Value); f >= 0 {
			found[i] = true
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out, !slices.Contains(found, false)
}

// exported says which functions a module exports: symbols of a debug file name others, too.
func exported(m *link.Module) []bool {
	out := make([]bool, len(m.Funcs))
	for k := range m.Dyn.Symbols {
		if s := &m.Dyn.Symbols[k]; !s.Undefined && !s.TLS && !s.Abs {
			if f := m.At(s.Value); f >= 0 {
				out[f] = true
			}
		}
	}
	return out
}

func globals(m *link.Module, l []int) []int32 {
	out := make([]int32, len(l))
	for i, f := range l {
		out[i] = int32(m.Base) + int32(f)
	}
	return out
}
