package export

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"syspart/internal/filter"
)

// ociSeccomp is the object of the OCI runtime specification, in the flat form that every runtime reads alike.
type ociSeccomp struct {
	DefaultAction   string       `json:"defaultAction"`
	DefaultErrnoRet *uint        `json:"defaultErrnoRet,omitempty"`
	Architectures   []string     `json:"architectures"`
	Syscalls        []ociSyscall `json:"syscalls"`
}

type ociSyscall struct {
	Names  []string `json:"names"`
	Action string   `json:"action"`
}

// actionOf is an action in the words of libseccomp, and the error number if it has one.
func actionOf(a filter.Action) (name string, errno *uint) {
	number := func(n uint) *uint { return &n }
	switch a {
	case filter.KillProcess:
		return "SCMP_ACT_KILL_PROCESS", nil
	case filter.Log:
		return "SCMP_ACT_LOG", nil
	case filter.Trap:
		return "SCMP_ACT_TRAP", nil
	case filter.ErrnoAuto:
		return "SCMP_ACT_ERRNO", number(uint(unix.EPERM))
	}
	for n := unix.Errno(1); n < 4096; n++ {
		if a == filter.Errno(n) {
			return "SCMP_ACT_ERRNO", number(uint(n))
		}
	}
	return "SCMP_ACT_ERRNO", number(uint(unix.EPERM))
}

func groups(s *Set) []ociSyscall {
	out := []ociSyscall{{Names: s.Calls.Names(), Action: "SCMP_ACT_ALLOW"}}
	if !s.Floor.Empty() {
		out = append(out, ociSyscall{Names: s.Floor.Names(), Action: "SCMP_ACT_ALLOW"})
	}
	return out
}

func oci(w io.Writer, s *Set, o *Options) error {
	d := ociSeccomp{Architectures: []string{"SCMP_ARCH_X86_64"}, Syscalls: groups(s)}
	d.DefaultAction, d.DefaultErrnoRet = actionOf(o.Action)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// spo writes a SeccompProfile of the security-profiles-operator: version v1, cluster-scoped. Its schema (deploy/base-crds of
// kubernetes-sigs/security-profiles-operator, August 2026) has no error number for the default action: it is EPERM, which is what
// the runtimes take without one; an API server refuses or drops fields that the schema lacks.
func spo(w io.Writer, s *Set, o *Options) error {
	var b strings.Builder
	action, errno := actionOf(o.Action)
	fmt.Fprintf(&b, "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: SeccompProfile\nmetadata:\n  name: %s\nspec:\n  defaultAction: %s\n", objectName(o.Name), action)
	if errno != nil && *errno != uint(unix.EPERM) {
		return fmt.Errorf("a SeccompProfile fails denied calls with EPERM alone: %w", ErrOptions)
	}
	b.WriteString("  architectures:\n  - SCMP_ARCH_X86_64\n  syscalls:\n")
	for _, g := range groups(s) {
		fmt.Fprintf(&b, "  - action: %s\n    names:\n", g.Action)
		for _, n := range g.Names {
			fmt.Fprintf(&b, "    - %s\n", n)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// objectName makes a name of Kubernetes out of a program's (RFC 1123: lower-case letters, digits, hyphens).
func objectName(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(name) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			b.WriteRune(c)
		} else if b.Len() > 0 {
			b.WriteByte('-')
		}
	}
	out := strings.Trim(b.String(), "-")
	if out == "" {
		out = "server"
	}
	return "syspart-" + out[:min(len(out), 200)]
}

// perLine is how many names stand in one line of lists for people.
const perLine = 8

func systemd(w io.Writer, s *Set, o *Options) error {
	var b strings.Builder
	b.WriteString("# Drop-in for a unit: UNIT.d/50-syspart.conf\n[Service]\nSystemCallArchitectures=native\nSystemCallFilter=\n")
	names := s.All().Names()
	for i := 0; i < len(names); i += perLine {
		fmt.Fprintf(&b, "SystemCallFilter=%s\n", strings.Join(names[i:min(i+perLine, len(names))], " "))
	}
	switch action, errno := actionOf(o.Action); {
	case errno != nil:
		fmt.Fprintf(&b, "SystemCallErrorNumber=%d\n", *errno)
	case action == "SCMP_ACT_LOG":
		return fmt.Errorf("systemd has no action that allows and logs; use SystemCallLog= by hand: %w", ErrOptions)
	case action == "SCMP_ACT_TRAP":
		return fmt.Errorf("systemd has no action trap: %w", ErrOptions)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func firejail(w io.Writer, s *Set, o *Options) error {
	action, errno := actionOf(o.Action)
	word := "kill"
	switch {
	case errno != nil:
		if word = unix.ErrnoName(unix.Errno(*errno)); word == "" {
			return fmt.Errorf("firejail takes error numbers by their names alone: %w", ErrOptions)
		}
	case action == "SCMP_ACT_LOG":
		word = "log"
	case action == "SCMP_ACT_TRAP":
		return fmt.Errorf("firejail has no action trap: %w", ErrOptions)
	}
	_, err := fmt.Fprintf(w, "# Lines for a firejail profile, or: firejail --profile=FILE\nseccomp-error-action %s\nseccomp.keep %s\n", word, strings.Join(s.All().Names(), ","))
	return err
}

func bpf(w io.Writer, s *Set, o *Options) error {
	p, err := filter.Compile(s.All(), o.Action)
	if err == nil {
		_, err = w.Write(p.Encode())
	}
	return err
}

func header(w io.Writer, s *Set, o *Options) error {
	p, err := filter.Compile(s.All(), o.Action)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "/* Allows %d system calls of x86-64:\n", s.All().Len())
	names := s.All().Names()
	for i := 0; i < len(names); i += perLine {
		fmt.Fprintf(&b, "   %s\n", strings.Join(names[i:min(i+perLine, len(names))], " "))
	}
	b.WriteString(`   prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &syspart_filter) */
#ifndef SYSPART_FILTER_H
#define SYSPART_FILTER_H
#include <linux/filter.h>

static struct sock_filter syspart_filter_code[] = {
`)
	for _, in := range p {
		fmt.Fprintf(&b, "\t{%#x, %d, %d, %#x},\n", in.Code, in.Jt, in.Jf, in.K)
	}
	b.WriteString(`};

static struct sock_fprog syspart_filter = {
	.len = sizeof syspart_filter_code / sizeof syspart_filter_code[0],
	.filter = syspart_filter_code,
};
#endif
`)
	_, err = io.WriteString(w, b.String())
	return err
}
