package proc

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMaps(t *testing.T) {
	text := `55d0c8a00000-55d0c8a25000 r--p 00001000 fe:00 1234                       /usr/sbin/my server
55d0c8a25000-55d0c8b01000 r-xs 00025000 fe:00 1234                       /tmp/x (deleted)
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
7ffd00100000-7ffd00101000 ---p 00000000 00:00 0 
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
7f0000000000-7f0000001000 r--p 00000000 fe:00 7                          /a\012b
`
	want := []Mapping{
		{Start: 0x55d0c8a00000, End: 0x55d0c8a25000, Off: 0x1000, Dev: "fe:00", Inode: 1234, Path: "/usr/sbin/my server", Read: true},
		{Start: 0x55d0c8a25000, End: 0x55d0c8b01000, Off: 0x25000, Dev: "fe:00", Inode: 1234, Path: "/tmp/x", Deleted: true, Read: true, Exec: true, Shared: true},
		{Start: 0x7ffd00000000, End: 0x7ffd00021000, Dev: "00:00", Path: "[stack]", Read: true, Write: true},
		{Start: 0x7ffd00100000, End: 0x7ffd00101000, Dev: "00:00"},
		{Start: 0xffffffffff600000, End: 0xffffffffff601000, Dev: "00:00", Path: "[vsyscall]", Exec: true},
		{Start: 0x7f0000000000, End: 0x7f0000001000, Dev: "fe:00", Inode: 7, Path: "/a\nb", Read: true},
	}
	got, err := ParseMaps([]byte(text))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	for _, bad := range []string{"x", "1-2 r-xp", "2-1 r-xp 0 0:0 0 ", "1-2 r-x 0 0:0 0 ", "1-2 r-xp g 0:0 0 ", "\n"} {
		if m, err := ParseMaps([]byte(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v, %v", bad, m, err)
		}
	}
}

func TestParseStat(t *testing.T) {
	line := "42 (a) (b) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 200"
	got, err := ParseStat([]byte(line))
	if want := (&Stat{Comm: "a) (b", State: 'S', PPID: 7, Threads: 1, Start: 98765}); err != nil || *got != *want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 (a", "1 (a) S 1", strings.Replace(line, "98765", "x", 1), strings.Replace(line, " 7 ", " y ", 1),
		strings.Replace(line, "20 0 1 0", "20 0 z 0", 1)} {
		if st, err := ParseStat([]byte(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %+v, %v", bad, st, err)
		}
	}
}

func TestParseSyscall(t *testing.T) {
	for _, c := range []struct {
		line string
		want Syscall
		ok   bool
	}{
		{"running\n", Syscall{Running: true, Nr: -1}, true},
		{"-1 0x7ffc0010 0x7f0020\n", Syscall{Nr: -1, SP: 0x7ffc0010, PC: 0x7f0020}, true},
		{"232 0x3 0x4 0x5 0x6 0x7 0xffffffffffffffff 0x10 0x20\n", Syscall{Nr: 232, Args: [6]uint64{3, 4, 5, 6, 7, 1<<64 - 1}, SP: 0x10, PC: 0x20}, true},
		{"", Syscall{}, false},
		{"7 0x1 0x2", Syscall{}, false},
		{"x 0x1 0x2", Syscall{}, false},
		{"-1 0x1 0xg", Syscall{}, false},
		{"1 2 3 4", Syscall{}, false},
	} {
		got, err := ParseSyscall(c.line)
		if (err == nil) != c.ok || c.ok && got != c.want || !c.ok && !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %+v, %v, want %+v", c.line, got, err, c.want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	st, err := ParseStatus([]byte("Name:\tx: y\nState:\tt (tracing stop)\nTgid:\t5\nPPid:\t4\nTracerPid:\t9\nUid:\t1\t2\t3\t4\nThreads:\t3\n" +
		"SigPnd:\t0000000000000200\nShdPnd:\t0000000000000001\nSigBlk:\tff\nNoNewPrivs:\t1\nSeccomp:\t2\n"))
	want := Status{Name: "x: y", State: 't', TGID: 5, PPID: 4, TracerPID: 9, UID: 1, EUID: 2, Threads: 3, SigPending: 0x200,
		SharedPending: 1, SigBlocked: 0xff, NoNewPrivs: true, Seccomp: 2, SeccompFilters: -1}
	if err != nil || *st != want {
		t.Errorf("%+v, %v, want %+v", st, err, want)
	}
	for _, bad := range []string{"", "Tgid:\t5\n", "State:\tS\n", "State", "State:\tS\nTgid:\tx\n"} {
		if st, err := ParseStatus([]byte(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %+v, %v", bad, st, err)
		}
	}
}

// FuzzParse feeds every parser; none may panic, and what is accepted must be in order.
func FuzzParse(f *testing.F) {
	f.Add([]byte("1-2 r-xp 00000000 fe:00 12 /a\n"))
	f.Add([]byte("1 (a) S 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3"))
	f.Add([]byte("State:\tS\nTgid:\t1\n"))
	f.Add([]byte("1 2 3 4 5 6 7 8 9"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if maps, err := ParseMaps(b); err == nil {
			for _, m := range maps {
				if m.End < m.Start {
					t.Errorf("%+v", m)
				}
			}
		}
		if st, err := ParseStatus(b); err == nil && (st.State == 0 || st.TGID == 0) {
			t.Errorf("%+v", st)
		}
		if st, err := ParseStat(b); err == nil && st.State == 0 {
			t.Errorf("%+v", st)
		}
		if s, err := ParseSyscall(string(b)); err == nil && s.Running && s.SP != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestSelf reads our own process.
func TestSelf(t *testing.T) {
	pid := os.Getpid()
	st, err := ReadStatus(pid)
	if err != nil || st.TGID != pid || st.PPID != os.Getppid() || st.EUID != os.Geteuid() || st.TracerPID != 0 {
		t.Errorf("status %+v, %v", st, err)
	}
	stat, err := ReadStat(pid)
	if err != nil || stat.PPID != os.Getppid() || stat.Start == 0 {
		t.Errorf("stat %+v, %v", stat, err)
	}
	exe, deleted, err := Exe(pid)
	if want, _ := os.Executable(); err != nil || deleted || exe != want {
		t.Errorf("exe %s, %v, %v, want %s", exe, deleted, err, want)
	}
	tids, err := Tasks(pid)
	if err != nil || len(tids) < 2 || tids[0] != pid || !slices.IsSorted(tids) {
		t.Errorf("tasks %v, %v", tids, err)
	}
	maps, err := ReadMaps(pid)
	if err != nil || !slices.ContainsFunc(maps, func(m Mapping) bool { return m.Path == exe && m.Exec }) {
		t.Errorf("maps %v, %v", maps, err)
	}
	aux, err := ReadAuxv(pid)
	if err != nil || !slices.ContainsFunc(maps, func(m Mapping) bool { return m.Path == "[vdso]" && m.Start == aux[AuxSysinfo] }) {
		t.Errorf("auxv %v, %v", aux, err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s, err := ReadSyscall(pid, unix.Gettid()); err != nil || s.Running || s.Nr != unix.SYS_READ || s.SP == 0 || s.PC == 0 {
		t.Errorf("syscall of a thread that reads this: %+v, %v", s, err)
	}
	buf := make([]byte, 4)
	m := maps[slices.IndexFunc(maps, func(m Mapping) bool { return m.Path == exe && m.Off == 0 })]
	if n, err := Memory(pid).ReadAt(buf, int64(m.Start)); n != 4 || err != nil || string(buf) != "\x7fELF" {
		t.Errorf("memory %q, %d, %v", buf, n, err)
	}
	if n, err := Memory(pid).readFile(buf, int64(m.Start)); n != 4 || err != nil || string(buf) != "\x7fELF" {
		t.Errorf("memory by file %q, %d, %v", buf, n, err)
	}
	if n, err := Memory(pid).ReadAt(buf, 16); n != 0 || err == nil {
		t.Errorf("unmapped memory: %d, %v", n, err)
	}
}

// TestExecFile: the name that was executed, for programs and scripts, and writing into a stopped program's text.
func TestExecFile(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tr := NewTracer(nil)
	defer tr.Close()
	null := devnull(t)
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip("missing: /bin/sh")
	}
	for _, path := range []string{script, "./script", "/bin/sh"} {
		err := tr.Do(func(c *Conn) error {
			pid, err := c.Start(&Command{Path: path, Args: []string{path, "-c", ":"}, Dir: dir, Files: []*os.File{null, null, null}, Options: KillOnExit})
			if err != nil {
				return err
			}
			want := path
			if path == "./script" {
				want = script
			}
			if got, err := ExecFile(pid); err != nil || got != want {
				t.Errorf("executed %s, %v, want %s", got, err, want)
			}
			if exe, _, err := Exe(pid); err != nil || exe != sh {
				t.Errorf("%s runs %s, %v, want %s", path, exe, err, sh)
			}
			regs, err := c.GetRegs(pid)
			if err != nil {
				return err
			}
			old, buf := make([]byte, 2), make([]byte, 2)
			if err := c.ReadMem(pid, regs.Rip, old); err != nil {
				return err
			}
			if err := c.WriteMem(pid, regs.Rip, []byte{0x90, 0xcc}); err != nil {
				return err
			}
			if err := c.ReadMem(pid, regs.Rip, buf); err != nil || buf[0] != 0x90 || buf[1] != 0xcc {
				t.Errorf("wrote into the text, read %x, %v", buf, err)
			}
			if err := c.WriteMem(pid, regs.Rip, old); err != nil {
				return err
			}
			return c.Resume(pid)
		})
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestTree: descendants are found.
func TestTree(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "sleep 100 & echo ready; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Skip("missing: /bin/sh")
	}
	defer func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL); cmd.Wait() }()
	out.Read(make([]byte, 10))
	tree, err := Children(cmd.Process.Pid)
	if err != nil || len(tree) != 2 || tree[0] != cmd.Process.Pid {
		t.Errorf("tree %v, %v", tree, err)
	}
	if self, err := Children(os.Getpid()); err != nil || !slices.Contains(self, tree[len(tree)-1]) {
		t.Errorf("our tree %v, %v", self, err)
	}
}
