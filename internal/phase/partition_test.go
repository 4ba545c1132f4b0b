package phase

import (
	"slices"
	"strings"
	"testing"

	"syspart/internal/observe"
	"syspart/internal/summary"
)

// TestPartitions checks, for hand-made stacks, where the main loop is found, how much of the stack below counts, and
// exactly which functions can run from there on.
func TestPartitions(t *testing.T) {
	for _, flags := range [][]string{{}, {"-O0"}, {"-O3"}} {
		name := "O2"
		if len(flags) > 0 {
			name = flags[0][1:]
		}
		t.Run(name, func(t *testing.T) { partitions(t, shapes(t, flags...)) })
	}
}

func partitions(t *testing.T, p *program) {
	for _, c := range []struct {
		name    string
		stack   []string // see chain
		loop    string   // function with the main loop
		below   string   // functions below it that count
		bottom  bool
		serving string // functions that can run after the transition
	}{
		{"what follows the loop, in its function, in its caller, and at the bottom", []string{"wait_event", "flat", "run_flat", "_start"},
			"flat", "run_flat _start", true,
			"flat run_flat _start wait_event work tidy farewell quit"},
		{"nested loops: the outer one counts", []string{"wait_event", "nested", "_start"}, "nested", "_start", true,
			"nested _start wait_event work tidy quit"},
		{"restart loop in the caller: it is the main loop", []string{"wait_event", "cycle", "restarts", "_start"}, "restarts", "_start", true,
			"restarts _start configure cycle wait_event tidy farewell quit"},
		{"one of two callers", []string{"wait_event", "cycle", "pool_a", "_start"}, "cycle", "pool_a _start", true,
			"cycle pool_a _start wait_event tidy work quit"},
		{"the loop's function never returns: callers are dead", []string{"wait_event", "forever", "run_forever", "above_forever", "_start"},
			"forever", "", false, "forever wait_event"},
		{"a caller never returns: it counts, its callers are dead", []string{"wait_event", "cycle", "ends", "above_ends", "_start"},
			"cycle", "ends", false, "cycle ends wait_event tidy quit"},
		{"setjmp behind a caller that never returns", []string{"wait_event", "cycle", "ends", "jumps", "_start"},
			"cycle", "ends jumps _start", true, "cycle ends jumps _start wait_event tidy quit farewell"},
		{"only the second return of setjmp", []string{"wait_event", "cycle", "ends", "jumps_over", "_start"},
			"cycle", "ends jumps_over _start", true, "cycle ends jumps_over _start wait_event tidy quit farewell"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			k := p.only(mainThread(thread(50, p.chain(c.stack...))))
			if got := p.loop(k); got != c.loop {
				t.Errorf("main loop in %s, want %s", got, c.loop)
			}
			if got := p.below(k.Below); got != c.below || k.Bottom != c.bottom {
				t.Errorf("below %q, bottom %v; want %q, %v", got, k.Bottom, c.below, c.bottom)
			}
			if got, want := len(k.Below)+len(k.Rest), len(c.stack)-1-slices.Index(c.stack, c.loop); got != want {
				t.Errorf("%d frames in Below and Rest, want %d", got, want)
			}
			// "_start" has all calls of the fixture in it: that only what follows counts shows in the list, too.
			same(t, "serving", p.serving(k), c.serving)
		})
	}
	t.Run("landing pad behind a caller that never returns", func(t *testing.T) {
		p.t = t
		k := p.only(mainThread(thread(50, p.chain("wait_event", "cycle", "ends", "catches", "_start"))))
		// Without optimisation the pad goes on in code that returns, else it ends in _Unwind_Resume.
		below, want := "ends catches", "cycle ends catches released _Unwind_Resume wait_event tidy quit farewell"
		if _, fn := p.g.Func(p.fn("catches")); fn.Flags&summary.NoReturn == 0 {
			below, want = below+" _start", want+" _start"
		}
		if got := p.below(k.Below); got != below {
			t.Errorf("below %q, want %q", got, below)
		}
		same(t, "serving", p.serving(k), want)
	})
	t.Run("a function interrupted by a signal can go on", func(t *testing.T) {
		p.t = t
		stack := p.chain("wait_event", "cycle", "ends", "above_ends", "_start")
		stack[3].Signal = true
		stack[3].PC -= 5 // at the call, not behind it
		k := p.only(mainThread(thread(50, stack)))
		if got := p.below(k.Below); got != "ends above_ends" {
			t.Errorf("below %q", got)
		}
		same(t, "serving", p.serving(k), "cycle ends above_ends wait_event tidy quit")
	})
}

