package attach

import (
	"os/exec"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/proc"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
)

// TestServing attaches to nginx while it answers requests, again and again: none fails, every process has one filter, and
// workers started later inherit it.
func TestServing(t *testing.T) {
	needReadback(t)
	argv, url := testbin.Nginx(t, t.TempDir())
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	// Waited for only at the end: a wait from this process would take the tracer's events away.
	t.Cleanup(func() {
		unix.Kill(pid, unix.SIGTERM)
		cmd.Wait()
	})
	eventually(t, "nginx answers", func() bool { text, err := testbin.Get(url); return err == nil && text == "hello\n" })
	p := planFromStack(t, pid)

	var requests, failures atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			requests.Add(1)
			if text, err := testbin.Get(url); err != nil || text != "hello\n" {
				failures.Add(1)
			}
		}
	}()
	for round := range 20 {
		res, err := Attach(t.Context(), pid, p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := Already
		if round == 0 {
			want = Installed
		}
		for _, th := range res.Threads {
			if th.Status != want {
				t.Fatalf("round %d: %+v", round, th)
			}
		}
		if len(res.Threads) != 2 {
			t.Fatalf("%d threads", len(res.Threads))
		}
		before := requests.Load()
		eventually(t, "requests go on", func() bool { return requests.Load() > before+3 })
	}
	tree, err := proc.Children(pid)
	if err != nil || len(tree) != 2 {
		t.Fatalf("%v, %v", tree, err)
	}
	for _, id := range tree {
		carries(t, id, id, &p.Kinds[0])
	}
	// Reloading replaces the worker.
	if err := unix.Kill(pid, unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another worker", func() bool {
		now, err := proc.Children(pid)
		return err == nil && len(now) == 2 && now[1] != tree[1]
	})
	before := requests.Load()
	eventually(t, "requests go on", func() bool { return requests.Load() > before+3 })
	if now, err := proc.Children(pid); err == nil && len(now) == 2 {
		carries(t, now[1], now[1], &p.Kinds[0])
	}
	close(stop)
	<-stopped
	if failures.Load() != 0 {
		t.Errorf("%d of %d requests failed", failures.Load(), requests.Load())
	}
	t.Logf("%d requests", requests.Load())
}

// planFromStack makes a plan with one kind: whatever is called from the program's outermost function now.
func planFromStack(t *testing.T, pid int) *enforce.Plan {
	t.Helper()
	exe, _, err := proc.Exe(pid)
	if err != nil {
		t.Fatal(err)
	}
	f, err := image.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	unwinding, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	var frames []observe.Frame
	eventually(t, "a whole stack", func() bool {
		threads, err := observe.Snapshot(pid)
		if err != nil || len(threads) == 0 || len(threads[0].Stacks) == 0 {
			return false
		}
		frames = threads[0].Stacks[0].Frames
		return threads[0].Stacks[0].Complete
	})
	var mods []enforce.PlanModule
	tree, err := proc.Children(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range tree { // the worker has loaded modules of its own, to look up its user
		more, err := modules(id)
		if err != nil {
			t.Fatal(err)
		}
		mods = append(mods, more...)
	}
	at := -1
	for i, fr := range frames[:len(frames)-1] { // the last one is _start
		if fr.Module == exe {
			at = i
		}
	}
	if at < 0 {
		t.Fatalf("stack %+v", frames)
	}
	k := enforce.Kind{Name: "all", Role: "thread", Module: exe, Bottom: true, Allow: syscalls.All().Minus(denied)}
	for _, fde := range unwinding.FDEs {
		if fde.Contains(frames[at].PC - 1) {
			k.Loop = []image.Range{fde.Range}
		}
	}
	for _, fr := range frames[at+1:] {
		k.Stack = append(k.Stack, enforce.Frame{Module: fr.Module, PC: fr.PC})
	}
	p := &enforce.Plan{Program: exe, BuildID: f.BuildID, Modules: mods, Kinds: []enforce.Kind{k}}
	if err := p.Compile(); err != nil {
		t.Fatal(err)
	}
	return p
}
