package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// app is one invocation: its streams and what all verbs share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	verbose        bool
	color          format // auto, always or never
	progress       *progress
}

// Main runs the command line args (args[0] is the program's name) on the process's own streams and returns its exit code.
func Main(args []string) int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	a.progress = newProgress(os.Stderr)
	var rest []string
	if len(args) > 0 {
		rest = args[1:]
	}
	return a.run(context.Background(), rest)
}

// run parses and performs one command line; an error becomes one line on stderr and an exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	a.progress.clear()
	code, message := outcome(err)
	if message != "" {
		fmt.Fprintf(a.stderr, "syspart: %s\n", message)
	}
	return code
}

// root builds the command tree.
func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "syspart",
		Short: "Close every system call that a server does not need while it serves",
		Long: `syspart takes a Linux server as a binary, finds where it stops initialising and starts serving, computes which
system calls each of its threads can still need from there on, and closes all others at that moment.
It needs no source and no recompilation.`,
		Example: `  syspart profile -o nginx.json -- nginx -c /tmp/x/nginx.conf
  syspart show nginx.json
  syspart run -p nginx.json -- nginx -c /tmp/x/nginx.conf
  syspart explain nginx.json execve`,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true,
		Args:               cobra.ArbitraryArgs,
		PersistentPreRun:   func(*cobra.Command, []string) { a.log() },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%s: no such verb; see syspart --help", args[0])
			}
			return usage(cmd, "no verb")
		},
	}
	cmd.SetIn(a.stdin)
	cmd.SetOut(a.stdout)
	cmd.SetErr(a.stderr)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, "%v", err) })
	cmd.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "log what is done to stderr")
	a.color = format{"auto", []string{"auto", "always", "never"}}
	cmd.PersistentFlags().Var(&a.color, "color", "colour tables: auto is on a terminal, if NO_COLOR is not set")
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(a.analyze(), a.loops(), a.callgraph(), a.profile(), a.show(), a.explain(), a.export(), a.diff(), a.merge(), a.verify(), a.check(), a.launch(), a.harden(), a.revert(),
		a.attach(), a.status(), a.denials(), a.doctor(), a.inject(), a.guard(), a.completion(), a.version())
	for _, verb := range cmd.Commands() {
		completeFlags(verb)
	}
	return cmd
}

// log directs the program's log: to stderr with -v, nowhere without.
func (a *app) log() {
	var h slog.Handler = slog.DiscardHandler
	if a.verbose {
		h = slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
			if at.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return at
		}})
	}
	slog.SetDefault(slog.New(h))
}

// usage is the error of a command line that is not understood; profile and run report it as a failure to launch.
func usage(cmd *cobra.Command, format string, args ...any) error {
	err := fmt.Errorf("%s; see %s --help", oneLine(fmt.Sprintf(format, args...)), cmd.CommandPath())
	if name := cmd.Name(); name == "profile" || name == "run" {
		return &exitStatus{code: exitLaunch, err: err}
	}
	return err
}

// exactly wants n positional arguments, which what names.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage(cmd, "want %s, have %d arguments", what, len(args))
		}
		return nil
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
