package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/proc"
)

// finding is what doctor has to say of one thing.
type finding struct {
	What   string `json:"what"`
	State  string `json:"state"` // "ok", "limited" or "missing"
	Detail string `json:"detail"`
	Remedy string `json:"remedy"`
}

const (
	fine    = "ok"
	limited = "limited"
	missing = "missing"
)

// doctor builds the verb of that name.
func (a *app) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [-o table|json]",
		Short: "Say what works on this machine and what does not",
		Long: `doctor looks at the kernel, at the permissions and limits of its own process, and tries what run and attach do on a process
of its own. What is missing comes with the remedy; the exit status is then 2. Run it as the server would be run: in the
same unit, container and user.`,
		Example: `  syspart doctor
  systemd-run --pipe -p NoNewPrivileges=yes syspart doctor`,
		Args: cobra.NoArgs,
	}
	form := formatFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list := examine()
		err := a.print(func(w io.Writer) error {
			if form.value == "json" {
				e := json.NewEncoder(w)
				e.SetIndent("", "  ")
				return e.Encode(struct {
					SchemaVersion int       `json:"schemaVersion"`
					Findings      []finding `json:"findings"`
				}{1, list})
			}
			for _, f := range list {
				line := fmt.Sprintf("%-8s %-22s %s", f.State, f.What, f.Detail)
				if f.Remedy != "" {
					line += "; " + f.Remedy
				}
				if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(f finding) bool { return f.State == missing }) {
			return status(exitGate)
		}
		return nil
	}
	return cmd
}

// examine finds out what there is to say.
func examine() []finding {
	var out []finding
	say := func(what, state, detail, remedy string) { out = append(out, finding{what, state, detail, remedy}) }

	k, err := enforce.ThisKernel()
	switch {
	case err != nil:
		say("kernel", missing, err.Error(), "")
	case k.Arch != "amd64":
		say("kernel", missing, k.Release+" on "+k.Arch, "syspart analyses and filters x86-64 alone")
	default:
		say("kernel", fine, k.Release+" on x86-64", "")
	}
	if k.Seccomp {
		say("seccomp filters", fine, "", "")
	} else {
		say("seccomp filters", missing, "the kernel has none", "use one that is built with CONFIG_SECCOMP_FILTER")
	}
	for _, want := range []struct {
		name   string
		action uint32
	}{{"kill-process", filter.RetKillProcess}, {"log", filter.RetLog}, {"trap", filter.RetTrap}, {"errno", filter.RetErrno}} {
		if !slices.Contains(k.Actions, want.action) {
			say("action "+want.name, limited, "the kernel does not know it", "choose another with --action")
		}
	}
	if logged, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_logged"); err == nil && !slices.Contains(strings.Fields(string(logged)), "log") {
		say("action log", limited, "denials are not written to the kernel's log", "add log to /proc/sys/kernel/seccomp/actions_logged")
	}

	st, err := proc.ReadStatus(os.Getpid())
	if err != nil {
		say("/proc", missing, err.Error(), "mount it")
		return out
	}
	caps := capabilities()
	root := caps&(1<<unix.CAP_SYS_ADMIN) != 0 && caps&(1<<unix.CAP_SYS_PTRACE) != 0
	switch {
	case root:
		say("privileges", fine, "CAP_SYS_PTRACE and CAP_SYS_ADMIN", "")
	default:
		say("privileges", limited, "without CAP_SYS_PTRACE or CAP_SYS_ADMIN", "processes of other users cannot be taken over, and filters cannot be read back; run as root for that")
	}
	if st.Seccomp != unix.SECCOMP_MODE_DISABLED {
		say("own filter", limited, "this process runs under a seccomp filter", "it adds to ours, and what it denies is denied; a unit's SystemCallFilter= or a container's profile made it")
	} else {
		say("own filter", fine, "none", "")
	}
	switch {
	case k.Yama >= 3:
		say("ptrace", missing, "kernel.yama.ptrace_scope is 3: nobody may trace", "it stays so until the next boot; remove the setting")
	case k.Yama == 2 && !root:
		say("ptrace", missing, "kernel.yama.ptrace_scope is 2: only CAP_SYS_PTRACE may trace", "run as root, or set it to 1")
	case k.Yama == 1 && !root:
		say("ptrace", limited, "kernel.yama.ptrace_scope is 1: only descendants may be traced", "attach needs root or 0; run works as the server's parent")
	default:
		say("ptrace", fine, fmt.Sprintf("kernel.yama.ptrace_scope is %d", k.Yama), "")
	}
	if why := tryInject(); why != nil {
		say("taking over", missing, why.Error(), "a unit or container that forbids ptrace or process_vm_readv? allow them for syspart")
	} else {
		say("taking over", fine, "a process of our own has made a call for us", "")
	}
	if err := tryCode(); err != nil {
		say("code in memory", limited, err.Error(), "stubs cannot be put in (SELinux execmem, PaX): a watcher stays with run")
	} else {
		say("code in memory", fine, "", "")
	}
	if os.Getpid() == 1 {
		say("process id 1", limited, "the server's orphans are ours", "run stays as its parent and reaps them")
	}
	if text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil && strings.HasPrefix(string(text), "Y") {
		say("AppArmor", limited, "is on", "profiles that change by change_hat or on execve do not under NO_NEW_PRIVS, unless they only lose rights")
	}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		say("SELinux", limited, "is on", "domains do not change on execve under NO_NEW_PRIVS, unless the policy allows nnp_transition")
	}
	if dir, err := os.UserCacheDir(); err != nil {
		say("cache", limited, err.Error(), "give --cache-dir, or each analysis starts anew")
	} else if err := writable(filepath.Join(dir, "syspart")); err != nil {
		say("cache", limited, err.Error(), "give --cache-dir, or each analysis starts anew")
	} else {
		say("cache", fine, filepath.Join(dir, "syspart"), "")
	}
	return out
}

// capabilities are those that this process has, by number.
func capabilities() uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	var set uint64
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			_, _ = fmt.Sscanf(strings.TrimSpace(v), "%x", &set) // unreadable counts as none
		}
	}
	return set
}

// tryInject has a process of ours make a call, as attach does.
func tryInject() error {
	cmd := exec.Command("/proc/self/exe", "version")
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	// It waits for standard output to be read: the pipe is full.
	if err := fill(w); err != nil {
		return err
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	got, err := backend.inject(cmd.Process.Pid, cmd.Process.Pid, unix.SYS_GETPID)
	if err == nil && got != int64(cmd.Process.Pid) {
		err = errors.New("the process that was traced has made another call")
	}
	return err
}

// fill fills a pipe.
func fill(w *os.File) error {
	fd := int(w.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	defer func() { _ = unix.SetNonblock(fd, false) }()
	for {
		if _, err := unix.Write(fd, make([]byte, 4096)); err == unix.EAGAIN {
			break
		} else if err != nil {
			return err
		}
	}
	return nil
}

// tryCode maps a page as stubs need it.
func tryCode() error {
	b, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("executable memory: %w", err)
	}
	return unix.Munmap(b)
}

// writable reports whether files can be made in a directory, which need not exist yet.
func writable(dir string) error {
	for {
		st, err := os.Stat(dir)
		switch {
		case err == nil && !st.IsDir():
			return fmt.Errorf("%s: is no directory", dir)
		case err == nil:
			return unix.Access(dir, unix.W_OK)
		case dir == filepath.Dir(dir):
			return err
		}
		dir = filepath.Dir(dir)
	}
}
