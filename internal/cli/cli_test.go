package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce/attach"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/proc"
	"syspart/internal/report"
	"syspart/profile"
)

// invoke runs a command line with streams of its own.
func invoke(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &err}
	code = a.run(context.Background(), args)
	return code, out.String(), err.String()
}

func TestOutcome(t *testing.T) {
	missing := &fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}
	for _, tt := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{status(9), 9, ""},
		{missing, 1, "/x: no such file or directory"},
		{fmt.Errorf("/x: %w", missing), 1, "/x: no such file or directory"},
		{fmt.Errorf("profile p: %w", missing), 1, "profile p: /x: no such file or directory"},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, 1, "/x: permission denied; run syspart as a user who may read it"},
		{&os.LinkError{Op: "rename", Old: "/t", New: "/x", Err: syscall.EXDEV}, 1, "/x: invalid cross-device link"},
		{launching(missing), 125, "/x: no such file or directory"},
		{launching(&exitStatus{code: 127, err: errors.New("d: not found")}), 127, "d: not found"},
		{notExecutable(&fs.PathError{Op: "fork/exec", Path: "/x", Err: syscall.ENOEXEC}), 126, "/x: exec format error"},
		{notExecutable(missing), 127, "/x: no such file or directory"},
		{notExecutable(errors.New("no memory")), 125, "no memory"},
		{fmt.Errorf("d: %w", image.ErrPacked), 1, "d: packed by UPX; unpack it first: upx -d FILE"},
		{fmt.Errorf("d: %w", image.ErrArch), 1, "d: unsupported architecture; syspart analyses 64-bit x86-64 programs"},
		{&link.MissingError{Library: "libx.so.1", NeededBy: "/d"}, 1,
			"libx.so.1, needed by /d: library not found; install the library's package, or name the image that holds it with --root"},
		{&link.MissingError{Library: "libx.so.1", NeededBy: "/d", Foreign: []string{"/lib32/libx.so.1"}}, 1,
			"libx.so.1, needed by /d: library is for another architecture (/lib32/libx.so.1); install the x86-64 library, or name the image that holds it with --root"},
		{fmt.Errorf("process 9: %w", proc.ErrGone), 1, "process 9: no such process; it has ended, or the number is wrong"},
		{&proc.TracedError{PID: 9, Tracer: 8}, 1, "process 9: already traced by process 8; end that tracer first"},
		{fmt.Errorf("process 9: %w", proc.ErrPermission), 1,
			"process 9: not permitted to trace; run syspart as root or as the server's user, and see /proc/sys/kernel/yama/ptrace_scope; where a unit or a container forbids ptrace, run a copy that syspart harden makes"},
		{&profile.MissingModule{Path: "/x", Err: missing}, 1,
			"/x: was there when the server was profiled and is missing now; install it or profile the server again"},
		{errors.Join(errors.New("one"), errors.New("two")), 1, "one, two"},
		{errors.New("name \x1b[31m\x07\u009b"), 1, "name ?[31m??"},
	} {
		code, message := outcome(tt.err)
		if code != tt.code || message != tt.want {
			t.Errorf("%v:\n got %d %q\nwant %d %q", tt.err, code, message, tt.code, tt.want)
		}
	}
}

func TestVerbsHaveHelpAndExamples(t *testing.T) {
	a := &app{}
	verbs := a.root().Commands()
	if len(verbs) != 22 {
		t.Errorf("%d verbs, want 22", len(verbs))
	}
	for _, cmd := range verbs {
		if cmd.Short == "" || cmd.Long == "" || !strings.Contains(cmd.Example, "syspart "+cmd.Name()) || cmd.Args == nil {
			t.Errorf("%s: lacks a description, an example or a check of its arguments", cmd.Name())
		}
		code, out, errs := invoke(cmd.Name(), "--help")
		if code != 0 || errs != "" || !strings.Contains(out, "Examples:") {
			t.Errorf("%s --help: status %d, stderr %q, stdout %q", cmd.Name(), code, errs, out)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"", 1, "no verb"},
		{"enforce", 1, "enforce: no such verb"},
		{"show --colour x", 1, "unknown flag: --colour; see syspart show --help"},
		{"analyze", 1, "want one BINARY, have 0 arguments"},
		{"analyze -o xml /x", 1, "want table, json, names"},
		{"explain p", 1, "want a PROFILE and a SYSCALL"},
		{"attach -p p nginx", 1, "nginx: is no process id"},
		{"inject getppid", 1, "no --pid"},
		{"inject --pid 1 getppid one", 1, "one: is no number"},
		{"run", 125, "no command; write it behind --"},
		{"run -- sleep 0", 125, "no profile; give one with -p"},
		{"run --action shoot -- sleep 0", 125, "unknown action"},
		{"profile", 125, "no command and no --pid"},
		{"profile --pid 1 -- sleep 0", 125, "exclude each other"},
		{"profile --pid 0", 125, "is no process id"},
		{"profile --duration -1s -- sleep 0", 125, "is negative"},
		{"profile -- no-such-server", 127, "no-such-server: not found"},
		{"profile -- /", 126, ""},
	} {
		code, out, errs := invoke(strings.Fields(tt.args)...)
		if code != tt.code || out != "" || !strings.HasPrefix(errs, "syspart: ") || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, tt.want) {
			t.Errorf("syspart %s: status %d, want %d; stdout %q; stderr %q, want %q", tt.args, code, tt.code, out, errs, tt.want)
		}
	}
}

