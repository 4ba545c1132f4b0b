package testbin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long helpers wait for something that ought to happen at once, before they call it a failure. It is long
// because machines are slow, not because the things are.
const Patience = 30 * time.Second

// Process is a program that a test has started, in a process group of its own.
type Process struct {
	Cmd *exec.Cmd
	PID int

	t    testing.TB
	out  lockedBuffer
	line chan string   // lines of its standard output
	done chan struct{} // closed when it has ended and was waited for
	// Valid after done:
	err       error // of Wait
	survivors bool  // others of its group outlived it
}

// Start starts a program and sees to it that its whole process group has ended when the test ends: SIGTERM, and SIGKILL
// after some seconds. Its output goes to the test's log if the test fails.
func Start(t testing.TB, argv ...string) *Process {
	t.Helper()
	p := &Process{Cmd: exec.Command(argv[0], argv[1:]...), t: t, line: make(chan string, 1024), done: make(chan struct{})}
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Cmd.Stdout, p.Cmd.Stderr = in, &p.out
	// Descendants may hold standard error open for longer than the program lives.
	p.Cmd.WaitDelay = time.Second
	if err := p.Cmd.Start(); err != nil {
		in.Close()
		out.Close()
		t.Fatalf("start %s: %v", argv[0], err)
	}
	in.Close()
	p.PID = p.Cmd.Process.Pid
	go p.read(out)
	go func() {
		awaitExit(p.PID)
		// Not yet waited for, so the id is still its own.
		p.survivors = groupLives(p.PID)
		p.err = p.Cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.End()
		out.Close()
		if t.Failed() && p.out.Len() > 0 {
			t.Logf("%s wrote:\n%s", argv[0], p.out.String())
		}
	})
	return p
}

func (p *Process) read(out io.Reader) {
	defer close(p.line)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&p.out, lines.Text())
		select {
		case p.line <- lines.Text():
		default: // nobody reads: the text is kept in p.out all the same
		}
	}
}

// Line waits for the next line of standard output that begins with prefix and returns it. It fails the test if the output
// ends first or nothing comes.
func (p *Process) Line(prefix string) string {
	p.t.Helper()
	timeout := time.After(Patience)
	for {
		select {
		case line, ok := <-p.line:
			if !ok {
				p.t.Fatalf("%s ended its output without a line %q", p.Cmd.Path, prefix)
			}
			if strings.HasPrefix(line, prefix) {
				return line
			}
		case <-timeout:
			p.t.Fatalf("%s wrote no line %q within %v", p.Cmd.Path, prefix, Patience)
		}
	}
}

// Output returns all that the process and its children wrote until now.
func (p *Process) Output() string { return p.out.String() }

// Alive reports whether the process has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signal %v to %s: %v", s, p.Cmd.Path, err)
	}
}

// Wait waits until the process has ended by itself and returns its wait status. It fails the test if it does not.
func (p *Process) Wait() syscall.WaitStatus {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(Patience):
		p.t.Fatalf("%s has not ended within %v", p.Cmd.Path, Patience)
	}
	return p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// End ends the process and its group and waits for it. It may be called more than once.
func (p *Process) End() {
	if p.Alive() {
		// A stopped process would take no notice of SIGTERM.
		syscall.Kill(-p.PID, syscall.SIGTERM)
		syscall.Kill(-p.PID, syscall.SIGCONT)
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
		}
	}
	if p.Alive() {
		syscall.Kill(-p.PID, syscall.SIGKILL)
		<-p.done
	}
	// An id is given to others once it names neither a process nor a group, so a group that died with its leader must
	// not be sent anything more.
	if p.survivors {
		syscall.Kill(-p.PID, syscall.SIGKILL)
		p.survivors = false
	}
}

// awaitExit returns when a child of ours has ended, and leaves it to be waited for.
func awaitExit(pid int) {
	const idPID = 1 // P_PID of waitid(2)
	for {
		_, _, err := syscall.Syscall6(syscall.SYS_WAITID, idPID, uintptr(pid), 0, syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if err != syscall.EINTR {
			return
		}
	}
}

// Running reports whether a process exists and has not ended; one that nobody has waited for has ended all the same.
func Running(pid int) bool {
	fields := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	return fields != nil && fields[0] != "Z" && fields[0] != "X"
}

// statFields returns what follows the command's name in a stat file of /proc: state, parent, group... (proc(5)); nil if
// the process is gone. The name, in brackets, may hold anything.
func statFields(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 3 {
		return nil
	}
	return fields
}

// groupLives reports whether a process group has a member that has not ended.
func groupLives(id int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		fields := statFields(path)
		if fields != nil && fields[0] != "Z" && fields[0] != "X" && fields[2] == strconv.Itoa(id) {
			return true
		}
	}
	return false
}

// lockedBuffer is written by several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *lockedBuffer) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Len()
}

// Until polls cond until it holds; it fails the test, naming what, when it does not come true.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); ; time.Sleep(10 * time.Millisecond) {
		if cond() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, Patience)
		}
	}
}

// Port returns a TCP port of 127.0.0.1 that nobody listened on a moment ago.
func Port(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Get fetches url once and returns the body.
func Get(url string) (string, error) {
	client := http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(body), err
}

// Ask connects to a TCP address, sends text, and returns what comes back up to the first line's end.
func Ask(addr, text string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(Patience))
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// open lets a server that gives up root reach a directory of the test: t.TempDir is closed to others.
func open(t testing.TB, dir string) {
	t.Helper()
	top := filepath.Clean(os.TempDir())
	for d := filepath.Clean(dir); d != top && d != filepath.Dir(d); d = filepath.Dir(d) {
		st, err := os.Stat(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, st.Mode().Perm()|0o055); err != nil {
			return // not ours: then it was not t.TempDir that closed it
		}
	}
}
