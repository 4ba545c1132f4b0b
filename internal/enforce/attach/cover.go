package attach

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"syspart/internal/proc"
	"syspart/profile"
)

// coverage is what stubs have taken over.
type coverage struct {
	a       *agent
	opts    *Options
	planted map[int]bool            // processes with stubs
	loose   map[int]loose           // of these, the ones in which they may be unloaded
	seen    map[string]map[int]bool // threads that have got their filters, by kind
	failed  error                   // no stubs can be had
	said    bool
}

// loose is a process in which modules with stubs may be unloaded.
type loose struct {
	why  string
	next time.Time // when to try again
}

func newCoverage(a *agent, opts *Options) *coverage {
	return &coverage{a: a, opts: opts, planted: map[int]bool{}, loose: map[int]loose{}, seen: map[string]map[int]bool{}}
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

// cover puts stubs into the processes that have none yet, and reports whether they do all that is left to do. It begins
// once a thread serves: what the server loads is there then, and has been verified. list returns the processes that run the
// program; it is asked again after stubs went in, for a child that was made before has none.
func (c *coverage) cover(list func() []int) bool {
	if c.failed != nil || len(c.seen) == 0 {
		return false
	}
	for tries := 0; tries < maxTries; tries++ {
		pids := list()
		missing := slices.DeleteFunc(slices.Clone(pids), func(pid int) bool {
			l, is := c.loose[pid]
			return c.planted[pid] && (!is || time.Now().Before(l.next))
		})
		maps.DeleteFunc(c.planted, func(pid int, _ bool) bool { return !slices.Contains(pids, pid) })
		maps.DeleteFunc(c.loose, func(pid int, _ loose) bool { return !slices.Contains(pids, pid) })
		if len(pids) == 0 {
			return false
		}
		if len(missing) == 0 {
			c.say()
			return len(c.lacking()) == 0
		}
		for _, pid := range missing {
			if !c.put(pid) {
				return false
			}
		}
	}
	return false
}

// put puts stubs into a process.
func (c *coverage) put(pid int) bool {
	why, frozen, err := c.a.plant(pid, func(th Thread) {
		c.saw(&th)
		if c.opts.Report != nil {
			c.opts.Report(th)
		}
	})
	switch {
	case err == nil:
		c.note(fmt.Sprintf("process %d stood still for %.1f ms", pid, float64(frozen.Microseconds())/1000))
		c.planted[pid] = true
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