// TestLoop checks what a kind says of its loop: header, ranges and the edges that enter it.
func TestLoop(t *testing.T) {
	p := shapes(t)
	k := p.only(mainThread(thread(50, p.chain("wait_event", "nested", "_start"))))
	m, fn := p.g.Func(k.Func)
	h := p.f.Header(k)
	if b := m.BlockOf(p.g0(k.Func), h); b < 0 || m.Blocks[b].Start != h {
		t.Fatalf("header %#x is no block's start", h)
	}
	in := func(va uint64) bool {
		return slices.ContainsFunc(p.f.Ranges(k), func(r rng) bool { return r.Start <= va && va < r.End })
	}
	if !in(h) {
		t.Errorf("the header %#x is not in the loop", h)
	}
	for callee, want := range map[string]bool{"work": true, "wait_event": true, "prepare": false, "tidy": false} {
		if got := in(p.ret("nested", callee).PC - 1); got != want {
			t.Errorf("the call of %s is in the loop: %v", callee, got)
		}
	}
	enters := p.f.Enters(k)
	if len(enters) == 0 {
		t.Error("nothing enters the loop")
	}
	for _, e := range enters {
		if in(e[0]) || !in(e[1]) {
			t.Errorf("edge %#x to %#x does not lead into the loop", e[0], e[1])
		}
	}
	// A kind rebuilt from its place is the same, whatever finds it.
	var again Kind
	if !NewLocator(p.g.P).SetLoop(&again, p.path, fn.Entry, h) || again.Func != k.Func || !slices.Equal(again.Loop.Blocks, k.Loop.Blocks) {
		t.Errorf("loop found again: %+v, want %+v", again.Loop, k.Loop)
	}
	for _, bad := range []struct {
		module        string
		entry, header uint64
	}{{"/nonexistent", fn.Entry, h}, {p.path, fn.Entry + 1, h}, {p.path, fn.Entry, h + 1}} {
		if NewLocator(p.g.P).SetLoop(&again, bad.module, bad.entry, bad.header) {
			t.Errorf("%+v is a loop", bad)
		}
	}
}

// TestInit checks where a kind's life begins.
func TestInit(t *testing.T) {
	p := shapes(t)
	entry := p.f.Entry()
	if len(entry) == 0 || p.g.Name(entry[0].Func) != "_start" {
		t.Fatalf("entry %+v", entry)
	}
	main := p.only(mainThread(thread(50, p.chain("wait_event", "flat", "run_flat", "_start"))))
	if got := p.reached(p.f.Init(main, entry)); !slices.Contains(got, "prepare") || !slices.Contains(got, "configure") {
		t.Errorf("the main thread starts with %v", got)
	}
	stack := p.chain("wait_event", "child", "spawn", "master", "_start")
	kid := p.only(child(thread(50, stack), 3, p.ret("spawn", "fork").PC))
	same(t, "child", p.reached(p.f.Init(kid, entry)), "spawn child quit configure wait_event tidy master work fork farewell _start")
	th := p.only(thread(50, p.chain("wait_event", "cycle", "pool_a", "*routine_a", "start_thread", "start_thread_of_clone", "clone3")))
	got := p.reached(p.f.Init(th, entry))
	for _, want := range []string{"clone3", "start_thread", "routine_a", "cycle", "work"} {
		if !slices.Contains(got, want) {
			t.Errorf("a thread starts without %s: %v", want, got)
		}
	}
	// The kernel enters it behind the system call that made it: not at the beginning of clone3.
	if s := p.f.Init(th, entry)[0]; p.g.Name(s.Func) != "clone3" || s.Blocks == nil {
		t.Errorf("a thread starts at %+v", s)
	}
}

