package attach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"syspart/internal/image"
	"syspart/internal/proc"
	"syspart/internal/testbin"
)

// waitFiltered waits until every thread of the fixture carries its own filter.
func waitFiltered(t *testing.T, f *fixture) {
	t.Helper()
	p := planFor(t, f.bin, f.pid)
	tids := f.counters("tids")
	tids["main"] = f.pid
	for name, tid := range tids {
		eventually(t, "filter of "+name, func() bool {
			st, err := proc.ReadStatus(tid)
			if err != nil {
				t.Fatal(err)
			}
			return st.Seccomp == 2
		})
		if os.Geteuid() == 0 {
			carries(t, f.pid, tid, kind(t, p, name))
		}
	}
}

func TestWatch(t *testing.T) {
	needReadback(t)
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	var kinds []string
	borrowed := 0
	type outcome struct {
		res *Result
		err error
	}
	end := make(chan outcome, 1)
	go func() {
		res, err := Watch(t.Context(), f.pid, p, Options{Report: func(th Thread) {
			switch {
			case th.Status == Installed:
				kinds = append(kinds, th.Kind)
			case th.Status == Already && th.Kind == "main": // the child, before its loop
				borrowed++
			default:
				t.Errorf("%+v", th)
			}
		}})
		end <- outcome{res, err}
	}()
	waitFiltered(t, f)

	child, err := strconv.Atoi(f.ask("fork"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "filter of the child", func() bool {
		st, err := proc.ReadStatus(child)
		return err == nil && st.SeccompFilters == 2
	})
	// A process that executes another program is left alone: it has what it inherited.
	other, err := strconv.Atoi(f.ask("spawn " + testbin.Need(t, "sleep", "coreutils")))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "another program", func() bool { exe, _, err := proc.Exe(other); return err == nil && strings.HasSuffix(exe, "sleep") })
	f.progressing()
	f.unharmed()
	f.free(f.pid)
	if st, err := proc.ReadStatus(other); err != nil || st.SeccompFilters != 1 || st.TracerPID != 0 {
		t.Errorf("other program: %+v, %v", st, err)
	}
	unix.Kill(other, unix.SIGKILL)
	unix.Kill(child, unix.SIGKILL)
	f.in.Write([]byte("exit 0\n"))
	f.cmd.Wait()
	o := <-end
	if o.err != nil {
		t.Fatal(o.err)
	}
	if n := o.res.Count(Installed); n != 13 {
		t.Errorf("%d threads installed: %+v", n, o.res.Threads)
	}
	if borrowed != 1 && borrowed != 2 { // the other one: what was spawned, before it executed its program
		t.Errorf("the child was seen %d times in its maker's loop", borrowed)
	}
	slices.Sort(kinds)
	if got := strings.Join(kinds, " "); got != "child epoll epollt futex futext main poll ppoll read select sleep spin suspend" {
		t.Errorf("reported: %s", got)
	}
}

// TestWatchEnds: the end of the context is no error, and nothing is left traced.
func TestWatchEnds(t *testing.T) {
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	ctx, cancel := context.WithCancel(t.Context())
	first := true
	res, err := Watch(ctx, f.pid, p, Options{Report: func(Thread) {
		if first {
			cancel()
		}
		first = false
	}})
	if err != nil || res.Count(Installed) == 0 {
		t.Errorf("%+v, %v", res, err)
	}
	f.free(f.pid)
	f.progressing()
	f.unharmed()
}

// underRun starts a command under Run, in a process of its own.
func underRun(t *testing.T, argv ...string) (*exec.Cmd, *bytes.Buffer) {
	bin := buildThreads(t)
	cmd := exec.Command("/proc/self/exe", argv...)
	cmd.Env = append(os.Environ(), helperEnv+"=run "+bin)
	cmd.WaitDelay = eventuallyTimeout // the command's own children may hold the stream
	var text bytes.Buffer
	cmd.Stderr = &text
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("standard error:\n%s", &text)
		}
	})
	return cmd, &text
}

