package cli

import (
	"io"

	"github.com/spf13/cobra"

	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/report"
)

// status builds the verb of that name.
func (a *app) status() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [-p PROFILE] PID",
		Short: "What the threads of a running server carry",
		Long: `status shows for each thread of a process and of those below it how many filters it carries and how many calls they leave
open; with a profile also which main loop it waits in, and whether what is open equals what the profile says of a kind.
Reading filters takes root.`,
		Example: `  syspart status -p nginx.json $(cat /run/nginx.pid)
  syspart status -o json 4711`,
		Args: exactly(1, "one PID"),
	}
	s := a.analysisFlags(cmd)
	path := profileFlag(cmd)
	form := formatFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pid, err := processID(args[0])
		if err != nil {
			return err
		}
		var plan *enforce.Plan
		if *path != "" {
			p, err := a.loadProfile(*path)
			if err != nil {
				return err
			}
			if plan, err = backend.plan(cmd.Context(), p, filter.KillProcess, *s); err != nil {
				return err
			}
		}
		a.progress.clear()
		list, err := backend.status(pid, plan)
		if err != nil {
			return err
		}
		return a.print(func(w io.Writer) error {
			if form.value == "json" {
				return report.StatusJSON(w, list)
			}
			return report.Status(w, list, a.style())
		})
	}
	return cmd
}
