package observe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"syspart/internal/proc"
	"syspart/internal/testbin"
)

// bottom says where a complete stack ends: "_start" for a program's entry point, else the outermost function by name.
func bottom(n namer, o *Observation, st *Stack) string {
	f := st.Frames[len(st.Frames)-1]
	name := n.name(f, false)
	if file := n[f.Module]; f.Module == o.Program && file != nil && f.Func == file.Entry {
		return "_start"
	}
	if name == "?" && strings.HasSuffix(f.Module, "libc.so.6") { // stripped: clone3 is local
		return "clone"
	}
	return name
}

// checkServer checks what every server must show: complete stacks that end where threads begin, and libraries.
func checkServer(t *testing.T, o *Observation, processes int, names []string) {
	t.Helper()
	checkCounts(t, o)
	n := namer{}
	pids := make(map[int]bool)
	var got []string
	for i := range o.Threads {
		th := &o.Threads[i]
		pids[th.PID] = true
		got = append(got, th.Comm)
		incomplete := 0
		for j := range th.Stacks {
			st := &th.Stacks[j]
			if !st.Complete {
				incomplete += st.Count
				continue
			}
			if strings.Contains(st.Frames[len(st.Frames)-1].Module, "/ld-linux") {
				continue // still being loaded: the program's own _start has not run
			}
			want := "clone"
			if th.Leader {
				want = "_start"
			}
			if b := bottom(n, o, st); !strings.HasPrefix(b, want) {
				t.Errorf("%s: stack ends in %s of %s, want %s", th.Comm, b, st.Frames[len(st.Frames)-1].Module, want)
			}
		}
		if incomplete*20 > th.Samples || th.Samples < 5 {
			t.Errorf("%s: %d of %d samples incomplete", th.Comm, incomplete, th.Samples)
		}
	}
	slices.Sort(got)
	if len(pids) != processes || !slices.Equal(got, names) {
		t.Errorf("%d processes, want %d; threads %q, want %q", len(pids), processes, got, names)
	}
	if mods := moduleNames(o); !hasAll(mods, "libc.so.6", "ld-linux-x86-64.so.2", "[vdso]") {
		t.Errorf("modules %v", mods)
	}
	for _, m := range o.Modules {
		if m.BuildID == "" {
			t.Errorf("%s has no build-id", m.Path)
		}
	}
}

// observeBoth observes a server twice: started by us, and running already.
func observeBoth(t *testing.T, argv []string, busy func() bool, check func(t *testing.T, o *Observation)) {
	t.Run("started", func(t *testing.T) {
		w := watch(t, Options{Command: argv, Kill: true})
		testbin.Until(t, "server serves", busy)
		for range 100 {
			busy()
		}
		w.samples(200)
		o := w.end()
		if !o.Exited || o.ExitStatus != 0 {
			t.Errorf("exited %v with %d", o.Exited, o.ExitStatus)
		}
		check(t, o)
	})
	t.Run("running", func(t *testing.T) {
		p := testbin.Start(t, append([]string{"/bin/sh", "-c", `sh -c 'echo pid $$; exec "$@"' sh "$@" & wait`, "sh"}, argv...)...)
		var pid int
		if _, err := fmt.Sscanf(p.Line("pid "), "pid %d", &pid); err != nil {
			t.Fatal(err)
		}
		testbin.Until(t, "server serves", busy)
		until := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(until) })
		o, err := Observe(context.Background(), Options{PID: pid, Until: until})
		if err != nil {
			t.Fatal(err)
		}
		check(t, o)
		if o.Exited || !busy() {
			t.Error("the server does not serve any more")
		}
		tree, err := Tree(pid)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range tree {
			checkFree(t, p)
			if st, err := proc.ReadStatus(p); err != nil || st.TracerPID != 0 {
				t.Errorf("process %d: %+v, %v", p, st, err)
			}
		}
	})
}

func TestNginx(t *testing.T) {
	argv, url := testbin.Nginx(t, t.TempDir())
	serve := func() bool { s, err := testbin.Get(url); return err == nil && s == "hello\n" }
	observeBoth(t, argv, serve, func(t *testing.T, o *Observation) {
		checkServer(t, o, 2, []string{"nginx", "nginx"})
		for i := range o.Threads {
			th := &o.Threads[i]
			st := mostSeen(th)
			if !th.First && (!th.Forked || th.ParentPID != o.Threads[0].PID) {
				t.Errorf("worker %+v", th)
			}
			// The worker's loop runs inside the function that forked it.
			if strings.HasSuffix(t.Name(), "started") && (st.Inherited >= 5) != !th.First {
				t.Errorf("process %d: first %v, %d frames inherited", th.PID, th.First, st.Inherited)
			}
		}
	})
}

func TestRedis(t *testing.T) {
	argv, addr := testbin.Redis(t, t.TempDir())
	serve := func() bool { s, err := testbin.Ask(addr, "PING\r\n"); return err == nil && s == "+PONG" }
	observeBoth(t, argv, serve, func(t *testing.T, o *Observation) {
		checkServer(t, o, 1, []string{"bio_aof_fsync", "bio_close_file", "bio_lazy_free", "jemalloc_bg_thd", "redis-server"})
	})
}
