package attach

import (
	"context"
	"slices"
	"time"

	"syspart/internal/enforce"
	"syspart/internal/proc"
)

// Guard watches, as Watch does, a process that is not a child of ours and is about to execute the plan's program; ready is
// called when it may. Nothing of ours is in the server's way then: it has the process id, the parent, the signals and the
// exit status that it would have without us.
//
// Guard returns when stubs do the rest (Options.Stubs), or when the process and all others of its tree that run the program
// have ended. Only descendants that were
// seen while their parents lived belong to the tree: one that is orphaned between two rounds, as by a server that puts itself
// into the background, is lost, for nothing tells it from another instance of the program. The error is ErrNeverInside if no
// thread got its filter, or says why one could not. Before ready is called it may be proc.ErrPermission: nothing here may be
// traced.
func Guard(ctx context.Context, pid int, plan *enforce.Plan, opts Options, ready func()) error {
	a, err := newAgent(plan, &opts)
	if err != nil {
		return err
	}
	defer a.close()
	ours, err := proc.ReadStatus(pid)
	if err != nil {
		return err
	}
	if err := a.inherit(ours); err != nil {
		return err
	}
	// Better before the server has begun than when it serves.
	if err := a.tracer.Do(func(c *proc.Conn) error {
		if err := c.Seize(pid, seizeOptions); err != nil {
			return err
		}
		return c.Detach(pid)
	}); err != nil {
		return err
	}
	st, err := proc.ReadStat(pid)
	if err != nil {
		return err
	}
	a.warm()
	g := &guard{w: newWatcher(a, pid, &opts), pid: pid, start: st.Start}
	ready()
	for !g.done(ctx) {
		if !g.w.sleep(ctx) {
			return nil
		}
	}
	r := runner{w: g.w}
	_, err = r.finish()
	return err
}

// guard is the state of Guard.
type guard struct {
	w     *watcher
	pid   int
	start uint64    // when the process started
	ended time.Time // when it was first seen to have ended
}

// done looks at every thread once and reports whether stubs do the rest or all processes of the server have
// ended.
func (g *guard) done(ctx context.Context) bool {
	if g.w.fatal == nil {
		g.w.round(ctx)
		if g.w.covered() {
			return true
		}
	} else {
		g.w.known = descendants(g.w.known)
	}
	if st, err := proc.ReadStat(g.pid); err == nil && st.Start == g.start && !st.Ended() {
		if !slices.Contains(g.w.known, g.pid) { // whatever we saw of it a moment ago
			g.w.known = append(g.w.known, g.pid)
		}
		return false
	}
	if g.ended.IsZero() {
		g.ended = time.Now()
		g.w.pause = minPause
	}
	if slices.ContainsFunc(g.w.known, g.w.a.runsProgram) {
		return false
	}
	return len(g.w.known) == 0 || time.Since(g.ended) > backgroundGrace
}
