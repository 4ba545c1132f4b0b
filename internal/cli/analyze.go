package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"syspart/internal/report"
)

// analyze builds the verb of that name.
func (a *app) analyze() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "analyze [flags] BINARY",
		Short: "List the system calls that a program can reach",
		Long: `analyze lists the system calls that are reachable in a program and its libraries from given starting points:

  entry         the program's entry point: all that it can ever do
  main          its main function, found in stripped files too
  FUNC[+0xOFF]  a function, or a place in one, that the program's symbols name
  0xADDR        an ELF virtual address

Without --from it reports entry and main; -o names prints one starting point only, main unless told otherwise.`,
		Example: `  syspart analyze /usr/sbin/nginx
  syspart analyze -o names --from main redis-server
  syspart analyze --root ./image --from entry --module /usr/lib/x86_64-linux-gnu/libnss_files.so.2 /usr/sbin/nginx`,
		Args: exactly(1, "one BINARY"),
	}
	s := a.analysisFlags(cmd)
	rootFlag(cmd, s)
	laterFlags(cmd, s)
	levelFlag(cmd, s)
	form := formatFlag(cmd, "table", "json", "names")
	from := cmd.Flags().StringArray("from", nil, "starting `POINT` (repeatable)")
	strict := cmd.Flags().Bool("strict", false, "exit with 3 if anything stayed unresolved")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		points := *from
		switch {
		case form.value == "names" && len(points) > 1:
			return usage(cmd, "-o names takes one --from, have %d", len(points))
		case form.value == "names" && len(points) == 0:
			points = []string{"main"}
		case len(points) == 0:
			points = []string{"entry", "main"}
		}
		binary, err := binaryPath(args[0], s.Root)
		if err != nil {
			return err
		}
		result, err := backend.analyze(cmd.Context(), binary, points, *s)
		if err != nil {
			return err
		}
		a.progress.clear()
		if err := a.print(func(w io.Writer) error {
			switch form.value {
			case "json":
				return report.AnalysisJSON(w, result)
			case "names":
				return report.Names(w, result.Sets[0].Calls.Names())
			}
			return report.Analysis(w, result, a.style())
		}); err != nil {
			return err
		}
		if *strict {
			return incomplete(len(result.Unresolved))
		}
		return nil
	}
	return cmd
}

// incomplete is the outcome under --strict of an analysis that left places unresolved.
func incomplete(unresolved int) error {
	if unresolved == 0 {
		return nil
	}
	return &exitStatus{code: exitIncomplete, err: fmt.Errorf("incomplete: %d places are unresolved; see the list", unresolved)}
}

// loops builds the verb of that name.
func (a *app) loops() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "loops [flags] BINARY",
		Short: "List the loops of a program, likeliest main loop first",
		Long: `loops lists the loops of a program and its libraries that could be a main loop, ranked by what they contain:
loops that wait for events come first. The ranking is static; syspart profile finds the real ones in a run.`,
		Example: `  syspart loops /usr/sbin/nginx
  syspart loops -o json redis-server`,
		Args: exactly(1, "one BINARY"),
	}
	s := a.analysisFlags(cmd)
	rootFlag(cmd, s)
	laterFlags(cmd, s)
	form := formatFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		binary, err := binaryPath(args[0], s.Root)
		if err != nil {
			return err
		}
		loops, err := backend.loops(cmd.Context(), binary, *s)
		if err != nil {
			return err
		}
		a.progress.clear()
		return a.print(func(w io.Writer) error {
			if form.value == "json" {
				return report.LoopsJSON(w, loops)
			}
			return report.Loops(w, loops, a.style())
		})
	}
	return cmd
}
