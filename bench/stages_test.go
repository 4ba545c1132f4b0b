package bench

import (
	"context"
	"crypto/sha256"
	"os"
	"syscall"
	"testing"

	"syspart/internal/callgraph"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/phase"
	"syspart/internal/pipeline"
	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
)

// Stages of a warm analysis, each alone and in this process, on the two servers that the project's limits name. MiB is the
// largest resident set of the whole test process until then, so it only grows.

// staged are servers with the function that holds the loop from which a serving walk starts.
var staged = []struct{ program, pkg, loop string }{
	{"nginx", "nginx", "ngx_master_process_cycle"},
	{"redis-server", "redis-server", "aeMain"},
}

// encoded summarises files once and keeps the encodings, as the cache on disk does.
type encoded map[[32]byte][]byte

func (e encoded) summarize(path string, data []byte) (*summary.Module, error) {
	if data == nil {
		var err error
		if data, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(data)
	if b, ok := e[sum]; ok {
		return summary.Decode(b)
	}
	f, err := image.Parse(path, data)
	if err != nil {
		return nil, err
	}
	m, err := summary.Build(f)
	if err != nil {
		return nil, err
	}
	e[sum] = m.Encode()
	return m, nil
}

// fill makes a filled cache: link calls summarize from several goroutines, which a map does not bear, so this one runs
// with a lock.
func fill(tb testing.TB, path string) encoded {
	e := encoded{}
	lock := make(chan struct{}, 1)
	_, err := link.Load(context.Background(), path, link.Options{Summarize: func(path string, data []byte) (*summary.Module, error) {
		lock <- struct{}{}
		defer func() { <-lock }()
		return e.summarize(path, data)
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func load(tb testing.TB, path string, e encoded) *link.Program {
	p, err := link.Load(context.Background(), path, link.Options{Summarize: e.summarize})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// graphMetrics puts the size of a graph beside the time.
func graphMetrics(b *testing.B, g *callgraph.Graph) {
	edges, sites, targets := 0, 0, 0
	for f := int32(0); int(f) < g.P.Funcs(); f++ {
		if g.Live(f) {
			g.Edges(f, func(e callgraph.Edge) {
				if e.To >= 0 {
					edges++
				}
			})
		}
	}
	g.IndirectSites(func(s callgraph.Site) error {
		sites, targets = sites+1, targets+len(s.Targets)
		return nil
	})
	b.ReportMetric(float64(g.P.Funcs()), "funcs")
	b.ReportMetric(float64(g.LiveCount()), "live")
	b.ReportMetric(float64(edges), "edges")
	b.ReportMetric(float64(sites), "isites")
	b.ReportMetric(float64(targets)/float64(sites), "targets/isite")
	b.ReportMetric(float64(len(g.Taken())), "taken")
	peak(b)
}

// peak reports the process's largest resident set.
func peak(b *testing.B) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(u.Maxrss)/1024, "MiB")
}

// BenchmarkLoad decodes all summaries and binds the modules.
func BenchmarkLoad(b *testing.B) {
	for _, s := range staged {
		b.Run(s.program, func(b *testing.B) {
			path := testbin.Need(b, s.program, s.pkg)
			e := fill(b, path)
			b.ReportAllocs()
			var p *link.Program
			for b.Loop() {
				p = load(b, path, e)
			}
			b.ReportMetric(float64(p.Funcs()), "funcs")
			b.ReportMetric(float64(len(p.Modules)), "modules")
			peak(b)
		})
	}
}

// BenchmarkCallgraph builds the call graph at each level. Beside the time is what the level is worth, with the functions
// and calls that a serving walk reaches.
func BenchmarkCallgraph(b *testing.B) {
	for _, s := range staged {
		for _, level := range levels(b) {
			b.Run(s.program+"/"+level.String(), func(b *testing.B) {
				path := testbin.Need(b, s.program, s.pkg)
				e := fill(b, path)
				b.ReportAllocs()
				var g *callgraph.Graph
				for b.Loop() {
					b.StopTimer()
					p := load(b, path, e) // bindings are found when they are asked for, and kept
					b.StartTimer()
					g = callgraph.New(p, level)
				}
				graphMetrics(b, g)
				r := g.WalkSignals(serving(b, g, s.loop))
				b.ReportMetric(float64(r.Functions()), "served-funcs")
				b.ReportMetric(float64(r.Calls.Union(syscalls.Always()).Len()), "calls")
			})
		}
	}
}

// levels are those that there are, the coarsest first.
func levels(tb testing.TB) []callgraph.Level {
	var out []callgraph.Level
	for c := 'a'; c <= 'g'; c++ {
		l, err := callgraph.ParseLevel(string(c))
		if err != nil {
			break
		}
		out = append(out, l)
	}
	if len(out) < 2 {
		tb.Fatalf("only %d levels", len(out))
	}
	return out
}

// serving is where a serving walk starts: in a main loop, with nothing below it.
func serving(tb testing.TB, g *callgraph.Graph, loop string) []callgraph.Start {
	f := phase.NewFinder(g)
	m := g.P.Modules[0]
	for i := range m.Funcs {
		fn := &m.Funcs[i]
		if fn.Name.Len == 0 || m.String(fn.Name) != loop {
			continue
		}
		k := phase.Kind{Func: int32(m.Base) + int32(i)}
		for _, l := range f.Loops(k.Func) {
			if len(l.Blocks) > len(k.Loop.Blocks) {
				k.Loop = l
			}
		}
		if len(k.Loop.Blocks) > 0 {
			return f.Serving(&k)
		}
	}
	tb.Fatalf("%s has no loop in %s", m.Path, loop)
	return nil
}

// walked is the best call graph of a program, and where a serving walk starts there.
func walked(tb testing.TB, path, loop string) (*callgraph.Graph, []callgraph.Start) {
	g := callgraph.New(load(tb, path, fill(tb, path)), callgraph.Best)
	return g, serving(tb, g, loop)
}

// BenchmarkServing walks the call graph from a main loop and resolves the numbers of the system calls there.
func BenchmarkServing(b *testing.B) {
	for _, s := range staged {
		b.Run(s.program, func(b *testing.B) {
			g, starts := walked(b, testbin.Need(b, s.program, s.pkg), s.loop)
			b.ReportAllocs()
			var r *callgraph.Reach
			for b.Loop() {
				r = g.WalkSignals(starts)
			}
			b.ReportMetric(float64(r.Functions()), "funcs")
			b.ReportMetric(float64(len(r.Unknown)), "unresolved")
			b.ReportMetric(float64(r.Calls.Union(syscalls.Always()).Len()), "calls")
			peak(b)
		})
	}
}

// BenchmarkAnalyze is the whole warm analysis in this process, without the start of a program and its output: what it found
// before is looked up, and all that it saw is looked at again.
func BenchmarkAnalyze(b *testing.B) {
	for _, s := range staged {
		b.Run(s.program, func(b *testing.B) {
			path := testbin.Need(b, s.program, s.pkg)
			opt := pipeline.Options{CacheDir: b.TempDir()}
			analyze := func() *pipeline.Analysis {
				a, err := pipeline.Analyze(context.Background(), path, nil, opt)
				if err != nil {
					b.Fatal(err)
				}
				return a
			}
			analyze()
			b.ReportAllocs()
			var a *pipeline.Analysis
			for b.Loop() {
				a = analyze()
			}
			b.ReportMetric(float64(a.Functions), "funcs")
			b.ReportMetric(float64(a.Edges), "edges")
			b.ReportMetric(float64(len(a.Unresolved)), "unresolved")
			for _, set := range a.Sets {
				b.ReportMetric(float64(set.Calls.Len()), "calls-from-"+set.From)
			}
			peak(b)
		})
	}
}

// TestStages keeps the benchmarks of stages from rotting.
func TestStages(t *testing.T) {
	s := staged[0]
	g, starts := walked(t, testbin.Need(t, s.program, s.pkg), s.loop)
	r := g.WalkSignals(starts)
	if n := r.Functions(); n == 0 || n > g.LiveCount() || r.Calls.Empty() {
		t.Errorf("%d functions of %d, calls %v", n, g.LiveCount(), r.Calls.Names())
	}
}
