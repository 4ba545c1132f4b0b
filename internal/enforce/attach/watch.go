package attach

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/observe"
	"syspart/internal/proc"
	"syspart/profile"
)

// The pauses between two rounds of Watch: short while something changes, then longer by and by.
const (
	minPause = 5 * time.Millisecond
	maxPause = 100 * time.Millisecond
	// soon is how long a server is looked at often so that stubs go in before it serves.
	soon = 10 * time.Second
	// maxBackoff is the longest pause between two stops of a thread that can only be looked at by stopping it.
	maxBackoff = time.Second
)

// maxOutside is how many threads are told of that never came into a loop.
const maxOutside = 5

// Watch installs the plan's filters in process pid and its descendants as Attach does, and goes on doing so for threads
// and processes that are made or enter their loops later, until no process of the tree that runs the program is left or
// ctx ends. Threads that are blocked outside their loop are looked at without being stopped.
//
// Processes that execute another program are left alone: they have inherited their maker's filter. Processes whose parent
// ends stay in the tree.
//
// The error is as for Attach; the end of ctx or of the server is none.
func Watch(ctx context.Context, pid int, plan *enforce.Plan, opts Options) (*Result, error) {
	root, err := processOf(pid)
	if err != nil {
		return nil, err
	}
	a, err := newAgent(plan, &opts)
	if err != nil {
		return nil, err
	}
	defer a.close()
	if _, err := a.matching(root); err != nil {
		return nil, err
	}
	w := newWatcher(a, root, &opts)
	for {
		if alive := w.round(ctx); alive == 0 {
			return w.result(), nil
		}
		if w.fatal == nil && w.covered() {
			return w.result(), nil
		}
		if w.fatal != nil {
			if w.stubs != nil {
				w.stubs.withdraw(w.programs())
			}
			return w.result(), w.fatal
		}
		if !w.sleep(ctx) {
			return w.result(), nil
		}
	}
}

// watcher is the state of Watch.
type watcher struct {
	a       *agent
	opts    *Options
	known   []int // processes of the tree, as last seen
	threads map[int]*watched
	past    map[int]Thread // outcomes of threads that have ended, while they had one worth telling
	outside []Thread       // some that ended without having been in a loop
	pause   time.Duration
	since   time.Time
	fatal   error
	stubs   *coverage // nil: none are wanted
}

// covered puts stubs where they are missing, and reports whether no thread and no child needs us any more.
func (w *watcher) covered() bool {
	if w.stubs == nil {
		return false
	}
	for _, th := range w.past {
		w.stubs.saw(&th)
	}
	for _, th := range w.threads {
		w.stubs.saw(&th.Thread)
	}
	done, err := w.stubs.cover(w.programs)
	if err != nil && w.fatal == nil {
		w.fatal = err
	}
	return done
}

