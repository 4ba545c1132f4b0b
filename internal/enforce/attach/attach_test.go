package attach

import (
	"context"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/proc"
	"syspart/internal/testbin"
)

// TestStub compares the machine code with what the assembler makes of its source.
func TestStub(t *testing.T) {
	cc := testbin.Need(t, "gcc", "gcc")
	dir := t.TempDir()
	src, obj := filepath.Join(dir, "stub.s"), filepath.Join(dir, "stub.o")
	if err := os.WriteFile(src, []byte(".intel_syntax noprefix\n.text\n"+stubText), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-c", "-o", obj, src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := elf.Open(obj)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(stub, want) {
		t.Errorf("code is % x\nwant    % x", stub, want)
	}
	if got := stub[stubSyscallEnd-2 : stubSyscallEnd]; !slices.Equal(got, []byte{0x0f, 0x05}) {
		t.Errorf("stubSyscallEnd is not behind the syscall instruction")
	}
	if n := len(frame(&unix.PtraceRegs{}, 0, 0, make([]call, maxCalls))); n > 400 {
		t.Errorf("%d bytes of stack", n)
	}
}

func TestSelfResume(t *testing.T) {
	sys, int80 := [2]byte{0x0f, 0x05}, [2]byte{0xcd, 0x80}
	neg := func(n int64) uint64 { return uint64(-n) }
	for _, c := range []struct {
		name     string
		orig     uint64
		rax      uint64
		entry    [2]byte
		rip, res uint64
		fails    bool
	}{
		{"not in a call", ^uint64(0), neg(512), sys, 1000, neg(512), false},
		{"finished", 0, 5, sys, 1000, 5, false},
		{"failed", 0, neg(4), sys, 1000, neg(4), false},
		{"ERESTARTSYS", 0, neg(512), sys, 998, 0, false},
		{"ERESTARTNOINTR", 61, neg(513), sys, 998, 61, false},
		{"ERESTARTNOHAND", 232, neg(514), sys, 998, 232, false},
		{"ERESTART_RESTARTBLOCK", 35, neg(516), sys, 998, 219, false},
		{"int 0x80", 162, neg(516), int80, 998, 0, false},
		{"sysenter", 3, neg(512), [2]byte{0x0f, 0x34}, 0, 0, true},
	} {
		rip, res, err := selfResume(&unix.PtraceRegs{Rip: 1000, Rax: c.rax, Orig_rax: c.orig}, c.entry)
		if rip != c.rip || res != c.res || errors.Is(err, ErrThread) != c.fails {
			t.Errorf("%s: resumes at %d with %d, %v", c.name, rip, int64(res), err)
		}
	}
}

