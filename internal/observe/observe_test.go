package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/proc"
	"syspart/internal/testbin"
)

// TestThreads samples blocked and running threads for two seconds: each shows the loop that it is in on a complete stack,
// and none has noticed.
func TestThreads(t *testing.T) {
	for _, flags := range []string{"-O0", "-O2 -fomit-frame-pointer", "-O2 -fno-omit-frame-pointer", "-O1 -static"} {
		t.Run(flags, func(t *testing.T) {
			bin := server(t, strings.Fields(flags)...)
			w := watch(t, Options{Command: []string{bin, "threads"}, Kill: true})
			if s := w.line(); s != "ready" {
				t.Fatalf("server says %q", s)
			}
			kill(t, w.pid, unix.SIGUSR1)
			time.Sleep(2 * time.Second)
			const samples = 100
			w.samples(samples)
			// Those that wait for ever were woken a few times: when they started, and to learn their registers; not for each sample.
			quiet := 0
			tids, err := proc.Tasks(w.pid)
			if err != nil {
				t.Fatal(err)
			}
			for _, tid := range tids {
				var ran, waited, slices int
				text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", tid))
				if _, e := fmt.Sscan(string(text), &ran, &waited, &slices); err != nil || e != nil {
					testbin.Skip(t, "no scheduler statistics: %v %v", err, e)
				}
				if slices < samples {
					quiet++
				}
			}
			if quiet < 5 {
				t.Errorf("only %d threads were left alone", quiet)
			}
			o := w.end()
			if got := w.line(); got != "eintr 0 usr1 1" {
				t.Errorf("server has counted %q", got)
			}
			if !o.Exited || o.ExitStatus != 3 || o.Program != bin || len(o.Threads) != 7 {
				t.Fatalf("exited %v with %d, %s, %d threads", o.Exited, o.ExitStatus, o.Program, len(o.Threads))
			}
			checkCounts(t, o)
			n := namer{}
			var loops []string
			for i := range o.Threads {
				th := &o.Threads[i]
				st := mostSeen(th)
				if !th.First || th.Leader != (th.TID == w.pid) || th.Forked || th.Samples < 5 {
					t.Errorf("thread %+v", th)
				}
				names := n.names(st, bin)
				loop := ""
				for _, name := range names {
					if strings.HasSuffix(name, "_loop") || name == "wait_here" {
						loop = name
					}
				}
				loops = append(loops, loop)
				incomplete := 0
				for j := range th.Stacks {
					if !th.Stacks[j].Complete {
						incomplete += th.Stacks[j].Count
					}
				}
				if !st.Complete || incomplete*10 > th.Samples {
					t.Errorf("%s: %d of %d samples incomplete: %v", loop, incomplete, th.Samples, names)
				}
				if st.Running != (loop == "spin_loop") {
					t.Errorf("%s: running %v", loop, st.Running)
				}
			}
			slices.Sort(loops)
			want := []string{"cond_loop", "epoll_loop", "epoll_loop", "poll_loop", "read_loop", "spin_loop", "wait_here"}
			if !slices.Equal(loops, want) {
				t.Errorf("loops %v, want %v", loops, want)
			}
			if !slices.Contains(moduleNames(o), "[vdso]") || o.Modules[0].Path != bin || o.Modules[0].BuildID == "" {
				t.Errorf("modules %v", moduleNames(o))
			}
		})
	}
}

// TestBare: a loop in code without call-frame information.
func TestBare(t *testing.T) {
	bin := server(t, "-O1")
	w := watch(t, Options{Command: []string{bin, "bare"}, Kill: true})
	w.line()
	w.samples(100)
	o := w.end()
	found := false
	for i := range o.Threads {
		for j := range o.Threads[i].Stacks {
			st := &o.Threads[i].Stacks[j]
			if names := (namer{}).names(st, bin); len(names) > 2 && names[0] == "bare_spin" {
				found = found || st.Complete && names[1] == "bare_loop" && names[2] == "run"
			}
		}
	}
	if !found {
		t.Errorf("threads %+v", o.Threads)
	}
}

