package enforce

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// actionAvail asks whether the kernel knows an action: seccomp(SECCOMP_GET_ACTION_AVAIL).
func actionAvail(action uint32) error {
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	if e != 0 {
		return e
	}
	return nil
}
