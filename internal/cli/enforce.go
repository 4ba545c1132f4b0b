package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"syspart/internal/enforce"
	"syspart/internal/enforce/attach"
	"syspart/internal/filter"
	"syspart/internal/pipeline"
	"syspart/internal/report"
	"syspart/internal/stub"
	"syspart/internal/syscalls"
)

// action is the value of --action.
type action struct{ filter.Action }

func (a *action) Type() string { return "ACTION" }

// Set is called by the flag parser.
func (a *action) Set(s string) (err error) {
	a.Action, err = filter.ParseAction(s)
	return err
}

// actionFlag adds --action.
func actionFlag(cmd *cobra.Command) *action {
	v := &action{filter.KillProcess}
	cmd.Flags().Var(v, "action", "what happens to a denied call: kill-process, errno, errno:NAME, log or trap")
	return v
}

// refusedFlag adds --if-refused.
func refusedFlag(cmd *cobra.Command) *format {
	v := &format{"end", []string{"end", "serve"}}
	cmd.Flags().Var(v, "if-refused", "what a server's process does if the kernel refuses a thread its filter: end, or serve without it")
	return v
}

// failure is what --if-refused says.
func failure(refused *format) stub.Failure {
	if refused.value == "serve" {
		return stub.Serves
	}
	return stub.Ends
}

// target reads what a verb is given that has to do with a running server: its process id and the plan of its profile.
func (a *app) target(ctx context.Context, arg, path string, act filter.Action, s pipeline.Options) (int, *enforced, error) {
	pid, err := processID(arg)
	if err != nil {
		return 0, nil, err
	}
	p, err := a.loadProfile(path)
	if err != nil {
		return 0, nil, err
	}
	plan, err := backend.plan(ctx, p, act, s)
	return pid, &enforced{Plan: plan, Profile: p, CacheDir: s.CacheDir, NoCache: s.NoCache}, err
}

// launch builds the verb run.
func (a *app) launch() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run -p PROFILE [flags] -- CMD ARGS...",
		Short: "Run a server and close what its threads do not need once they serve",
		Long: `run starts a server and gives each of its threads its filter when it enters its main loop; threads and processes that
the server starts later get theirs in the same way.

run is transparent. A server that stays in the foreground takes run's place: it has the process id, the parent, the streams,
the signals and the exit status that it would have without syspart, and an unrelated process watches it until it ends. A
server that puts itself into the background is a child of run, which passes signals on and exits as it does. If the server
cannot be started the exit status is 125 (syspart's fault), 126 (not executable) or 127 (not found).

A program or a library may have changed since the profile was made (an upgrade, another kernel's vDSO). Then, as
--on-mismatch says, what can be needed is computed anew for the files that are there, from the same main loops if they
still stand ("reanalyse"), the server is not started ("refuse"), or it is started without filters ("unfiltered").

A module that the server has loaded and that the profile does not know is analysed then: it passes if no thread needs a call
for it that its filter lacks; with "refuse" it does not.`,
		Example: `  syspart run -p nginx.json -- nginx -c /tmp/x/nginx.conf
  syspart run -p redis.json --action errno -- redis-server /etc/redis/redis.conf`,
		Args: command,
	}
	cmd.Flags().SetInterspersed(false)
	s := a.analysisFlags(cmd)
	path := profileFlag(cmd)
	act := actionFlag(cmd)
	refused := refusedFlag(cmd)
	mismatch := mismatchFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := a.loadProfile(*path)
		if err != nil {
			return launching(err)
		}
		program, err := commandPath(args[0])
		if err != nil {
			return err
		}
		p, err = a.fitted(cmd.Context(), p, *mismatch, *s)
		if err != nil {
			return launching(err)
		}
		if p == nil {
			a.progress.clear()
			err := syscall.Exec(program, args, os.Environ())
			return notExecutable(&os.PathError{Op: "exec", Path: args[0], Err: err})
		}
		plan, err := backend.plan(cmd.Context(), p, act.Action, *s)
		if err != nil {
			return launching(err)
		}
		plan.Failure = failure(refused)
		a.progress.clear()
		e := enforced{Plan: plan, CacheDir: s.CacheDir, NoCache: s.NoCache}
		if *mismatch != refuse {
			e.Profile = p
		}
		code, err := backend.run(cmd.Context(), args, &e, a.warner())
		if err != nil {
			if code == 0 && errors.Is(err, enforce.ErrModule) {
				code = exitError // it served, but without filters
			}
			return &exitStatus{code: code, err: err}
		}
		return status(code)
	}
	return cmd
}

// warner returns a function that logs what became of threads, and says on stderr, once for each reason, that threads serve
// without the filter that they should have: a server that runs on must not seem to be closed.
func (a *app) warner() func(attach.Thread) {
	said := make(map[string]bool)
	return func(t attach.Thread) {
		logThread(t)
		if t.Status != attach.Failed || said[t.Why()] {
			return
		}
		said[t.Why()] = true
		fmt.Fprintf(a.stderr, "syspart: process %d, thread %d: serves without filter: %s\n", t.PID, t.TID, printable(t.Why()))
	}
}

