package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"syspart/internal/enforce"
	"syspart/internal/enforce/attach"
	"syspart/internal/filter"
	"syspart/profile"
)

// order is what the process that watches a server is told on its standard input.
type order struct {
	enforced
	PID      int
	Detached bool
}

// inPlace reports whether a plan's program serves in its first process: then that one can take the place of ours. A program
// that puts itself into the background is started as our child, for its processes would be lost without us as their reaper.
//
// As PID 1 our orphans become the server's children; and where Yama lets only ancestors trace, only our children can be
// watched.
func inPlace(plan *enforce.Plan) bool {
	if os.Getpid() == 1 {
		return false
	}
	if scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil && strings.TrimSpace(string(scope)) != "0" && os.Geteuid() != 0 {
		return false
	}
	return slices.ContainsFunc(plan.Kinds, func(k enforce.Kind) bool { return k.Role == profile.RoleMain })
}

// become executes the command in our own place, once a process that is no relative of it watches it; it returns only if
// that fails.
func become(argv []string, e *enforced) error {
	path, err := commandPath(argv[0])
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = guardProcess(order{enforced: *e, PID: os.Getpid()}, w, true)
	w.Close()
	if err != nil {
		return fmt.Errorf("the process that watches the server: %w", err)
	}
	if line, _ := bufio.NewReader(r).ReadString('\n'); line != "ready\n" {
		return errors.New("the process that watches the server did not start; see above")
	}
	err = syscall.Exec(path, argv, os.Environ())
	return notExecutable(&os.PathError{Op: "exec", Path: argv[0], Err: err})
}

// guardProcess starts the verb guard with an order; ready becomes its standard output.
func guardProcess(o order, ready *os.File, wait bool) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	argv := []string{os.Args[0], "guard"}
	if slog.Default().Enabled(context.Background(), slog.LevelDebug) {
		argv = append(argv, "-v")
	}
	p, err := os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{in, ready, os.Stderr},
		Sys: &syscall.SysProcAttr{Setsid: o.Detached}})
	in.Close()
	if err != nil {
		out.Close()
		return err
	}
	_, err = out.Write(text)
	out.Close()
	if err != nil || !wait {
		return err
	}
	st, err := p.Wait()
	if err == nil && !st.Success() {
		err = errors.New(st.String())
	}
	return err
}

// guard builds the hidden verb by which run watches a server that has taken its place: it starts itself once more and
// ends, so that the process which watches is nobody's child.
func (a *app) guard() *cobra.Command {
	return &cobra.Command{
		Use:   "guard",
		Short: "Watch a server for run",
		Long: `guard gives the threads of a server that run has become their filters. run starts it and tells it on its standard input
what to watch; it ends with the server.`,
		Example: `  syspart guard <order`,
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var o order
			if err := json.NewDecoder(a.stdin).Decode(&o); err != nil || o.Plan == nil || o.PID <= 0 {
				return errors.New("guard: is started by run alone")
			}
			if !o.Detached {
				o.Detached = true
				return guardProcess(o, os.Stdout, false)
			}
			for i := range o.Plan.Kinds { // sets do not travel; filters say the same
				k := &o.Plan.Kinds[i]
				allow, err := filter.Allowed(k.Filter)
				if err != nil {
					return err
				}
				k.Allow = allow
			}
			return attach.Guard(cmd.Context(), o.PID, o.Plan, o.options(cmd.Context(), a.warner()), func() {
				fmt.Fprintln(os.Stdout, "ready")
				os.Stdout.Close()
			})
		},
	}
}
