package cli

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"syspart/internal/export"
	"syspart/internal/filter"
	"syspart/profile"
)

// export builds the verb of that name.
func (a *app) export() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export -f FORMAT [flags] PROFILE",
		Short: "Write what a profile allows for other programs to enforce",
		Long: `export writes an allow-list in the form of another program: oci (runc, crun, podman, Docker), spo (a SeccompProfile of
Kubernetes), systemd (a drop-in), firejail, bpf (for bwrap --seccomp), names, c (a header).

These hold one filter for the whole life of a process, so the list is what the server can call from its first instruction
on. --phase serving writes what it needs while it serves: for who installs the filter after the transition. For oci, with
--runtime, what the container runtime itself calls before it executes the program stands in a group of its own.`,
		Example: `  syspart export -f oci --runtime runc -o seccomp.json nginx.json
  syspart export -f systemd nginx.json
  syspart export -f bpf -o redis.bpf redis.json`,
		Args: exactly(1, "one PROFILE"),
	}
	o := export.Options{}
	form := &format{"", export.Formats()}
	cmd.Flags().VarP(form, "format", "f", "what to write")
	out := cmd.Flags().StringP("output", "o", "-", "write to `FILE`")
	phase := &format{export.PhaseEntry, []string{export.PhaseEntry, export.PhaseServing}}
	cmd.Flags().Var(phase, "phase", "the whole life of the process, or what follows the transition")
	runtime := &format{"none", []string{"none", "runc", "crun"}}
	cmd.Flags().Var(runtime, "runtime", "the container runtime that loads the filter")
	act := &action{filter.Errno(1)}
	cmd.Flags().Var(act, "action", "what happens to a denied call: kill-process, errno:NAME, log or trap")
	kind := kindFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if form.value == "" {
			return usage(cmd, "no format; give one with -f: %s", strings.Join(export.Formats(), ", "))
		}
		p, err := a.loadProfile(args[0])
		if err != nil {
			return err
		}
		if err := hasKind(p, args[0], *kind); err != nil {
			return err
		}
		o.Format, o.Phase, o.Runtime, o.Kind, o.Action = form.value, phase.value, runtime.value, *kind, act.Action
		o.Name = filepath.Base(p.Program.Path)
		var b bytes.Buffer
		warnings, err := export.Write(&b, p, o)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if *out == "-" {
			err = a.print(func(w io.Writer) error {
				_, err := b.WriteTo(w)
				return err
			})
		} else {
			err = profile.WriteFile(*out, b.Bytes())
		}
		if err != nil {
			return err
		}
		for _, text := range warnings {
			fmt.Fprintf(a.stderr, "syspart: %s: %s\n", args[0], printable(text))
		}
		return nil
	}
	return cmd
}
