package proc

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be the tracer that is killed.
func TestMain(m *testing.M) {
	if v := os.Getenv("PROC_TEST_VICTIM"); v != "" {
		pid, _ := strconv.Atoi(v)
		traceForever(pid)
	}
	os.Exit(m.Run())
}

// traceForever stops and resumes all threads of a process, holds one of them stopped most of the time, and never ends.
func traceForever(pid int) {
	tr := NewTracer(nil)
	err := tr.Do(func(c *Conn) error {
		if err := c.SeizeProcess(pid, Follow); err != nil {
			return err
		}
		for i := 0; ; i++ {
			for _, tid := range c.Tracees(pid) {
				if err := c.Stop(tid); err != nil {
					return err
				}
				if i == 5 {
					fmt.Println("tracing")
				}
				time.Sleep(time.Millisecond)
				if err := c.Resume(tid); err != nil {
					return err
				}
			}
		}
	})
	fmt.Println(err)
	os.Exit(1)
}

// TestTracerKilled: a tracer that is killed at any moment leaves nobody stopped or traced. At most the one thread that it
// was just stopping sees its call interrupted.
func TestTracerKilled(t *testing.T) {
	victim, out := launch(t, build(t, "epoll.c"))
	pid := victim.Process.Pid
	eventually(t, "four threads", func() bool { tids, _ := Tasks(pid); return len(tids) == 4 })
	const kills = 5
	for i := range kills {
		tracer := exec.Command(os.Args[0])
		tracer.Env = append(os.Environ(), fmt.Sprintf("PROC_TEST_VICTIM=%d", pid))
		pipe, err := tracer.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := tracer.Start(); err != nil {
			t.Fatal(err)
		}
		if line, _ := bufio.NewReader(pipe).ReadString('\n'); line != "tracing\n" {
			t.Fatalf("tracer says %q", line)
		}
		time.Sleep(time.Duration(i*700) * time.Microsecond)
		tracer.Process.Kill()
		tracer.Wait()
		eventually(t, "all threads are free", func() bool {
			tids, _ := Tasks(pid)
			for _, tid := range tids {
				if st, err := ReadStatus(tid); err != nil || st.TracerPID != 0 || st.State == 't' {
					return false
				}
			}
			return len(tids) == 4
		})
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	line, _ := out.ReadString('\n')
	var eintr int
	if _, err := fmt.Sscanf(line, "eintr %d signals 0 rounds 1 spins 1\n", &eintr); err != nil || eintr > kills {
		t.Errorf("victim saw %q", line)
	}
}

// multiply starts a fixture that is not our child and makes threads and processes; it returns its id once that has begun,
// and a function that ends it. Arguments are those of churn.c.
func multiply(t *testing.T, args ...string) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", `sh -c 'echo $$; exec "$0" "$@"' "$0" "$@" & wait`, build(t, "churn.c")}, args...)...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(pipe)
	line, _ := r.ReadString('\n')
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if line, _ = r.ReadString('\n'); line != "ready\n" {
		t.Fatalf("fixture says %q", line)
	}
	return pid, func() {
		unix.Kill(pid, unix.SIGTERM)
		cmd.Wait()
	}
}

// TestSeizeOurs: a thread that the kernel has attached to us already, unnoticed so far, can be seized like any other.
func TestSeizeOurs(t *testing.T) {
	pid, end := multiply(t, "quiet")
	defer end()
	tr := NewTracer(nil)
	defer tr.Close()
	err := tr.Do(func(c *Conn) error {
		if err := c.Seize(pid, Follow); err != nil {
			return err
		}
		for late := time.Now().Add(time.Minute); time.Now().Before(late); time.Sleep(time.Millisecond) {
			tids, err := Tasks(pid)
			if err != nil {
				return err
			}
			for _, tid := range tids {
				if st, err := ReadStatus(tid); err == nil && tid != pid && st.TracerPID == unix.Gettid() {
					return c.Seize(tid, Follow)
				}
			}
		}
		return fmt.Errorf("no new thread")
	})
	if err != nil {
		t.Error(err)
	}
}

// TestChurn seizes a process that makes threads and processes all the time: everything is caught, every maker is reported
// before what it made, nothing stays behind.
func TestChurn(t *testing.T) {
	for range 3 {
		pid, end := multiply(t)
		known := make(map[int]bool) // tasks that were announced
		early, made, done := 0, 0, make(chan int, 1)
		tr := NewTracer(func(c *Conn, ev Event) Verdict {
			switch {
			case ev.Child != 0:
				known[ev.Child] = true
				if made++; made == 100 {
					unix.Kill(pid, unix.SIGTERM)
				}
			case ev.New:
				if !known[ev.TID] {
					early++
				}
			case ev.Gone() && ev.TID == pid:
				done <- ev.Code
			}
			return Resume
		})
		if err := tr.Do(func(c *Conn) error { return c.SeizeProcess(pid, Follow) }); err != nil {
			tr.Close()
			end()
			t.Fatal(err)
		}
		select {
		case code := <-done:
			if code != 9 {
				t.Errorf("exit status %d", code)
			}
		case <-time.After(time.Minute):
			t.Error("the fixture does not end")
		}
		_ = tr.Do(func(c *Conn) error {
			if early > 0 || made < 100 {
				t.Errorf("%d of %d tasks reported before they were made", early, made)
			}
			return nil
		})
		tr.Close()
		end()
	}
}
