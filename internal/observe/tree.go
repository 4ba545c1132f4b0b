package observe

import (
	"bytes"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"syspart/internal/proc"
)

// change is something that happened to the process tree, noted on the tracer's thread and taken over by the sampler.
type change struct {
	kind     changeKind
	pid, tid int
	parent   int      // added: the process that made it, 0 if it was there before
	fork     *stopped // added: the maker, copied while it was stopped behind the fork
	forkTID  int      // added: the thread that forked
	exe      string   // executed, added (roots): the new executable
	script   string   // executed: script that it interprets
	maps     []byte   // exiting, mapped, named execve: /proc/PID/maps
	what     string   // named: the function
	name     string   // named: what it is given
	ret      uint64   // named: where it returns to; execve: fork has the whole stack
	status   int      // ended: exit status as a shell would report it
}

type changeKind uint8

const (
	_ changeKind = iota
	addedProcess
	addedThread
	executed
	exiting // about to give up its memory
	ended   // thread is gone
	mapped  // the loader has mapped something
	named   // a function is called that is given a name
)

// journal is the way from the tracer's thread to the sampler.
type journal struct {
	mu      sync.Mutex
	changes []change
	wake    chan struct{} // holds a token when there is something that should not wait
	breaks  *breaks       // nil: none are set
}

func newJournal() *journal { return &journal{wake: make(chan struct{}, 1)} }

func (j *journal) add(c change) {
	j.mu.Lock()
	j.changes = append(j.changes, c)
	j.mu.Unlock()
	if c.kind == ended || c.kind == executed {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
}

// take returns what was added since the last call.
func (j *journal) take() []change {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.changes
	j.changes = nil
	return c
}

// handle is the tracer's handler: it notes changes of the tree, and what breakpoints show, and lets everything go on at once.
func (j *journal) handle(c *proc.Conn, ev proc.Event) proc.Verdict {
	if j.breaks != nil {
		j.breaks.event(c, &ev)
	}
	switch ev.Kind {
	case proc.EventFork, proc.EventVfork, proc.EventClone:
		if ev.Child == 0 {
			break
		}
		st, err := proc.ReadStatus(ev.Child)
		if err != nil { // killed already
			break
		}
		if st.TGID != ev.Child {
			j.add(change{kind: addedThread, pid: ev.PID, tid: ev.Child})
			break
		}
		ch := change{kind: addedProcess, pid: ev.Child, tid: ev.Child, parent: ev.PID, forkTID: ev.TID, fork: new(stopped)}
		if ch.fork.copy(c, ev.PID, ev.TID) != nil {
			ch.fork = nil
		}
		j.add(ch)
	case proc.EventExec:
		ch := change{kind: executed, pid: ev.PID, tid: ev.PID}
		ch.exe, _, _ = proc.Exe(ev.PID)
		ch.script = scriptOf(ev.PID)
		j.add(ch)
	case proc.EventExit:
		if ev.TID == ev.PID {
			if text, err := os.ReadFile(procFile(ev.PID, "maps")); err == nil && len(text) > 0 {
				j.add(change{kind: exiting, pid: ev.PID, tid: ev.TID, maps: text})
			}
		}
	case proc.EventSignal:
		if j.breaks == nil || ev.Signal != unix.SIGTRAP {
			break
		}
		if ch, ok := j.breaks.hit(c, &ev); ok {
			if ch.kind != 0 {
				j.add(ch)
			}
			return proc.Suppress
		}
	case proc.EventExited:
		j.add(change{kind: ended, pid: ev.PID, tid: ev.TID, status: ev.Code})
	case proc.EventSignaled:
		j.add(change{kind: ended, pid: ev.PID, tid: ev.TID, status: 128 + int(ev.Signal)})
	}
	return proc.Resume
}

// scriptOf returns the script that a process, stopped behind its exec, was started as, "" if it was no script.
func scriptOf(pid int) string {
	path, err := proc.ExecFile(pid)
	if err != nil {
		return ""
	}
	f, err := os.Open(proc.RootFile(pid, path))
	if err != nil {
		return ""
	}
	defer f.Close()
	var b [2]byte
	if n, _ := f.Read(b[:]); n == 2 && bytes.Equal(b[:], []byte("#!")) {
		return path
	}
	return ""
}

// seizeTree seizes the processes of a running server, with what they make meanwhile, and notes them as added.
func (j *journal) seizeTree(c *proc.Conn, root, options int, all bool) error {
	for {
		tree := []int{root}
		if all {
			var err error
			if tree, err = Tree(root); err != nil {
				return err
			}
		}
		fresh := false
		for _, pid := range tree {
			if len(c.Tracees(pid)) > 0 {
				continue
			}
			if err := c.SeizeProcess(pid, options); err != nil {
				if pid != root && errors.Is(err, proc.ErrGone) {
					continue
				}
				return err
			}
			fresh = true
			parent := 0
			if st, err := proc.ReadStat(pid); err == nil {
				parent = st.PPID
			}
			exe, _, err := proc.Exe(pid)
			if err != nil {
				if pid == root {
					return err
				}
				continue
			}
			j.add(change{kind: addedProcess, pid: pid, tid: pid, parent: parent, exe: exe})
			for _, tid := range c.Tracees(pid) {
				if tid != pid {
					j.add(change{kind: addedThread, pid: pid, tid: tid})
				}
			}
		}
		if !fresh {
			return nil
		}
	}
}

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	st, err := proc.ReadStat(pid)
	return err == nil && !st.Ended()
}

// signalTo sends a signal; a process that is gone needs none.
func signalTo(pid int, sig unix.Signal) { _ = unix.Kill(pid, sig) }
