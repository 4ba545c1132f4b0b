package seclog

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"strace":    {"execve(\"/bin/true\", [\"true\"], 0x7ff /* 20 vars */) = 0\nread(3, \"x\", 1) = 1\nread(3, \"\", 1) = 0\n+++ exited with 0 +++\n", "[{execve 1} {read 2}]"},
		"strace -f": {"[pid  123] openat(AT_FDCWD, \"read(\") = 3\n[pid 7] futex(0x1, FUTEX_WAIT <unfinished ...>\n[pid 7] <... futex resumed>) = 0\n--- SIGCHLD {} ---\n", "[{futex 1} {openat 1}]"},
		"-f -o -tt": {"4711 12:00:01.123456 write(1, \"a\", 1) = 1\n4712 0.000 close(3) = 0\n", "[{close 1} {write 1}]"},
		"-c":        {"% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n 50.00    0.1    3     2      getpid\n100.00    0.1    2     total\n", "[{getpid 1}]"},
		"audit":     {"type=SECCOMP msg=audit(1.2:3): auid=0 pid=1 comm=\"x\" sig=31 arch=c000003e syscall=101 compat=0 ip=0x1 code=0x80000000\ntype=1326 arch=40000003 syscall=5\n", "[{ptrace 1}]"},
		"hook":      {"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\",\"no_such\"],\"action\":\"SCMP_ACT_ALLOW\"},{\"names\":[\"write\"],\"action\":\"SCMP_ACT_ERRNO\"}]}", "[{read 1}]"},
	} {
		got, err := Read(strings.NewReader(c.log))
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, %v; want %s", name, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "hello\n", "{\"syscalls\":", "{}"} {
		if got, err := Read(strings.NewReader(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("[pid 1] read(3) = 0\n"))
	f.Add([]byte("{\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"}]}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Read(strings.NewReader(string(b)))
		if (err == nil) != (len(got) > 0) && err == nil {
			t.Errorf("%v, %v", got, err)
		}
	})
}