// TestAttach installs in every thread, checks the filters with the kernel, and that nobody noticed.
func TestAttach(t *testing.T) {
	needReadback(t)
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	res, err := Attach(t.Context(), f.pid, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	tids := f.counters("tids")
	tids["main"] = f.pid
	if len(res.Threads) != len(tids) || res.Count(Installed) != len(tids) {
		t.Fatalf("%d threads, outcome %+v", len(tids), res.Threads)
	}
	for name, tid := range tids {
		i := slices.IndexFunc(res.Threads, func(th Thread) bool { return th.TID == tid })
		if i < 0 || res.Threads[i].Kind != name || res.Threads[i].Status != Installed || res.Threads[i].PID != f.pid {
			t.Errorf("%s: %+v", name, res.Threads)
			continue
		}
		carries(t, f.pid, tid, kind(t, p, name))
	}
	f.free(f.pid)
	f.progressing()
	f.unharmed()

	// Again: nothing to do, and nothing done.
	res, err = Attach(t.Context(), f.pid, p, Options{})
	if err != nil || res.Count(Already) != len(tids) {
		t.Errorf("second time: %v", err)
		for _, th := range res.Threads {
			if th.Status != Already {
				t.Errorf("second time: %+v", th)
			}
		}
	}
	for name, tid := range tids {
		carries(t, f.pid, tid, kind(t, p, name))
	}

	// A child inherits its maker's filter and adds its own.
	child, err := strconv.Atoi(f.ask("fork"))
	if err != nil {
		t.Fatal(err)
	}
	filters, err := ReadFilters(child, child)
	if err != nil || len(filters) != 1 || !filters[0].Equal(kind(t, p, "main").Filter) {
		t.Errorf("child: %d filters, %v", len(filters), err)
	}
	eventually(t, "the child in its loop", func() bool {
		s, err := proc.ReadSyscall(child, child)
		return err == nil && s.Nr == unix.SYS_PAUSE
	})
	res, err = Attach(t.Context(), f.pid, p, Options{})
	if err != nil || res.Count(Installed) != 1 || res.Count(Already) != len(tids) {
		t.Errorf("with a child: %+v, %v", res, err)
	}
	filters, err = ReadFilters(child, child)
	if err != nil || len(filters) != 2 || !filters[0].Equal(kind(t, p, "child").Filter) {
		t.Errorf("child: %d filters, %v", len(filters), err)
	}
	f.free(child)
	f.unharmed()

	// What is closed kills.
	if r := f.ask("call " + strconv.Itoa(number("getpid"))); r != strconv.Itoa(f.pid) {
		t.Errorf("getpid says %s", r)
	}
	f.in.Write([]byte("call " + strconv.Itoa(number("mount")) + "\n"))
	if err := f.cmd.Wait(); err == nil || !strings.Contains(err.Error(), "bad system call") {
		t.Errorf("after mount: %v", err)
	}
	unix.Kill(child, unix.SIGKILL)
}

// TestAttachSpares: a thread whose stack below the loop is not the planned one is left alone.
func TestAttachSpares(t *testing.T) {
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	tids := f.counters("tids")
	for _, name := range []string{"read", "sleep"} {
		frames := stackOf(t, f.pid, tids[name])
		k, at := p.Match(frames)
		if k == nil || k.Name != name {
			t.Fatalf("%s: stack %+v matches %v", name, frames, k)
		}
		k.Bottom = true
		for _, fr := range frames[at+1:] {
			k.Stack = append(k.Stack, enforce.Frame{Module: fr.Module, PC: fr.PC})
		}
		if name == "sleep" {
			k.Stack[0].PC++
		}
	}
	res, err := Attach(t.Context(), f.pid, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, th := range res.Threads {
		want := Installed
		if th.TID == tids["sleep"] {
			want = Outside
		}
		if th.Status != want {
			t.Errorf("thread %d (%s): %s, %s", th.TID, th.Kind, th.Status, th.Why())
		}
	}
	if st, err := proc.ReadStatus(tids["sleep"]); err != nil || st.Seccomp != 0 || st.NoNewPrivs {
		t.Errorf("spared thread: %+v, %v", st, err)
	}
	f.progressing()
	f.unharmed()
}

// TestInjectUnnoticed makes calls in all threads many times, with signals in between.
func TestInjectUnnoticed(t *testing.T) {
	f := startThreads(t)
	tids := f.counters("tids")
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		for name, tid := range tids {
			ret, err := Inject(f.pid, tid, unix.SYS_GETTID)
			if err != nil || ret != int64(tid) {
				t.Fatalf("%s: gettid is %d, %v", name, ret, err)
			}
		}
	}
	if ret, err := Inject(f.pid, f.pid, unix.SYS_CLOSE, 9999); err != nil || ret != -int64(unix.EBADF) {
		t.Errorf("close: %d, %v", ret, err)
	}
	f.free(f.pid)
	f.progressing()
	f.unharmed()
}

// TestSignalsArrive: while calls are made in threads that wait for signals, every signal arrives and ends the wait.
func TestSignalsArrive(t *testing.T) {
	f := startThreads(t)
	tids := f.counters("tids")
	const sig = unix.Signal(34) // SIGRTMIN: queued, so that each one counts
	least := 200                // calls made meanwhile
	if testing.Short() {
		least = 20
	}
	sent, enough := make(chan error, 1), make(chan struct{})
	n := 0
	go func() {
		for ; ; n++ {
			select {
			case <-enough:
				sent <- nil
				return
			default:
			}
			for _, name := range []string{"suspend", "ppoll"} {
				if err := unix.Tgkill(f.pid, tids[name], sig); err != nil {
					sent <- err
					return
				}
			}
			time.Sleep(500 * time.Microsecond)
		}
	}()
	for made := 0; made < least; {
		for _, name := range []string{"suspend", "ppoll"} {
			ret, err := Inject(f.pid, tids[name], unix.SYS_GETTID)
			switch {
			case err == nil && ret == int64(tids[name]):
				made++
			case !errors.Is(err, errAgain):
				t.Fatalf("%s: %d, %v", name, ret, err)
			}
		}
	}
	close(enough)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	eventually(t, "every signal is handled and its wait ended", func() bool {
		c := f.counters("status")
		if c["handled"] > 2*n {
			t.Fatalf("%d signals handled, %d sent", c["handled"], 2*n)
		}
		return c["handled"] == 2*n && c["seen.suspend"] == n && c["seen.ppoll"] == n
	})
	f.unharmed()
}

// TestStoppedProcess: a process stopped by SIGSTOP gets its filters, and stays stopped.
func TestStoppedProcess(t *testing.T) {
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	var res *Result
	// The stop may find a thread on its way between two rounds of its loop, where it has no filter to get.
	for range 50 {
		if err := unix.Kill(f.pid, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "stopped", func() bool { st, err := proc.ReadStatus(f.pid); return err == nil && st.State == 'T' })
		var err error
		if res, err = Attach(t.Context(), f.pid, p, Options{}); err != nil {
			t.Fatal(err)
		}
		if res.Count(Installed)+res.Count(Already) == len(res.Threads) {
			break
		}
		if err := unix.Kill(f.pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if res.Count(Installed)+res.Count(Already) != len(res.Threads) {
		t.Errorf("%+v", res)
	}
	for _, th := range res.Threads {
		eventually(t, "stopped again", func() bool { st, err := proc.ReadStatus(th.TID); return err == nil && st.State == 'T' })
	}
	if err := unix.Kill(f.pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	f.progressing()
	f.unharmed("eintr.") // SIGCONT interrupts, too: epoll_wait says EINTR
}

func TestAttachErrors(t *testing.T) {
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)

	t.Run("vanished", func(t *testing.T) {
		cmd := exec.Command("true")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pid := cmd.ProcessState.Pid()
		if _, err := Attach(t.Context(), pid, p, Options{}); !isGone(err) {
			t.Errorf("Attach: %v", err)
		}
		if _, err := Watch(t.Context(), pid, p, Options{}); !isGone(err) {
			t.Errorf("Watch: %v", err)
		}
		if _, err := Inject(pid, pid, unix.SYS_GETPID); !isGone(err) {
			t.Errorf("Inject: %v", err)
		}
		if _, err := ReadFilters(pid, pid); !isGone(err) {
			t.Errorf("ReadFilters: %v", err)
		}
	})
	t.Run("zombie", func(t *testing.T) {
		cmd := exec.Command("true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		eventually(t, "zombie", func() bool { st, err := proc.ReadStatus(cmd.Process.Pid); return err == nil && st.State == 'Z' })
		if _, err := Attach(t.Context(), cmd.Process.Pid, p, Options{}); !isGone(err) {
			t.Errorf("Attach: %v", err)
		}
	})
	t.Run("another program", func(t *testing.T) {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
		_, err := Attach(t.Context(), cmd.Process.Pid, p, Options{})
		var e *ProgramError
		if !errors.As(err, &e) || !errors.Is(err, ErrProgram) || e.Wants != f.bin || !strings.HasSuffix(e.Exe, "sleep") {
			t.Errorf("Attach: %v", err)
		}
	})
	t.Run("another build", func(t *testing.T) {
		q := *p
		q.Modules = slices.Clone(p.Modules)
		i := slices.IndexFunc(q.Modules, func(m enforce.PlanModule) bool { return strings.Contains(m.Path, "libc.so") })
		q.Modules[i].SHA256 = strings.Repeat("0", 64)
		_, err := Attach(t.Context(), f.pid, &q, Options{})
		var e *enforce.ModuleError
		if !errors.As(err, &e) || e.Path != q.Modules[i].Path {
			t.Errorf("Attach: %v", err)
		}
		q.Modules = slices.Delete(q.Modules, i, i+1)
		if _, err := Attach(t.Context(), f.pid, &q, Options{}); !errors.Is(err, enforce.ErrModule) || !strings.Contains(err.Error(), "not in the plan") {
			t.Errorf("Attach with a module less: %v", err)
		}
	})
	t.Run("traced", func(t *testing.T) {
		tr := proc.NewTracer(nil)
		defer tr.Close()
		if err := tr.Do(func(c *proc.Conn) error { return c.SeizeProcess(f.pid, 0) }); err != nil {
			t.Fatal(err)
		}
		_, err := Attach(t.Context(), f.pid, p, Options{})
		var e *proc.TracedError
		if !errors.As(err, &e) || e.Tracer != os.Getpid() {
			t.Errorf("Attach: %v", err)
		}
	})
	t.Run("permission", func(t *testing.T) {
		testbin.NeedRoot(t)
		// The test program again, by a path that nobody can use, too: it may not trace a process of root.
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), helperEnv+"=inject "+strconv.Itoa(f.pid))
		cmd.SysProcAttr = asNobody()
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "not permitted") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Attach(ctx, f.pid, p, Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("Attach: %v", err)
		}
	})
	if st, err := proc.ReadStatus(f.pid); err != nil || st.Seccomp != 0 {
		t.Errorf("the fixture has a filter: %+v, %v", st, err)
	}
	f.free(f.pid)
	f.unharmed()
}

// TestForeignFilter: a thread whose filter denies prctl is not made to call it.
func TestForeignFilter(t *testing.T) {
	needReadback(t)
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	for i := range p.Kinds {
		p.Kinds[i].Allow.Remove(unix.SYS_PRCTL)
	}
	if err := p.Compile(); err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(t.Context(), f.pid, p, Options{}); err != nil {
		t.Fatal(err)
	}
	res, err := Attach(t.Context(), f.pid, planFor(t, f.bin, f.pid), Options{})
	if err != nil || res.Count(Failed) != len(res.Threads) {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, th := range res.Threads {
		if !errors.Is(th.Err, ErrForeignFilter) || !strings.Contains(th.Why(), "prctl") && !strings.Contains(th.Why(), "mmap") {
			t.Errorf("%+v", th)
		}
	}
	f.progressing()
	f.unharmed()
}

// TestInjectKills: a closed call works before the filter is there and kills afterwards.
func TestInjectKills(t *testing.T) {
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	tid := f.counters("tids")["epoll"]
	mount := number("mount")
	if ret, err := Inject(f.pid, tid, mount); err != nil || ret >= 0 {
		t.Fatalf("before: %d, %v", ret, err)
	}
	if _, err := Attach(t.Context(), f.pid, p, Options{}); err != nil {
		t.Fatal(err)
	}
	_, err := Inject(f.pid, tid, mount)
	var k *KilledError
	if !errors.As(err, &k) || k.Signal != unix.SIGSYS || k.Nr != mount {
		t.Errorf("after: %v", err)
	}
	// We are both the parent and the tracer, which may have seen the end already.
	if err := f.cmd.Wait(); !errors.Is(err, unix.ECHILD) && (err == nil || !strings.Contains(err.Error(), "bad system call")) {
		t.Errorf("fixture: %v", err)
	}
}
