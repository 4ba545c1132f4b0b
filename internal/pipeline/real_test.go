package pipeline

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"syspart/internal/callgraph"
	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/observe"
	"syspart/internal/phase"
	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
	"syspart/profile"
)

func nginx(t *testing.T) (argv []string, ask func() bool) {
	argv, url := testbin.Nginx(t, t.TempDir())
	return argv, func() bool { s, err := testbin.Get(url); return err == nil && s == "hello\n" }
}

func redis(t *testing.T) (argv []string, addr string, ask func() bool) {
	argv, addr = testbin.Redis(t, t.TempDir())
	return argv, addr, func() bool { s, err := testbin.Ask(addr, "PING\r\n"); return err == nil && s == "+PONG" }
}

// idle observes a server that serves and gets no work.
func idle(t *testing.T, argv []string, ask func() bool) *observe.Observation {
	return observed(t, argv, 150, func(string) bool { return ask() }, nil)
}

// names are those of the functions that a function calls without a pointer, imported ones included.
func names(g *callgraph.Graph, f *phase.Finder, fn int32) []string {
	mi, i := g.P.Where(int(fn))
	m := g.P.Modules[mi]
	var out []string
	for k := m.Funcs[i].Calls[0]; k < m.Funcs[i].Calls[1]; k++ {
		if c := &m.Calls[k]; c.Kind != summary.Indirect {
			out = append(out, f.Symbol(mi, c))
		}
	}
	return out
}

// found returns the kinds of an observation with the graph that they were found by.
func found(t *testing.T, argv []string, obs *observe.Observation) (*callgraph.Graph, *phase.Finder, []phase.Kind) {
	t.Helper()
	l := newLoader(&opt)
	defer l.close()
	g, err := l.observed(context.Background(), argv[0], obs)
	if err != nil {
		t.Fatal(err)
	}
	f := phase.NewFinder(g)
	kinds, err := f.Kinds(obs)
	if err != nil {
		t.Fatal(err)
	}
	return g, f, kinds
}

func TestNginx(t *testing.T) {
	argv, ask := nginx(t)
	first := idle(t, argv, ask)
	g, f, kinds := found(t, argv, first)
	if len(kinds) != 2 || kinds[0].Role != profile.RoleMain || kinds[1].Role != profile.RoleChild {
		t.Fatalf("kinds %+v", kinds)
	}
	// The master waits for signals; the worker's loop handles events, and it is not the master's on the stack below.
	master, worker := names(g, f, kinds[0].Func), names(g, f, kinds[1].Func)
	if !slices.Contains(master, "sigsuspend") || slices.Contains(master, "ngx_process_events_and_timers") {
		t.Errorf("the master's loop is in %s, which calls %v", kinds[0].Name, master)
	}
	if !slices.Contains(worker, "ngx_process_events_and_timers") || slices.Contains(worker, "sigsuspend") {
		t.Errorf("the worker's loop is in %s, which calls %v", kinds[1].Name, worker)
	}
	for _, k := range kinds {
		if k.Samples < 10 || k.Instances != 1 {
			t.Errorf("%s: %d samples, %d instances", k.Name, k.Samples, k.Instances)
		}
	}
	p := profiled(t, argv[0], first, opt)
	open := p.Threads[1].Serving.Union(profile.SetAll)
	for _, call := range []string{"epoll_wait", "accept4", "recvfrom", "writev", "sendfile", "close", "exit_group", "rt_sigreturn"} {
		if !slices.Contains(open, call) {
			t.Errorf("the worker cannot call %s", call)
		}
	}
	if open := p.Threads[0].Serving.Union(profile.SetAll); !slices.Contains(open, "rt_sigsuspend") || !slices.Contains(open, "clone") {
		t.Errorf("the master can only call %v", open)
	}

	argv, ask = nginx(t)
	second := observed(t, argv, 150, func(string) bool { return ask() }, func() {
		for range 100 {
			if !ask() {
				t.Error("no answer")
			}
		}
	})
	equalLoad(t, p, profiled(t, argv[0], second, opt))
	checkPlan(t, p, first)
	checkExplain(t, p)
}