// TestFrom checks starting points given by address: a function's entry is the whole function, any other place what its
// block reaches.
func TestFrom(t *testing.T) {
	p := shapes(t)
	_, flat := p.g.Func(p.fn("flat"))
	s, ok := p.f.From(p.path, flat.Entry)
	if !ok || s.Blocks != nil || p.g.Name(s.Func) != "flat" {
		t.Fatalf("flat: %+v, %v", s, ok)
	}
	same(t, "flat", p.reached([]start{s}), "flat prepare wait_event work tidy")
	s, ok = p.f.From(p.path, p.ret("flat", "tidy").PC-1)
	if !ok || len(s.Blocks) == 0 {
		t.Fatalf("behind the loop: %+v, %v", s, ok)
	}
	same(t, "behind the loop", p.reached([]start{s}), "flat tidy")
	for _, bad := range []struct {
		module string
		va     uint64
	}{{p.path, 1}, {"/nonexistent", flat.Entry}} {
		if s, ok := p.f.From(bad.module, bad.va); ok {
			t.Errorf("%+v: %+v", bad, s)
		}
	}
}

// TestUnknownFrame: code below the loop that is in no module widens; see Kind.Unknown.
func TestUnknownFrame(t *testing.T) {
	p := shapes(t)
	stack := p.chain("wait_event", "flat", "run_flat", "_start")
	stack[2] = observe.Frame{Module: "/gone", PC: 0x1234}
	k := p.only(mainThread(thread(50, stack)))
	u := p.f.Unknown(k)
	if len(u) != 1 || u[0].Module != "/gone" {
		t.Errorf("unknown frames %+v", u)
	}
	if known := p.f.Unknown(p.only(mainThread(thread(50, p.chain("wait_event", "flat", "run_flat", "_start"))))); len(known) != 0 {
		t.Errorf("unknown frames %+v of a known stack", known)
	}
}

// TestReturnToEntry: what a signal handler returns to is called by nobody: a function's first instruction, behind padding.
func TestReturnToEntry(t *testing.T) {
	p := shapes(t)
	m := p.g.P.Modules[0]
	tried := 0
	for i := range m.Funcs {
		fr := observe.Frame{Module: p.path, PC: m.Funcs[i].Entry}
		if p.f.locate(p.path, fr.PC-1).fn >= 0 {
			continue
		}
		tried++
		want := int32(m.Base) + int32(i)
		if at := p.f.at(&fr, false); at.fn != want {
			t.Errorf("a frame at %s lies in function %d", p.g.Name(want), at.fn)
		}
		if s, ok := p.f.after(&fr, ""); !ok || s.Func != want || len(s.Blocks) == 0 {
			t.Errorf("a frame at %s goes on at %+v, %v", p.g.Name(want), s, ok)
		}
	}
	if tried == 0 {
		t.Error("no function lies behind padding")
	}
}

// TestPaths: paths from a loop end at it, also where its function and its callers are called again from there.
func TestPaths(t *testing.T) {
	p := shapes(t)
	k := p.only(mainThread(thread(50, p.chain("wait_event", "recursive", "mutual", "_start"))))
	r := p.g.Walk(p.f.Serving(k))
	for name, want := range map[string]string{
		"recursive": "recursive recursive", "mutual": "recursive mutual", "tidy": "recursive mutual tidy", "prepare": "recursive recursive prepare", "wait_event": "recursive wait_event",
	} {
		path := r.Path(p.fn(name))
		var got []string
		for i, e := range path {
			if i == 0 {
				got = append(got, p.g.Name(e.From))
			} else if e.From != path[i-1].To {
				t.Errorf("%s: step %d begins in %s, not in %s", name, i, p.g.Name(e.From), p.g.Name(path[i-1].To))
			}
			got = append(got, p.g.Name(e.To))
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("path to %s: %q, want %q", name, g, want)
		}
	}
}
