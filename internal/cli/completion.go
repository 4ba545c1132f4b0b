package cli

import (
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"syspart/internal/syscalls"
)

// completion builds the verb of that name.
func (a *app) completion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes verbs, flags and their values",
		Long: `completion prints a script for a shell, by which it completes verbs, flags, their values and names of system calls. bash needs the
package bash-completion. make install puts the scripts where the shells look for them.`,
		Example: `  source <(syspart completion bash)
  syspart completion fish >~/.config/fish/completions/syspart.fish`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || cobra.OnlyValidArgs(cmd, args) != nil {
				return usage(cmd, "want bash, zsh, fish or powershell")
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.print(func(w io.Writer) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			}
			return root.GenPowerShellCompletionWithDesc(w)
		})
	}
	return cmd
}

// completeFlags has shells offer the words that flags of a verb allow.
func completeFlags(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if words, ok := f.Value.(*format); ok {
			fixed := cobra.FixedCompletions(words.allowed, cobra.ShellCompDirectiveNoFileComp)
			if err := cmd.RegisterFlagCompletionFunc(f.Name, fixed); err != nil {
				panic("cli: " + err.Error()) // the flag is there, once
			}
		}
	})
}

// completeCall offers names of system calls behind the first argument, which is a file.
func completeCall(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return syscalls.All().Names(), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}
