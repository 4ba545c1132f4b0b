package attach

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/observe"
	"syspart/internal/proc"
)

// helperEnv makes the test program do something else: "inject PID" makes one call in a process and prints the error;
// "disturb PID" makes calls in all its threads, without end; "run BIN" is Run with the program's arguments as command and
// a plan for the fixture BIN.
const helperEnv = "SYSPART_ATTACH_HELPER"

func TestMain(m *testing.M) {
	what, arg, _ := strings.Cut(os.Getenv(helperEnv), " ")
	pid, _ := strconv.Atoi(arg)
	switch what {
	case "":
		os.Exit(m.Run())
	case "inject":
		_, err := Inject(pid, pid, unix.SYS_GETPID)
		fmt.Println(err)
	case "disturb":
		tids, err := proc.Tasks(pid)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		for {
			for _, tid := range tids {
				Inject(pid, tid, unix.SYS_GETTID)
			}
		}
	case "run":
		os.Exit(runHelper(arg))
	}
}

func runHelper(bin string) int {
	// Another instance shows what the fixture maps.
	other := exec.Command(bin)
	in, err := other.StdinPipe()
	if err != nil {
		panic(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		panic(err)
	}
	if err := other.Start(); err != nil {
		panic(err)
	}
	out.Read(make([]byte, 6))
	plan, err := makePlan(bin, other.Process.Pid)
	if err != nil {
		panic(err)
	}
	in.Close()
	other.Wait()
	status, err := Run(context.Background(), os.Args[1:], nil, plan, Options{Report: func(th Thread) {
		fmt.Fprintf(os.Stderr, "%s: %s\n", th.Kind, th.Why())
	}})
	fmt.Fprintf(os.Stderr, "end: %v\n", err)
	return status
}

func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// TestTracerKilled kills the tracer at random moments: the process goes on as if nothing had been.
func TestTracerKilled(t *testing.T) {
	f := startThreads(t)
	rounds := 60
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperEnv+"=disturb "+strconv.Itoa(f.pid))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ready := make([]byte, 6)
		if _, err := out.Read(ready); err != nil || string(ready) != "ready\n" {
			t.Fatalf("helper: %q, %v", ready, err)
		}
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
		f.free(f.pid)
	}
	f.progressing()
	// A thread that was just stopped when the tracer died sees its call fail with EINTR.
	f.unharmed("eintr.epoll.", "eintr.epollt.", "eintr.epoll")
	tids, err := proc.Tasks(f.pid)
	if err != nil || len(tids) != len(f.counters("tids"))+1 {
		t.Errorf("threads %v, %v", tids, err)
	}
}

// TestLeftAlone lets go of every thread right after it was sent into the code: each installs its filter all the same, goes
// back to what it did, and restarts its call.
func TestLeftAlone(t *testing.T) {
	needReadback(t)
	f := startThreads(t)
	p := planFor(t, f.bin, f.pid)
	tids := f.counters("tids")
	tids["main"] = f.pid
	// The first thread makes the mapping.
	var code uint64
	var programs []uint64
	err := stopped(tids["read"], func(c *proc.Conn) error {
		maps, err := proc.ReadMaps(f.pid)
		if err != nil {
			return err
		}
		if code, err = putCode(c, f.pid, tids["read"], maps, observe.NewFiles()); err != nil {
			return err
		}
		programs, err = (&target{c: c, pid: f.pid, tid: tids["read"], code: code}).putBlob(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 8 { // filters are put on top of each other
		for name, tid := range tids {
			var i int
			for i = range p.Kinds {
				if p.Kinds[i].Name == name {
					break
				}
			}
			err := stopped(tid, func(c *proc.Conn) error {
				_, err := (&target{c: c, pid: f.pid, tid: tid, code: code}).send(installCalls(programs[i])...)
				return err
			})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			eventually(t, "a filter more", func() bool {
				st, err := proc.ReadStatus(tid)
				if err != nil {
					t.Fatal(err)
				}
				return st.SeccompFilters == round+1
			})
			if round == 0 {
				carries(t, f.pid, tid, &p.Kinds[i])
			}
		}
	}
	f.free(f.pid)
	f.progressing()
	f.unharmed()
	for name := range tids {
		if name == "epoll" || name == "futex" || name == "read" {
			if n := f.counters("rounds")["rounds."+name]; n != 0 {
				t.Errorf("%s went round %d times", name, n)
			}
		}
	}
}
