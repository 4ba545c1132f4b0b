package proc

import (
	"golang.org/x/sys/unix"
)

// EventKind is the kind of an Event.
type EventKind uint8

// Kinds of events. All but EventExited and EventSignaled leave the thread stopped until it is resumed.
const (
	EventStop      EventKind = iota // stopped by Interrupt, or the first stop of a new tracee (New)
	EventSignal                     // a signal is about to be delivered: Signal
	EventGroupStop                  // the process was stopped by a stop signal: Signal
	EventFork                       // made process Child by fork or a clone that signals SIGCHLD
	EventVfork                      // made process Child, which borrows its memory until it executes or exits
	EventClone                      // made Child, a thread or a process, by clone
	EventVforkDone                  // the vforked child has given the memory back
	EventExec                       // executes a new program; OldTID is the id that the thread had before
	EventExit                       // about to exit, memory and registers still there; Status as for wait(2)
	EventSeccomp                    // a filter answered SECCOMP_RET_TRACE; Child holds its data
	EventExited                     // gone; Code is the exit status
	EventSignaled                   // gone; killed by Signal
)

var eventNames = [...]string{"stop", "signal", "group-stop", "fork", "vfork", "clone", "vfork-done", "exec", "exit", "seccomp", "exited", "signaled"}

// String returns a short name.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown"
}

// Event is something that a tracee reported.
type Event struct {
	PID, TID int
	Kind     EventKind
	Signal   unix.Signal // EventSignal, EventGroupStop, EventSignaled
	Child    int         // EventFork, EventVfork, EventClone, EventVforkDone: thread id of the new task
	OldTID   int         // EventExec
	Code     int         // EventExited: exit status, 0 to 255
	Status   int         // EventExit: raw wait status
	New      bool        // EventStop: first stop of a tracee that the kernel attached for us
}

// Gone reports whether the thread has ended.
func (e *Event) Gone() bool { return e.Kind == EventExited || e.Kind == EventSignaled }

// Verdict is what happens to a tracee after the handler has seen its event.
type Verdict uint8

const (
	// Resume lets the thread go on as if nobody had looked: signals are delivered, a group stop stays one.
	Resume Verdict = iota
	// Hold leaves it stopped. Whoever holds it resumes or detaches it later.
	Hold
	// Suppress resumes it without delivering the signal of an EventSignal.
	Suppress
)

// Handler sees every event of every tracee, on the tracer's thread. It must be quick: the thread it is about is stopped
// meanwhile, and all others that have something to report wait too. It may use c freely, but not Tracer.Do.
type Handler func(c *Conn, ev Event) Verdict

// isStopSignal reports whether s stops a process by default (signal(7)).
func isStopSignal(s unix.Signal) bool {
	return s == unix.SIGSTOP || s == unix.SIGTSTP || s == unix.SIGTTIN || s == unix.SIGTTOU
}

// decode turns a wait status into an event; tid's event message is read where there is one (ptrace(2), "Stopped states").
func decode(tid int, ws unix.WaitStatus) Event {
	ev := Event{TID: tid}
	switch {
	case ws.Exited():
		ev.Kind, ev.Code = EventExited, ws.ExitStatus()
		return ev
	case ws.Signaled():
		ev.Kind, ev.Signal = EventSignaled, unix.Signal(ws.Signal())
		return ev
	}
	sig := unix.Signal(ws.StopSignal())
	msg := func() int {
		m, err := unix.PtraceGetEventMsg(tid)
		if err != nil {
			return 0 // killed meanwhile: its end is reported next
		}
		return int(m)
	}
	switch int(ws) >> 16 & 0xff {
	case 0:
		ev.Kind, ev.Signal = EventSignal, sig
	case unix.PTRACE_EVENT_STOP:
		if isStopSignal(sig) {
			ev.Kind, ev.Signal = EventGroupStop, sig
		} else {
			ev.Kind = EventStop
		}
	case unix.PTRACE_EVENT_FORK:
		ev.Kind, ev.Child = EventFork, msg()
	case unix.PTRACE_EVENT_VFORK:
		ev.Kind, ev.Child = EventVfork, msg()
	case unix.PTRACE_EVENT_CLONE:
		ev.Kind, ev.Child = EventClone, msg()
	case unix.PTRACE_EVENT_VFORK_DONE:
		ev.Kind, ev.Child = EventVforkDone, msg()
	case unix.PTRACE_EVENT_EXEC:
		ev.Kind, ev.OldTID = EventExec, msg()
	case unix.PTRACE_EVENT_EXIT:
		ev.Kind, ev.Status = EventExit, msg()
	case unix.PTRACE_EVENT_SECCOMP:
		ev.Kind, ev.Child = EventSeccomp, msg()
	default:
		ev.Kind = EventStop // an event of a later kernel, not asked for: resumed like any other
	}
	return ev
}
