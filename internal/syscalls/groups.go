package syscalls

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnknown: a name is not that of a system call in the table.
var ErrUnknown = errors.New("unknown system call")

// Always returns the calls that no filter may deny. The kernel itself has them issued: restart_syscall when it restarts
// an interrupted sleep, rt_sigreturn when a signal handler returns. And exit and exit_group, so that a thread can end.
func Always() Set { return Of(219, 15, 60, 231) }

// Group is a class of calls that matters to who wonders what a filter closes.
type Group struct {
	Name  string // short and lower-case
	Why   string // what the calls of the group give to an attacker
	Calls Set
}

// Groups returns the groups of dangerous calls, most dangerous first. A call is in one group only.
func Groups() []Group {
	return []Group{
		group("execute", "runs another program",
			"execve execveat"),
		group("inspect", "reads or changes other processes",
			"ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise process_mrelease"),
		group("kernel", "loads code into the kernel or replaces it",
			"init_module finit_module delete_module kexec_load kexec_file_load bpf perf_event_open"),
		group("mount", "changes what the file system shows",
			"mount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr"),
		group("namespace", "enters or makes namespaces",
			"setns unshare"),
		group("identity", "changes user, group or capabilities",
			"setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset"),
		group("memory", "makes memory executable",
			"mprotect pkey_mprotect remap_file_pages memfd_create memfd_secret uselib"),
		group("async", "performs calls that no filter sees",
			"io_uring_setup io_uring_enter io_uring_register"),
		group("surface", "kernel code with a history of exploits",
			"userfaultfd add_key request_key keyctl vmsplice modify_ldt clone3 fanotify_init open_by_handle_at"),
		group("machine", "controls the machine",
			"reboot swapon swapoff iopl ioperm settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname "+
				"acct quotactl quotactl_fd syslog vhangup"),
		group("network", "opens connections",
			"socket connect bind listen accept accept4"),
		group("files", "changes files and their rights",
			"chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat link linkat symlink symlinkat mknod mknodat "+
				"rename renameat renameat2 unlink unlinkat"),
		group("processes", "starts or signals processes",
			"fork vfork clone kill tkill tgkill pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo"),
	}
}

// group panics on a misspelt name: the lists are ours.
func group(name, why, calls string) Group {
	set, err := FromNames(strings.Fields(calls)...)
	if err != nil {
		panic(fmt.Sprintf("syscalls: group %s: %v", name, err))
	}
	return Group{name, why, set}
}

// everyday are the groups whose calls almost every server needs; they are worth naming but are not a danger by themselves.
var everyday = map[string]bool{"network": true, "files": true, "processes": true}

// Danger returns the calls whose presence in a serving set should worry: all groups but those of everyday calls.
func Danger() Set {
	var s Set
	for _, g := range Groups() {
		if !everyday[g.Name] {
			s = s.Union(g.Calls)
		}
	}
	return s
}

// fallbacks are the system calls that vDSO functions perform when they cannot answer in user space
// (Linux lib/vdso/gettimeofday.c, lib/vdso/getrandom.c, arch/x86/entry/vdso). __vdso_time and __vdso_getcpu never fall
// back in current kernels; glibc and musl perform the calls where the vDSO lacks the function.
var fallbacks = map[string]string{
	"clock_gettime":     "clock_gettime",
	"clock_gettime64":   "clock_gettime",
	"gettimeofday":      "gettimeofday",
	"time":              "time",
	"getcpu":            "getcpu",
	"clock_getres":      "clock_getres",
	"getrandom":         "getrandom",
	"sgx_enter_enclave": "",
}

// Fallback returns the calls that a function of the vDSO performs when it cannot answer in user space. The name may have
// the prefix "__vdso_". It is for programs whose vDSO image cannot be analysed; false: no function of that name is known,
// and the caller must assume every fallback (Fallbacks).
func Fallback(name string) (Set, bool) {
	calls, ok := fallbacks[strings.TrimPrefix(name, "__vdso_")]
	if !ok {
		return Set{}, false
	}
	s, err := FromNames(strings.Fields(calls)...)
	if err != nil {
		panic(fmt.Sprintf("syscalls: fallback of %s: %v", name, err))
	}
	return s, true
}

// Fallbacks returns the calls that any function of the vDSO may perform.
func Fallbacks() Set {
	var s Set
	for name := range fallbacks {
		f, _ := Fallback(name)
		s = s.Union(f)
	}
	return s
}
