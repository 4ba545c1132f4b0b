package proc

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Sentinels. Errors of this package wrap them where they apply.
var (
	// ErrGone: the process or thread does not exist (any more), or is a zombie.
	ErrGone = errors.New("no such process")
	// ErrPermission: the kernel does not let us look into the process (ptrace(2), "Ptrace access mode checking").
	ErrPermission = errors.New("not permitted to trace")
	// ErrClosed: the Tracer was closed.
	ErrClosed = errors.New("tracer closed")
	// ErrNotTraced: the thread is no tracee of this Tracer.
	ErrNotTraced = errors.New("not traced")
	// ErrBusy: the thread did not stop in time; it is in uninterruptible sleep. It runs on by itself later.
	ErrBusy = errors.New("thread does not stop")
	// ErrFormat: a file of /proc is not as proc(5) says.
	ErrFormat = errors.New("unexpected format")
)

// TracedError says that a process has a tracer already; there can be only one.
type TracedError struct {
	PID    int // process or thread that was to be traced
	Tracer int // process that traces it
}

func (e *TracedError) Error() string {
	return fmt.Sprintf("process %d: already traced by process %d", e.PID, e.Tracer)
}

// Is makes a TracedError match ErrPermission.
func (e *TracedError) Is(target error) bool { return target == ErrPermission }

// wrap turns errors of the kernel about process pid into ours. what names the operation.
func wrap(pid int, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ESRCH), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("process %d: %s: %w", pid, what, ErrGone)
	case errors.Is(err, fs.ErrPermission):
		if st, e := ReadStatus(pid); e == nil && st.TracerPID != 0 && what == "seize" {
			tracer := st.TracerPID // a thread's id
			if t, e := ReadStatus(tracer); e == nil {
				tracer = t.TGID
			}
			return &TracedError{PID: pid, Tracer: tracer}
		}
		return fmt.Errorf("process %d: %s: %w", pid, what, ErrPermission)
	}
	return fmt.Errorf("process %d: %s: %w", pid, what, err)
}
