package cli

import (
	"io"

	"github.com/spf13/cobra"

	"syspart/internal/pipeline"
	"syspart/internal/report"
	"syspart/profile"
)

// callgraph builds the verb of that name.
func (a *app) callgraph() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "callgraph [flags] BINARY",
		Short: "Print what each indirect call of a program can call",
		Long: `callgraph prints the function-call graph of a program and its libraries. As JSON it is one line an indirect call
site, with the functions that it can call and the rule that says so; addresses are ELF virtual addresses. As dot it is
a graph for Graphviz. With -p it has the modules that a profile found, and the profile must fit the files.`,
		Example: `  syspart callgraph /usr/sbin/nginx > sites.json
  syspart callgraph --level a -p nginx.json /usr/sbin/nginx
  syspart callgraph -o dot redis-server | dot -Tsvg > redis.svg`,
		Args: exactly(1, "one BINARY"),
	}
	s := a.analysisFlags(cmd)
	rootFlag(cmd, s)
	laterFlags(cmd, s)
	levelFlag(cmd, s)
	path := profileFlag(cmd)
	form := formatFlag(cmd, "json", "dot")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		binary, err := binaryPath(args[0], s.Root)
		if err != nil {
			return err
		}
		var p *profile.Profile
		if *path != "" {
			if p, err = a.loadProfile(*path); err != nil {
				return err
			}
		}
		return a.print(func(w io.Writer) error {
			if form.value == "dot" {
				return backend.dot(cmd.Context(), binary, p, *s, w)
			}
			return backend.callgraph(cmd.Context(), binary, p, *s, func(site pipeline.Site) error { return report.Site(w, site) })
		})
	}
	return cmd
}
