// Command stages measures what each stage of the analysis of a program costs, in seconds of the processor, which do not depend
// on how many cores there are.
//
//	stages NAME=PROGRAM...
//
// It prints a row of a Markdown table a program: the sizes of its modules' code in MiB and their instructions; then reading the
// files' structure, decoding every instruction of every function once (the least that any analysis has to do), summaries (with
// that decoding), reading summaries from their encoding, linking with them, building the call graph, and walking it from the
// program's entry. Modules are those that analyze finds. Each figure is the least of three, the garbage collector's work included.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"syspart/internal/callgraph"
	"syspart/internal/decode"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/phase"
	"syspart/internal/pipeline"
	"syspart/internal/summary"
	"syspart/profile"
)

func main() {
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, arg := range flag.Args() {
		name, program, ok := strings.Cut(arg, "=")
		if !ok {
			fmt.Fprintf(os.Stderr, "stages: %s: want NAME=PROGRAM\n", arg)
			os.Exit(1)
		}
		c, err := measure(ctx, program)
		if err != nil {
			fmt.Fprintf(os.Stderr, "stages: %s: %v\n", program, err)
			os.Exit(1)
		}
		fmt.Printf("| %s | %.1f | %.2f M |", name, c.mib, float64(c.instructions)/1e6)
		for _, s := range c.stages {
			fmt.Printf(" %.2f |", s.Seconds())
		}
		fmt.Println()
	}
}

// cost is what was measured.
type cost struct {
	mib          float64
	instructions int
	stages       [7]time.Duration // parse, decode, summarise, read summaries, link, call graph, walk
}

// measure takes the stages of a program's analysis apart.
func measure(ctx context.Context, program string) (*cost, error) {
	a, err := pipeline.Analyze(ctx, program, []string{"entry"}, pipeline.Options{})
	if err != nil {
		return nil, err
	}
	c := &cost{}
	var files []string
	var later []link.Extra
	for _, m := range a.Modules {
		if !strings.HasPrefix(m.Path, "/") {
			continue // the vDSO
		}
		files = append(files, m.Path)
		if m.Found == profile.FoundStatic || m.Found == profile.FoundHeuristic {
			later = append(later, link.Extra{Path: m.Path, Found: m.Found, Optional: true})
		}
	}
	var runs [3][7]time.Duration
	for i := range runs {
		if runs[i], err = c.once(ctx, program, files, later); err != nil {
			return nil, err
		}
	}
	for s := range c.stages {
		c.stages[s] = min(runs[0][s], runs[1][s], runs[2][s])
	}
	return c, nil
}

func (c *cost) once(ctx context.Context, program string, files []string, later []link.Extra) (out [7]time.Duration, err error) {
	data := make([][]byte, len(files))
	for i, f := range files {
		if data[i], err = os.ReadFile(f); err != nil {
			return out, err
		}
	}
	images := make([]*image.File, len(files))
	if out[0], err = timed(func() error {
		for i, f := range files {
			if images[i], err = image.Parse(f, data[i]); err != nil {
				return err
			}
			if _, err := images[i].Frames(); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return out, err
	}
	modules := make([]*summary.Module, len(files))
	if out[2], err = timed(func() error {
		for i := range images {
			if modules[i], err = summary.Build(images[i]); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return out, err
	}
	c.mib, c.instructions = 0, 0
	if out[1], err = timed(func() error {
		for i, m := range modules {
			c.decode(images[i], m)
		}
		return nil
	}); err != nil {
		return out, err
	}
	// Summaries as the cache has them; the vDSO's is made where it is needed.
	encoded := map[[32]byte][]byte{}
	for i, m := range modules {
		encoded[sha256.Sum256(data[i])] = m.Encode()
	}
	ready := map[[32]byte]*summary.Module{}
	if out[3], err = timed(func() error {
		for sum, b := range encoded {
			if ready[sum], err = summary.Decode(b); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return out, err
	}
	var lock sync.Mutex
	summarize := func(path string, data []byte) (*summary.Module, error) {
		if data == nil {
			var err error
			if data, err = os.ReadFile(path); err != nil {
				return nil, err
			}
		}
		sum := sha256.Sum256(data)
		lock.Lock()
		defer lock.Unlock()
		if m := ready[sum]; m != nil {
			return m, nil
		}
		f, err := image.Parse(path, data)
		if err != nil {
			return nil, err
		}
		ready[sum], err = summary.Build(f)
		return ready[sum], err
	}
	var p *link.Program
	load := func() error {
		p, err = link.Load(ctx, program, link.Options{Modules: later, Summarize: summarize})
		return err
	}
	if err = load(); err != nil { // the vDSO's summary is there then
		return out, err
	}
	if out[4], err = timed(load); err != nil {
		return out, err
	}
	var g *callgraph.Graph
	out[5], _ = timed(func() error { g = callgraph.New(p, callgraph.Best); return nil })
	out[6], _ = timed(func() error { g.WalkSignals(phase.NewFinder(g).Entry()); return nil })
	return out, nil
}

// decode decodes all functions of a module.
func (c *cost) decode(f *image.File, m *summary.Module) {
	var in decode.Inst
	for i := range m.Funcs {
		fn := &m.Funcs[i]
		code, ok := f.Bytes(fn.Entry, fn.End-fn.Entry)
		if !ok {
			continue
		}
		c.mib += float64(len(code)) / (1 << 20)
		for va := fn.Entry; va < fn.End; va = in.Next() {
			if !decode.Decode(code[va-fn.Entry:], va, &in) {
				break // data among the code
			}
			c.instructions++
		}
	}
}

// timed returns the processor's time that f took, in all threads.
func timed(f func() error) (time.Duration, error) {
	runtime.GC()
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		return 0, err
	}
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()), nil
}
