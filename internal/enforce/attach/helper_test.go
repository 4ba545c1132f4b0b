package attach

import (
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

	"syspart/internal/proc"
)

// helperEnv makes the test program do something else: "inject PID" makes one call in a process and prints the error;
// "disturb PID" makes calls in all its threads, without end.
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
	}
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
