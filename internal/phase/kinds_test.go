package phase

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"syspart/internal/callgraph"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/profile"
)

type (
	rng   = image.Range
	start = callgraph.Start
)

// g0 is a function's index in the first module.
func (p *program) g0(fn int32) int { return int(fn) - int(p.g.P.Modules[0].Base) }

// TestForks checks that a loop that encloses the fork is the parent's, whether the fork was seen or not.
func TestForks(t *testing.T) {
	p := shapes(t)
	stack := p.chain("wait_event", "child", "spawn", "master", "_start")
	beside := p.chain("wait_event", "both", "_start")
	for _, c := range []struct {
		name string
		th   observe.Thread
		loop string
	}{
		{"fork seen", child(thread(50, stack), 3, p.ret("spawn", "fork").PC), "child"},
		{"forked in a loop that it is still in", child(thread(50, p.chain("wait_event", "child", "respawn", "_start")), 2, p.ret("respawn", "fork").PC), "child"},
		{"the same, fork not seen", child(thread(50, p.chain("wait_event", "child", "respawn", "_start")), 0, 0), "child"},
		{"fork not seen: the innermost frame that forks", child(thread(50, stack), 0, 0), "child"},
		{"the parent, by the same stack", mainThread(thread(50, stack)), "master"},
		{"its own loop in the function that forked it", child(thread(50, beside), 2, p.ret("both", "fork").PC), "both"},
		{"its own loop beside, fork not seen", child(thread(50, beside), 0, 0), "both"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			k := p.only(c.th)
			if got := p.loop(k); got != c.loop {
				t.Errorf("main loop in %s, want %s", got, c.loop)
			}
			if c.loop != "both" {
				return
			}
			// Not the loop with the fork in it, nor the one that the parent serves in.
			for _, r := range p.f.Ranges(k) {
				for _, callee := range []string{"fork", "work", "configure"} {
					if r.Contains(p.ret("both", callee).PC - 1) {
						t.Errorf("the loop [%#x, %#x) holds the call of %s", r.Start, r.End, callee)
					}
				}
			}
			same(t, "serving", p.serving(k), "both wait_event tidy quit")
		})
	}
	// Where it goes on in spawn it ends: the master's loop is no part of its partition, though spawn returns to the master.
	k := p.only(child(thread(50, stack), 3, p.ret("spawn", "fork").PC))
	same(t, "serving", p.serving(k), "child spawn wait_event tidy quit")
	if got := p.below(k.Below); got != "spawn" || k.Bottom || len(k.Rest) != 2 {
		t.Errorf("below %q, bottom %v, %d frames more", got, k.Bottom, len(k.Rest))
	}
	// One that comes back out of the function that forked it has all that in its partition, with the loop that forked it.
	stack = p.chain("wait_event", "child", "spawn_more", "master_more", "_start")
	k = p.only(child(thread(50, stack), 3, p.ret("spawn_more", "fork").PC))
	same(t, "serving", p.serving(k), "child spawn_more master_more _start fork work farewell wait_event tidy quit configure")
}