// TestTorn samples a thread that hardly rests: whatever is reported is a stack that it can have.
func TestTorn(t *testing.T) {
	bin := server(t, "-O1")
	w := watch(t, Options{Command: []string{bin, "restless"}, Kill: true, Interval: time.Millisecond})
	w.line()
	w.samples(500)
	o := w.end()
	n := namer{}
	seen := 0
	for i := range o.Threads {
		for j := range o.Threads[i].Stacks {
			st := &o.Threads[i].Stacks[j]
			names := strings.Join(n.names(st, bin), " ")
			if !st.Complete || !strings.Contains(names, "restless_loop") {
				continue
			}
			seen += st.Count
			switch strings.TrimSuffix(names, "restless_loop run") {
			case "nap left ", "nap deep deep deep deep right ", "left ", "right ", "":
			default: // running: somewhere on the way
				if !st.Running {
					t.Errorf("impossible stack: %s", names)
				}
			}
		}
	}
	if seen == 0 {
		t.Errorf("no stack of the restless thread: %+v", o.Threads)
	}
}

// TestInherited: frames that a forked child was born with are counted as long as it is inside them.
func TestInherited(t *testing.T) {
	bin := server(t, "-O1")
	for _, mode := range []string{"forks", "daemon"} {
		w := watch(t, Options{Command: []string{bin, mode}, Kill: true})
		w.line()
		w.samples(60)
		if mode == "daemon" { // the first process has ended, the server has not
			select {
			case <-w.done:
				t.Fatal("ended with the first process")
			default:
			}
		}
		o := w.end()
		n := namer{}
		var got []string
		for i := range o.Threads {
			th := &o.Threads[i]
			st := mostSeen(th)
			names := n.names(st, bin)
			if len(names) == 0 || names[0] != "child_loop" {
				continue
			}
			if !th.Forked || th.First || !th.Leader || th.ParentPID == 0 {
				t.Errorf("%s: child %+v", mode, th)
			}
			if st.Inherited == 0 {
				t.Errorf("%s: nothing inherited: %v", mode, names)
				continue
			}
			f := st.Frames[len(st.Frames)-st.Inherited]
			at := f
			at.PC = st.ForkPC
			got = append(got, n.name(f, false)+" "+n.name(at, false))
			if st.ForkPC == f.PC {
				t.Errorf("%s: still at the fork", mode)
			}
		}
		slices.Sort(got)
		if want := []string{"master master", "spawn spawn"}; !slices.Equal(got, want) {
			t.Errorf("%s: innermost inherited frames %q, want %q", mode, got, want)
		}
		if want := map[string]int{"forks": 3, "daemon": 0}[mode]; !o.Exited || o.ExitStatus != want {
			t.Errorf("%s: exit status %d, want %d", mode, o.ExitStatus, want)
		}
	}
}

// TestMark checks what a child's samples say about the frames that it was born with.
func TestMark(t *testing.T) {
	frame := func(fn, pc, cfa uint64) Frame { return Frame{Module: "m", Func: fn, PC: pc, CFA: cfa} }
	born := []Frame{frame(1, 11, 100), frame(2, 21, 110), frame(3, 31, 120), frame(4, 41, 130)}
	stack := func(fs ...Frame) Stack { return Stack{Frames: fs, Complete: true} }
	rec := &forkRecord{frames: born, alive: len(born)}
	for i, c := range []struct {
		st        Stack
		inherited int
		pc        uint64
	}{
		{stack(born...), 4, 11},
		{stack(frame(9, 91, 105), frame(2, 22, 110), born[2], born[3]), 3, 21}, // left 1, called 9 from 2
		{Stack{Frames: born}, 0, 0},                                   // incomplete: says nothing
		{stack(frame(2, 21, 110), frame(3, 32, 120), born[3]), 2, 31}, // 2 is called anew
		{stack(born...), 2, 31},                                       // all built again: the same frames, but not those that were inherited
		{stack(frame(7, 71, 125), frame(4, 42, 130)), 1, 41},
		{stack(frame(5, 42, 130)), 0, 0},
		{stack(born...), 0, 0},
	} {
		rec.mark(&c.st)
		if c.st.Inherited != c.inherited || c.st.ForkPC != c.pc {
			t.Errorf("%d: inherited %d at %d, want %d at %d", i, c.st.Inherited, c.st.ForkPC, c.inherited, c.pc)
		}
	}
	st := stack(born...)
	(*forkRecord)(nil).mark(&st)
	if st.Inherited != 0 {
		t.Error("inherited without a fork")
	}
}

