package attach

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"syspart/internal/syscalls"
)

// Errors of this package. Those of package proc (ErrGone, ErrPermission, *TracedError, ErrBusy) and of package enforce
// (*ModuleError, *KernelError) come through.
var (
	// ErrProgram: no process of the tree runs the plan's program. *ProgramError.
	ErrProgram = errors.New("process runs another program")
	// ErrNeverInside: the server ended without one thread having been found inside its serving loop. *NeverInsideError.
	ErrNeverInside = errors.New("no thread entered its serving loop")
	// ErrThread: the thread is in a state in which it cannot be made to call.
	ErrThread = errors.New("thread cannot be made to call")
	// ErrNoRoom: no executable file of the process leaves room for the code.
	ErrNoRoom = errors.New("no unused executable bytes")
	// ErrForeignFilter: a filter that the thread carries already denies what installing needs, or cannot be read.
	ErrForeignFilter = errors.New("carries another filter")
	// ErrKilled: the thread died of the call. *KilledError.
	ErrKilled = errors.New("killed by the call")

	// errAgain: the thread was disturbed (a signal) before it was done: as it was, try again.
	errAgain = errors.New("interrupted by a signal")
)

// ProgramError says that a process and its descendants run other programs than the plan's.
type ProgramError struct {
	PID        int
	Exe, Wants string
}

func (e *ProgramError) Error() string {
	return fmt.Sprintf("process %d: runs %s, the profile is for %s; use the profile of that program", e.PID, e.Exe, e.Wants)
}

// Is makes a ProgramError match ErrProgram.
func (e *ProgramError) Is(target error) bool { return target == ErrProgram }

// NeverInsideError says where the threads of a server were that ended without one of them having been found in its loop.
type NeverInsideError struct {
	Program string
	Kinds   []string // of the plan: where they ought to have been
	Threads []Thread // some of them, with their stacks
}

func (e *NeverInsideError) Error() string {
	text := fmt.Sprintf("%s: %v (%s)", e.Program, ErrNeverInside, strings.Join(e.Kinds, ", "))
	for i := range e.Threads {
		t := &e.Threads[i]
		text += fmt.Sprintf(", thread %d (%s) was last seen at %s", t.TID, t.Comm, places(t.Stack))
	}
	return text
}

// Is makes a NeverInsideError match ErrNeverInside.
func (e *NeverInsideError) Is(target error) bool { return target == ErrNeverInside }

// neverInside makes the error of what a watcher has seen.
func neverInside(w *watcher) error {
	e := &NeverInsideError{Program: w.a.plan.Program, Threads: slices.Clone(w.outside)}
	for i := range w.a.plan.Kinds {
		e.Kinds = append(e.Kinds, w.a.plan.Kinds[i].Name)
	}
	for _, th := range w.threads {
		if len(th.Stack) > 0 {
			e.Threads = append(e.Threads, th.Thread)
		}
	}
	slices.SortFunc(e.Threads, func(x, y Thread) int { return cmp.Or(cmp.Compare(x.PID, y.PID), cmp.Compare(x.TID, y.TID)) })
	e.Threads = e.Threads[:min(len(e.Threads), maxOutside)]
	return e
}

// KilledError says that an injected call ended the thread.
type KilledError struct {
	TID    int
	Nr     int
	Signal unix.Signal
}

func (e *KilledError) Error() string {
	return fmt.Sprintf("thread %d: %s: killed by %s", e.TID, syscalls.Name(e.Nr), unix.SignalName(e.Signal))
}

// Is makes a KilledError match ErrKilled.
func (e *KilledError) Is(target error) bool { return target == ErrKilled }