// TestGroups checks which threads make kinds, and how many.
func TestGroups(t *testing.T) {
	p := shapes(t)
	a := p.chain("wait_event", "cycle", "pool_a", "*routine_a", "start_thread", "start_thread_of_clone", "clone3")
	b := p.chain("wait_event", "cycle", "pool_b", "*routine_b", "start_thread", "start_thread_of_clone", "clone3")
	flat := p.chain("wait_event", "flat", "run_flat", "_start")
	brief := func(t observe.Thread, first, last float64) observe.Thread {
		for i := range t.Stacks {
			t.Stacks[i].FirstSeen, t.Stacks[i].LastSeen = first, last
		}
		return t
	}
	elsewhere := thread(50, a)
	for _, c := range []struct {
		name    string
		threads []observe.Thread
		want    []string // role loop instances samples
	}{
		{"threads of one kind", []observe.Thread{mainThread(thread(10, flat)), thread(20, a), thread(30, a)}, []string{"main flat 1 10", "thread cycle 2 50"}},
		{"one loop, two stacks below it: two kinds", []observe.Thread{thread(20, a), thread(30, b)}, []string{"thread cycle 1 20", "thread cycle 1 30"}},
		{"one stack, two roles: two kinds", []observe.Thread{mainThread(thread(10, flat)), child(thread(20, flat), 0, 0)}, []string{"main flat 1 10", "child flat 1 20"}},
		{"a thread for one request makes no kind", []observe.Thread{mainThread(thread(10, flat)), brief(thread(5, a), 4, 4.3)}, []string{"main flat 1 10"}},
		{"it counts where its kind lasts", []observe.Thread{thread(10, a), brief(thread(5, a), 4, 4.3)}, []string{"thread cycle 2 15"}},
		{"one that came late and stayed makes a kind", []observe.Thread{mainThread(thread(10, flat)), brief(thread(5, a), 8.5, 10)}, []string{"main flat 1 10", "thread cycle 1 5"}},
		{"a loop at a thread's end is no main loop, however much of it was seen", []observe.Thread{mainThread(thread(10, flat)), thread(10, a), {Samples: 35, Stacks: []observe.Stack{
			{Frames: a, Count: 5, Complete: true, LastSeen: 4}, {Frames: b, Count: 30, Complete: true, FirstSeen: 4, LastSeen: 6}}}}, []string{"main flat 1 10", "thread cycle 1 10"}},
		{"workers that relieve each other last together", []observe.Thread{mainThread(thread(10, flat)), brief(thread(5, a), 1, 3), brief(thread(5, a), 3, 5), brief(thread(5, a), 5.5, 7)},
			[]string{"main flat 1 10", "thread cycle 3 15"}},
		{"at the same time they do not", []observe.Thread{mainThread(thread(10, flat)), brief(thread(5, a), 1, 3), brief(thread(5, a), 1, 3), brief(thread(5, a), 1.5, 3)}, []string{"main flat 1 10"}},
		{"nor do threads for many requests", []observe.Thread{mainThread(thread(10, flat)), brief(thread(5, a), 1, 1.9), brief(thread(5, a), 2, 2.9), brief(thread(5, a), 3, 3.9),
			brief(thread(5, a), 4, 4.9), brief(thread(5, a), 5, 5.9), brief(thread(5, a), 6, 6.9)}, []string{"main flat 1 10"}},
		{"if all are short, all count", []observe.Thread{brief(thread(5, a), 4, 4.3)}, []string{"thread cycle 1 5"}},
		{"the loop with most samples is the main one", []observe.Thread{mainThread(observe.Thread{Samples: 30, Stacks: []observe.Stack{
			{Frames: p.chain("wait_event", "nested", "_start"), Count: 10, Complete: true, LastSeen: 3},
			{Frames: flat, Count: 20, Complete: true, FirstSeen: 3, LastSeen: 10}}})}, []string{"main flat 1 20"}},
		{"what comes after the loop is shorter than it", []observe.Thread{mainThread(observe.Thread{Samples: 40, Stacks: []observe.Stack{
			{Frames: flat, Count: 10, Complete: true, LastSeen: 3},
			{Frames: p.chain("wait_event", "waits_once", "_start"), Count: 30, Complete: true, FirstSeen: 3.1, LastSeen: 10}}})}, []string{"main flat 1 10"}},
		{"incomplete stacks do not count", []observe.Thread{mainThread(thread(10, flat)), {Samples: 9, Stacks: []observe.Stack{{Frames: a[:3], Count: 9, LastSeen: 10}}}}, []string{"main flat 1 10"}},
		{"nor do those of a first thread", []observe.Thread{mainThread(observe.Thread{Samples: 9, Stacks: []observe.Stack{{Frames: a, Count: 9, LastSeen: 10}}}), thread(10, b)}, []string{"thread cycle 1 10"}},
		{"what lies below a call that never returns may be missing", []observe.Thread{mainThread(thread(10, flat)), {Samples: 9, Stacks: []observe.Stack{{Frames: a[:6], Count: 9, LastSeen: 10}}}}, []string{"main flat 1 10", "thread cycle 1 9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			var got []string
			for _, k := range p.kinds(c.threads...) {
				got = append(got, fmt.Sprintf("%s %s %d %d", k.Role, p.loop(&k), k.Instances, k.Samples))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("kinds %q, want %q", got, c.want)
			}
		})
	}
	t.Run("another program's threads are none of ours", func(t *testing.T) {
		obs := p.observation(mainThread(thread(10, flat)), elsewhere)
		obs.Threads[1].Program = "/bin/sh"
		if kinds, err := p.f.Kinds(obs); err != nil || len(kinds) != 1 {
			t.Errorf("%d kinds, %v", len(kinds), err)
		}
	})
}

