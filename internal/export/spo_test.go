package export

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"syspart/internal/filter"
	"syspart/profile"
)

// TestSPO: exactly the fields that the operator's schema has (deploy/base-crds/crds/seccompprofile.yaml, version v1): it has no
// error number for the default action, and an API server refuses what it does not know.
func TestSPO(t *testing.T) {
	p := &profile.Profile{Program: profile.Program{Path: "/usr/sbin/d"}, Threads: []profile.Thread{{Kind: "cycle", Role: profile.RoleMain,
		Init: []string{"mount", "openat"}, Serving: profile.Serving{Own: []string{"read", "write"}}}}}
	want := `apiVersion: security-profiles-operator.x-k8s.io/v1
kind: SeccompProfile
metadata:
  name: syspart-d-x
spec:
  defaultAction: ACTION
  architectures:
  - SCMP_ARCH_X86_64
  syscalls:
  - action: SCMP_ACT_ALLOW
    names:
    - exit
    - exit_group
    - mount
    - openat
    - read
    - restart_syscall
    - rt_sigreturn
    - write
  - action: SCMP_ACT_ALLOW
    names:
    - capset
    - close
    - execve
    - prctl
    - rt_sigaction
    - rt_sigprocmask
    - setresgid
    - setresuid
`
	for action, word := range map[filter.Action]string{filter.KillProcess: "SCMP_ACT_KILL_PROCESS", filter.Log: "SCMP_ACT_LOG", filter.Trap: "SCMP_ACT_TRAP",
		filter.ErrnoAuto: "SCMP_ACT_ERRNO", filter.Errno(1): "SCMP_ACT_ERRNO"} {
		var b bytes.Buffer
		if _, err := Write(&b, p, Options{Format: "spo", Phase: PhaseEntry, Runtime: "crun", Action: action, Name: "D_x"}); err != nil {
			t.Fatal(err)
		}
		if got, want := b.String(), strings.ReplaceAll(want, "ACTION", word); got != want {
			t.Errorf("%v:\n%s\nwant\n%s", action, got, want)
		}
	}
	var b bytes.Buffer
	if _, err := Write(&b, p, Options{Format: "spo", Phase: PhaseEntry, Runtime: "none", Action: filter.Errno(38)}); !errors.Is(err, ErrOptions) || b.Len() > 0 {
		t.Errorf("an error number that the schema has no room for: %v, %q", err, b.String())
	}
}
