package observe

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/image"
	"syspart/internal/proc"
	"syspart/internal/testbin"
)

// server builds the fixture.
func server(t testing.TB, flags ...string) string {
	t.Helper()
	return testbin.Build(t, "testdata/server.c", append([]string{"-pthread", "-w", "-fno-optimize-sibling-calls"}, flags...)...)
}

// watched is an observation that runs in the background.
type watched struct {
	t     *testing.T
	pid   int
	lines chan string
	until chan struct{}
	done  chan struct{}
	taken atomic.Int64 // samples so far
	obs   *Observation
	err   error
}

// watch starts an observation of a command, whose output can be read.
func watch(t *testing.T, opt Options) *watched {
	t.Helper()
	w := &watched{t: t, lines: make(chan string, 100), until: make(chan struct{}), done: make(chan struct{})}
	started := make(chan int, 1)
	opt.Started = func(pid int) { started <- pid }
	opt.Until = w.until
	opt.Progress = func(p Progress) { w.taken.Store(int64(p.Samples)) }
	if opt.Command != nil {
		r, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		opt.Stdin, opt.Stdout = null, out
		go func() {
			for s := bufio.NewScanner(r); s.Scan(); {
				w.lines <- s.Text()
			}
			close(w.lines)
			r.Close()
		}()
		defer func() {
			go func() { <-w.done; out.Close(); null.Close() }()
		}()
	}
	go func() {
		w.obs, w.err = Observe(context.Background(), opt)
		close(w.done)
	}()
	select {
	case w.pid = <-started:
	case <-w.done:
		t.Fatalf("observe: %v", w.err)
	}
	return w
}

// line returns the next line of the server's output.
func (w *watched) line() string {
	w.t.Helper()
	select {
	case s := <-w.lines:
		return s
	case <-time.After(testbin.Patience):
		w.t.Fatal("no output")
		return ""
	}
}

// samples waits until that many more samples were taken.
func (w *watched) samples(n int64) {
	w.t.Helper()
	n += w.taken.Load()
	testbin.Until(w.t, "samples", func() bool { return w.taken.Load() >= n })
}

// end ends the observation and returns it.
func (w *watched) end() *Observation {
	w.t.Helper()
	close(w.until)
	return w.wait()
}

// wait waits for the observation's end.
func (w *watched) wait() *Observation {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(testbin.Patience):
		w.t.Fatal("the observation does not end")
	}
	if w.err != nil {
		w.t.Fatal(w.err)
	}
	return w.obs
}

// namer turns addresses into names by the symbol tables of the files.
type namer map[string]*image.File

func (n namer) name(f Frame, inner bool) string {
	file := n[f.Module]
	if file == nil {
		if file, _ = image.Open(f.Module); file == nil {
			return "?"
		}
		n[f.Module] = file
	}
	at := f.PC
	if !inner && !f.Signal {
		at--
	}
	for _, tab := range [][]image.Symbol{file.Symtab, file.Dyn.Symbols} {
		for _, s := range tab {
			if s.Type == 2 && !s.Undefined && s.Value <= at && at < s.Value+max(s.Size, 1) {
				return s.Name
			}
		}
	}
	return "?"
}

// names returns the names of the functions of one module on a stack, innermost first.
func (n namer) names(st *Stack, module string) []string {
	var list []string
	for i, f := range st.Frames {
		if f.Module == module {
			list = append(list, n.name(f, i == 0))
		}
	}
	return list
}

// begin starts a server that is not our child: the stops of a child that we wait for would end that wait.
func begin(t *testing.T, argv ...string) (p *testbin.Process, pid int) {
	t.Helper()
	p = testbin.Start(t, append([]string{"/bin/sh", "-c", `sh -c 'echo pid $$; exec "$@"' sh "$@" & wait`, "sh"}, argv...)...)
	if _, err := fmt.Sscanf(p.Line("pid "), "pid %d", &pid); err != nil {
		t.Fatal(err)
	}
	p.Line("ready")
	return p, pid
}

// checkFree fails the test if a thread of the process is stopped or traced.
func checkFree(t *testing.T, pid int) {
	t.Helper()
	tids, err := proc.Tasks(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range tids {
		if st, err := proc.ReadStatus(tid); err == nil && (st.TracerPID != 0 || st.State == 't' || st.State == 'T') {
			t.Errorf("thread %d: state %c, traced by %d", tid, st.State, st.TracerPID)
		}
	}
}

// mostSeen returns the stack of a thread with most samples.
func mostSeen(th *Thread) *Stack {
	if len(th.Stacks) == 0 {
		return &Stack{}
	}
	best := 0
	for i := range th.Stacks {
		if th.Stacks[i].Count > th.Stacks[best].Count {
			best = i
		}
	}
	return &th.Stacks[best]
}

// count checks that the samples of a thread are those of its stacks.
func checkCounts(t *testing.T, o *Observation) {
	t.Helper()
	for i := range o.Threads {
		th := &o.Threads[i]
		n := 0
		for j := range th.Stacks {
			st := &th.Stacks[j]
			n += st.Count
			if st.FirstSeen > st.LastSeen || st.LastSeen > o.Seconds || len(st.Frames) == 0 && st.Complete {
				t.Errorf("thread %d: stack %+v", th.TID, st)
			}
		}
		if n != th.Samples {
			t.Errorf("thread %d: %d samples, stacks have %d", th.TID, th.Samples, n)
		}
	}
}

func moduleNames(o *Observation) []string {
	var list []string
	for _, m := range o.Modules {
		list = append(list, m.Path[strings.LastIndexByte(m.Path, '/')+1:])
	}
	return list
}

func kill(t *testing.T, pid int, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// hasAll reports whether all of want are in list.
func hasAll(list []string, want ...string) bool {
	return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(list, w) })
}