func TestRedis(t *testing.T) {
	argv, _, ask := redis(t)
	first := idle(t, argv, ask)
	g, f, kinds := found(t, argv, first)
	var got []string
	for i := range kinds {
		k := &kinds[i]
		mi, _ := g.P.Where(int(k.Func))
		calls := names(g, f, k.Func)
		what := "?"
		switch {
		case strings.Contains(g.P.Modules[mi].Path, "jemalloc"):
			what = "allocator"
		case slices.Contains(calls, "aeProcessEvents") || g.Name(k.Func) == "aeMain":
			what = "events"
		case slices.Contains(calls, "pthread_cond_wait"):
			what = "background"
		}
		got = append(got, fmt.Sprint(k.Role, " ", what, " ", k.Instances))
	}
	slices.Sort(got)
	if want := []string{"main events 1", "thread allocator 1", "thread background 3"}; !slices.Equal(got, want) {
		t.Errorf("kinds %q, want %q", got, want)
	}
	p := profiled(t, argv[0], first, opt)
	for _, call := range []string{"epoll_wait", "accept4", "read", "write", "close", "exit_group"} {
		if !slices.Contains(p.Union(profile.SetAll, p.Threads[0].Kind), call) {
			t.Errorf("the main thread cannot call %s", call)
		}
	}

	argv, addr, ask := redis(t)
	second := observed(t, argv, 150, func(string) bool { return ask() }, func() {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() {
			for i := range 2000 {
				fmt.Fprintf(conn, "SET key%d %d\r\nINCR n\r\nLPUSH l %d\r\n", i%100, i, i)
			}
			fmt.Fprint(conn, "QUIT\r\n")
		}()
		if reply, err := io.ReadAll(conn); err != nil || strings.Contains(string(reply), "-ERR") {
			t.Errorf("%d bytes of replies, %v", len(reply), err)
		}
	})
	equalLoad(t, p, profiled(t, argv[0], second, opt))
	checkPlan(t, p, first)
}

