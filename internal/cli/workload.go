package cli

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"syspart/internal/proc"
)

// How long the workload waits for the server to be ready, and what counts as ready: no process of the tree was seen
// running for settleQuiet. A server that never rests is taken as ready after settleMax.
const (
	settlePoll  = 100 * time.Millisecond
	settleMin   = time.Second
	settleQuiet = 500 * time.Millisecond
	settleMax   = 20 * time.Second
	// afterwards is how long observation goes on when the workload is done, so that threads are seen back in their loops.
	afterwards = time.Second
)

// drive waits until the server of which the id comes from started waits for work, runs the workload, and waits a moment
// more. The workload's streams: no input, output to stderr, since stdout may carry the profile.
func (a *app) drive(ctx context.Context, text string, started <-chan int) error {
	select {
	case pid := <-started:
		if err := settle(ctx, pid); err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", text)
	cmd.Stdout, cmd.Stderr = a.stderr, a.stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("workload: %w; no profile is made of a workload that failed", err)
	}
	return sleep(ctx, afterwards)
}

// settle returns when the processes under pid wait for work.
func settle(ctx context.Context, pid int) error {
	begin := time.Now()
	quietSince := begin
	for {
		if err := sleep(ctx, settlePoll); err != nil {
			return err
		}
		now := time.Now()
		if !waits(pid) {
			quietSince = now
		}
		if now.Sub(begin) >= settleMax || now.Sub(begin) >= settleMin && now.Sub(quietSince) >= settleQuiet {
			return nil
		}
	}
}

// waits reports whether the first thread of every process under pid waits for something. One that has ended waits, too:
// whoever observes it will say that it has.
func waits(pid int) bool {
	tree, err := proc.Children(pid)
	if err != nil {
		return true
	}
	for _, p := range tree {
		if st, err := proc.ReadStat(p); err == nil && (st.State == 'R' || st.State == 'D') {
			return false
		}
	}
	return true
}

// sleep waits unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
