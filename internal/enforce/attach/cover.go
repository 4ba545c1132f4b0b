package attach

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"syspart/internal/enforce"
	"syspart/internal/proc"
	"syspart/profile"
)

// coverage is what stubs have taken over.
type coverage struct {
	a       *agent
	opts    *Options
	planted map[int]execution       // processes with stubs
	loose   map[int]loose           // of these, the ones in which they may be unloaded
	seen    map[string]map[int]bool // threads that have got their filters, by kind
	failed  error                   // no stubs can be had
	said    bool
	early   map[int]int    // how often stubs have been tried before anything served, by process
	modules map[int]string // what was mapped when last verified, before anything served
}

// loose is a process in which modules with stubs may be unloaded.
type loose struct {
	why  string
	next time.Time // when to try again
}

func newCoverage(a *agent, opts *Options) *coverage {
	return &coverage{a: a, opts: opts, planted: map[int]execution{}, loose: map[int]loose{}, seen: map[string]map[int]bool{}, early: map[int]int{}, modules: map[int]string{}}
}

// saw notes a thread that has its filter.
func (c *coverage) saw(th *Thread) {
	if th.Status != Installed && th.Status != Already {
		return
	}
	if c.seen[th.Kind] == nil {
		c.seen[th.Kind] = map[int]bool{}
	}
	c.seen[th.Kind][th.TID] = true
}

// maxEarly is how often stubs are tried in a process before anything serves: its threads are stopped for each try.
const maxEarly = 5

// cover puts stubs into the processes that have none yet, and reports whether they do all that is left to do. It does not say
// so before a thread serves: what the server loads is there then, and has been verified. list returns the processes that run
// the program; it is asked again after stubs went in, for a child that was made before has none. The error is that of before.
func (c *coverage) cover(list func() []int) (bool, error) {
	if c.failed != nil {
		return false, nil
	}
	if len(c.seen) == 0 {
		return false, c.before(list())
	}
	for tries := 0; tries < maxTries; tries++ {
		pids := list()
		missing := slices.DeleteFunc(slices.Clone(pids), func(pid int) bool {
			l, is := c.loose[pid]
			return c.has(pid) && (!is || time.Now().Before(l.next))
		})
		maps.DeleteFunc(c.planted, func(pid int, _ execution) bool { return !slices.Contains(pids, pid) })
		maps.DeleteFunc(c.loose, func(pid int, _ loose) bool { return !slices.Contains(pids, pid) })
		if len(pids) == 0 {
			return false, nil
		}
		if len(missing) == 0 {
			c.say()
			return len(c.lacking()) == 0, nil
		}
		for _, pid := range missing {
			if !c.put(pid) {
				return false, nil
			}
		}
	}
	return false, nil
}

// before puts stubs into processes in which nothing serves yet, once all is mapped that they need: no thread is disturbed
// then while it serves, and none is late. What fails is done by cover. If a process then loads what the plan does not know,
// all stubs are taken out again until that has been judged (see withdraw); the error is *enforce.ModuleError.
func (c *coverage) before(pids []int) error {
	maps.DeleteFunc(c.planted, func(pid int, _ execution) bool { return !slices.Contains(pids, pid) })
	for _, pid := range pids {
		if c.has(pid) {
			if err := c.a.verifier.VerifyChanged(pid, c.modules); errors.Is(err, enforce.ErrModule) {
				return err
			}
			continue
		}
		if c.early[pid] >= maxEarly || !c.a.plantableNow(pid) {
			continue
		}
		c.early[pid]++
		if why, frozen, err := c.a.plant(pid, true, c.installed); err == nil && why == "" {
			c.done(pid, frozen)
		}
	}
	return nil
}

// withdraw takes the stubs out of processes as long as nothing serves: something is to be judged, or has been found not to
// fit. What serves already keeps its filters.
func (c *coverage) withdraw(pids []int) {
	if len(c.seen) > 0 {
		return
	}
	for _, pid := range pids {
		var err error
		for tries := 0; tries < maxTries && c.has(pid); tries++ {
			if err = c.a.uproot(pid); !errors.Is(err, errAgain) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err != nil && !errors.Is(err, proc.ErrGone) {
			c.note(fmt.Sprintf("stubs stay in process %d: %v", pid, err))
		}
		delete(c.planted, pid)
	}
}

// has reports whether stubs are in a process: we have put them there, and it has not executed its program anew since, or it was
// made by a process that had them.
func (c *coverage) has(pid int) bool {
	now := executionOf(pid)
	if before, is := c.planted[pid]; is && before == now {
		return true
	}
	delete(c.planted, pid)
	if !c.a.early() || !c.a.jumps(pid) {
		return false
	}
	c.planted[pid] = now
	return true
}

// done notes a process that has its stubs.
func (c *coverage) done(pid int, frozen time.Duration) {
	c.note(fmt.Sprintf("process %d stood still for %.1f ms", pid, float64(frozen.Microseconds())/1000))
	c.planted[pid] = executionOf(pid)
}

// installed notes and reports a thread whose filter has been installed with the stubs.
func (c *coverage) installed(th Thread) {
	c.saw(&th)
	if c.opts.Report != nil {
		c.opts.Report(th)
	}
}

// put puts stubs into a process.
func (c *coverage) put(pid int) bool {
	why, frozen, err := c.a.plant(pid, false, c.installed)
	switch {
	case err == nil:
		c.done(pid, frozen)
		delete(c.loose, pid)
		if why != "" {
			c.loose[pid] = loose{why, time.Now().Add(maxBackoff)}
		}
		return true
	case errors.Is(err, errAgain) || errors.Is(err, proc.ErrGone):
	default:
		c.failed = err
		c.note("no stubs: " + err.Error())
	}
	return false
}

// lacking says, in words, for which kinds a watcher is needed still.
func (c *coverage) lacking() []string {
	var out []string
	for i := range c.a.plan.Kinds {
		k := &c.a.plan.Kinds[i]
		switch {
		case len(k.Points) == 0 && (k.Role != profile.RoleMain || len(c.seen[k.Name]) < k.Instances): // others are made anew
			out = append(out, fmt.Sprintf("%s: %s", k.Name, k.NoPoint))
		case !k.Stays && len(c.loose) > 0:
			pid := slices.Min(slices.Collect(maps.Keys(c.loose)))
			out = append(out, fmt.Sprintf("%s: %s may be unloaded from process %d, and stubs with it: %s", k.Name, k.Module, pid, c.loose[pid].why))
		}
	}
	return out
}

// say tells once what stubs do not cover.
func (c *coverage) say() {
	if l := c.lacking(); len(l) > 0 && !c.said {
		c.said = true
		c.note("threads that come later need a watcher: " + strings.Join(l, "; "))
	}
}

func (c *coverage) note(text string) {
	if c.opts.Note != nil {
		c.opts.Note(text)
	}
}