// equalLoad: observation decides where a phase begins, never what is allowed in it. If loops, modules and executed
// programs are equal, so are the sets.
func equalLoad(t *testing.T, idle, loaded *profile.Profile) {
	t.Helper()
	where := func(p *profile.Profile) []string {
		var out []string
		for i := range p.Threads {
			th := &p.Threads[i]
			out = append(out, fmt.Sprint(th.Kind, th.Role, th.Transition))
		}
		for _, m := range p.Modules {
			out = append(out, fmt.Sprint(m))
		}
		for _, x := range p.Executes {
			out = append(out, x.Path)
		}
		return out
	}
	if a, b := where(idle), where(loaded); !slices.Equal(a, b) {
		t.Errorf("idle and loaded differ in loops, modules or programs:\n%s\nand\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
		return
	}
	sameSets(t, "loaded", loaded, idle)
}

// checkPlan: what enforcement gets of a profile recognises exactly the threads that were observed, each as its kind, and
// its filters allow what the profile says.
func checkPlan(t *testing.T, p *profile.Profile, obs *observe.Observation) {
	t.Helper()
	plan, err := Plan(context.Background(), p, filter.KillProcess, opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Kinds) != len(p.Threads) || plan.Program != p.Program.Path {
		t.Fatalf("plan for %s with %d kinds", plan.Program, len(plan.Kinds))
	}
	for i := range plan.Kinds {
		k := &plan.Kinds[i]
		if got, want := k.Allow.Names(), p.Union(profile.SetAll, k.Name); !slices.Equal(got, want) {
			t.Errorf("%s: the plan allows %v, the profile %v", k.Name, got, want)
		}
	}
	matched := map[string]int{}
	for i := range obs.Threads {
		th := &obs.Threads[i]
		kinds := map[string]bool{}
		for j := range th.Stacks {
			if k := match(plan, &th.Stacks[j]); k != nil {
				kinds[k.Name] = true
			}
		}
		if len(kinds) > 1 {
			t.Errorf("thread %d (%s) is of several kinds: %v", th.TID, th.Comm, kinds)
		}
		for k := range kinds {
			matched[k]++
		}
	}
	for i := range p.Threads {
		if th := &p.Threads[i]; matched[th.Kind] != th.Instances {
			t.Errorf("%s: the plan knows %d threads, the profile %d", th.Kind, matched[th.Kind], th.Instances)
		}
	}
}

func match(plan *enforce.Plan, st *observe.Stack) *enforce.Kind {
	if !st.Complete {
		return nil
	}
	k, _ := plan.Match(st.Frames)
	return k
}

// checkExplain: for an open call there is a path for each kind, of which each step's call really is in the function
// before it and leads to the function after it; for any other call there is none.
func checkExplain(t *testing.T, p *profile.Profile) {
	t.Helper()
	ctx := context.Background()
	l := newLoader(&opt)
	defer l.close()
	g, err := l.profiled(ctx, p.Program.Path, p)
	if err != nil {
		t.Fatal(err)
	}
	some := map[bool]int{}
	for _, call := range syscalls.All().Names() {
		open := slices.ContainsFunc(p.Threads, func(th profile.Thread) bool { return slices.Contains(th.Serving.Own, call) })
		// Some of each will do: every explanation is a link and a walk for each kind.
		if some[open]++; some[open]%12 != 1 && call != "epoll_wait" {
			continue
		}
		x, err := Explain(ctx, p, Question{Syscall: call}, opt)
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Open)+len(x.Closed) != len(p.Threads) {
			t.Errorf("%s: %d paths and %d reasons for %d kinds", call, len(x.Open), len(x.Closed), len(p.Threads))
		}
		for i := range x.Open {
			path := &x.Open[i]
			if th := p.Kind(path.Kind); th == nil || !slices.Contains(th.Serving.Union(profile.SetAll), call) {
				t.Errorf("%s is explained as open for %q, where it is closed", call, path.Kind)
			}
			checkPath(t, g, path)
		}
		for i := range x.Before {
			if path := &x.Before[i]; path.Phase != "init" || !slices.Contains(p.Kind(path.Kind).Init, call) {
				t.Errorf("%s is explained as needed by the start of %q, which does not make it", call, path.Kind)
			} else {
				checkPath(t, g, path)
			}
		}
	}
	if some[true] < 30 {
		t.Errorf("only %d calls are open", some[true])
	}
}

