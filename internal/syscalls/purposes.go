package syscalls

// Purpose is what a class of calls is for, as an administrator thinks of a server.
type Purpose struct {
	Name  string // one lower-case word
	What  string // what the calls do
	Calls Set
}

// Purposes returns the classes in the order in which they are shown. Every call of the table is in exactly one, the one that
// is named for what it is mostly used for; the order and the texts are part of what report prints. Made from the kernel's manual
// pages (man-pages, section 2).
func Purposes() []Purpose { return purposes }

// PurposeOf returns the class of a call; "unknown" for a number that the table lacks.
func PurposeOf(nr int) string {
	for i := range purposes {
		if purposes[i].Calls.Has(nr) {
			return purposes[i].Name
		}
	}
	return "unknown"
}

var purposes = []Purpose{
	purpose("data", "reads and writes what is open: files, pipes, connections",
		"read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek sendfile splice tee vmsplice copy_file_range "+
			"close close_range dup dup2 dup3 fcntl ioctl pipe pipe2 readahead fadvise64 cachestat flock "+
			"fsync fdatasync sync syncfs sync_file_range fallocate truncate ftruncate getpmsg putpmsg"),
	purpose("files", "opens, creates, renames and removes files, and looks at them",
		"open openat openat2 creat access faccessat faccessat2 stat fstat lstat newfstatat statx readlink readlinkat getdents getdents64 "+
			"getcwd chdir fchdir mkdir mkdirat rmdir rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat "+
			"mknod mknodat umask name_to_handle_at open_by_handle_at statfs fstatfs ustat sysfs lookup_dcookie"),
	purpose("rights", "changes owners, modes, times and attributes of files",
		"chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat "+
			"setxattr lsetxattr fsetxattr setxattrat getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat "+
			"removexattr lremovexattr fremovexattr removexattrat file_getattr file_setattr"),
	purpose("network", "makes connections and takes them, sends and receives",
		"socket socketpair connect bind listen accept accept4 shutdown getsockname getpeername setsockopt getsockopt "+
			"sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg"),
	purpose("events", "waits until something happens",
		"poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 "+
			"eventfd eventfd2 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_init fanotify_mark"),
	purpose("async", "has the kernel work in the background; io_uring performs calls that no filter sees",
		"io_setup io_destroy io_getevents io_pgetevents io_submit io_cancel io_uring_setup io_uring_enter io_uring_register"),
	purpose("memory", "gets memory and changes what it may be used for",
		"mmap munmap mremap mprotect pkey_mprotect pkey_alloc pkey_free madvise process_madvise msync mincore brk mlock mlock2 munlock mlockall munlockall "+
			"remap_file_pages memfd_create memfd_secret mseal map_shadow_stack mbind set_mempolicy get_mempolicy set_mempolicy_home_node "+
			"migrate_pages move_pages userfaultfd membarrier process_mrelease"),
	purpose("shared", "shares memory and messages with other processes",
		"shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl "+
			"mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr"),
	purpose("programs", "runs other programs",
		"execve execveat uselib"),
	purpose("processes", "starts processes and threads, ends them and waits for them",
		"clone clone3 fork vfork exit exit_group wait4 waitid getpid getppid gettid getpgid getpgrp setpgid getsid setsid "+
			"pidfd_open pidfd_getfd set_tid_address prctl arch_prctl personality"),
	purpose("threads", "lets threads wait for each other; processors and priorities",
		"futex futex_waitv futex_wait futex_wake futex_requeue set_robust_list get_robust_list rseq rseq_slice_yield "+
			"set_thread_area get_thread_area modify_ldt getcpu sched_yield "+
			"sched_setparam sched_getparam sched_setscheduler sched_getscheduler sched_setattr sched_getattr sched_get_priority_max "+
			"sched_get_priority_min sched_rr_get_interval sched_setaffinity sched_getaffinity getpriority setpriority ioprio_set ioprio_get"),
	purpose("signals", "sends signals and takes them",
		"rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend sigaltstack "+
			"signalfd signalfd4 kill tkill tgkill pidfd_send_signal pause restart_syscall"),
	purpose("time", "reads clocks, sleeps and sets timers",
		"time gettimeofday clock_gettime clock_getres nanosleep clock_nanosleep alarm getitimer setitimer times "+
			"timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime"),
	purpose("identity", "reads and changes user, group and capabilities",
		"getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups "+
			"capget capset"),
	purpose("limits", "reads limits, load and names of the machine; random numbers",
		"getrlimit setrlimit prlimit64 getrusage sysinfo uname getrandom"),
	purpose("sandbox", "restricts the process itself, makes namespaces and keys",
		"seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self lsm_get_self_attr lsm_set_self_attr lsm_list_modules "+
			"unshare setns listns add_key request_key keyctl"),
	purpose("inspection", "reads or changes other processes",
		"ptrace process_vm_readv process_vm_writev kcmp perf_event_open uprobe uretprobe"),
	purpose("mounts", "changes what the file system shows",
		"mount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr statmount listmount "+
			"quotactl quotactl_fd swapon swapoff"),
	purpose("machine", "loads code into the kernel and controls the machine",
		"init_module finit_module delete_module kexec_load kexec_file_load bpf reboot iopl ioperm acct syslog vhangup "+
			"sethostname setdomainname settimeofday clock_settime clock_adjtime adjtimex"),
	purpose("obsolete", "calls that current kernels do not have",
		"_sysctl create_module get_kernel_syms query_module nfsservctl afs_syscall tuxcall security vserver"),
}

func purpose(name, what, calls string) Purpose {
	g := group(name, what, calls)
	return Purpose{g.Name, g.Why, g.Calls}
}
