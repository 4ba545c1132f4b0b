package attach

import (
	"errors"
	"fmt"
	"time"

	"syspart/internal/filter"
	"syspart/internal/observe"
	"syspart/internal/proc"
)

// Inject has thread tid of process pid make one system call with up to six arguments, and go on as if nothing had
// happened. It returns what the kernel returned: a negative error number if the call failed.
//
// It does not look at the filters that the thread carries: a denied call ends the process if the filter says so, which is
// *KilledError. Errors of the thread: proc.ErrGone, proc.ErrPermission, *proc.TracedError, proc.ErrBusy, ErrThread.
func Inject(pid, tid, nr int, args ...uint64) (ret int64, err error) {
	c := call{nr: nr}
	if len(args) > len(c.args) || nr < 0 {
		return 0, fmt.Errorf("call %d with %d arguments: %w", nr, len(args), ErrThread)
	}
	copy(c.args[:], args)
	files := observe.NewTables()
	for tries := 0; ; tries++ {
		err = stopped(tid, func(conn *proc.Conn) error {
			maps, err := proc.ReadMaps(pid)
			if err != nil {
				return err
			}
			code, err := putCode(conn, pid, tid, maps, files)
			if err != nil {
				return err
			}
			rets, err := (&target{c: conn, pid: pid, tid: tid, code: code}).perform(c)
			if len(rets) == 1 && !errors.Is(err, ErrKilled) { // made, whatever happened then
				ret = rets[0]
				return nil
			}
			return err
		})
		if errors.Is(err, errAgain) && tries < maxTries {
			time.Sleep(time.Millisecond)
			continue
		}
		return ret, err
	}
}

// ReadFilters returns the seccomp filters of a thread as the kernel holds them, newest first, as filter.Effective takes
// them. It needs CAP_SYS_ADMIN, and that the caller has no filter itself (else proc.ErrPermission).
func ReadFilters(pid, tid int) ([]filter.Program, error) {
	if st, err := proc.ReadStatus(tid); err != nil {
		return nil, err
	} else if st.TGID != pid {
		return nil, fmt.Errorf("thread %d: not of process %d: %w", tid, pid, proc.ErrGone)
	}
	var filters []filter.Program
	err := stopped(tid, func(c *proc.Conn) (err error) {
		filters, err = readFilters(c, tid)
		return err
	})
	for i, j := 0, len(filters)-1; i < j; i, j = i+1, j-1 {
		filters[i], filters[j] = filters[j], filters[i]
	}
	return filters, err
}

// stopped runs f while a thread is stopped and releases the thread.
func stopped(tid int, f func(c *proc.Conn) error) error {
	t := proc.NewTracer(nil)
	defer t.Close()
	return t.Do(func(c *proc.Conn) error {
		if err := c.Seize(tid, seizeOptions); err != nil {
			return err
		}
		err := c.Stop(tid)
		if err == nil {
			err = f(c)
		}
		if c.Traced(tid) {
			_ = c.Detach(tid) // gone, or released by the tracer's end
		}
		return err
	})
}