// checkPath follows a path in the graph.
func checkPath(t *testing.T, g *callgraph.Graph, path *Path) {
	t.Helper()
	if len(path.Steps) == 1 && path.Steps[0].Kind != "start" {
		if path.Steps[0].Rule == "" {
			t.Errorf("%s: no reason: %+v", path.Syscall, path)
		}
		return
	}
	fail := func(i int, what string) {
		t.Errorf("%s for %s: step %d (%+v): %s", path.Syscall, path.Kind, i, path.Steps[i], what)
	}
	fn := func(module string, va uint64) int32 {
		mi := moduleOf(g.P, module)
		if mi < 0 {
			return -1
		}
		for _, i := range g.P.Modules[mi].Containing(va) {
			return int32(g.P.Modules[mi].Base) + int32(i)
		}
		return -1
	}
	var at int32 = -1
	for i, s := range path.Steps {
		if s.Kind == "" || s.Rule == "" || s.Function == "" || s.Module == "" {
			fail(i, "incomplete")
		}
		var off uint64
		if _, err := fmt.Sscanf(s.Offset, "0x%x", &off); err != nil {
			fail(i, "bad offset")
			return
		}
		if i == 0 {
			if s.Kind != "start" {
				fail(i, "a path begins with a start")
			}
			at = fn(s.Module, off)
			if at < 0 || g.Name(at) != s.Function {
				// A return address behind a function's last instruction lies in the next one.
				at = fn(s.Module, off-1)
			}
			if at < 0 || g.Name(at) != s.Function {
				fail(i, "not in its function")
				return
			}
			continue
		}
		to := fn(s.Module, off)
		if to < 0 || g.Name(to) != s.Function {
			fail(i, "not in its function")
			return
		}
		if s.Kind == "unknown number" { // says of the function that it is in
			if i != len(path.Steps)-1 {
				fail(i, "not the last step")
			}
			continue
		}
		place, ok := strings.CutPrefix(s.Rule, "called at ")
		plus := strings.LastIndex(strings.FieldsFunc(place, func(r rune) bool { return r == ' ' || r == ';' })[0], "+0x")
		if !ok || plus < 0 {
			fail(i, "no call site")
			return
		}
		var site uint64
		if _, err := fmt.Sscanf(place[plus:], "+0x%x", &site); err != nil {
			fail(i, "no call site")
			return
		}
		m, f := g.Func(at)
		mi, fi := g.P.Where(int(at))
		if place[:plus] != modulePath(m) || m.BlockOf(fi, site) < 0 && site != f.Entry {
			fail(i, "the call is not in "+g.Name(at))
		}
		leads := false
		g.Edges(at, func(e callgraph.Edge) {
			leads = leads || e.Site == site && (e.To == to || e.To < 0 && g.Evidence(to).Kind != callgraph.NotTaken || e.Kind == callgraph.LazyBinding)
		})
		if s.Kind == "number passed on" { // through a PLT stub, which is no step of its own
			for k := f.Calls[0]; k < f.Calls[1]; k++ {
				if m.Calls[k].Site == site {
					g.Callees(mi, &m.Calls[k], func(x int32) { leads = leads || x == to })
				}
			}
		}
		if !leads {
			fail(i, "the call does not lead there from "+g.Name(at))
		}
		at = to
	}
	var site uint64
	plus := strings.LastIndex(path.Site, "+")
	if _, err := fmt.Sscanf(path.Site[plus:], "+0x%x", &site); err != nil || at < 0 {
		t.Errorf("%s: bad site %q", path.Syscall, path.Site)
		return
	}
	m, fnc := g.Func(at)
	if !slices.ContainsFunc(m.Sys[fnc.Sys[0]:fnc.Sys[1]], func(s summary.SysSite) bool { return s.Site == site }) || path.Site[:plus] != modulePath(m) {
		t.Errorf("%s for %s: the path ends in %s, where there is no system call at %s", path.Syscall, path.Kind, g.Name(at), path.Site)
	}
}

// TestLoopsOfServers: where no run is possible, the loops that servers really serve in are among the first.
func TestLoopsOfServers(t *testing.T) {
	for _, c := range []struct {
		program, pkg, call, in string
		within                 int
	}{
		{"nginx", "nginx", "sigsuspend", "ngx_master_process_cycle", 1},
		{"redis-server", "redis-server", "epoll_wait", "aeMain", 3},
		{"memcached", "memcached", "event_base_loop", "", 1},
	} {
		t.Run(c.program, func(t *testing.T) {
			loops, err := Loops(context.Background(), testbin.Need(t, c.program, c.pkg), opt)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(loops, func(l Loop) bool {
				return slices.Contains(l.Calls, c.call) && (c.in == "" || l.Function == c.in)
			})
			if i < 0 || i >= c.within {
				t.Errorf("the loop with %s is number %d", c.call, i+1)
			}
			for i, l := range loops {
				if l.Rank != i+1 || l.Depth < 1 || !l.Blocking || len(l.Calls) == 0 || !slices.IsSorted(l.Calls) {
					t.Errorf("loop %+v at place %d", l, i+1)
				}
			}
		})
	}
}
