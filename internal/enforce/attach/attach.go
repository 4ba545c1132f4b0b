package attach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"syspart/internal/enforce"
	"syspart/internal/observe"
	"syspart/internal/proc"
)

// Options are choices of the caller.
type Options struct {
	// Report, if set, is called for each thread whenever its outcome changes, on the goroutine that installs.
	Report func(Thread)
	// AnonymousCode accepts processes with executable memory that no file holds (just-in-time compilers): system calls made
	// from there are not in the plan's sets.
	AnonymousCode bool
	// Admit, if set, judges modules that are not in the plan, as enforce.Verifier's does. It is called while nothing is stopped.
	Admit func(path string, data []byte) error
	// Stubs puts code into the processes by which threads and children that come later install their filters themselves.
	// Watch and Run then end their watch as soon as it is not needed any more.
	Stubs bool
	// Note, if set, is told in words what became of the stubs.
	Note func(string)
}

// Status is the outcome for one thread.
type Status uint8

const (
	Outside   Status = iota // not, or not yet, inside its serving loop: no filter of ours
	Installed               // has installed its filter
	Already                 // carried it before
	Failed                  // Err says why
	Gone                    // ended meanwhile
)

// String returns the status in words.
func (s Status) String() string {
	switch s {
	case Outside:
		return "outside its loop"
	case Installed:
		return "installed"
	case Already:
		return "already installed"
	case Failed:
		return "failed"
	case Gone:
		return "gone"
	}
	return fmt.Sprintf("Status(%d)", s)
}

// Thread is what became of one thread.
type Thread struct {
	PID, TID int
	Comm     string
	Kind     string // name of the plan's kind whose loop the thread is in, "" if in none
	Frame    int    // index of the frame that is in the loop, 0 being the innermost
	Status   Status
	Err      error         // Failed: why; Outside: what kept it from being looked at, or nil
	Stopped  time.Duration // how long it was held, over all attempts
	// Stack is where the thread was last seen, innermost frame first, if that is in no loop of the plan.
	Stack []observe.Frame
}

// Why returns the reason for the status in words.
func (t *Thread) Why() string {
	switch {
	case t.Err != nil:
		return t.Err.Error()
	case t.Status == Outside && len(t.Stack) > 0:
		return "not inside a serving loop of the profile, but at " + places(t.Stack)
	case t.Status == Outside:
		return "not inside a serving loop of the profile"
	}
	return t.Status.String()
}

// maxPlaces is how many frames of a stack are told.
const maxPlaces = 16

// places writes a stack in one line: files without their directories, and addresses in them as a disassembler shows them.
func places(frames []observe.Frame) string {
	var b strings.Builder
	for i := range frames[:min(len(frames), maxPlaces)] {
		if i > 0 {
			b.WriteString(" < ")
		}
		fmt.Fprintf(&b, "%s+%#x", filepath.Base(frames[i].Module), frames[i].PC)
	}
	if len(frames) > maxPlaces {
		b.WriteString(" < ...")
	}
	return b.String()
}

// Result is what became of all threads, sorted by process and thread.
type Result struct {
	Threads []Thread
}

// Count returns how many threads have a status.
func (r *Result) Count(s Status) int {
	n := 0
	for i := range r.Threads {
		if r.Threads[i].Status == s {
			n++
		}
	}
	return n
}

// Attach installs the plan's filters in all threads of process pid and its descendants that run the plan's program and are
// inside their serving loops now. Others are reported and left as they are. Threads that carry their filter already are
// skipped, so Attach may be repeated.
//
// The error is one about the whole: the process is gone (proc.ErrGone), runs another program (*ProgramError), cannot be
// traced (proc.ErrPermission, *proc.TracedError), the kernel or the plan will not do (package enforce), ctx has ended. What
// was achieved until then is returned with it. Errors of single threads are in their outcome.
func Attach(ctx context.Context, pid int, plan *enforce.Plan, opts Options) (*Result, error) {
	a, err := newAgent(plan, &opts)
	if err != nil {
		return nil, err
	}
	defer a.close()
	root, err := processOf(pid)
	if err != nil {
		return nil, err
	}
	done := make(map[int]Thread)
	// Threads that were created while we looked are found by looking again; those outside create no end of work, since
	// each thread is tried once.
	for n := -1; n != 0; {
		n = 0
		pids, err := a.matching(root)
		if err != nil {
			return result(done), err
		}
		for _, p := range pids {
			tids, err := proc.Tasks(p)
			if err != nil {
				continue // gone
			}
			for _, tid := range tids {
				if _, ok := done[tid]; ok {
					continue
				}
				if err := ctx.Err(); err != nil {
					return result(done), err
				}
				th := a.install(p, tid)
				if th.Status == Failed && p == root && len(done) == 0 && hopeless(th.Err) {
					return nil, th.Err
				}
				done[tid] = th
				n++
				if opts.Report != nil {
					opts.Report(th)
				}
			}
		}
	}
	if opts.Stubs {
		c := newCoverage(a, &opts)
		for _, th := range done {
			c.saw(&th)
		}
		c.cover(func() []int {
			pids, _ := a.matching(root) // none: it has ended
			return pids
		})
	}
	return result(done), nil
}

// hopeless reports whether an error of one thread holds for its whole process.
func hopeless(err error) bool {
	return errors.Is(err, proc.ErrPermission) || errors.Is(err, enforce.ErrModule) || errors.Is(err, ErrNoRoom)
}

// processOf returns the process that an id, perhaps a thread's, belongs to.
func processOf(id int) (int, error) {
	st, err := proc.ReadStatus(id)
	if err != nil {
		return 0, err
	}
	first, err := proc.ReadStat(st.TGID)
	if err != nil {
		return 0, err
	}
	if first.Ended() {
		return 0, fmt.Errorf("process %d: zombie: %w", id, proc.ErrGone)
	}
	return st.TGID, nil
}

// matching returns the processes of a tree that run the plan's program. It is an error if there is none.
func (a *agent) matching(root int) ([]int, error) {
	all, err := proc.Children(root)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, p := range all {
		if a.runsProgram(p) {
			pids = append(pids, p)
		}
	}
	if len(pids) > 0 {
		return pids, nil
	}
	exe, _, err := proc.Exe(root)
	if err != nil {
		return nil, err
	}
	return nil, &ProgramError{root, exe, a.plan.Program}
}

// result sorts outcomes; threads that ended are left out.
func result(done map[int]Thread) *Result {
	r := &Result{}
	for _, th := range done {
		if th.Status != Gone {
			r.Threads = append(r.Threads, th)
		}
	}
	slices.SortFunc(r.Threads, func(x, y Thread) int {
		return cmp.Or(cmp.Compare(x.PID, y.PID), cmp.Compare(x.TID, y.TID))
	})
	return r
}
