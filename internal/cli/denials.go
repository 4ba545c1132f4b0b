package cli

import (
	"context"
	"fmt"
	"io"
	"log/syslog"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"syspart/internal/enforce/attach"
	"syspart/internal/filter"
)

// denials builds the verb of that name.
func (a *app) denials() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "denials -p PROFILE [--syslog WHERE] PID",
		Short: "Tell of the calls that filters deny to a server, as they happen",
		Long: `denials stays beside a server and writes a line for each call that a filter denies to one of its threads: process, thread
and main loop, the call with its arguments, where it was made and by whom. It traces the server's threads, which costs them
nothing until a call is denied, and ends with the server or when it is interrupted; the server goes on without it.

With --action kill-process the line comes before the process ends, with trap before SIGSYS is delivered. With log nothing is
denied, and the kernel's log tells the call and its place alone, and limits how many it tells of. What errno denies is not
seen: the caller has the error.

With --syslog the lines go to the system's log, too: WHERE is "local", or the path of a socket.`,
		Example: `  syspart denials -p nginx.json $(cat /run/nginx.pid)
  syspart denials -p redis.json --syslog local $(pidof redis-server) >>denied`,
		Args: exactly(1, "one PID"),
	}
	s := a.analysisFlags(cmd)
	path := profileFlag(cmd)
	where := cmd.Flags().String("syslog", "", "write to the system's log, `WHERE`: local, or a socket's path")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pid, e, err := a.target(cmd.Context(), args[0], *path, filter.KillProcess, *s)
		if err != nil {
			return err
		}
		log, err := systemLog(*where)
		if err != nil {
			return err
		}
		a.progress.clear()
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
		defer stop()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var failed error
		err = backend.denials(ctx, pid, e.Plan, func(d attach.Denial) {
			line := printable(d.String()) + fmt.Sprintf(". If the server needs it, what it was doing is not in the profile: `syspart explain %s %s`", *path, d.Name())
			if log != nil {
				_ = log.Warning(line) // it is on standard output all the same
			}
			if werr := a.print(func(w io.Writer) error { _, err := fmt.Fprintln(w, line); return err }); werr != nil && failed == nil {
				failed = werr
				cancel()
			}
		})
		if err != nil {
			return err
		}
		return failed
	}
	return cmd
}

// systemLog opens the system's log; nil if none is wanted.
func systemLog(where string) (w *syslog.Writer, err error) {
	switch where {
	case "":
		return nil, nil
	case "local":
		w, err = syslog.New(syslog.LOG_DAEMON|syslog.LOG_WARNING, "syspart")
	default:
		w, err = syslog.Dial("unixgram", where, syslog.LOG_DAEMON|syslog.LOG_WARNING, "syspart")
	}
	if err != nil {
		return nil, fmt.Errorf("--syslog %s: %w; is the system's logger there?", where, err)
	}
	return w, nil
}