// TestExecs: programs that the server executes are recorded, with the script if it is one; what a wrapper does before it
// becomes the server is not.
func TestExecs(t *testing.T) {
	bin := server(t, "-O1")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n/bin/false\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	resolve := func(p string) string {
		r, err := filepath.EvalSymlinks(p)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, argv := range [][]string{
		{bin, "execs", script},
		{"/bin/sh", "-c", "/bin/ls /dev/null >/dev/null; exec \"$0\" execs \"$1\"", bin, script},
	} {
		w := watch(t, Options{Command: argv, Kill: true})
		w.line()
		w.samples(20)
		o := w.end()
		if o.Program != bin {
			t.Errorf("%s: program %s", argv[0], o.Program)
		}
		var got []string
		for _, e := range o.Execs {
			got = append(got, fmt.Sprintf("%s %s %v", e.Path, e.Script, e.Forked))
			if e.ByPID == 0 {
				t.Errorf("no process: %+v", e)
			}
		}
		slices.Sort(got)
		want := []string{resolve("/bin/true") + "  true", resolve("/bin/sh") + " " + script + " true", resolve("/bin/false") + "  true"}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: executed %q, want %q", argv[0], got, want)
		}
		for _, th := range o.Threads {
			if th.Program != bin {
				t.Errorf("%s: thread of %s", argv[0], th.Program)
			}
		}
	}
}

// TestEnds: exit statuses, also of servers that end while their threads and children come and go.
func TestEnds(t *testing.T) {
	bin := server(t, "-O1")
	for mode, want := range map[string]int{"churn": 9, "crash": 128 + int(unix.SIGABRT)} {
		w := watch(t, Options{Command: []string{bin, mode}, Interval: time.Millisecond})
		o := w.wait()
		if !o.Exited || o.ExitStatus != want {
			t.Errorf("%s: exited %v with %d, want %d", mode, o.Exited, o.ExitStatus, want)
		}
		checkCounts(t, o)
		if o.Program != bin || !hasAll(moduleNames(o), "libc.so.6", "[vdso]") {
			t.Errorf("%s: program %s, modules %v", mode, o.Program, moduleNames(o))
		}
	}
}

// TestSignals: what we receive is passed on; stop signals stop the server and SIGCONT continues it.
func TestSignals(t *testing.T) {
	bin := server(t, "-O1")
	w := watch(t, Options{Command: []string{bin, "threads"}})
	w.line()
	kill(t, os.Getpid(), unix.SIGUSR1)
	testbin.Until(t, "signal is passed on and handled", func() bool {
		// Handling it interrupts the main thread's call, which it then enters again.
		st, err := proc.ReadStatus(w.pid)
		return err == nil && st.SharedPending == 0 && st.State == 'S'
	})
	for range 3 {
		kill(t, w.pid, unix.SIGSTOP)
		testbin.Until(t, "stopped", func() bool { return frozen(w.pid) })
		time.Sleep(50 * time.Millisecond) // sampling goes on
		if !frozen(w.pid) {
			t.Error("sampling has continued a stopped server")
		}
		kill(t, w.pid, unix.SIGCONT)
		testbin.Until(t, "continued", func() bool { return !frozen(w.pid) })
	}
	time.Sleep(100 * time.Millisecond)
	kill(t, os.Getpid(), unix.SIGTERM)
	o := w.wait()
	if got := w.line(); !strings.HasSuffix(got, "usr1 1") {
		t.Errorf("server has counted %q", got)
	}
	if !o.Exited || o.ExitStatus != 3 {
		t.Errorf("exited %v with %d", o.Exited, o.ExitStatus)
	}
}

// frozen reports whether all threads of a process are stopped.
func frozen(pid int) bool {
	tids, err := proc.Tasks(pid)
	if err != nil {
		return false
	}
	for _, tid := range tids {
		if st, err := proc.ReadStat(tid); err != nil || st.State != 't' && st.State != 'T' {
			return false
		}
	}
	return true
}

