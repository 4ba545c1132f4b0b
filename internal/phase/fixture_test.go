package phase

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"syspart/internal/callgraph"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/observe"
	"syspart/internal/summary"
	"syspart/internal/testbin"
	"syspart/profile"
)

// program is a fixture with its call graph; its methods name places by the symbols of functions.
type program struct {
	t    testing.TB
	path string
	g    *callgraph.Graph
	f    *Finder
}

// shapes builds testdata/shapes.c, which has no libraries.
func shapes(t testing.TB, flags ...string) *program {
	t.Helper()
	return open(t, testbin.Build(t, "testdata/shapes.c", append([]string{"-O2", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-fexceptions",
		"-fno-stack-protector", "-fno-optimize-sibling-calls"}, flags...)...))
}

func open(t testing.TB, path string) *program {
	t.Helper()
	p, err := link.Load(context.Background(), path, link.Options{Summarize: func(path string, data []byte) (*summary.Module, error) {
		if data == nil {
			var err error
			if data, err = os.ReadFile(path); err != nil {
				return nil, err
			}
		}
		f, err := image.Parse(path, data)
		if err != nil {
			return nil, err
		}
		return summary.Build(f)
	}})
	if err != nil {
		t.Fatal(err)
	}
	g := callgraph.New(p, callgraph.Best)
	return &program{t, path, g, NewFinder(g)}
}

// fn returns the global number of the program's function of that name.
func (p *program) fn(name string) int32 {
	p.t.Helper()
	m := p.g.P.Modules[0]
	for i := range m.Funcs {
		if fn := &m.Funcs[i]; fn.Name.Len > 0 && m.String(fn.Name) == name {
			return int32(m.Base) + int32(i)
		}
	}
	p.t.Fatalf("%s has no function %s", p.path, name)
	return -1
}

// at is the innermost frame: the first instruction of a function.
func (p *program) at(name string) observe.Frame {
	p.t.Helper()
	_, fn := p.g.Func(p.fn(name))
	return observe.Frame{Module: p.path, PC: fn.Entry}
}

// ret is the frame of a caller: the return address of its call to callee, "*" for its call through a pointer.
func (p *program) ret(caller, callee string) observe.Frame {
	p.t.Helper()
	m, fn := p.g.Func(p.fn(caller))
	for k := fn.Calls[0]; k < fn.Calls[1]; k++ {
		c := &m.Calls[k]
		if callee == "*" && c.Kind == summary.Indirect || callee != "*" && p.f.Symbol(0, c) == callee {
			return observe.Frame{Module: p.path, PC: m.Blocks[c.Block].End}
		}
	}
	p.t.Fatalf("%s does not call %s", caller, callee)
	return observe.Frame{}
}

// chain is a stack from calls, innermost function first: chain("wait", "loop", "main") is wait, called by loop, called by
// main. "*f" says that f is called by a pointer.
func (p *program) chain(names ...string) []observe.Frame {
	p.t.Helper()
	callee := strings.TrimPrefix(names[0], "*")
	out := []observe.Frame{p.at(callee)}
	for i := 1; i < len(names); i++ {
		caller, to := strings.TrimPrefix(names[i], "*"), names[i-1]
		if to[0] == '*' {
			to = "*"
		}
		out = append(out, p.ret(caller, to))
	}
	return out
}

// thread is a thread that had one stack all the time.
func thread(count int, frames []observe.Frame) observe.Thread {
	return observe.Thread{Samples: count, Stacks: []observe.Stack{{Frames: frames, Count: count, Complete: true, LastSeen: 10}}}
}

func mainThread(t observe.Thread) observe.Thread {
	t.Leader, t.First = true, true
	return t
}

// child is a forked process's main thread that inherited a number of frames, the innermost of them at forkPC.
func child(t observe.Thread, inherited int, forkPC uint64) observe.Thread {
	t.Leader, t.Forked = true, true
	for i := range t.Stacks {
		t.Stacks[i].Inherited, t.Stacks[i].ForkPC = inherited, forkPC
	}
	return t
}

func (p *program) observation(threads ...observe.Thread) *observe.Observation {
	for i := range threads {
		threads[i].TID, threads[i].Program = 100+i, p.path
	}
	return &observe.Observation{Program: p.path, Threads: threads, Seconds: 10}
}

// kinds are those of an observation.
func (p *program) kinds(threads ...observe.Thread) []Kind {
	p.t.Helper()
	kinds, err := p.f.Kinds(p.observation(threads...))
	if err != nil {
		p.t.Fatal(err)
	}
	return kinds
}

// only is the one kind of a thread.
func (p *program) only(th observe.Thread) *Kind {
	p.t.Helper()
	kinds := p.kinds(th)
	if len(kinds) != 1 {
		p.t.Fatalf("%d kinds: %+v", len(kinds), kinds)
	}
	return &kinds[0]
}

// loop says in which function a kind's main loop is.
func (p *program) loop(k *Kind) string { return p.g.Name(k.Func) }

// serving are the names of the program's functions that can run after the transition, except the helpers that all use.
func (p *program) serving(k *Kind) []string { return p.reached(p.f.Serving(k)) }

func (p *program) reached(starts []callgraph.Start) []string {
	r := p.g.Walk(starts)
	m := p.g.P.Modules[0]
	var out []string
	for i := range m.Funcs {
		fn := &m.Funcs[i]
		if r.Has(int32(m.Base)+int32(i)) && fn.Name.Len > 0 {
			if name := m.String(fn.Name); name != "sys" && !strings.HasSuffix(name, ".cold") {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// below are the functions below a kind's loop, innermost first.
func (p *program) below(frames []observe.Frame) string {
	var out []string
	for i := range frames {
		out = append(out, p.g.Name(p.f.at(&frames[i], false).fn))
	}
	return strings.Join(out, " ")
}

// same compares lists given as text.
func same(t *testing.T, what string, got []string, want string) {
	t.Helper()
	w := strings.Fields(want)
	slices.Sort(w)
	for _, x := range got {
		if !slices.Contains(w, x) {
			t.Errorf("%s: %s, not expected", what, x)
		}
	}
	for _, x := range w {
		if !slices.Contains(got, x) {
			t.Errorf("%s: %s is missing", what, x)
		}
	}
}

var roles = []string{profile.RoleMain, profile.RoleChild, profile.RoleThread}
