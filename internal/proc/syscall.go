package proc

import (
	"fmt"
	"strconv"
	"strings"
)

// Syscall is /proc/PID/task/TID/syscall: where a thread is blocked.
type Syscall struct {
	Running bool      // not blocked (or just now not); nothing else is known
	Nr      int       // number of the call, -1: blocked outside a call (in a page fault, in a stop)
	Args    [6]uint64 // rdi rsi rdx r10 r8 r9
	SP, PC  uint64
}

// ReadSyscall reads where a thread is blocked. The kernel answers from the state of one moment: it makes sure that the
// thread did not run while it looked (lib/syscall.c, task_current_syscall).
func ReadSyscall(pid, tid int) (Syscall, error) {
	b, err := read(pid, "task/"+strconv.Itoa(tid)+"/syscall")
	if err != nil {
		return Syscall{}, err
	}
	s, err := ParseSyscall(string(b))
	if err != nil {
		return s, fmt.Errorf("thread %d: syscall: %w", tid, err)
	}
	return s, nil
}

// ParseSyscall parses the contents of that file: "running", "-1 SP PC" or "NR A0 A1 A2 A3 A4 A5 SP PC".
func ParseSyscall(line string) (Syscall, error) {
	line = strings.TrimSuffix(line, "\n")
	if line == "running" {
		return Syscall{Running: true, Nr: -1}, nil
	}
	f := strings.Fields(line)
	if len(f) != 3 && len(f) != 9 {
		return Syscall{}, fmt.Errorf("%q: %w", line, ErrFormat)
	}
	nr, err := strconv.Atoi(f[0])
	if err != nil || len(f) == 3 && nr != -1 {
		return Syscall{}, fmt.Errorf("%q: %w", line, ErrFormat)
	}
	s := Syscall{Nr: nr}
	var v [8]uint64
	for i, w := range f[1:] {
		if v[i], err = strconv.ParseUint(w, 0, 64); err != nil {
			return Syscall{}, fmt.Errorf("%q: %w", line, ErrFormat)
		}
	}
	if len(f) == 3 {
		s.SP, s.PC = v[0], v[1]
	} else {
		copy(s.Args[:], v[:6])
		s.SP, s.PC = v[6], v[7]
	}
	return s, nil
}
