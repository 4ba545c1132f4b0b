package observe

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"syspart/internal/proc"
	"syspart/internal/unwind"
)

// Outcome says what came of a look at a thread.
type Outcome uint8

const (
	// Asleep: the thread was blocked during the whole look; the stack is good.
	Asleep Outcome = iota
	// Running: it is not blocked; there is no stack.
	Running
	// Torn: it ran during the look; what was read may be a mixture and is not returned.
	Torn
	// Unsure: it was asleep, but its stack cannot be told without registers that only a stop shows. The stack holds the
	// frames up to there.
	Unsure
)

// Blocked returns the stack of a thread that is blocked, without disturbing it.
func (p *Process) Blocked(tid int) (Stack, Outcome, error) {
	w := watchThread(p.PID, tid, false)
	res, _, out, err := p.asleep(w, nil)
	return toStack(&res), out, err
}

// threadFiles reads the two files that tell whether a thread has moved.
type threadFiles struct {
	pid, tid int
	fds      [2]int // of syscall and schedstat, -1 if not kept open
	buf      [2][256]byte
}

var threadFileNames = [2]string{"syscall", "schedstat"}

// watchThread prepares reading a thread's files; with keep, they stay open until close.
func watchThread(pid, tid int, keep bool) *threadFiles {
	w := &threadFiles{pid: pid, tid: tid, fds: [2]int{-1, -1}}
	for i := range w.fds {
		if keep {
			if fd, err := w.open(i); err == nil {
				w.fds[i] = fd
			}
		}
	}
	return w
}

func (w *threadFiles) open(i int) (int, error) {
	return unix.Open("/proc/"+strconv.Itoa(w.pid)+"/task/"+strconv.Itoa(w.tid)+"/"+threadFileNames[i], unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

func (w *threadFiles) close() {
	for i, fd := range w.fds {
		if fd >= 0 {
			unix.Close(fd)
			w.fds[i] = -1
		}
	}
}

// read returns the contents of file i, valid until it is read again.
func (w *threadFiles) read(i int) ([]byte, error) {
	fd := w.fds[i]
	if fd < 0 {
		var err error
		if fd, err = w.open(i); err != nil {
			return nil, err
		}
		defer unix.Close(fd)
	}
	n, err := unix.Pread(fd, w.buf[i][:], 0)
	if err != nil {
		return nil, err
	}
	return w.buf[i][:n], nil
}

// moment is where a thread was, and how often it had been given the processor until then. Two equal moments of one thread
// have nothing between them.
type moment struct {
	line   string // contents of syscall
	slices string // third field of schedstat; "" where the kernel does not count
}

func (w *threadFiles) moment() (moment, error) {
	var m moment
	b, err := w.read(1)
	if err == nil {
		if f := bytes.Fields(b); len(f) == 3 {
			m.slices = string(f[2])
		}
	}
	if b, err = w.read(0); err != nil || len(b) == 0 {
		if err == unix.EPERM || err == unix.EACCES {
			return m, fmt.Errorf("thread %d: %w", w.tid, proc.ErrPermission)
		}
		return m, fmt.Errorf("thread %d: %w", w.tid, proc.ErrGone)
	}
	m.line = string(b)
	return m, nil
}

// asleep unwinds a blocked thread. known, if not nil, supplies registers that the kernel does not tell, given the line.
func (p *Process) asleep(w *threadFiles, known func(moment) *unwind.Regs) (res unwind.Result, m moment, out Outcome, err error) {
	if m, err = w.moment(); err != nil {
		return res, m, Torn, err
	}
	sys, err := proc.ParseSyscall(m.line)
	if err != nil {
		return res, m, Torn, fmt.Errorf("thread %d: syscall: %w", w.tid, err)
	}
	if sys.Running {
		return res, m, Running, nil
	}
	mem := p.stackAt(sys.SP)
	regs := unwind.Blocked(sys.SP, sys.PC)
	res = p.walk(regs, mem)
	if res.Need != 0 && known != nil {
		if more := known(m); more != nil {
			again := p.space.Unwind(*more, mem, maxFrames)
			if again.Complete {
				res = again
			}
		}
	}
	after, err := w.moment()
	if err != nil {
		return unwind.Result{}, m, Torn, err
	}
	if after != m {
		return unwind.Result{}, m, Torn, nil
	}
	if res.Need != 0 {
		return res, m, Unsure, nil
	}
	return res, m, Asleep, nil
}