// programs returns the processes that run the program.
func (w *watcher) programs() (pids []int) {
	w.known = descendants(slices.Clone(w.known)) // a round may be under way
	for _, pid := range w.known {
		if w.a.runsProgram(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// watched is a thread.
type watched struct {
	Thread
	seen     bool      // in this round
	final    bool      // carries a filter and will need no other
	borrowed bool      // carries the filter of a kind that its process's maker is of: its own loop may be still to come
	nextTry  time.Time // not to be stopped before
	backoff  time.Duration
}

func newWatcher(a *agent, root int, opts *Options) *watcher {
	w := &watcher{a: a, opts: opts, known: []int{root}, threads: make(map[int]*watched), past: make(map[int]Thread), pause: minPause, since: time.Now()}
	if opts.Stubs {
		w.stubs = newCoverage(a, opts)
		if admit := a.verifier.Admit; admit != nil { // whoever comes upon a module first: no thread gets its filter meanwhile
			a.verifier.Admit = func(path string, data []byte) error {
				w.stubs.withdraw(w.programs())
				return admit(path, data)
			}
		}
	}
	return w
}

// sleep waits for the next round; false if ctx ended.
func (w *watcher) sleep(ctx context.Context) bool {
	t := time.NewTimer(w.pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		w.longer()
		return true
	}
}

// longer makes the pause longer: by little until something serves, for stubs go in before that, and come out again if they must.
func (w *watcher) longer() {
	most := maxPause
	if w.stubs != nil && w.stubs.failed == nil && len(w.stubs.seen) == 0 && time.Since(w.since) < soon {
		most = 2 * minPause
	}
	w.pause = min(w.pause+w.pause/4, most)
}

// round looks at every thread once and returns how many processes run the program.
func (w *watcher) round(ctx context.Context) (alive int) {
	w.known = descendants(w.known)
	for _, pid := range w.known {
		if !w.a.runsProgram(pid) {
			continue
		}
		alive++
		tids, err := proc.Tasks(pid)
		if err != nil {
			continue
		}
		for _, tid := range tids {
			if ctx.Err() != nil {
				return alive
			}
			w.thread(pid, tid)
		}
	}
	for _, tid := range slices.Sorted(maps.Keys(w.threads)) {
		th := w.threads[tid]
		if !th.seen {
			if th.Status == Installed || th.Status == Already {
				w.past[tid] = th.Thread
			} else if len(th.Stack) > 0 {
				w.outside = append(w.outside, th.Thread)
				if len(w.outside) > 2*maxOutside { // the first ones and the last ones
					w.outside = slices.Delete(w.outside, maxOutside, maxOutside+1)
				}
			}
			delete(w.threads, tid)
			delete(w.a.installed, tid)
			delete(w.a.owed, tid)
			continue
		}
		th.seen = false
	}
	for pid := range w.a.procs {
		if !slices.Contains(w.known, pid) {
			delete(w.a.procs, pid)
			delete(w.a.prepared, pid)
		}
	}
	return alive
}

// thread looks at one thread.
func (w *watcher) thread(pid, tid int) {
	th := w.threads[tid]
	if th == nil {
		th = &watched{Thread: Thread{PID: pid, TID: tid}}
		if w.a.early() { // it has its filter as soon as it needs one: wait until that shows without a stop
			th.nextTry = time.Now().Add(maxBackoff)
		}
		w.threads[tid] = th
		w.pause = minPause
	}
	th.seen = true
	if th.final || !w.worthStopping(th) {
		return
	}
	held := th.Stopped
	before, kind, whyBefore := th.Status, th.Kind, fmt.Sprint(th.Err)
	if !w.a.passed(&th.Thread) {
		th.Thread = w.a.install(pid, tid)
		th.Stopped += held
	}
	switch th.Status {
	case Gone:
		delete(w.threads, tid)
		return
	case Installed, Already:
		th.borrowed = w.borrows(&th.Thread)
		th.final = !th.borrowed
		w.pause = minPause
	default:
		th.backoff = min(max(2*th.backoff, 2*minPause), maxBackoff)
		th.nextTry = time.Now().Add(th.backoff)
		if th.Status == Failed && errors.Is(th.Err, enforce.ErrModule) && w.fatal == nil {
			w.fatal = th.Err
		}
	}
	if w.opts.Report != nil && (th.Status != before || th.Kind != kind || fmt.Sprint(th.Err) != whyBefore) {
		w.opts.Report(th.Thread)
	}
}

// borrows reports whether a thread that has the filter of a kind may yet turn out to be of another one: it is the first
// thread of a process made by fork from inside the loop of a main kind, whose frames it has below its own.
func (w *watcher) borrows(th *Thread) bool {
	if th.TID != th.PID {
		return false
	}
	for i := range w.a.plan.Kinds {
		if k := &w.a.plan.Kinds[i]; k.Name == th.Kind && k.Role != profile.RoleMain {
			return false
		}
	}
	st, err := proc.ReadStat(th.PID)
	return err == nil && slices.Contains(w.known, st.PPID) && w.a.runsProgram(st.PPID)
}

// worthStopping reports whether a thread may be inside its loop, as far as can be told without stopping it.
func (w *watcher) worthStopping(th *watched) bool {
	p, err := w.a.process(th.PID)
	if err != nil {
		return false
	}
	stack, out, err := p.stacks.Blocked(th.TID)
	if err != nil {
		// Not permitted, most likely: installing says why.
		return !errors.Is(err, proc.ErrGone) && time.Now().After(th.nextTry)
	}
	switch out {
	case observe.Asleep:
		kind, _ := w.a.plan.Match(stack.Frames)
		if kind == nil && th.Kind == "" {
			th.Stack = stack.Frames
			th.Comm, _ = proc.Comm(th.TID)
		}
		if kind == nil || th.borrowed && kind.Name == th.Kind {
			return false
		}
		return th.Status != Failed || time.Now().After(th.nextTry)
	case observe.Torn:
		return false
	}
	return time.Now().After(th.nextTry)
}

// result returns the outcomes of all threads, those included that ended with a filter.
func (w *watcher) result() *Result {
	done := make(map[int]Thread, len(w.threads)+len(w.past))
	for tid, th := range w.past {
		done[tid] = th
	}
	for tid, th := range w.threads {
		done[tid] = th.Thread
	}
	return result(done)
}

// descendants returns those of the processes that live, and all their living descendants, parents before children.
func descendants(pids []int) []int {
	var tree []int
	for _, pid := range pids {
		if st, err := proc.ReadStat(pid); err == nil && !st.Ended() && !slices.Contains(tree, pid) {
			tree = append(tree, pid)
		}
	}
	for i := 0; i < len(tree); i++ {
		tids, err := proc.Tasks(tree[i])
		if err != nil {
			continue
		}
		for _, tid := range tids {
			for _, kid := range children(tree[i], tid) {
				if !slices.Contains(tree, kid) {
					tree = append(tree, kid)
				}
			}
		}
	}
	return tree
}

// children returns the processes that a thread has made and that live (/proc/PID/task/TID/children; kernels without it are
// asked for the parent of every process).
func children(pid, tid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, tid))
	var kids []int
	if err == nil {
		kids = numbers(string(text))
	} else if errors.Is(err, unix.ENOENT) && pid == tid {
		if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(unix.Gettid()) + "/children"); err == nil {
			return nil // the thread is gone
		}
		all, err := proc.Children(pid)
		if err == nil {
			kids = all[1:]
		}
	}
	live := kids[:0]
	for _, kid := range kids {
		if st, err := proc.ReadStat(kid); err == nil && !st.Ended() {
			live = append(live, kid)
		}
	}
	return live
}

// numbers returns the decimal numbers in a text.
func numbers(text string) []int {
	var list []int
	for _, f := range strings.Fields(text) {
		if n, err := strconv.Atoi(f); err == nil {
			list = append(list, n)
		}
	}
	return list
}