// TestAttached observes a running server: it lives on, unstopped and untraced, and has noticed nothing.
func TestAttached(t *testing.T) {
	bin := server(t, "-O0")
	for _, mode := range []string{"threads", "forks"} {
		p, root := begin(t, bin, mode)
		ctx, cancel := context.WithCancel(context.Background())
		o, err := Observe(ctx, Options{PID: root, Duration: time.Second, Started: func(pid int) {
			time.AfterFunc(500*time.Millisecond, cancel)
		}})
		if err != nil {
			t.Fatal(err)
		}
		tree, err := Tree(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range tree {
			checkFree(t, pid)
		}
		want := map[string]int{"threads": 7, "forks": 3}[mode]
		if len(o.Threads) != want || o.Exited || o.Program != bin || o.Seconds > 0.95 {
			t.Errorf("%s: %d threads, want %d; exited %v, program %s, %.2f s", mode, len(o.Threads), want, o.Exited, o.Program, o.Seconds)
		}
		for i := range o.Threads {
			th := &o.Threads[i]
			if st := mostSeen(th); !st.Complete || st.Inherited != 0 || th.First != (th.PID == root) || th.Forked == th.First {
				t.Errorf("%s: %+v", mode, th)
			}
		}
		checkCounts(t, o)
		kill(t, root, unix.SIGTERM)
		if got := p.Line("eintr"); got != "eintr 0 usr1 0" {
			t.Errorf("%s: server has counted %q", mode, got)
		}
		for _, pid := range tree[1:] {
			kill(t, pid, unix.SIGKILL)
		}
	}
}

// TestLivesOn: a started server is left running when the observation ends, unless it is to be killed.
func TestLivesOn(t *testing.T) {
	bin := server(t, "-O1")
	w := watch(t, Options{Command: []string{bin, "threads"}})
	w.line()
	o := w.end()
	if o.Exited {
		t.Errorf("exited with %d", o.ExitStatus)
	}
	checkFree(t, w.pid)
	kill(t, w.pid, unix.SIGTERM)
	if got := w.line(); got != "eintr 0 usr1 0" {
		t.Errorf("server has counted %q", got)
	}
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(w.pid, &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
}

func TestSnapshot(t *testing.T) {
	bin := server(t, "-O0")
	p, root := begin(t, bin, "threads")
	n := namer{}
	for range 5 {
		ths, err := Snapshot(root)
		if err != nil {
			t.Fatal(err)
		}
		if len(ths) != 7 {
			t.Fatalf("%d threads", len(ths))
		}
		for i := range ths {
			th := &ths[i]
			if len(th.Stacks) != 1 || !th.Stacks[0].Complete || th.Samples != 1 {
				t.Errorf("thread %+v", th)
				continue
			}
			names := n.names(&th.Stacks[0], bin)
			if want := map[bool]string{true: "main", false: "run"}[th.Leader]; !slices.ContainsFunc(names, func(s string) bool { return strings.HasPrefix(s, want) }) {
				t.Errorf("thread %d: %v", th.TID, names)
			}
		}
		checkFree(t, root)
	}
	kill(t, root, unix.SIGTERM)
	if got := p.Line("eintr"); got != "eintr 0 usr1 0" {
		t.Errorf("server has counted %q", got)
	}
}

func TestErrors(t *testing.T) {
	gone := exec.Command("/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if _, err := Observe(ctx, Options{PID: gone.Process.Pid}); !errors.Is(err, proc.ErrGone) {
		t.Errorf("vanished: %v", err)
	}
	if _, err := Snapshot(gone.Process.Pid); !errors.Is(err, proc.ErrGone) {
		t.Errorf("snapshot of a vanished process: %v", err)
	}
	if _, err := Tree(gone.Process.Pid); !errors.Is(err, proc.ErrGone) {
		t.Errorf("tree of a vanished process: %v", err)
	}
	for _, opt := range []Options{{}, {PID: 1, Command: []string{"true"}}} {
		if _, err := Observe(ctx, opt); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	for cmd, want := range map[string]int{"no-such-program": 127, "/no/such/program": 127, "/etc/passwd": 126, "/etc": 126} {
		_, err := Observe(ctx, Options{Command: []string{cmd}})
		if err == nil || proc.LaunchStatus(err) != want || !strings.Contains(err.Error(), cmd) {
			t.Errorf("%s: %v, status %d, want %d", cmd, err, proc.LaunchStatus(err), want)
		}
	}
	// Somebody else traces it.
	_, root := begin(t, server(t, "-O1"), "wait")
	tr := proc.NewTracer(nil)
	defer tr.Close()
	if err := tr.Do(func(c *proc.Conn) error { return c.SeizeProcess(root, 0) }); err != nil {
		t.Fatal(err)
	}
	var te *proc.TracedError
	if _, err := Observe(ctx, Options{PID: root}); !errors.As(err, &te) || te.Tracer != os.Getpid() {
		t.Errorf("traced: %v", err)
	}
}
