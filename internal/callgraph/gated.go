package callgraph

import (
	"slices"
	"strings"

	"syspart/internal/link"
)

// What glibc has behind gates, found by what it exports and calls.

// schedules are the system calls for processors and scheduling.
var schedules = calls("sched_setaffinity", "sched_setscheduler", "sched_getscheduler", "sched_getparam")

// gateThreads puts what pthread_create does for attributes behind a gate: in itself, and in functions that are not exported
// and that it calls.
func (g *Graph) gateThreads(m *link.Module) {
	named := exported(m)
	creates, ok := exports(m, "pthread_create")
	keys, all := exports(m, "pthread_attr_setaffinity_np", "pthread_attr_setinheritsched", "pthread_setattr_default_np")
	if !ok || !all {
		return
	}
	inherit, _ := exports(m, "pthread_attr_setinheritsched")
	g.disarm(m, inherit, 1, func(n uint32) bool { return n == 0 }) // PTHREAD_INHERIT_SCHED
	i := g.newGate(globals(m, keys))
	for _, f := range creates {
		g.gateSys(m, f, i, schedules)
		fn := &m.Funcs[f]
		for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
			if t := m.Callee(&m.Calls[k]); t >= 0 && !named[t] {
				g.gateSys(m, t, i, schedules)
			}
		}
	}
	// A copy of attributes has processors only if they had (nptl/pthread_attr_copy.c, which is not exported).
	for f := range m.Funcs {
		for k := m.Funcs[f].Calls[0]; k < m.Funcs[f].Calls[1] && !named[f]; k++ {
			if slices.Contains(keys, m.Callee(&m.Calls[k])) {
				g.gateCall(m, f, k, i)
			}
		}
	}
}

// gateMutexes puts the functions for mutexes with a ceiling behind a gate: functions that are not exported, ask for the
// range of priorities or for both policy and priority of a thread, and are called by the mutex functions alone.
func (g *Graph) gateMutexes(m *link.Module) {
	keys, ok := exports(m, "pthread_mutexattr_setprotocol", "pthread_mutexattr_setprioceiling", "pthread_mutexattr_getprioceiling", "pthread_mutex_setprioceiling")
	ranges, all := exports(m, "sched_get_priority_max")
	policies, all2 := exports(m, "sched_getscheduler")
	params, all3 := exports(m, "sched_getparam")
	if !ok || !all || !all2 || !all3 {
		return
	}
	named := exported(m)
	candidates := map[int]bool{}
	for f := range m.Funcs {
		if l := calledBy(m, f); !named[f] && (meet(l, ranges) || meet(l, policies) && meet(l, params)) {
			candidates[f] = true
		}
	}
	for t := range m.Takes { // a function whose address is taken has callers that are not seen here
		delete(candidates, m.At(m.Takes[t].Target))
	}
	for p := range m.Ptrs {
		delete(candidates, m.At(m.Ptrs[p].Target))
	}
	// The functions for mutexes and conditions, and those not exported that they alone call.
	mutex := func(f int) bool {
		name := strings.TrimLeft(m.String(m.Funcs[f].Name), "_")
		return strings.HasPrefix(name, "pthread_mutex") || strings.HasPrefix(name, "pthread_cond_")
	}
	var inside func(f, depth int) bool
	callers := map[int][]int{}
	for f := range m.Funcs {
		for _, t := range calledBy(m, f) {
			callers[t] = append(callers[t], f)
		}
		for k := m.Funcs[f].Takes[0]; k < m.Funcs[f].Takes[1]; k++ { // handlers for a thread that is cancelled
			if t := m.At(m.Takes[k].Target); t >= 0 {
				callers[t] = append(callers[t], f)
			}
		}
	}
	inside = func(f, depth int) bool {
		if named[f] {
			return mutex(f)
		}
		return depth > 0 && len(callers[f]) > 0 && !slices.ContainsFunc(callers[f], func(c int) bool { return c != f && !inside(c, depth-1) })
	}
	i := -1
	for f := range m.Funcs {
		for k := m.Funcs[f].Calls[0]; k < m.Funcs[f].Calls[1]; k++ {
			t := m.Callee(&m.Calls[k])
			if t < 0 || !candidates[t] || !inside(t, 6) {
				continue
			}
			if i < 0 {
				protocol, _ := exports(m, "pthread_mutexattr_setprotocol")
				// PTHREAD_PRIO_NONE, PTHREAD_PRIO_INHERIT
				g.disarm(m, protocol, 1, func(n uint32) bool { return n <= 1 })
				i = g.newGate(globals(m, keys))
			}
			g.gateCall(m, f, k, i)
		}
	}
}

// gateServices puts the unregistering of services by functions that are not exported behind a gate.
func (g *Graph) gateServices(m *link.Module) {
	keys, ok := exports(m, "svc_register")
	ends, all := exports(m, "svc_unregister")
	if !ok || !all {
		return
	}
	named, i := exported(m), g.newGate(globals(m, keys))
	for f := range m.Funcs {
		for k := m.Funcs[f].Calls[0]; k < m.Funcs[f].Calls[1] && !named[f]; k++ {
			if slices.Contains(ends, m.Callee(&m.Calls[k])) {
				g.gateCall(m, f, k, i)
			}
		}
	}
}

// Flags of glob.h.
const globTilde, globTildeCheck = 1 << 12, 1 << 14

// gateGlob puts what glob does for a pattern that begins with a tilde behind a gate.
func (g *Graph) gateGlob(m *link.Module) {
	globs, ok := exports(m, "glob", "glob64")
	users, all := exports(m, "getlogin_r", "getpwnam_r")
	if !ok || !all {
		return
	}
	g.disarm(m, globs, 1, func(n uint32) bool { return n&(globTilde|globTildeCheck) == 0 })
	for _, f := range globs { // in several versions
		i := g.newGate([]int32{int32(m.Base) + int32(f)})
		for k := m.Funcs[f].Calls[0]; k < m.Funcs[f].Calls[1]; k++ {
			if slices.Contains(users, m.Callee(&m.Calls[k])) {
				g.gateCall(m, f, k, i)
			}
		}
	}
}

// calledBy returns the functions of its module that a function calls directly.
func calledBy(m *link.Module, f int) []int {
	var out []int
	for k := m.Funcs[f].Calls[0]; k < m.Funcs[f].Calls[1]; k++ {
		if t := m.Callee(&m.Calls[k]); t >= 0 {
			out = append(out, t)
		}
	}
	return out
}

// meet reports whether two lists have something in common.
func meet(a, b []int) bool {
	return slices.ContainsFunc(a, func(f int) bool { return slices.Contains(b, f) })
}
