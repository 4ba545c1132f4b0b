package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"syspart/internal/observe"
	"syspart/internal/pipeline"
	"syspart/profile"
)

// recording is one run of the verb profile.
type recording struct {
	out      string        // file of the profile, "-" for stdout
	duration time.Duration // 0: no limit
	workload string        // shell text, "" for none
	pid      int           // running server, or 0
	command  []string      // server to start
	strict   bool
	options  pipeline.Options
}

// profile builds the verb of that name.
func (a *app) profile() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile [-o FILE] [flags] (-- CMD ARGS... | --pid PID)",
		Short: "Observe a server, find its main loops, write its profile",
		Long: `profile runs a server, or looks at a running one, samples its threads' stacks to find their main loops, computes by
static analysis which system calls can still be needed from there, and writes the profile. The run decides where the
serving phase begins and which modules are loaded, never what is allowed. What a server that was started asks the loader
for, and which programs it executes, is seen at breakpoints in it and told with the places that could not be resolved.

Without --duration and --workload it follows the server until that exits or syspart is told to stop (SIGINT, SIGTERM). A
server that was started gets the signal and ends; one that was attached to lives on. With --workload, CMD is run by sh
as soon as the server waits for work, and a started server is then ended by SIGTERM; so it is after --duration.

With a command profile is transparent: standard streams are the server's, signals reach it, its exit status becomes that
of profile, unless profile ended it or no profile could be made. The profile goes to FILE, whole or not at all, or to
stdout.`,
		Example: `  syspart profile -o nginx.json -- nginx -c /tmp/x/nginx.conf
  syspart profile -o redis.json --workload 'redis-benchmark -q -n 1000' -- redis-server
  syspart profile -o named.json --duration 30s --pid $(pidof named)`,
	}
	s := a.analysisFlags(cmd)
	laterFlags(cmd, s)
	policyFlag(cmd, s)
	levelFlag(cmd, s)
	var r recording
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVarP(&r.out, "output", "o", "-", "write the profile to `FILE`; - is stdout")
	f.DurationVar(&r.duration, "duration", 0, "observe for this long, e.g. 30s")
	f.StringVar(&r.workload, "workload", "", "run `CMD` (by sh -c) against the server, then stop")
	f.IntVar(&r.pid, "pid", 0, "look at the running process `PID` and those below it")
	f.BoolVar(&r.strict, "strict", false, "exit with 3 if anything stayed unresolved")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case cmd.Flags().Changed("pid") && r.pid <= 0:
			return usage(cmd, "--pid %d: is no process id", r.pid)
		case r.pid != 0 && len(args) > 0:
			return usage(cmd, "--pid and a command exclude each other")
		case r.pid == 0 && len(args) == 0:
			return usage(cmd, "no command and no --pid")
		case r.duration < 0:
			return usage(cmd, "--duration %v: is negative", r.duration)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r.command, r.options = args, *s
		return a.record(cmd.Context(), &r)
	}
	return cmd
}

// record observes, analyses and writes.
func (a *app) record(ctx context.Context, r *recording) error {
	w := watch{Duration: r.duration, PID: r.pid}
	fail := func(err error) error { return err }
	if r.pid == 0 {
		fail = launching
		if _, err := commandPath(r.command[0]); err != nil {
			return err
		}
		w.Command = r.command
	} else {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
		defer stop()
	}
	if err := creatable(r.out); err != nil {
		return fail(err)
	}

	obs, ended, err := a.observe(ctx, r, w)
	if err != nil {
		return err
	}
	p, err := backend.profile(context.WithoutCancel(ctx), obs.Program, obs, r.options)
	a.progress.clear()
	if err == nil {
		err = a.write(r.out, p)
	}
	code := 0
	if obs.Exited && !ended {
		code = obs.ExitStatus
	}
	switch {
	case err != nil && code != 0:
		return &exitStatus{code: code, err: fmt.Errorf("%w (the server ended with status %d)", err, code)}
	case err != nil:
		return err
	case code == 0 && r.strict:
		return incomplete(len(p.Unresolved))
	}
	return status(code)
}

// observe watches the server, with the workload if there is one. ended says that a started server was ended by us.
func (a *app) observe(ctx context.Context, r *recording, w watch) (obs *observe.Observation, ended bool, err error) {
	until, started := make(chan struct{}), make(chan int, 1)
	w.Until, w.Started = until, func(pid int) { started <- pid }
	driveCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	driven := make(chan error, 1)
	if r.workload != "" {
		go func() {
			err := a.drive(driveCtx, r.workload, started)
			driven <- err
			close(until)
		}()
	} else {
		driven <- nil
	}
	obs, err = backend.observe(ctx, w)
	cancel()
	workErr := <-driven
	switch {
	case err != nil && r.pid == 0:
		return nil, false, notExecutable(err)
	case err != nil:
		return nil, false, err
	case workErr != nil && obs.Exited && errors.Is(workErr, context.Canceled):
		// The server went first. If it was not told to, it has hardly served.
		if code := obs.ExitStatus; code != 0 && code != 128+int(unix.SIGTERM) && code != 128+int(unix.SIGINT) {
			return nil, false, &exitStatus{code: code, err: fmt.Errorf("the server ended with status %d while the workload ran; no profile is made of a server that fails", code)}
		}
	case workErr != nil:
		return nil, false, workErr
	}
	ended = r.workload != "" && workErr == nil || r.duration > 0 && obs.Seconds >= r.duration.Seconds()
	return obs, ended, nil
}

// write stores the profile.
func (a *app) write(path string, p *profile.Profile) error {
	if path != "-" {
		return p.Save(path)
	}
	data, err := p.Marshal()
	if err != nil {
		return err
	}
	return a.print(func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// creatable reports early that a file cannot be written: before a server is started for nothing.
func creatable(path string) error {
	if path == "-" {
		return nil
	}
	st, err := os.Stat(path)
	switch {
	case err == nil && st.IsDir():
		return fmt.Errorf("%s: is a directory; name a file", path)
	case err == nil && !st.Mode().IsRegular():
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	dir := filepath.Dir(path)
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%s: %w; choose a directory that exists and is writable", dir, err)
	}
	return nil
}
