package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/proc"
)

// DefaultInterval is the time between two samples of a thread.
const DefaultInterval = 10 * time.Millisecond

// maxPause bounds the time between two rounds, however much they cost.
const maxPause = time.Second

// killPatience is how long a server that is to be ended is given to do so by itself.
const killPatience = 5 * time.Second

// Options say what to observe and for how long. Either Command or PID is given.
type Options struct {
	Command []string // start this: program (looked up in PATH) and arguments
	PID     int      // or look at this running process and its descendants
	// Program is the server's executable. Empty: the one that the process runs, or of several that it replaces itself
	// with the one with most samples.
	Program string

	Env                   []string // of the command; nil: ours
	Dir                   string   // its working directory; empty: ours
	Stdin, Stdout, Stderr *os.File // its standard streams; nil: ours

	Duration time.Duration   // end after this time; 0: no limit
	Until    <-chan struct{} // end when this is closed (the workload has finished); may be nil
	Interval time.Duration   // between samples; 0: DefaultInterval. Longer by itself where that would cost too much
	// NoChildren leaves processes that exist already under PID alone. Those made later are always followed.
	NoChildren bool
	// Kill has a started command be observed at breakpoints, too (Arguments), and ends it when the observation ends: SIGTERM,
	// and SIGKILL if that does not help within seconds. Observation goes on meanwhile. Otherwise it lives on.
	Kill bool
	// NoSignals leaves the signals that we receive alone. Otherwise those that are meant for a server (SIGTERM, SIGINT,
	// SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH) are passed on to a started command, except those that the terminal has
	// sent it already.
	NoSignals bool

	Started  func(pid int)  // called once the server runs, or was attached to; may be nil
	Progress func(Progress) // called a few times a second; may be nil
}

// Progress is how far an observation has come.
type Progress struct {
	Seconds            float64
	Processes, Threads int // of the server, now
	Samples            int
	// Asleep says that the first process's main thread was blocked when last looked at.
	Asleep bool
}

// Errors of Observe, besides those of proc (ErrGone, ErrPermission, *TracedError) and the kernel's of execve, which proc's
// LaunchStatus turns into an exit status.
var (
	// ErrOptions: neither or both of Command and PID given.
	ErrOptions = errors.New("give either a command or a process id")
)

// progressInterval is the time between two reports.
const progressInterval = 100 * time.Millisecond

// Observe follows a process tree until the server ends, the time is over, Until is closed, or ctx is cancelled, none of
// which is an error. When it returns, nothing is traced any more and no thread is left stopped; a server that was attached
// to lives on, a started one too unless Kill is set or it has ended by itself. If this process is killed, a started server
// dies with it while it is observed.
func Observe(ctx context.Context, opt Options) (*Observation, error) {
	if (len(opt.Command) == 0) == (opt.PID == 0) {
		return nil, ErrOptions
	}
	if opt.Interval <= 0 {
		opt.Interval = DefaultInterval
	}
	if opt.Program != "" {
		if p, err := filepath.EvalSymlinks(opt.Program); err == nil {
			opt.Program = p
		}
		if p, err := filepath.Abs(opt.Program); err == nil {
			opt.Program = p
		}
	}
	j := newJournal()
	tr := proc.NewTracer(j.handle)
	defer tr.Close()
	s := newSampler(&opt, tr, j)
	var signals chan os.Signal
	if len(opt.Command) > 0 && !opt.NoSignals { // caught before the start, so that none is missed
		signals = make(chan os.Signal, 16)
		signal.Notify(signals, forwarded...)
	}
	if err := s.begin(); err != nil {
		if signals != nil {
			signal.Stop(signals)
		}
		return nil, err
	}
	if signals != nil {
		defer s.forward(signals)()
	}
	if opt.Started != nil {
		opt.Started(s.root)
	}
	s.follow(ctx)
	if j.breaks != nil {
		_ = tr.Do(func(c *proc.Conn) error { j.breaks.end(c); return nil })
	}
	tr.Close()
	s.update()
	return s.result(), nil
}

// begin starts or seizes the server.
func (s *sampler) begin() error {
	if s.opt.PID != 0 {
		s.root = s.opt.PID
		return s.tr.Do(func(c *proc.Conn) error {
			return s.journal.seizeTree(c, s.root, proc.Follow, !s.opt.NoChildren)
		})
	}
	path, err := exec.LookPath(s.opt.Command[0])
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = unix.ENOENT
		}
		if pe := (*exec.Error)(nil); errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("start %s: %w", s.opt.Command[0], err)
	}
	cmd := proc.Command{Path: path, Args: s.opt.Command, Env: s.opt.Env, Dir: s.opt.Dir, Options: proc.Follow | proc.KillOnExit}
	std := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	for i, f := range []*os.File{s.opt.Stdin, s.opt.Stdout, s.opt.Stderr} {
		if f == nil {
			f = std[i]
		}
		cmd.Files = append(cmd.Files, f)
	}
	return s.tr.Do(func(c *proc.Conn) error {
		pid, err := c.Start(&cmd)
		if err != nil {
			return err
		}
		s.root = pid
		exe, _, err := proc.Exe(pid)
		if err != nil {
			return err
		}
		s.journal.add(change{kind: addedProcess, pid: pid, tid: pid, parent: os.Getpid(), exe: exe})
		if s.opt.Kill {
			s.journal.breaks = newBreaks()
			s.journal.breaks.root = pid
			s.journal.breaks.begin(c, pid)
		}
		return c.Resume(pid)
	})
}

