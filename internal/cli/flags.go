package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"syspart/internal/callgraph"
	"syspart/internal/pipeline"
	"syspart/internal/proc"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// analysisFlags adds the flags that every analysing verb has, and returns what they set.
func (a *app) analysisFlags(cmd *cobra.Command) *pipeline.Options {
	s := &pipeline.Options{Progress: a.progress.show}
	f := cmd.Flags()
	f.StringVar(&s.CacheDir, "cache-dir", "", "keep module summaries and results in `DIR` (default: syspart in the user's cache directory)")
	f.BoolVar(&s.NoCache, "no-cache", false, "neither read nor write module summaries and results")
	return s
}

// rootFlag adds --root.
func rootFlag(cmd *cobra.Command, s *pipeline.Options) {
	cmd.Flags().StringVar(&s.Root, "root", "", "the file system that the program runs in, e.g. an unpacked image")
}

// laterFlags adds the flags that name what the analysis cannot see by itself.
func laterFlags(cmd *cobra.Command, s *pipeline.Options) {
	cmd.Flags().StringArrayVar(&s.Modules, "module", nil, "a library `FILE`, or a directory of them, that is loaded later (repeatable)")
	cmd.Flags().BoolVar(&s.Plugins, "plugins", false, "count all plug-ins in the directories that libraries have compiled in (SASL, OpenSSL)")
	cmd.Flags().StringArrayVar(&s.Exec, "exec", nil, "a program `FILE` that the server executes (repeatable)")
}

// policyFlag adds --exec-policy.
func policyFlag(cmd *cobra.Command, s *pipeline.Options) {
	cmd.Flags().Var(&policy{&s.ExecPolicy}, "exec-policy", `what a program that is executed by a name that is not known means: "known" leaves execve open for those that are,
"any" opens every call, "none" closes execve`)
}

// policy is the value of --exec-policy.
type policy struct{ *pipeline.ExecPolicy }

var policies = []string{pipeline.ExecKnown: "known", pipeline.ExecAny: "any", pipeline.ExecNone: "none"}

func (p *policy) Type() string   { return "POLICY" }
func (p *policy) String() string { return policies[*p.ExecPolicy] }

// Set is called by the flag parser.
func (p *policy) Set(s string) error {
	i := slices.Index(policies, s)
	if i < 0 {
		return fmt.Errorf("no such policy; there are %s", strings.Join(policies, ", "))
	}
	*p.ExecPolicy = pipeline.ExecPolicy(i)
	return nil
}

// levelFlag adds --level.
func levelFlag(cmd *cobra.Command, s *pipeline.Options) {
	cmd.Flags().Var(&level{&s.Level}, "level", "how indirect calls are resolved, from a (coarse) to e (fine, the default)")
}

// level is the value of --level.
type level struct{ *callgraph.Level }

func (l *level) Type() string { return "LEVEL" }

// Set is called by the flag parser.
func (l *level) Set(s string) (err error) {
	*l.Level, err = callgraph.ParseLevel(s)
	return err
}

// profileFlag adds -p.
func profileFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("profile", "p", "", "the profile `FILE`, as written by syspart profile")
}

// loadProfile reads a profile and checks its names against the table of calls. "-" is standard input.
func (a *app) loadProfile(path string) (*profile.Profile, error) {
	if path == "" {
		return nil, errors.New("no profile; give one with -p, made by syspart profile")
	}
	var p *profile.Profile
	var err error
	if path == "-" {
		p, err = profile.Read(a.stdin, "standard input")
	} else {
		p, err = profile.Load(path)
	}
	if err != nil {
		return nil, err
	}
	known := func(name string) bool { _, ok := syscalls.Number(name); return ok }
	if err := p.Validate(known); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// binaryPath finds the program that an argument names: a path, or, if it has no slash and no such file is here, a name
// that is searched for in PATH. Inside another root it is a path in that root.
func binaryPath(arg, root string) (string, error) {
	file := arg
	if root != "" && root != "/" {
		file = filepath.Join(root, arg)
	}
	st, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) && file == arg && !strings.Contains(arg, "/") {
		if found, lookErr := exec.LookPath(arg); lookErr == nil {
			return found, nil
		}
	}
	switch {
	case err != nil:
		return "", err
	case st.IsDir():
		return "", fmt.Errorf("%s: is a directory; name the server's program file", arg)
	case !st.Mode().IsRegular():
		return "", fmt.Errorf("%s: is not a regular file; name the server's program file", arg)
	}
	return arg, nil
}

// commandPath resolves the program of a command as a shell does. The errors carry the exit codes of shells.
func commandPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil, errors.Is(err, exec.ErrDot):
		return filepath.Abs(path)
	case errors.Is(err, fs.ErrPermission):
		return "", &exitStatus{code: exitCannotExec, err: fmt.Errorf("%s: cannot be executed; is it a program, and are you allowed to run it?", name)}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "", &exitStatus{code: exitNotFound, err: fmt.Errorf("%s: not found; give its path", name)}
	case errors.Is(err, syscall.EISDIR):
		return "", &exitStatus{code: exitCannotExec, err: fmt.Errorf("%s: is a directory; give the path of a program", name)}
	}
	return "", &exitStatus{code: exitCannotExec, err: err}
}

// notExecutable gives an error of starting a program the exit code that shells give it.
func notExecutable(err error) error {
	var has *exitStatus
	if errors.As(err, &has) {
		return err
	}
	return &exitStatus{code: proc.LaunchStatus(err), err: err}
}
