package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"syspart/internal/pipeline"
	"syspart/internal/seclog"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// diff builds the verb of that name.
func (a *app) diff() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff [flags] A B",
		Short: "Compare what two profiles, or two programs, allow",
		Long: `diff prints which calls the second of two profiles allows that the first does not, and the other way round, for each
thread kind. Two programs (ELF files) are compared by what is reachable from their main functions. With --fail-on the exit
status is 2 if there are such changes.`,
		Example: `  syspart diff old.json new.json
  syspart diff --fail-on added /usr/sbin/nginx ./nginx`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(cmd, "want two profiles, or two programs")
			}
			return nil
		},
	}
	s := a.analysisFlags(cmd)
	form := formatFlag(cmd, "table", "json")
	fail := &format{"none", []string{"none", "added", "removed", "any"}}
	cmd.Flags().Var(fail, "fail-on", "exit with 2 if there are such changes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		x, err := a.comparable(cmd, args[0], s)
		if err != nil {
			return err
		}
		y, err := a.comparable(cmd, args[1], s)
		if err != nil {
			return err
		}
		a.progress.clear()
		changes := profile.Diff(x, y)
		if err := a.print(func(w io.Writer) error { return writeChanges(w, changes, form.value) }); err != nil {
			return err
		}
		for _, c := range changes {
			if len(c.Added) > 0 && (fail.value == "added" || fail.value == "any") || len(c.Removed) > 0 && (fail.value == "removed" || fail.value == "any") {
				return status(exitGate)
			}
		}
		return nil
	}
	return cmd
}

// comparable reads a profile, or makes one of a program with main as its only kind.
func (a *app) comparable(cmd *cobra.Command, path string, s *pipeline.Options) (*profile.Profile, error) {
	head := make([]byte, 4)
	if f, err := os.Open(path); err == nil {
		_, _ = io.ReadFull(f, head) // too short: no ELF file
		f.Close()
	}
	if string(head) != "\x7fELF" {
		return a.loadProfile(path)
	}
	r, err := backend.analyze(cmd.Context(), path, []string{"main"}, *s)
	if err != nil {
		return nil, err
	}
	return &profile.Profile{Program: profile.Program{Path: path}, Threads: []profile.Thread{{Kind: "main", Serving: profile.Serving{Own: r.Sets[0].Calls.Names()}}}}, nil
}

func writeChanges(w io.Writer, changes []profile.Change, form string) error {
	if form == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			SchemaVersion int              `json:"schemaVersion"`
			Changes       []profile.Change `json:"changes"`
		}{1, changes})
	}
	for _, c := range changes {
		only := ""
		if c.In != "both" {
			only = " (in the " + c.In + " profile only)"
		}
		if _, err := fmt.Fprintf(w, "%s%s\n", printable(c.Kind), only); err != nil {
			return err
		}
		for _, n := range c.Added {
			fmt.Fprintf(w, "  + %s\n", n)
		}
		for _, n := range c.Removed {
			fmt.Fprintf(w, "  - %s\n", n)
		}
	}
	return nil
}

// merge builds the verb of that name.
func (a *app) merge() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "merge [-o FILE] PROFILE...",
		Short: "Make one profile of several of the same program",
		Long: `merge makes one profile of several that were made of the same program and libraries with different configurations: each
thread kind is allowed what any of them allows it. On stderr it says in how many of the profiles each kind was seen.`,
		Example: `  syspart merge -o nginx.json plain.json tls.json proxy.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "want at least one profile")
			}
			return nil
		},
	}
	out := cmd.Flags().StringP("output", "o", "-", "write to `FILE`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list := make([]*profile.Profile, len(args))
		for i, path := range args {
			p, err := a.loadProfile(path)
			if err != nil {
				return err
			}
			list[i] = p
		}
		m, coverage, err := profile.Merge(list...)
		if err != nil {
			return err
		}
		if err := a.write(*out, m); err != nil {
			return err
		}
		for i := range m.Threads {
			k := m.Threads[i].Kind
			fmt.Fprintf(a.stderr, "%s: in %d of %d profiles\n", printable(k), coverage[k], len(list))
		}
		return nil
	}
	return cmd
}

// verify builds the verb of that name.
func (a *app) verify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [flags] PROFILE LOG",
		Short: "Say which calls of a log a profile does not allow",
		Long: `verify reads a log of system calls and prints those that the profile's filters would deny, with how often they occur; the
exit status is then 2. A log is what strace wrote (with or without -f, -c), records of the audit system or the kernel's log
(type=SECCOMP or SYSCALL, raw or interpreted), or the JSON of oci-seccomp-bpf-hook. Calls before the transition count, too, unless
the log leaves them out; --phase entry compares with the whole life of the process. Calls by the tables of 32-bit programs, which
filters deny, are printed as i386:N and x32:N.`,
		Example: `  syspart verify redis.json strace.txt
  ausearch -m SECCOMP --raw | syspart verify --exe /usr/sbin/nginx nginx.json -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(cmd, "want a PROFILE and a LOG")
			}
			return nil
		},
	}
	phase := &format{"serving", []string{"serving", "entry"}}
	cmd.Flags().Var(phase, "phase", "what the log covers")
	exe := cmd.Flags().String("exe", "", "of audit records only those of the program `PATH`")
	kind := kindFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := a.loadProfile(args[0])
		if err != nil {
			return err
		}
		if err := hasKind(p, args[0], *kind); err != nil {
			return err
		}
		in := a.stdin
		if args[1] != "-" {
			f, err := os.Open(args[1])
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		}
		seen, err := seclog.Read(in, *exe)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(args[1]), err)
		}
		allowed := p.Union(profile.SetAll, *kind)
		if phase.value == "entry" {
			for i := range p.Threads {
				allowed = append(allowed, p.Threads[i].Init...)
			}
		}
		allowed = append(allowed, syscalls.Always().Names()...)
		var denied []seclog.Call
		for _, c := range seen {
			if !slices.Contains(allowed, c.Name) {
				denied = append(denied, c)
			}
		}
		err = a.print(func(w io.Writer) error {
			for _, c := range denied {
				if _, err := fmt.Fprintf(w, "%s\t%d\n", c.Name, c.Count); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(denied) == 0 {
			return err
		}
		are := "calls of the log are"
		if len(denied) == 1 {
			are = "call of the log is"
		}
		err = fmt.Errorf("%s: %d %s not allowed", args[0], len(denied), are)
		if i := slices.IndexFunc(denied, func(c seclog.Call) bool { _, ok := syscalls.Number(c.Name); return ok }); i >= 0 {
			err = fmt.Errorf("%w; syspart explain %s %s says why", err, args[0], denied[i].Name)
		}
		return &exitStatus{code: exitGate, err: err}
	}
	return cmd
}
