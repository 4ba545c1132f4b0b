package proc

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

func ptrace(request, tid int, addr, data uintptr) (uintptr, error) {
	r, _, e := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	if e != 0 {
		return 0, e
	}
	return r, nil
}

func seize(tid, options int) error {
	_, err := ptrace(unix.PTRACE_SEIZE, tid, 0, uintptr(options))
	return err
}

func listen(tid int) error {
	_, err := ptrace(unix.PTRACE_LISTEN, tid, 0, 0)
	return err
}

func detach(tid, sig int) error {
	_, err := ptrace(unix.PTRACE_DETACH, tid, 0, uintptr(sig))
	return err
}

// seccompFilter reads filter number index of a stopped thread, 0 being the oldest. ENOENT: there is no such filter.
func seccompFilter(tid, index int) ([]unix.SockFilter, error) {
	n, err := ptrace(unix.PTRACE_SECCOMP_GET_FILTER, tid, uintptr(index), 0)
	if err != nil {
		return nil, err
	}
	f := make([]unix.SockFilter, n)
	if n == 0 {
		return f, nil
	}
	_, err = ptrace(unix.PTRACE_SECCOMP_GET_FILTER, tid, uintptr(index), uintptr(unsafe.Pointer(&f[0])))
	runtime.KeepAlive(f)
	return f, err
}

// trapped asks a tracee itself whether it is in a ptrace stop, and returns the status that wait reported for it. The stop
// may have been taken by another thread's wait (see Conn.sweep).
func trapped(tid int) (unix.WaitStatus, bool) {
	var info [128]byte // siginfo_t
	if _, err := ptrace(unix.PTRACE_GETSIGINFO, tid, 0, uintptr(unsafe.Pointer(&info[0]))); err != nil {
		if err != unix.EINVAL { // running, or gone
			return 0, false
		}
		// A group stop has no signal information.
		return unix.WaitStatus(unix.PTRACE_EVENT_STOP<<16 | int(unix.SIGSTOP)<<8 | 0x7f), true
	}
	signo := int(*(*int32)(unsafe.Pointer(&info[0])))
	code := int(*(*int32)(unsafe.Pointer(&info[8])))
	status := signo<<8 | 0x7f
	if event := code >> 8; code > 0 && event != 0 { // kernel: ptrace_do_notify in kernel/signal.c
		status |= event << 16
	}
	return unix.WaitStatus(status), true
}
