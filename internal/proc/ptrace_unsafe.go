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
