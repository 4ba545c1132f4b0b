package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStopIsInvisible stops every thread of a waiting process many times: no call may fail with EINTR, no thread may stay
// stopped, signals sent meanwhile must arrive.
func TestStopIsInvisible(t *testing.T) {
	cmd, out := launch(t, build(t, "epoll.c"))
	pid := cmd.Process.Pid
	eventually(t, "four threads", func() bool { tids, _ := Tasks(pid); return len(tids) == 4 })
	tr := NewTracer(nil)
	defer tr.Close()
	if err := tr.Do(func(c *Conn) error { return c.SeizeProcess(pid, Follow) }); err != nil {
		t.Fatal(err)
	}
	const rounds, signals = 50, 10
	for i := range rounds {
		err := tr.Do(func(c *Conn) error {
			for _, tid := range c.Tracees(pid) {
				if err := c.Stop(tid); err != nil {
					return err
				}
				if s := state(tid); s != 't' {
					return fmt.Errorf("stopped thread is in state %c", s)
				}
				if r, err := c.GetRegs(tid); err != nil || r.Rip == 0 {
					return fmt.Errorf("registers %v %v", r, err)
				}
				if err := c.Resume(tid); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if i%(rounds/signals) == 0 {
			if err := unix.Kill(pid, unix.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			// Equal signals merge while pending: wait until it has been taken.
			eventually(t, "signal taken", func() bool {
				st, err := ReadStatus(pid)
				return err == nil && st.SharedPending == 0 && st.State == 'S'
			})
		}
	}
	tr.Close()
	eventually(t, "no thread stopped", func() bool {
		tids, _ := Tasks(pid)
		for _, tid := range tids {
			st, err := ReadStatus(tid)
			if err != nil || st.State == 't' || st.State == 'T' || st.TracerPID != 0 {
				return false
			}
		}
		return len(tids) == 4
	})
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	line, _ := out.ReadString('\n')
	if want := fmt.Sprintf("eintr 0 signals %d rounds 1 spins 1\n", signals); line != want {
		t.Errorf("fixture saw %q, want %q", line, want)
	}
}

// TestGroupStop: a stop signal stops a traced process as it does any, also while its threads are being stopped by us, and
// SIGCONT continues it.
func TestGroupStop(t *testing.T) {
	cmd, _ := launch(t, build(t, "epoll.c"))
	pid := cmd.Process.Pid
	tr := NewTracer(nil)
	defer tr.Close()
	if err := tr.Do(func(c *Conn) error { return c.SeizeProcess(pid, Follow) }); err != nil {
		t.Fatal(err)
	}
	spinner := func() int { tids, _ := Tasks(pid); return tids[len(tids)-1] }
	eventually(t, "spinning", func() bool { return state(spinner()) == 'R' })
	for range 3 {
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "stopped", func() bool { return state(spinner()) == 't' })
		if err := tr.Do(func(c *Conn) error {
			if err := c.Stop(spinner()); err != nil {
				return err
			}
			return c.Resume(spinner())
		}); err != nil {
			t.Fatal(err)
		}
		stopped := func() bool {
			for range 5 {
				_ = tr.Do(func(c *Conn) error { c.Poll(); return nil })
				if s := state(spinner()); s != 't' && s != 'T' {
					return false
				}
			}
			return true
		}
		// One that was about to take the signal has to run for that.
		eventually(t, "stopped after Resume in a group stop", stopped)
		ticks := cpu(t, pid)
		if !stopped() {
			t.Errorf("a stopped thread runs")
		}
		if now := cpu(t, pid); now != ticks {
			t.Errorf("a stopped process has used %d ticks", now-ticks)
		}
		if err := unix.Kill(pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		eventually(t, "continued", func() bool { return state(spinner()) == 'R' })
	}
	// A process in a group stop stays in it when we go, and is nobody's tracee.
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "stopped", func() bool { return state(spinner()) == 't' })
	tr.Close()
	eventually(t, "stopped as usual", func() bool { return state(spinner()) == 'T' })
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "continued", func() bool { return state(spinner()) == 'R' })
}

// cpu returns the user and system time of a process in ticks.
func cpu(t *testing.T, pid int) (n int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var u, s int
	fmt.Sscan(f[11], &u)
	fmt.Sscan(f[12], &s)
	return u + s
}

// TestStart follows a small tree from its first instruction to its end.
func TestStart(t *testing.T) {
	bin := build(t, "tree.c")
	null := devnull(t)
	var mu sync.Mutex
	count := make(map[EventKind]int)
	codes := make(map[int]int) // exit status by process
	execs := []string{}
	done := make(chan int, 1)
	root := 0
	tr := NewTracer(func(c *Conn, ev Event) Verdict {
		mu.Lock()
		defer mu.Unlock()
		count[ev.Kind]++
		if ev.Kind == EventSignal && ev.Signal == unix.SIGCONT {
			t.Error("the signal of the hand-over reached the program")
		}
		if ev.Kind == EventExec {
			p, _, err := Exe(ev.PID)
			execs = append(execs, fmt.Sprint(filepath.Base(p), err))
		}
		if ev.Kind == EventExited && ev.TID == ev.PID {
			codes[ev.Code]++
			if ev.PID == root {
				done <- ev.Code
			}
		}
		return Resume
	})
	defer tr.Close()
	err := tr.Do(func(c *Conn) error {
		pid, err := c.Start(&Command{Path: bin, Args: []string{"tree"}, Files: []*os.File{null, null, null}, Options: Follow | KillOnExit})
		if err != nil {
			return err
		}
		mu.Lock()
		root = pid
		mu.Unlock()
		if exe, _, err := Exe(pid); err != nil || exe != bin {
			return fmt.Errorf("stopped in %s, %v", exe, err)
		}
		return c.Resume(pid)
	})
	if err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != 5 {
		t.Errorf("exit status %d, want 5", code)
	}
	mu.Lock()
	defer mu.Unlock()
	for k, want := range map[EventKind]int{EventClone: 1, EventFork: 1, EventVfork: 1, EventExec: 1, EventStop: 3, EventExited: 4} {
		if count[k] != want {
			t.Errorf("%d events %s, want %d (%v)", count[k], k, want, count)
		}
	}
	if codes[3] != 1 || codes[0] != 1 || codes[5] != 1 {
		t.Errorf("exit status of processes: %v", codes)
	}
	if len(execs) != 1 || execs[0] != "true<nil>" {
		t.Errorf("execs %q", execs)
	}
}

// TestCloseKeepsAlive: a started program lives on when its tracer is closed, KillOnExit or not.
func TestCloseKeepsAlive(t *testing.T) {
	bin := build(t, "epoll.c")
	for _, opt := range []int{Follow, Follow | KillOnExit} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		null := devnull(t)
		tr := NewTracer(nil)
		var pid int
		err = tr.Do(func(c *Conn) (err error) {
			if pid, err = c.Start(&Command{Path: bin, Args: []string{"epoll"}, Files: []*os.File{null, w, null}, Options: opt}); err != nil {
				return err
			}
			return c.Resume(pid)
		})
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, _ := r.Read(buf)
		if string(buf[:n]) != "ready\n" {
			t.Fatalf("fixture says %q", buf[:n])
		}
		tr.Close()
		if err := tr.Do(func(*Conn) error { return nil }); !errors.Is(err, ErrClosed) {
			t.Errorf("Do after Close: %v", err)
		}
		for range 10 {
			tids, err := Tasks(pid)
			if err != nil {
				t.Fatalf("options %#x: %v", opt, err)
			}
			for _, tid := range tids {
				if st, err := ReadStatus(tid); err != nil || st.TracerPID != 0 || st.State == 'Z' || st.State == 't' {
					t.Fatalf("options %#x: thread after Close: %+v %v", opt, st, err)
				}
			}
		}
		if err := unix.Kill(pid, unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		n, _ = r.Read(buf)
		if !strings.HasPrefix(string(buf[:n]), "eintr 0 ") {
			t.Errorf("options %#x: fixture saw %q", opt, buf[:n])
		}
		var ws unix.WaitStatus
		for {
			if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
				break
			}
		}
		if ws.ExitStatus() != 7 {
			t.Errorf("exit status %d", ws.ExitStatus())
		}
		r.Close()
	}
}

func TestErrors(t *testing.T) {
	tr := NewTracer(nil)
	defer tr.Close()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip("missing: true")
	}
	gone := cmd.Process.Pid
	if err := tr.Do(func(c *Conn) error { return c.SeizeProcess(gone, 0) }); !errors.Is(err, ErrGone) {
		t.Errorf("seize of a vanished process: %v", err)
	}
	if err := tr.Do(func(c *Conn) error { return c.Stop(gone) }); !errors.Is(err, ErrNotTraced) {
		t.Errorf("stop of a stranger: %v", err)
	}
	if _, err := ReadMaps(gone); !errors.Is(err, ErrGone) {
		t.Errorf("maps of a vanished process: %v", err)
	}
	for path, want := range map[string]int{"/nonexistent": 127, "/etc/passwd": 126, "/etc": 126} {
		err := tr.Do(func(c *Conn) error {
			_, err := c.Start(&Command{Path: path, Args: []string{path}})
			return err
		})
		if err == nil || LaunchStatus(err) != want {
			t.Errorf("start %s: %v, status %d, want %d", path, err, LaunchStatus(err), want)
		}
	}
	// A second tracer is refused, and the error names the first.
	victim, _ := launch(t, build(t, "epoll.c"))
	pid := victim.Process.Pid
	if err := tr.Do(func(c *Conn) error { return c.SeizeProcess(pid, 0) }); err != nil {
		t.Fatal(err)
	}
	other := NewTracer(nil)
	defer other.Close()
	err := other.Do(func(c *Conn) error { return c.SeizeProcess(pid, 0) })
	var te *TracedError
	if !errors.As(err, &te) || te.Tracer != os.Getpid() || !errors.Is(err, ErrPermission) {
		t.Errorf("second tracer: %v", err)
	}
}

// TestFilters reads back a filter that a child installed.
func TestFilters(t *testing.T) {
	cmd, _ := launch(t, build(t, "filter.c"))
	pid := cmd.Process.Pid
	tr := NewTracer(nil)
	defer tr.Close()
	var got [][]unix.SockFilter
	err := tr.Do(func(c *Conn) (err error) {
		if err = c.Seize(pid, 0); err != nil {
			return err
		}
		if err = c.Stop(pid); err != nil {
			return err
		}
		if got, err = c.Filters(pid); err != nil {
			return err
		}
		return c.Detach(pid)
	})
	if errors.Is(err, ErrPermission) {
		t.Skip("missing: CAP_SYS_ADMIN")
	}
	if err != nil {
		t.Fatal(err)
	}
	const errno, allow = unix.SECCOMP_RET_ERRNO, unix.SECCOMP_RET_ALLOW
	if len(got) != 2 || len(got[0]) != 4 || len(got[1]) != 1 || got[1][0].K != allow || got[0][2].K != errno|38 {
		t.Errorf("filters %v", got)
	}
}
