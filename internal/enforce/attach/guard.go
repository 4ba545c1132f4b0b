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
// Guard returns when the process and all others of its tree that run the program have ended. A process that the server
// leaves behind when it puts itself into the background is found by what it runs, as long as its parent is init or a
// reaper; the error is ErrNeverInside if no thread got its filter, or says why one could not.
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
	a.ours = ours.Seccomp == 0
	st, err := proc.ReadStat(pid)
	if err != nil {
		return err
	}
	g := &guard{w: newWatcher(a, pid, &opts), pid: pid, start: st.Start, parent: st.PPID}
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
	w      *watcher
	pid    int
	start  uint64 // when the process started
	parent int
	ended  time.Time // when it was first seen to have ended
}

// done looks at every thread once and reports whether all processes of the server have ended.
func (g *guard) done(ctx context.Context) bool {
	if g.w.fatal == nil {
		g.w.round(ctx)
	} else {
		g.w.known = descendants(g.w.known)
	}
	if st, err := proc.ReadStat(g.pid); err == nil && st.Start == g.start && st.State != 'Z' && st.State != 'X' {
		return false
	}
	if g.ended.IsZero() {
		g.ended = time.Now()
		g.w.pause = minPause
	}
	g.orphans()
	if slices.ContainsFunc(g.w.known, g.w.a.runsProgram) {
		return false
	}
	return len(g.w.known) == 0 || time.Since(g.ended) > backgroundGrace
}

// orphans adds processes that run the program, were made after the command started, and have lost their parent.
func (g *guard) orphans() {
	pids, err := proc.Processes()
	if err != nil {
		return
	}
	for _, pid := range pids {
		st, err := proc.ReadStat(pid)
		if err != nil || st.Start < g.start || st.State == 'Z' || slices.Contains(g.w.known, pid) || !g.w.a.runsProgram(pid) {
			continue
		}
		if st.PPID == 1 || st.PPID == g.parent {
			g.w.known = append(g.w.known, pid)
			g.w.pause = minPause
		}
	}
}
