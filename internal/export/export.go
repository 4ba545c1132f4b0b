// Package export writes what a profile allows in the forms that other programs enforce.
//
//	OCI       flat seccomp object of the OCI runtime specification (config-linux.md): runc, crun, podman, Docker, containerd
//	SPO       SeccompProfile of Kubernetes' security-profiles-operator
//	Systemd   drop-in with SystemCallFilter=
//	Firejail  lines of a firejail profile
//	BPF       the classic BPF program: struct sock_filter, native byte order (bwrap --seccomp, minijail --seccomp-bpf-binary)
//	Names     one name a line
//	C         header with the program as an array of struct sock_filter
//
// All of these hold one filter for a process's whole life. So the set is by default that of the whole life: what any thread
// can call from the program's first instruction on. What is loaded after the transition alone may have the set of the
// serving phase. The direction of error is that of the profile: a call that the program can need is never missing.
package export

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"syspart/internal/filter"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// ErrOptions: options that contradict each other or the profile.
var ErrOptions = errors.New("cannot be exported so")

// Formats are the words that Write knows.
func Formats() []string { return []string{"oci", "spo", "systemd", "firejail", "bpf", "names", "c"} }

// Phases are what a set may cover.
const (
	PhaseEntry   = "entry"   // the whole life of the process
	PhaseServing = "serving" // from the transition on
)

// Options are choices of the caller.
type Options struct {
	Format string
	Phase  string // PhaseEntry or PhaseServing
	Kind   string // serving: of this thread kind alone; "" for all
	// Runtime is the container runtime that loads the filter before it executes the program, so that its own calls have to be
	// allowed: runc, crun or none.
	Runtime string
	Action  filter.Action // what happens to a call that is not allowed
	Name    string        // what the object is called, where it has a name
}

// Set is what is exported.
type Set struct {
	Calls syscalls.Set // the program's
	Floor syscalls.Set // what the runtime or the tool needs beyond
}

// All is both.
func (s *Set) All() syscalls.Set { return s.Calls.Union(s.Floor) }

// floors are the calls that runtimes make between loading a filter and executing the program, where no_new_privs is not set
// (then the filter is loaded earlier than with it). Found by leaving calls out until a container did not start any more
// (crun 1.8.1, runc 1.1.5); for runc also what its Go runtime makes now and then.
var floors = map[string][]string{
	"none": nil,
	"crun": {"capset", "close", "prctl", "rt_sigaction", "rt_sigprocmask", "setresgid", "setresuid"},
	"runc": {"capget", "capset", "chdir", "close", "epoll_ctl", "faccessat2", "fcntl", "fstat", "fstatfs", "futex", "getcwd", "getdents64", "getpid", "getppid",
		"newfstatat", "openat", "prctl", "read", "setgid", "setgroups", "setuid",
		"clone", "epoll_create1", "epoll_pwait", "eventfd2", "exit_group", "gettid", "madvise", "mmap", "munmap", "nanosleep", "pipe2", "prlimit64",
		"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_yield", "sigaltstack", "tgkill", "write"},
}

// launchers are the formats whose filter a program loads that then executes the server; systemd allows execve by itself.
var launchers = map[string][]string{"firejail": {"execve"}, "bpf": {"execve"}, "oci": {"execve"}, "spo": {"execve"}}

// Of returns the set that the options select.
func Of(p *profile.Profile, o *Options) (Set, error) {
	var s Set
	add := func(to *syscalls.Set, names []string) error {
		more, err := syscalls.FromNames(names...)
		if err != nil {
			return err
		}
		*to = to.Union(more)
		return nil
	}
	floor, ok := floors[o.Runtime]
	switch {
	case !slices.Contains(Formats(), o.Format):
		return s, fmt.Errorf("%q: no such format: %w", o.Format, ErrOptions)
	case !ok:
		return s, fmt.Errorf("%q: no such runtime; there are none, runc and crun: %w", o.Runtime, ErrOptions)
	case o.Phase != PhaseEntry && o.Phase != PhaseServing:
		return s, fmt.Errorf("%q: no such phase; there are %s and %s: %w", o.Phase, PhaseEntry, PhaseServing, ErrOptions)
	case o.Kind != "" && p.Kind(o.Kind) == nil:
		return s, fmt.Errorf("no thread kind %q: %w", o.Kind, ErrOptions)
	case o.Kind != "" && o.Phase == PhaseEntry:
		return s, fmt.Errorf("a filter for the whole life of the process is one for all its threads, not for %s alone: %w", o.Kind, ErrOptions)
	}
	if err := add(&s.Calls, p.Union(profile.SetAll, o.Kind)); err != nil {
		return s, err
	}
	if o.Phase == PhaseEntry {
		for i := range p.Threads {
			if err := add(&s.Calls, p.Threads[i].Init); err != nil {
				return s, err
			}
		}
	}
	s.Calls = s.Calls.Union(syscalls.Always())
	if o.Phase == PhaseEntry && o.Format != "names" && o.Format != "c" {
		floor = append(slices.Clone(floor), launchers[o.Format]...)
	}
	if err := add(&s.Floor, floor); err != nil {
		return s, err
	}
	s.Floor = s.Floor.Minus(s.Calls)
	return s, nil
}

// Write writes a profile in a format. The warnings say in words what the reader of the output must see to.
func Write(w io.Writer, p *profile.Profile, o Options) (warnings []string, err error) {
	s, err := Of(p, &o)
	if err != nil {
		return nil, err
	}
	if o.Phase == PhaseServing {
		warnings = append(warnings, "this is the set of the serving phase: a process that gets it before all its threads are in their main loops is ended or fails; it holds for these threads alone")
	}
	if s.Calls == syscalls.All() {
		warnings = append(warnings, "every call is open: see the unresolved places of the profile")
	}
	for i := range p.Unresolved {
		if p.Unresolved[i].What == "execve" {
			warnings = append(warnings, "the profile has places that execute programs which are not known: what those need is not allowed for")
			break
		}
	}
	switch o.Format {
	case "oci":
		err = oci(w, &s, &o)
	case "spo":
		err = spo(w, &s, &o)
	case "systemd":
		err = systemd(w, &s, &o)
	case "firejail":
		err = firejail(w, &s, &o)
	case "bpf":
		err = bpf(w, &s, &o)
	case "c":
		err = header(w, &s, &o)
	default:
		for _, n := range s.All().Names() {
			if _, err = fmt.Fprintln(w, n); err != nil {
				break
			}
		}
	}
	return warnings, err
}