func TestRun(t *testing.T) {
	bin := buildThreads(t)
	cmd, text := underRun(t, bin)
	f := drive(t, bin, cmd)
	pid, err := strconv.Atoi(f.ask("pid"))
	if err != nil {
		t.Fatal(err)
	}
	f.pid = pid
	waitFiltered(t, f)
	child, err := strconv.Atoi(f.ask("fork"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "filter of the child", func() bool { st, err := proc.ReadStatus(child); return err == nil && st.SeccompFilters == 2 })
	for range 3 {
		before := f.counters("status")["handled"]
		if err := cmd.Process.Signal(unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the signal arrives", func() bool { return f.counters("status")["handled"] == before+1 })
	}
	f.free(pid)
	f.progressing()
	f.unharmed("eintr.") // of SIGUSR1
	unix.Kill(child, unix.SIGKILL)
	f.in.Write([]byte("exit 42\n"))
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 42 || !strings.Contains(text.String(), "end: <nil>") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestRunBackground: a server that goes into the background is watched until it ends.
func TestRunBackground(t *testing.T) {
	bin := buildThreads(t)
	cmd, text := underRun(t, "sh", "-c", "exec 3<&0; "+bin+" <&3 & exit 7")
	f := drive(t, bin, cmd)
	pid, err := strconv.Atoi(f.ask("pid"))
	if err != nil {
		t.Fatal(err)
	}
	f.pid = pid
	waitFiltered(t, f)
	if st, err := proc.ReadStat(pid); err != nil || st.PPID != cmd.Process.Pid {
		t.Errorf("parent is %+v, %v", st, err)
	}
	before := f.counters("status")["handled"]
	if err := cmd.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the signal arrives", func() bool { return f.counters("status")["handled"] == before+1 })
	f.in.Write([]byte("exit 3\n"))
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 7 || !strings.Contains(text.String(), "end: <nil>") {
		t.Errorf("%v\n%s", cmd.ProcessState, text)
	}
}

func TestRunStatus(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		argv   []string
		status int
		want   string
	}{
		{"ends", []string{"sh", "-c", "exit 5"}, 5, ErrNeverInside.Error()},
		{"killed", []string{"sh", "-c", "kill -9 $$"}, 128 + 9, ErrNeverInside.Error()},
		{"not found", []string{"no-such-program"}, 127, "no-such-program: no such file"},
		{"no such path", []string{filepath.Join(dir, "x")}, 127, "no such file"},
		{"not executable", []string{plain}, 126, "permission denied"},
		{"a directory", []string{dir}, 126, ""},
		{"nothing", nil, 127, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd, text := underRun(t, c.argv...)
			cmd.Run()
			if cmd.ProcessState.ExitCode() != c.status || !strings.Contains(text.String(), c.want) {
				t.Errorf("%v\n%s", cmd.ProcessState, text)
			}
		})
	}
}

// TestRunCancelled: when the context ends, the command is asked to end.
func TestRunCancelled(t *testing.T) {
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	status, err := Run(ctx, []string{"sleep", "60"}, nil, p, Options{})
	if status != 128+int(unix.SIGTERM) || !errors.Is(err, ErrNeverInside) {
		t.Errorf("%d, %v", status, err)
	}
}

// TestNeverInside: where no thread is in a loop of the plan, it is said where they all are.
func TestNeverInside(t *testing.T) {
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	var names []string
	for i := range p.Kinds {
		names = append(names, p.Kinds[i].Name)
		p.Kinds[i].Loop = []image.Range{{Start: 1, End: 2}}
	}
	a, err := newAgent(p, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	w := newWatcher(a, f.pid, &Options{})
	tids, err := proc.Tasks(f.pid)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "every thread was looked at", func() bool {
		w.round(t.Context())
		for _, tid := range tids {
			if w.threads[tid] == nil || len(w.threads[tid].Stack) == 0 {
				return false
			}
		}
		return true
	})
	// Also of those that have ended.
	f.cmd.Process.Kill()
	f.cmd.Wait()
	w.round(t.Context())
	w.round(t.Context())
	err = neverInside(w)
	if !errors.Is(err, ErrNeverInside) || !strings.Contains(err.Error(), strings.Join(names, ", ")) {
		t.Errorf("%v", err)
	}
	for _, tid := range tids[:min(len(tids), maxOutside)] {
		if want := fmt.Sprintf("thread %d (", tid); !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	if !strings.Contains(err.Error(), filepath.Base(f.bin)+"+0x") {
		t.Errorf("no place in the program: %v", err)
	}
}
