package seclog

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"strace":         {"execve(\"/bin/true\", [\"true\"], 0x7ff /* 20 vars */) = 0\nread(3, \"x\", 1) = 1\nread(3, \"\", 1) = 0\n+++ exited with 0 +++\n", "[{execve 1} {read 2}]"},
		"strace -f":      {"[pid  123] openat(AT_FDCWD, \"read(\") = 3\n[pid 7] futex(0x1, FUTEX_WAIT <unfinished ...>\n[pid 7] <... futex resumed>) = 0\n--- SIGCHLD {} ---\n", "[{futex 1} {openat 1}]"},
		"-f -o -tt":      {"4711 12:00:01.123456 write(1, \"a\", 1) = 1\n4712 0.000 close(3) = 0\n", "[{close 1} {write 1}]"},
		"-c":             {"% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n 50.00    0.1    3     2      getpid\n100.00    0.1    2     total\n", "[{getpid 2}]"},
		"-c with errors": {"  0.83    0.000004           3         7         2 openat\n", "[{openat 7}]"},
		"-r -n -i": {"     0.000041 [ 257] [00007f64c9598b1d] openat(AT_FDCWD, \"/etc/ld.so.cache\", O_RDONLY|O_CLOEXEC) = 3\n" +
			"     0.000052 [ 231] [????????????????] +++ exited with 0 +++\n[  59] execve(\"/bin/true\", [\"true\"], 0x7ff /* 35 vars */) = 0\n", "[{execve 1} {openat 1}]"},
		"-k":                {"30946 brk(NULL)                         = 0x55f9e2d35000\n > /usr/lib/ld-linux-x86-64.so.2(open+0x77c7) [0x1fc]\n", "[{brk 1}]"},
		"unknown to strace": {"syscall_0x1d6(0x1, 0x2) = -1 ENOSYS\nread(3) = 0\nit failed to open\n", "[{listns 1} {read 1}]"},
		"enriched": {"type=SECCOMP msg=audit(1700000000.123:456): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=812 comm=\"redis-server\" " +
			"exe=\"/usr/bin/redis-check-rdb\" sig=31 arch=c000003e syscall=101 compat=0 ip=0x7f0e3c50e719 code=0x80000000\x1dAUID=\"unset\" UID=\"root\" GID=\"root\" ARCH=x86_64 SYSCALL=ptrace\n", "[{ptrace 1}]"},
		"interpreted": {"type=SYSCALL msg=audit(11/26/2026 14:00:00.123:456) : arch=x86_64 syscall=execve success=yes exit=0 a0=0x1 items=2 ppid=1 pid=2\n" +
			"type=PROCTITLE msg=audit(11/26/2026 14:00:00.123:456) : proctitle=nginx syscall=read\n", "[{execve 1}]"},
		"kernel log": {"[ 1234.5678] audit: type=1326 audit(1700000000.123:456): auid=0 uid=0 gid=0 ses=1 subj=unconfined pid=9 comm=\"x\" exe=\"/x\" sig=0 arch=c000003e syscall=1073741825 compat=0 ip=0x1 code=0x7ffc0000\n", "[{x32:1 1}]"},

		"audit": {"type=SECCOMP msg=audit(1.2:3): auid=0 pid=1 comm=\"x\" sig=31 arch=c000003e syscall=101 compat=0 ip=0x1 code=0x80000000\ntype=1326 arch=40000003 syscall=5\n", "[{i386:5 1} {ptrace 1}]"},
		"hook":  {"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"read\",\"no_such\"],\"action\":\"SCMP_ACT_ALLOW\"},{\"names\":[\"write\"],\"action\":\"SCMP_ACT_ERRNO\"}]}", "[{read 1}]"},
	} {
		got, err := Read(strings.NewReader(c.log), "")
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, %v; want %s", name, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "hello\n", "{\"syscalls\":", "{}"} {
		if got, err := Read(strings.NewReader(bad), ""); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

// TestReadOf: of a whole machine's records those of one program, whatever way its path is written.
func TestReadOf(t *testing.T) {
	log := `type=SECCOMP msg=audit(1.2:3): pid=1 comm="d" exe="/usr/sbin/d" sig=31 arch=c000003e syscall=101 compat=0
type=SECCOMP msg=audit(1.2:4): pid=1 comm="e" exe="/usr/sbin/e" sig=31 arch=c000003e syscall=0 compat=0
type=SYSCALL msg=audit(1.2:5): arch=c000003e syscall=1 pid=1 comm="d" exe=2F7573722F7362696E2F64
type=SYSCALL msg=audit(11/26/2026 14:07:50.125:6) : arch=x86_64 syscall=setuid pid=1 comm=d exe=/usr/sbin/d
`
	got, err := Read(strings.NewReader(log), "/usr/sbin/d")
	if want := "[{ptrace 1} {setuid 1} {write 1}]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v; want %s", got, err, want)
	}
	if got, err := Read(strings.NewReader(log), "/usr/sbin/f"); !errors.Is(err, ErrFormat) {
		t.Errorf("of a program that is not there: %v, %v", got, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("[pid 1] read(3) = 0\n"))
	f.Add([]byte("{\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"}]}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Read(strings.NewReader(string(b)), "")
		if (err == nil) != (len(got) > 0) && err == nil {
			t.Errorf("%v, %v", got, err)
		}
	})
}