func TestBinaryPath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"sh", "root/usr/sbin/d"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ arg, root, want, fails string }{
		{"sh", "", "sh", ""}, // a file that is here goes before PATH
		{"sleep", "", sleep, ""},
		{"sleep", "/", sleep, ""},
		{"./sleep", "", "", "no such file"},
		{"root", "", "", "is a directory"},
		{"/dev/null", "", "", "not a regular file"},
		{"/usr/sbin/d", "root", "/usr/sbin/d", ""},
		{"sleep", "root", "", "no such file"}, // PATH is this machine's
	} {
		got, err := binaryPath(tt.arg, tt.root)
		if got != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("binaryPath(%q, %q) = %q, %v", tt.arg, tt.root, got, err)
		}
	}
}

func TestCreatable(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		"-":                          "",
		filepath.Join(dir, "p"):      "",
		"/dev/null":                  "",
		dir:                          "is a directory",
		filepath.Join(dir, "n", "p"): "no such file",
	} {
		err := creatable(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("creatable(%s): %v, want %q", path, err, want)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("asking created %v", left)
	}
}

// TestWarner: a thread that got no filter is told of once for each reason, one that has it not at all.
func TestWarner(t *testing.T) {
	var errs bytes.Buffer
	warn := (&app{stderr: &errs}).warner()
	full := errors.New("no room\x1b")
	for _, th := range []attach.Thread{
		{PID: 1, TID: 2, Status: attach.Installed}, {PID: 1, TID: 3, Status: attach.Outside}, {PID: 1, TID: 4, Status: attach.Gone},
		{PID: 1, TID: 5, Status: attach.Failed, Err: full}, {PID: 1, TID: 6, Status: attach.Failed, Err: full},
	} {
		warn(th)
	}
	if want := "syspart: process 1, thread 5: serves without filter: no room?\n"; errs.String() != want {
		t.Errorf("stderr %q, want %q", errs.String(), want)
	}
}

// TestDriveStopsWithItsContext: a workload does not outlive the server that it was for.
func TestDriveStopsWithItsContext(t *testing.T) {
	a := &app{stderr: &bytes.Buffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan int, 1)
	started <- os.Getpid()
	flag := filepath.Join(t.TempDir(), "flag")
	done := make(chan error, 1)
	go func() { done <- a.drive(ctx, "touch "+flag+"; exec sleep 600", started) }()
	for {
		if _, err := os.Stat(flag); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("workload ended with %v", err)
	}
}

// TestStyle: colour and width on a terminal and off it, with each value of --color.
func TestStyle(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 77}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		color, noColor, term string
		on, off              bool // a terminal, no terminal
	}{
		{"auto", "", "xterm", true, false},
		{"auto", "1", "xterm", false, false},
		{"auto", "", "dumb", false, false},
		{"always", "1", "dumb", true, true},
		{"never", "", "xterm", false, false},
	} {
		t.Setenv("NO_COLOR", tt.noColor)
		t.Setenv("TERM", tt.term)
		a := &app{stdout: tty, color: format{value: tt.color}}
		if got, want := a.style(), (report.Style{Color: tt.on, Width: 77}); got != want {
			t.Errorf("%+v: on a terminal %+v, want %+v", tt, got, want)
		}
		a.stdout = &bytes.Buffer{}
		if got, want := a.style(), (report.Style{Color: tt.off}); got != want {
			t.Errorf("%+v: off a terminal %+v, want %+v", tt, got, want)
		}
	}
}

func TestProgress(t *testing.T) {
	var none *progress
	none.show("analysing", 1, 2) // no terminal
	none.clear()

	var buf bytes.Buffer
	p := &progress{w: &buf}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { p.show("functions", i+1, 8) })
	}
	all.Wait()
	p.clear()
	p.clear()
	out := buf.String()
	if !strings.HasPrefix(out, "\r\x1b[Kfunctions ") || !strings.HasSuffix(out, "\r\x1b[K") || strings.HasSuffix(out, "\r\x1b[K\r\x1b[K") {
		t.Errorf("%q", out)
	}
}
