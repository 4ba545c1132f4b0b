package attach

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/proc"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
	"syspart/profile"
)

// fixture is a running testdata/threads.c.
type fixture struct {
	t   testing.TB
	bin string
	cmd *exec.Cmd // the fixture, or what has started it
	in  io.Writer
	out *bufio.Reader
	pid int
}

// startThreads builds and starts the fixture; it is ended with the test.
func startThreads(t testing.TB) *fixture {
	t.Helper()
	bin := buildThreads(t)
	f := drive(t, bin, exec.Command(bin))
	f.pid = f.cmd.Process.Pid
	return f
}

func buildThreads(t testing.TB) string {
	t.Helper()
	return testbin.Build(t, filepath.Join("testdata", "threads.c"), "-O1", "-pthread")
}

// drive starts a command that starts the fixture, or is it, and waits until that is ready.
func drive(t testing.TB, bin string, cmd *exec.Cmd) *fixture {
	t.Helper()
	f := &fixture{t: t, bin: bin, cmd: cmd}
	in, err := f.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.in, f.out = in, bufio.NewReader(out)
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.cmd.Process.Kill()
		f.cmd.Wait()
	})
	if line := f.line(); line != "ready" {
		t.Fatalf("fixture says %q", line)
	}
	return f
}

func (f *fixture) line() string {
	f.t.Helper()
	line, err := f.out.ReadString('\n')
	if err != nil {
		f.t.Fatalf("fixture: %v (got %q)", err, line)
	}
	return strings.TrimSpace(line)
}

// ask sends a command and returns the answer.
func (f *fixture) ask(command string) string {
	f.t.Helper()
	if _, err := io.WriteString(f.in, command+"\n"); err != nil {
		f.t.Fatalf("fixture: %v", err)
	}
	return f.line()
}

// counters asks for numbers by name.
func (f *fixture) counters(command string) map[string]int {
	f.t.Helper()
	m := make(map[string]int)
	for _, w := range strings.Fields(f.ask(command)) {
		name, val, _ := strings.Cut(w, "=")
		n, err := strconv.Atoi(val)
		if err != nil {
			f.t.Fatalf("fixture: %q", w)
		}
		m[name] = n
	}
	return m
}

// unharmed fails the test if a loop saw something that it must not: anything but what allowed names.
func (f *fixture) unharmed(allowed ...string) {
	f.t.Helper()
	for name, n := range f.counters("status") {
		bad := strings.HasPrefix(name, "eintr.") || strings.HasPrefix(name, "early.") || strings.HasPrefix(name, "wrong.")
		for _, a := range allowed {
			bad = bad && !strings.HasPrefix(name, a)
		}
		if bad && n != 0 {
			f.t.Errorf("%s is %d", name, n)
		}
	}
}

// progressing fails the test unless every loop with a time limit and the computing one go on.
func (f *fixture) progressing() {
	f.t.Helper()
	before := f.counters("rounds")
	eventually(f.t, "all loops go round", func() bool {
		after := f.counters("rounds")
		for _, name := range []string{"epollt", "sleep", "futext", "poll", "select", "spin"} {
			if after["rounds."+name] <= before["rounds."+name]+1 {
				return false
			}
		}
		return true
	})
}

// free fails the test if a thread of the process is traced or stopped.
func (f *fixture) free(pid int) {
	f.t.Helper()
	eventually(f.t, "no thread is traced or stopped", func() bool {
		tids, err := proc.Tasks(pid)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, tid := range tids {
			st, err := proc.ReadStatus(tid)
			if err != nil || st.TracerPID != 0 || st.State == 't' || st.State == 'T' {
				return false
			}
		}
		return true
	})
}

// eventuallyTimeout only decides how long a failing test takes.
const eventuallyTimeout = 20 * time.Second

// eventually waits until cond holds; it fails the test if it never does.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(eventuallyTimeout); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// denied is what the test plans deny besides what single kinds deny.
var denied = mustNames("mount", "ptrace", "umount2")

func mustNames(names ...string) syscalls.Set {
	s, err := syscalls.FromNames(names...)
	if err != nil {
		panic(err)
	}
	return s
}

func number(name string) int {
	nr, ok := syscalls.Number(name)
	if !ok {
		panic(name)
	}
	return nr
}

