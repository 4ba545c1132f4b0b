package pipeline

import (
	"context"
	"math"
	"slices"
	"strconv"
	"testing"

	"syspart/internal/callgraph"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
	"syspart/profile"
)

// everyLevel are the levels that there are, the coarsest first.
func everyLevel() []callgraph.Level {
	var out []callgraph.Level
	for c := 'a'; c <= 'g'; c++ {
		if l, err := callgraph.ParseLevel(string(c)); err == nil {
			out = append(out, l)
		}
	}
	return out
}

func precision(t *testing.T, p *profile.Profile, level callgraph.Level) *Measure {
	t.Helper()
	m, err := Precision(context.Background(), p, level, opt)
	if err != nil {
		t.Fatalf("level %v: %v", level, err)
	}
	return m
}

// listed are the sites that Callgraph lists for a profile, and the number of their targets.
func listed(t *testing.T, p *profile.Profile, opt Options) (sites map[[2]string][][2]string, n, targets int) {
	t.Helper()
	sites = map[[2]string][][2]string{}
	err := Callgraph(context.Background(), p.Program.Path, p, opt, func(s Site) error {
		key := [2]string{s.Module, s.Site}
		sites[key] = append(sites[key], s.Targets...)
		n++
		targets += len(s.Targets)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sites, n, targets
}

// TestPrecision: the figures of a level are those that the verbs give at that level, and a finer level has no larger ones.
func TestPrecision(t *testing.T) {
	for _, flags := range [][]string{{"-O2"}, {"-O2", "-static"}} {
		bin, _ := testbin.Server(t, "threads", flags...)
		p := profiled(t, bin, observedServer(t, "threads", bin, 3), opt)
		var coarser *Measure
		for _, level := range everyLevel() {
			opt := opt
			opt.Level = level
			m := precision(t, p, level)
			if m.Level != level || m.Build <= 0 || m.AddressTaken == 0 || m.Functions < m.AddressTaken || len(m.Kinds) != len(p.Threads) {
				t.Fatalf("%v, level %v: %+v", flags, level, m)
			}
			if _, n, targets := listed(t, p, opt); m.Sites != n || math.Round(m.Targets*float64(m.Sites)) != float64(targets) {
				t.Errorf("%v, level %v: %d sites of %v targets; callgraph lists %d with %d", flags, level, m.Sites, m.Targets, n, targets)
			}
			if len(flags) > 1 { // no module is loaded later
				a, err := Analyze(context.Background(), bin, nil, opt)
				if err != nil {
					t.Fatal(err)
				}
				if a.AddressTaken != m.AddressTaken || a.Functions != m.Functions || !slices.Equal(a.Sets, m.Sets) {
					t.Errorf("%v, level %v: %+v; analyze: %+v", flags, level, m, a)
				}
			}
			if coarser != nil {
				narrower(t, coarser, m)
			}
			coarser = m
		}
		best := precision(t, p, callgraph.Best)
		for i, k := range best.Kinds {
			if th := &p.Threads[i]; k.Kind != th.Kind || k.Role != th.Role || k.Functions == 0 || !slices.Equal(k.Own.Names(), slices.Sorted(slices.Values(th.Serving.Own))) {
				t.Errorf("%v: %s: %v; profiled: %v", flags, k.Kind, k.Own.Names(), th.Serving.Own)
			}
		}
		if best.Build, coarser.Build = 0, 0; best.Level != coarser.Level || best.Targets != coarser.Targets || !slices.Equal(best.Kinds, coarser.Kinds) {
			t.Errorf("%v: the best level gives %+v, the finest %+v", flags, best, coarser)
		}
	}
}

// narrower checks that a finer level has nothing that a coarser one lacks.
func narrower(t *testing.T, coarse, fine *Measure) {
	t.Helper()
	if fine.AddressTaken > coarse.AddressTaken || fine.Functions > coarse.Functions || fine.Sites > coarse.Sites ||
		fine.Targets*float64(fine.Sites) > coarse.Targets*float64(coarse.Sites)+0.5 {
		t.Errorf("level %v is larger than %v:\n%+v\n%+v", fine.Level, coarse.Level, fine, coarse)
	}
	for i := range fine.Sets {
		if more := fine.Sets[i].Calls.Minus(coarse.Sets[i].Calls); !more.Empty() || fine.Sets[i].Functions > coarse.Sets[i].Functions {
			t.Errorf("level %v opens %v from %s, which %v closes", fine.Level, more.Names(), fine.Sets[i].From, coarse.Level)
		}
	}
	for i := range fine.Kinds {
		if more := fine.Kinds[i].Own.Minus(coarse.Kinds[i].Own); !more.Empty() || fine.Kinds[i].Functions > coarse.Kinds[i].Functions {
			t.Errorf("level %v opens %v for %s, which %v closes", fine.Level, more.Names(), fine.Kinds[i].Kind, coarse.Level)
		}
	}
}

// TestFloors: with all calls that the graph has a kind's floor is its own set, and with none it is less.
func TestFloors(t *testing.T) {
	bin, _ := testbin.Server(t, "threads", "-O2", "-static")
	p := profiled(t, bin, observedServer(t, "threads", bin, 3), opt)
	var all []SeenCall
	if err := Callgraph(context.Background(), bin, p, opt, func(s Site) error {
		site, err := strconv.ParseUint(s.Site, 0, 64)
		for _, to := range s.Targets {
			entry, err := strconv.ParseUint(to[1], 0, 64)
			if err != nil {
				return err
			}
			all = append(all, SeenCall{Module: s.Module, Site: site, To: to[0], Entry: entry})
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	floors := func(seen []SeenCall) []int {
		out, err := Floors(context.Background(), p, seen, opt)
		if err != nil || len(out) != len(p.Threads) {
			t.Fatalf("%v, %v", out, err)
		}
		return out
	}
	most, least := floors(all), floors(nil)
	for i, th := range p.Threads {
		// Handlers of signals, which the kernel calls, count for the own set alone.
		if own := len(th.Serving.Own); most[i] > own || most[i] < own-5 || least[i] >= most[i] || least[i] == 0 {
			t.Errorf("%s: from %d to %d calls, its own are %d", th.Kind, least[i], most[i], own)
		}
	}
}

// TestSurpluses: what was not seen is listed, where explain has it open too, with an edge of the call graph.
func TestSurpluses(t *testing.T) {
	bin, _ := testbin.Server(t, "threads", "-O2", "-static")
	p := profiled(t, bin, observedServer(t, "threads", bin, 3), opt)
	sites, _, _ := listed(t, p, opt)
	indirect := 0
	for _, th := range p.Threads {
		own := set(th.Serving.Own)
		list, err := Surpluses(context.Background(), p, th.Kind, syscalls.Of(0, 1), opt)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range list {
			names = append(names, s.Syscall)
			x, err := Explain(context.Background(), p, Question{Syscall: s.Syscall}, opt)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(x.Open, func(p Path) bool { return p.Kind == th.Kind })
			if i < 0 || (s.Site.Module == "") != (x.Open[i].Site == "") {
				t.Errorf("%s: %+v; explain: %+v", th.Kind, s, x)
			}
			if s.Edge != callgraph.TakenCall.String() && s.Edge != callgraph.FlowCall.String() {
				continue // no call through a pointer
			}
			targets := sites[[2]string{s.From.Module, s.From.Offset}]
			if indirect++; !slices.Contains(targets, [2]string{s.Target.Module, s.Target.Offset}) || s.Why == "" && s.Edge == callgraph.TakenCall.String() {
				t.Errorf("%s: %+v: no such edge", th.Kind, s)
			}
		}
		if want := own.Minus(syscalls.Of(0, 1)).Names(); !slices.Equal(names, want) {
			t.Errorf("%s: %v, want %v", th.Kind, names, want)
		}
		if list, err := Surpluses(context.Background(), p, th.Kind, own, opt); err != nil || len(list) > 0 {
			t.Errorf("%s: %v beyond all of its own, error %v", th.Kind, list, err)
		}
	}
	if indirect == 0 {
		t.Error("no call is reached through a pointer")
	}
	if _, err := Surpluses(context.Background(), p, "none", syscalls.Set{}, opt); err == nil {
		t.Error("no error for a kind that there is not")
	}
}