// follow samples until the observation is over.
func (s *sampler) follow(ctx context.Context) {
	var over <-chan time.Time
	if s.opt.Duration > 0 {
		t := time.NewTimer(s.opt.Duration)
		defer t.Stop()
		over = t.C
	}
	until, cancelled := s.opt.Until, ctx.Done()
	tick := time.NewTimer(0)
	defer tick.Stop()
	var killAt time.Time
	var asked int // process that was sent SIGTERM first
	var lastCost time.Duration
	lastReport := time.Now()
	for {
		stop, due := false, false
		select {
		case <-tick.C:
			due = true
		case <-s.journal.wake:
		case <-over:
			stop, over = true, nil
		case <-until:
			stop, until = true, nil
		case <-cancelled:
			stop, cancelled = true, nil
		}
		s.update()
		if !s.serving() {
			return
		}
		s.main.Store(int64(s.target()))
		if stop && killAt.IsZero() {
			s.last = true
			s.round()
			s.last = false
			if s.opt.PID != 0 || !s.opt.Kill {
				return
			}
			killAt = time.Now().Add(killPatience)
			asked = s.target()
			signalTo(asked, unix.SIGTERM)
		}
		if asked != 0 && s.members[asked] == nil { // and those that it has left behind
			asked = 0
			s.signalAll(unix.SIGTERM)
		}
		if !killAt.IsZero() && time.Now().After(killAt) {
			s.signalAll(unix.SIGKILL)
			killAt = time.Now().Add(killPatience)
		}
		if !due {
			continue
		}
		began, opened := time.Now(), s.files.count()
		s.round()
		cost := time.Since(began)
		if s.opt.Progress != nil && time.Since(lastReport) >= progressInterval {
			lastReport = time.Now()
			s.opt.Progress(s.progress())
		}
		// Reading a file's tables is done once, and one slow round may be anybody's fault: two are ours.
		pause := s.opt.Interval - cost
		if s.files.count() == opened {
			pause = max(pause, min(cost, lastCost)*costFactor)
			lastCost = cost
		}
		tick.Reset(min(pause, maxPause))
	}
}

func (s *sampler) progress() Progress {
	p := Progress{Seconds: s.seconds(), Samples: s.samples}
	for _, m := range s.members {
		if !s.serves(m) {
			continue
		}
		p.Processes++
		p.Threads += len(m.threads)
		if th := m.threads[m.pid]; m.root && th != nil {
			p.Asleep = th.Samples > 0 && th.running == 0
		}
	}
	return p
}

// target is the process that stands for the server: the first one, or, after that has made itself a daemon, the oldest.
func (s *sampler) target() int {
	if m := s.members[s.root]; m != nil {
		return s.root
	}
	for _, pid := range s.order {
		if s.serves(s.members[pid]) {
			return pid
		}
	}
	return 0
}

// signalAll sends a signal to all processes of the tree.
func (s *sampler) signalAll(sig unix.Signal) {
	for _, pid := range s.order {
		signalTo(pid, sig)
	}
}

// forwarded are the signals that are passed on to a started server.
var forwarded = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH}

// forward passes signals on to the server until the function that it returns is called.
func (s *sampler) forward(ch chan os.Signal) (stop func()) {
	quit := make(chan struct{})
	done := make(chan struct{})
	s.main.Store(int64(s.root))
	go func() {
		defer close(done)
		for {
			select {
			case sig := <-ch:
				n, ok := sig.(unix.Signal)
				if ok && !(fromTerminal(n) && foreground()) {
					if pid := s.main.Load(); pid > 0 {
						signalTo(int(pid), n)
					}
				}
			case <-quit:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(quit)
		<-done
	}
}

// fromTerminal reports whether a terminal sends the signal to the whole foreground process group, which the server is in
// as well as we.
func fromTerminal(s unix.Signal) bool {
	return s == unix.SIGINT || s == unix.SIGQUIT || s == unix.SIGWINCH
}

// foreground reports whether we are in the foreground process group of our controlling terminal, if there is one.
func foreground() bool {
	f, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer f.Close()
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