// planFor is makePlan for tests.
func planFor(t testing.TB, bin string, pid int) *enforce.Plan {
	t.Helper()
	p, err := makePlan(bin, pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// makePlan makes a plan with a kind for every loop_ function of the fixture, each denying one more call so that no two
// filters are equal. The stacks are not stated, as if the functions never returned.
func makePlan(bin string, pid int) (*enforce.Plan, error) {
	f, err := image.Open(bin)
	if err != nil {
		return nil, err
	}
	p := &enforce.Plan{Program: bin, BuildID: f.BuildID}
	if p.Modules, err = modules(pid); err != nil {
		return nil, err
	}
	spare := mustNames("swapon", "swapoff", "reboot", "sethostname", "setdomainname", "iopl", "ioperm", "init_module",
		"delete_module", "acct", "quotactl", "settimeofday", "kexec_load").Numbers()
	for _, s := range f.Symtab {
		if name, ok := strings.CutPrefix(s.Name, "loop_"); ok {
			k := enforce.Kind{Name: name, Role: profile.RoleThread, Module: bin, Allow: syscalls.All().Minus(denied)}
			switch name {
			case "main":
				k.Role = profile.RoleMain
			case "child":
				k.Role = profile.RoleChild
			}
			k.Allow.Remove(spare[len(p.Kinds)])
			k.Loop = []image.Range{{Start: s.Value, End: s.Value + s.Size}}
			p.Kinds = append(p.Kinds, k)
		}
	}
	return p, p.Compile()
}

// modules lists what a process has mapped executable.
func modules(pid int) ([]enforce.PlanModule, error) {
	maps, err := proc.ReadMaps(pid)
	if err != nil {
		return nil, err
	}
	list := []enforce.PlanModule{{Path: "[vdso]"}}
	seen := map[string]bool{}
	for _, m := range maps {
		if !m.Exec || m.Inode == 0 || seen[m.Path] {
			continue
		}
		seen[m.Path] = true
		data, err := os.ReadFile(m.Path)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		list = append(list, enforce.PlanModule{Path: m.Path, SHA256: hex.EncodeToString(sum[:])})
	}
	return list, nil
}

// kind returns a kind of a plan by name.
func kind(t testing.TB, p *enforce.Plan, name string) *enforce.Kind {
	t.Helper()
	for i := range p.Kinds {
		if p.Kinds[i].Name == name {
			return &p.Kinds[i]
		}
	}
	t.Fatalf("no kind %s", name)
	return nil
}

// carries fails the test unless the only filter of a thread is the kind's, as the kernel tells it and as simulated.
func carries(t testing.TB, pid, tid int, k *enforce.Kind) {
	t.Helper()
	var filters []filter.Program
	eventually(t, "filters can be read", func() (ok bool) { // who installs may hold the thread for some microseconds more
		var err error
		filters, err = ReadFilters(pid, tid)
		if err != nil && !errors.Is(err, proc.ErrPermission) {
			t.Fatal(err)
		}
		return err == nil
	})
	if len(filters) != 1 || !filters[0].Equal(k.Filter) {
		t.Fatalf("thread %d (%s): %d filters, not its own", tid, k.Name, len(filters))
	}
	want := k.Allow.Union(syscalls.Always())
	for nr := range 601 {
		v, err := filter.Effective(filters, filter.Data{Nr: int32(nr), Arch: filter.ArchX86_64})
		if err != nil || (v == filter.RetAllow) != want.Has(nr) {
			t.Fatalf("thread %d (%s): %s: %s, %v", tid, k.Name, syscalls.Name(nr), filter.VerdictName(v), err)
		}
	}
	st, err := proc.ReadStatus(tid)
	if err != nil || st.Seccomp != 2 || !st.NoNewPrivs {
		t.Fatalf("thread %d: status %+v, %v", tid, st, err)
	}
}

// stackOf returns the stack of one thread.
func stackOf(t testing.TB, pid, tid int) []observe.Frame {
	t.Helper()
	threads, err := observe.Snapshot(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, th := range threads {
		if th.TID == tid && len(th.Stacks) > 0 {
			return th.Stacks[0].Frames
		}
	}
	t.Fatalf("thread %d: no stack", tid)
	return nil
}

// isGone reports whether an error says that a process is gone.
func isGone(err error) bool { return errors.Is(err, proc.ErrGone) }

func needReadback(t testing.TB) {
	t.Helper()
	testbin.NeedRoot(t)
	if st, err := proc.ReadStatus(os.Getpid()); err != nil || st.Seccomp != 0 {
		testbin.Skip(t, "filters can only be read back by a process that has none itself: %v", fmt.Sprint(st, err))
	}
}
