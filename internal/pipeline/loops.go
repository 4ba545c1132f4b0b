package pipeline

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/phase"
	"syspart/internal/summary"
)

// Loop is a loop that may be a thread's main loop.
type Loop struct {
	Module, Function, Entry, Header string
	Depth                           int      // 1 is outermost in its function
	Blocking                        bool     // contains a blocking event call
	Calls                           []string // the event calls
	Rank                            int      // 1 is the likeliest main loop
}

// eventCalls are the calls in which servers wait for work, with a weight: what only servers use counts most.
var eventCalls = map[string]int{
	"epoll_wait": 8, "epoll_pwait": 8, "epoll_pwait2": 8, "sigsuspend": 7, "accept": 6, "accept4": 6, "poll": 5, "ppoll": 5, "select": 5, "pselect": 5,
	"sigwait": 5, "sigwaitinfo": 5, "sigtimedwait": 5, "pthread_cond_wait": 4, "pthread_cond_timedwait": 4, "io_uring_enter": 6, "event_base_loop": 8,
	"recvfrom": 3, "recvmsg": 3, "mq_receive": 3, "msgrcv": 3, "sem_wait": 2, "pause": 4, "uv_run": 8, "ev_run": 8, "apr_pollset_poll": 7, "apr_proc_wait_all_procs": 5,
}

// maxEventDepth bounds how many direct calls away from a loop an event call is looked for.
const maxEventDepth = 5

// Loops ranks the loops of a binary and of its libraries other than libc that contain blocking event calls, and so can be
// main loops. It is the fallback where no run is possible: calls through pointers, such as an event module's, are not
// followed, so the rank is a guess.
func Loops(ctx context.Context, binary string, opt Options) ([]Loop, error) {
	l := newLoader(&opt)
	defer l.close()
	g, err := l.graph(ctx, binary, nil)
	if err != nil {
		return nil, err
	}
	f := phase.NewFinder(g)
	e := events{g: g, f: f, memo: map[int32]map[string]int{}}
	type ranked struct {
		Loop
		score int
		entry uint64
		head  uint64
		mod   int
	}
	var all []ranked
	for mi, m := range g.P.Modules {
		if g.System(mi) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i := range m.Funcs {
			fn := &m.Funcs[i]
			gf := int32(m.Base) + int32(i)
			if fn.Blocks[1]-fn.Blocks[0] < 2 && fn.Calls[0] == fn.Calls[1] || !g.Live(gf) {
				continue
			}
			loops := f.Loops(gf)
			for li := range loops {
				lp := &loops[li]
				found := map[string]int{}
				for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
					c := &m.Calls[k]
					if _, in := slices.BinarySearch(lp.Blocks, int32(c.Block-fn.Blocks[0])); in {
						e.call(mi, c, 0, found)
					}
				}
				if len(found) == 0 {
					continue
				}
				r := ranked{mod: mi, entry: fn.Entry, head: m.Blocks[fn.Blocks[0]+uint32(lp.Header)].Start}
				r.Module, r.Function, r.Entry, r.Header, r.Depth, r.Blocking = modulePath(m), g.Name(gf), hexa(r.entry), hexa(r.head), 1, true
				for p := lp.Parent; p >= 0; p = loops[p].Parent {
					r.Depth++
				}
				for name, depth := range found {
					r.Calls = append(r.Calls, name)
					r.score = max(r.score, eventCalls[name]*16-depth*4)
				}
				slices.Sort(r.Calls)
				r.score -= (r.Depth - 1) * 8
				if mi == 0 {
					r.score += 24
				}
				if len(lp.Exits) == 0 {
					r.score += 24
				}
				all = append(all, r)
			}
		}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.mod, b.mod), cmp.Compare(a.entry, b.entry), cmp.Compare(a.head, b.head))
	})
	out := make([]Loop, len(all))
	for i := range all {
		all[i].Rank = i + 1
		out[i] = all[i].Loop
	}
	return out, nil
}

// events finds the event calls that functions make, themselves or through direct calls.
type events struct {
	g    *callgraph.Graph
	f    *phase.Finder
	memo map[int32]map[string]int
}

// call adds what one call leads to: names of event calls and how many calls away they are.
func (e *events) call(mi int, c *summary.Call, depth int, found map[string]int) {
	name := e.f.Symbol(mi, c)
	if i := strings.IndexByte(name, '@'); i >= 0 {
		name = name[:i]
	}
	if _, ok := eventCalls[name]; ok {
		if d, ok := found[name]; !ok || depth < d {
			found[name] = depth
		}
		return
	}
	if depth >= maxEventDepth {
		return
	}
	e.g.Callees(mi, c, func(t int32) {
		if tm, _ := e.g.P.Where(int(t)); e.g.System(tm) {
			return
		}
		for n, d := range e.function(t, depth+1) {
			if old, ok := found[n]; !ok || depth+1+d < old {
				found[n] = depth + 1 + d
			}
		}
	})
}

func (e *events) function(f int32, depth int) map[string]int {
	if r, ok := e.memo[f]; ok {
		return r
	}
	r := map[string]int{}
	e.memo[f] = r // cuts recursion
	mi, i := e.g.P.Where(int(f))
	m := e.g.P.Modules[mi]
	for k := m.Funcs[i].Calls[0]; k < m.Funcs[i].Calls[1]; k++ {
		sub := map[string]int{}
		e.call(mi, &m.Calls[k], depth, sub)
		for n, d := range sub {
			if old, ok := r[n]; !ok || d-depth < old {
				r[n] = d - depth
			}
		}
	}
	return r
}
