package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"syspart/internal/pipeline"
	"syspart/internal/report"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// show builds the verb of that name.
func (a *app) show() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [flags] PROFILE",
		Short: "Show what a profile allows where, and what that closes",
		Long: `show prints per thread kind where its main loop is, how many system calls are open before and after it, and for what; those that its
start needed and that are closed when it serves; dangerous calls that stay open; which published exploits of the kernel and which
payloads that puts an end to; then what the server executes, what could not be resolved, and what the result rests on.

An exploit of the kernel is out of reach if every call that leads to it is closed. A payload is stopped if it needs a call that is
closed, with all calls that do the same (open and openat). The lists are those by which SysPart (CCS 2023) was measured; an attack that
is not among them is not counted.

With -o names it prints the calls that the filters allow, one a line: the union over all thread kinds and the three
sets own (the server's own code), exec (programs that it runs) and enforcer (installing later filters).
--kind and --set narrow that.`,
		Example: `  syspart show nginx.json
  syspart show -o names --kind ngx_worker_process_cycle --set own nginx.json
  syspart show -o json nginx.json`,
		Args: exactly(1, "one PROFILE"),
	}
	form := formatFlag(cmd, "table", "json", "names")
	set := &format{"", []string{profile.SetOwn, profile.SetExec, profile.SetEnforcer}}
	cmd.Flags().Var(set, "set", "only this serving set (-o names)")
	kind := kindFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if set.value != "" && form.value != "names" {
			return usage(cmd, "--set needs -o names")
		}
		p, err := a.loadProfile(args[0])
		if err != nil {
			return err
		}
		if err := hasKind(p, args[0], *kind); err != nil {
			return err
		}
		return a.print(func(w io.Writer) error {
			switch form.value {
			case "json":
				return report.ProfileJSON(w, p, *kind)
			case "names":
				return report.Names(w, p.Union(set.value, *kind))
			}
			return report.Profile(w, p, *kind, a.style())
		})
	}
	return cmd
}

// kindFlag adds --kind, which is also understood as --threads.
func kindFlag(cmd *cobra.Command) *string {
	kind := cmd.Flags().String("kind", "", "only this thread `KIND` (also --threads)")
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "threads" {
			name = "kind"
		}
		return pflag.NormalizedName(name)
	})
	return kind
}

// hasKind reports a thread kind that a profile does not have.
func hasKind(p *profile.Profile, path, kind string) error {
	if kind == "" || p.Kind(kind) != nil {
		return nil
	}
	kinds := make([]string, len(p.Threads))
	for i := range p.Threads {
		kinds[i] = p.Threads[i].Kind
	}
	return fmt.Errorf("%s: no thread kind %q; it has %s", path, kind, strings.Join(kinds, ", "))
}

// maxPaths bounds --all: more nobody reads.
const maxPaths = 1000

// explain builds the verb of that name.
func (a *app) explain() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "explain [flags] PROFILE SYSCALL",
		Aliases: []string{"why-not"},
		Short:   "Say why a system call is allowed, or why not",
		Long: `explain prints, for each thread kind that may make a system call while it serves, the shortest path from its main loop to
the place where the call is made, with the reason for each step. For the others it says that the call is closed, and prints the path
by which their start came to it, if it did. why-not is the same verb.

--all N prints up to N paths a thread kind, shortest first, that differ in the place that makes the call or in the function that calls
it: closing a call takes all of them. Below a path stands which of its steps every way to the call leads through, however many
there are: without any one of these the call is closed. --phase init prints the paths of the start for calls that stay open, too.`,
		Example: `  syspart explain nginx.json execve
  syspart explain --all 5 nginx.json mprotect
  syspart why-not nginx.json setuid
  syspart explain --kind aeMain -o json redis.json mprotect`,
		Args:              exactly(2, "a PROFILE and a SYSCALL"),
		ValidArgsFunction: completeCall,
	}
	s := a.analysisFlags(cmd)
	form := formatFlag(cmd, "table", "json")
	kind := kindFlag(cmd)
	all := cmd.Flags().Int("all", 1, "as many as `N` distinct paths a thread kind")
	ph := &format{"serving", []string{"serving", "init"}}
	cmd.Flags().Var(ph, "phase", "init: of the start as well")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all < 1 || *all > maxPaths {
			return usage(cmd, "--all: want a number from 1 to %d", maxPaths)
		}
		p, err := a.loadProfile(args[0])
		if err != nil {
			return err
		}
		if err := hasKind(p, args[0], *kind); err != nil {
			return err
		}
		if _, ok := syscalls.Number(args[1]); !ok {
			return fmt.Errorf("%s: no such system call; names are those of syscalls(2)", args[1])
		}
		e, err := backend.explain(cmd.Context(), only(p, *kind), pipeline.Question{Syscall: args[1], Paths: *all, Init: ph.value == "init"}, *s)
		if err != nil {
			return err
		}
		a.progress.clear()
		return a.print(func(w io.Writer) error {
			if form.value == "json" {
				return report.ExplanationJSON(w, e)
			}
			return report.Explanation(w, e, a.style())
		})
	}
	return cmd
}

// only returns the profile with one thread kind, or with all for "".
func only(p *profile.Profile, kind string) *profile.Profile {
	if kind == "" {
		return p
	}
	c := *p
	c.Threads = []profile.Thread{*p.Kind(kind)}
	return &c
}

// check builds the verb of that name.
func (a *app) check() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [flags] PROFILE",
		Short: "Say whether a profile still fits the files of this machine",
		Long: `check compares the program, its libraries and the programs that it executes with what was profiled. It exits with 0 if
they are the same and with 2 if not, naming each file that changed. A profile that does not fit is never enforced.`,
		Example: `  syspart check nginx.json || syspart profile -o nginx.json -- nginx`,
		Args:    exactly(1, "one PROFILE"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := a.loadProfile(args[0])
		if err != nil {
			return err
		}
		mismatches := p.Mismatches(backend.identify)
		if err := a.print(func(w io.Writer) error { return report.Check(w, p, mismatches, a.style()) }); err != nil {
			return err
		}
		if len(mismatches) > 0 {
			return status(exitGate)
		}
		return nil
	}
	return cmd
}
