package attach

import (
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// logLine is a call that the kernel's log tells of.
type logLine struct {
	pid  int
	comm string
	nr   int
	ip   uint64 // behind the system-call instruction
}

// kernelLog reads what the kernel logs from when it was opened on (Documentation/ABI/testing/dev-kmsg).
type kernelLog struct{ fd int }

// openKernelLog returns nil if the log cannot be read.
func openKernelLog() *kernelLog {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		unix.Close(fd)
		return nil
	}
	return &kernelLog{fd}
}

func (k *kernelLog) close() {
	if k != nil {
		unix.Close(k.fd)
	}
}

// maxLogLines bounds how much is read at once.
const maxLogLines = 256

// read returns what has been logged since.
func (k *kernelLog) read() []logLine {
	if k == nil {
		return nil
	}
	var out []logLine
	buf := make([]byte, 8192) // a record is shorter
	for range maxLogLines {
		n, err := unix.Read(k.fd, buf)
		if err == unix.EPIPE { // some were overwritten before they were read
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		if l, ok := parseLog(string(buf[:n])); ok {
			out = append(out, l)
		}
	}
	return out
}

// secLog is a record of seccomp (kernel/auditsc.c, audit_seccomp) whose verdict is SECCOMP_RET_LOG: others are seen better.
var secLog = regexp.MustCompile(`type=1326 .*\bpid=(\d+) comm=("[^"]*"|\S+) .*\barch=c000003e syscall=(\d+) .*\bip=0x([0-9a-f]+) code=0x7ffc0000`)

func parseLog(text string) (l logLine, ok bool) {
	m := secLog.FindStringSubmatch(text)
	if m == nil {
		return l, false
	}
	var err1, err2, err3 error
	l.pid, err1 = strconv.Atoi(m[1])
	l.nr, err2 = strconv.Atoi(m[3])
	l.ip, err3 = strconv.ParseUint(m[4], 16, 64)
	l.comm = m[2]
	if s, err := strconv.Unquote(m[2]); err == nil {
		l.comm = s
	}
	return l, err1 == nil && err2 == nil && err3 == nil
}
