package filter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors of this package.
var (
	// ErrAction: a text is no action, or an action is not one that Compile takes.
	ErrAction = errors.New("unknown action")
	// ErrInvalid: the kernel would refuse the program, or it does not end.
	ErrInvalid = errors.New("invalid filter")
)

// Verdicts of a filter (uapi/linux/seccomp.h): the action in the upper half, data (the error number) in the lower.
const (
	RetKillProcess uint32 = 0x80000000
	RetKillThread  uint32 = 0x00000000
	RetTrap        uint32 = 0x00030000
	RetErrno       uint32 = 0x00050000
	RetUserNotif   uint32 = 0x7fc00000
	RetTrace       uint32 = 0x7ff00000
	RetLog         uint32 = 0x7ffc0000
	RetAllow       uint32 = 0x7fff0000
	// RetAction masks the action of a verdict, RetData its data.
	RetAction uint32 = 0xffff0000
	RetData   uint32 = 0x0000ffff
)

// firstProbed is the first number that the action "errno" denies with ENOSYS instead of EPERM: statx and everything newer
// (Linux 4.11 and later). Programs and libraries probe for these and fall back to older calls if, and often only if, the
// kernel says that it has no such call: clone3, openat2 and faccessat2 denied with EPERM break programs.
const firstProbed = 332

// Action is what happens to a call that a filter does not allow. It is comparable; the zero value is KillProcess.
type Action struct {
	kind  actionKind
	errno uint16
}

type actionKind uint8

const (
	killProcess actionKind = iota
	errnoAuto
	errnoFixed
	logOnly
	trap
)

var (
	// KillProcess ends the whole process as if by an uncaught SIGSYS.
	KillProcess = Action{}
	// ErrnoAuto fails the call: EPERM for what a kernel of Linux 4.10 had, ENOSYS for newer and unknown numbers and for the
	// tables of i386 and x32, so that callers fall back as on an older kernel.
	ErrnoAuto = Action{kind: errnoAuto}
	// Log performs the call and writes it to the kernel's log.
	Log = Action{kind: logOnly}
	// Trap sends the thread SIGSYS.
	Trap = Action{kind: trap}
)

// Errno returns the action that fails every denied call with error n (1 to 4095).
func Errno(n unix.Errno) Action { return Action{errnoFixed, uint16(min(n, 0xffff))} }

// ParseAction reads "kill-process", "errno" (ErrnoAuto), "errno:NAME" or "errno:N", "log" and "trap".
func ParseAction(text string) (Action, error) {
	switch text {
	case "kill-process":
		return KillProcess, nil
	case "errno":
		return ErrnoAuto, nil
	case "log":
		return Log, nil
	case "trap":
		return Trap, nil
	}
	if name, ok := strings.CutPrefix(text, "errno:"); ok {
		if n, err := strconv.ParseUint(name, 10, 16); err == nil && Errno(unix.Errno(n)).check() == nil {
			return Errno(unix.Errno(n)), nil
		}
		for n := unix.Errno(1); n < 256; n++ {
			if unix.ErrnoName(n) == name && name != "" {
				return Errno(n), nil
			}
		}
		return Action{}, fmt.Errorf("%q: no such error number: %w", text, ErrAction)
	}
	return Action{}, fmt.Errorf("%q: %w; use kill-process, errno, errno:NAME, log or trap", text, ErrAction)
}

// String returns the text that ParseAction reads.
func (a Action) String() string {
	switch a.kind {
	case killProcess:
		return "kill-process"
	case errnoAuto:
		return "errno"
	case errnoFixed:
		if name := unix.ErrnoName(unix.Errno(a.errno)); name != "" {
			return "errno:" + name
		}
		return fmt.Sprintf("errno:%d", a.errno)
	case logOnly:
		return "log"
	case trap:
		return "trap"
	}
	return fmt.Sprintf("action(%d)", a.kind)
}

// check returns an error if the kernel would not do what the action says: it cuts error numbers at 4095.
func (a Action) check() error {
	if a.kind > trap || a.kind == errnoFixed && (a.errno == 0 || a.errno > 4095) {
		return fmt.Errorf("%v: %w", a, ErrAction)
	}
	return nil
}

// Verdict is what a filter with this action returns for a denied call with number nr; foreign says that the call is one of
// another architecture's table.
func (a Action) Verdict(nr uint32, foreign bool) uint32 {
	switch a.kind {
	case errnoAuto:
		if foreign || nr >= firstProbed {
			return RetErrno | uint32(unix.ENOSYS)
		}
		return RetErrno | uint32(unix.EPERM)
	case errnoFixed:
		return RetErrno | uint32(a.errno)
	case logOnly:
		return RetLog
	case trap:
		return RetTrap
	}
	return RetKillProcess
}

// Kernel names the kernel's action that the filter uses, as SECCOMP_GET_ACTION_AVAIL wants it.
func (a Action) Kernel() uint32 { return a.Verdict(0, false) & RetAction }
