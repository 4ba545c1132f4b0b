package attach

import (
	"fmt"

	"golang.org/x/sys/unix"

	"syspart/internal/proc"
)

// inherit notes the filters of a process that is about to execute the server. Those that it has are ours as well: a unit's, or
// a container's. The error says which call that installing a filter takes they deny.
func (a *agent) inherit(st *proc.Status) error {
	a.inherited = max(st.SeccompFilters, 0)
	if st.Seccomp == unix.SECCOMP_MODE_DISABLED {
		a.ours = true
		return nil
	}
	self, err := proc.ReadStatus(unix.Getpid())
	if err != nil {
		return err
	}
	a.ours = st.SeccompFilters > 0 && st.SeccompFilters == self.SeccompFilters
	if !a.ours {
		return nil
	}
	return probe()
}

// probe makes the calls that installing a filter takes, such that they change nothing, in this process.
func probe() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return forbidden("prctl(PR_SET_NO_NEW_PRIVS)", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, 0, 0, 0); err != unix.EFAULT { // no program is at 0
		return forbidden("prctl(PR_SET_SECCOMP)", err)
	}
	b, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return forbidden("mmap of executable memory", err)
	}
	return unix.Munmap(b)
}

func forbidden(what string, err error) error {
	return fmt.Errorf("%s: %w by the filter of this unit or container; have it allow the call, or run a copy that syspart harden makes", what, err)
}
