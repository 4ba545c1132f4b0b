package enforce

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"syspart/internal/filter"
)

// Kernel is what enforcement needs to know of the running kernel.
type Kernel struct {
	Arch    string // as runtime.GOARCH names it
	Release string // uname -r, for messages
	Seccomp bool   // filters can be installed
	Actions []uint32
	// Yama is the value of kernel.yama.ptrace_scope, 0 if the kernel has no such restriction. 3 forbids ptrace to all.
	Yama int
}

// KernelError says what the kernel lacks and what to do about it.
type KernelError struct {
	Release string
	Lacks   string
	Remedy  string
}

func (e *KernelError) Error() string {
	return fmt.Sprintf("kernel %s: %s; %s", e.Release, e.Lacks, e.Remedy)
}

// Is makes a KernelError match ErrKernel.
func (e *KernelError) Is(target error) bool { return target == ErrKernel }

// actionNames are the names of /proc/sys/kernel/seccomp/actions_avail.
var actionNames = map[string]uint32{
	"kill_process": filter.RetKillProcess, "kill_thread": filter.RetKillThread, "trap": filter.RetTrap,
	"errno": filter.RetErrno, "user_notif": filter.RetUserNotif, "trace": filter.RetTrace,
	"log": filter.RetLog, "allow": filter.RetAllow,
}

// ThisKernel asks the running kernel. What it cannot find out because /proc or the seccomp call is closed to us counts as
// there: installing will tell.
func ThisKernel() (Kernel, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Kernel{}, fmt.Errorf("uname: %w", err)
	}
	k := Kernel{Arch: runtime.GOARCH, Release: unix.ByteSliceToString(u.Release[:])}
	// EINVAL: the kernel was built without seccomp.
	_, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	k.Seccomp = err == nil || !errors.Is(err, unix.EINVAL)
	all := make([]uint32, 0, len(actionNames))
	for _, a := range actionNames {
		all = append(all, a)
	}
	slices.Sort(all)
	listed, _ := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	for _, a := range all {
		switch err := actionAvail(a); {
		case err == nil:
			k.Actions = append(k.Actions, a)
		case errors.Is(err, unix.EOPNOTSUPP):
		case errors.Is(err, unix.EINVAL): // before Linux 4.14 there was no such question
			if a == filter.RetKillThread || a == filter.RetTrap || a == filter.RetErrno || a == filter.RetTrace || a == filter.RetAllow {
				k.Actions = append(k.Actions, a)
			}
		default: // the seccomp call is closed to us
			if len(listed) == 0 || slices.ContainsFunc(strings.Fields(string(listed)), func(n string) bool { return actionNames[n] == a }) {
				k.Actions = append(k.Actions, a)
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil {
		_, _ = fmt.Sscan(string(text), &k.Yama) // unreadable counts as 0
	}
	return k, nil
}

// Check reports whether the plan is whole and the kernel can enforce it: an error of Validate or a *KernelError.
func Check(p *Plan, k Kernel) error {
	if err := p.Validate(); err != nil {
		return err
	}
	switch action := p.Action.Kernel(); {
	case k.Arch != "amd64":
		return &KernelError{k.Release, "filters are for x86-64, this machine is " + k.Arch, "run the server on x86-64"}
	case !k.Seccomp:
		return &KernelError{k.Release, "built without seccomp filters", "use a kernel with CONFIG_SECCOMP_FILTER"}
	case !slices.Contains(k.Actions, action):
		return &KernelError{k.Release, "no action " + filter.VerdictName(action), "use --action errno, or Linux 4.14 or later"}
	}
	return nil
}