// TestNames: names are unique, and neither they nor the order of kinds depend on the order of threads.
func TestNames(t *testing.T) {
	p := shapes(t)
	a := p.chain("wait_event", "cycle", "pool_a", "*routine_a", "start_thread", "start_thread_of_clone", "clone3")
	b := p.chain("wait_event", "cycle", "pool_b", "*routine_b", "start_thread", "start_thread_of_clone", "clone3")
	flat := p.chain("wait_event", "flat", "run_flat", "_start")
	threads := []observe.Thread{mainThread(thread(10, flat)), child(thread(10, flat), 0, 0), thread(20, a), thread(30, b),
		thread(10, p.chain("wait_event", "nested", "_start")), thread(5, a)}
	want := p.kinds(threads...)
	names := map[string]bool{}
	for _, k := range want {
		if names[k.Name] || !strings.HasPrefix(k.Name, "shapes:"+p.loop(&k)) {
			t.Errorf("name %q", k.Name)
		}
		names[k.Name] = true
		if !slices.Contains(roles, k.Role) {
			t.Errorf("role %q", k.Role)
		}
	}
	if len(want) != 5 {
		t.Fatalf("%d kinds: %v", len(want), names)
	}
	if want[0].Role != profile.RoleMain {
		t.Errorf("the first kind is %s, a %s", want[0].Name, want[0].Role)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		r.Shuffle(len(threads), func(i, j int) { threads[i], threads[j] = threads[j], threads[i] })
		if got := p.kinds(threads...); !reflect.DeepEqual(got, want) {
			t.Fatalf("in another order other kinds:\n%+v\nwant\n%+v", got, want)
		}
	}
}

// TestBlind: where most stacks end in the middle, a thread that came by with a whole one makes no profile, but one that stays
// does.
func TestBlind(t *testing.T) {
	p := shapes(t)
	dark := observe.Thread{TID: 1, Comm: "dark", Samples: 50, Stacks: []observe.Stack{{Frames: p.chain("wait_event", "waits_once"), Count: 50, LastSeen: 10}}}
	passing := thread(1, p.chain("wait_event", "flat", "run_flat", "_start"))
	passing.Stacks[0].LastSeen = 0.01
	staying := thread(50, p.chain("wait_event", "flat", "run_flat", "_start"))
	staying.Stacks[0].LastSeen = 10
	for name, c := range map[string]struct {
		threads []observe.Thread
		blind   bool
	}{
		"alone":       {[]observe.Thread{mainThread(dark)}, true},
		"one passing": {[]observe.Thread{mainThread(dark), passing}, true},
		"one staying": {[]observe.Thread{mainThread(dark), staying}, false},
	} {
		obs := p.observation(c.threads...)
		obs.Seconds = 10
		_, err := p.f.Kinds(obs)
		if d := p.f.Dark; len(d) != 1 || d[0].Count != 1 || d[0].Module != p.path || !slices.Equal(d[0].Names, []string{"dark"}) {
			t.Errorf("%s: dark threads %+v", name, d)
		}
		if errors.Is(err, ErrBlind) != c.blind || c.blind && (!errors.Is(err, ErrNoLoop) || !strings.Contains(err.Error(), filepath.Base(p.path)+"+0x")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoLoop: no sample in a loop, or none at all, is one clear error.
func TestNoLoop(t *testing.T) {
	p := shapes(t)
	for _, c := range []struct {
		name    string
		threads []observe.Thread
		want    string
	}{
		{"no loop on the stack", []observe.Thread{mainThread(thread(50, p.chain("wait_event", "waits_once", "_start")))}, "50 samples"},
		{"a loop that was left at the beginning", []observe.Thread{mainThread(observe.Thread{Samples: 51, Stacks: []observe.Stack{
			{Frames: p.chain("wait_event", "nested", "_start"), Count: 2, Complete: true, LastSeen: 0.1},
			{Frames: p.chain("wait_event", "waits_once", "_start"), Count: 49, Complete: true, FirstSeen: 0.2, LastSeen: 10}}})}, "51 samples"},
		{"no samples", []observe.Thread{mainThread(observe.Thread{})}, "no sample"},
		{"no threads", nil, "no sample"},
		{"no known code", []observe.Thread{mainThread(thread(3, []observe.Frame{{Module: "/gone", PC: 1}, {PC: 0}}))}, "3 samples"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kinds, err := p.f.Kinds(p.observation(c.threads...))
			if !errors.Is(err, ErrNoLoop) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), p.path) {
				t.Errorf("%d kinds, error %v", len(kinds), err)
			}
		})
	}
}