// logThread logs what became of a thread.
func logThread(t attach.Thread) {
	slog.Debug("thread", "pid", t.PID, "tid", t.TID, "comm", t.Comm, "kind", t.Kind, "status", t.Status.String(), "why", t.Why(), "stopped", t.Stopped)
}

// command wants a command line behind the flags.
func command(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(cmd, "no command; write it behind --")
	}
	return nil
}

// attach builds the verb of that name.
func (a *app) attach() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "attach -p PROFILE [flags] PID",
		Short: "Close what the threads of a running server do not need",
		Long: `attach gives each thread of a running server, and of the processes below it, its filter. Only threads that are inside
their main loop get one; the others are reported. The server is stopped for milliseconds, no call of it fails, and
no process of syspart stays behind: threads and children that come later install their filters by code that is put into the
server's memory. The filters cannot be taken away again.`,
		Example: `  syspart attach -p nginx.json $(cat /run/nginx.pid)
  syspart attach -p redis.json --action log $(pidof redis-server)`,
		Args: exactly(1, "one PID"),
	}
	s := a.analysisFlags(cmd)
	path := profileFlag(cmd)
	act := actionFlag(cmd)
	refused := refusedFlag(cmd)
	strict := cmd.Flags().Bool("strict", false, "exit with 3 if a thread got no filter")
	wait := cmd.Flags().Duration("wait", 0, "go on for `TIME` while there are threads outside their main loops")
	dry := cmd.Flags().Bool("dry-run", false, "change nothing; show what each thread carries and which main loop it is in")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pid, e, err := a.target(cmd.Context(), args[0], *path, act.Action, *s)
		if err != nil {
			return err
		}
		e.Plan.Failure = failure(refused)
		a.progress.clear()
		if *dry {
			list, err := backend.status(pid, e.Plan)
			if err != nil {
				return err
			}
			return a.print(func(w io.Writer) error { return report.Status(w, list, a.style()) })
		}
		result, err := backend.attach(cmd.Context(), pid, e, *wait, logThread)
		// What was achieved before an error is told all the same: filters cannot be taken away again.
		if result != nil {
			if perr := a.print(func(w io.Writer) error { return report.Attached(w, result, a.style()) }); perr != nil && err == nil {
				err = perr
			}
		}
		if err != nil {
			return err
		}
		without := result.Count(attach.Outside) + result.Count(attach.Failed)
		if *strict && without > 0 {
			return &exitStatus{code: exitIncomplete, err: fmt.Errorf("process %d: %d of %d threads have no filter; attach again when they serve", pid, without, len(result.Threads))}
		}
		return nil
	}
	return cmd
}

// processID reads a process id.
func processID(arg string) (int, error) {
	pid, err := strconv.Atoi(arg)
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%s: is no process id; give a number above 0", arg)
	}
	return pid, nil
}

// inject builds the hidden verb of that name.
func (a *app) inject() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "inject --pid PID [--tid TID] SYSCALL [ARGS...]",
		Hidden: true,
		Short:  "Have a thread make one system call",
		Long: `inject makes one thread of a running process perform one system call and go on as if nothing had happened. It prints
what the call returned: negative numbers are errors. It is how demonstrations and tests show that a call works before
a thread's transition and not after it.`,
		Example: `  syspart inject --pid 4711 getppid
  syspart inject --pid 4711 --tid 4713 ptrace 0 0 0 0`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 7 {
				return usage(cmd, "want a SYSCALL and at most 6 numbers")
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false)
	pid := cmd.Flags().Int("pid", 0, "the process")
	tid := cmd.Flags().Int("tid", 0, "the thread (default: the process's first)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *pid <= 0 {
			return usage(cmd, "no --pid")
		}
		if *tid == 0 {
			*tid = *pid
		}
		nr, ok := syscalls.Number(args[0])
		if !ok {
			return fmt.Errorf("%s: no such system call; names are those of syscalls(2)", args[0])
		}
		values := make([]uint64, len(args)-1)
		for i, arg := range args[1:] {
			v, err := strconv.ParseInt(arg, 0, 64)
			if err != nil {
				u, uerr := strconv.ParseUint(arg, 0, 64)
				if uerr != nil {
					return fmt.Errorf("%s: is no number; arguments are decimal or 0x and hex", arg)
				}
				v = int64(u)
			}
			values[i] = uint64(v)
		}
		ret, err := backend.inject(*pid, *tid, nr, values...)
		if err != nil {
			return err
		}
		return a.print(func(w io.Writer) error {
			_, err := fmt.Fprintln(w, ret)
			return err
		})
	}
	return cmd
}
