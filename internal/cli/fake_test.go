package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"syspart/internal/enforce"
	"syspart/internal/enforce/attach"
	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/phase"
	"syspart/internal/pipeline"
	"syspart/internal/proc"
	"syspart/internal/stub"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// mainFake is the command with layers below it that do next to nothing, so that tests see what the command line alone
// does: what goes to which stream, exit codes, files.
func mainFake() {
	backend.analyze = func(_ context.Context, binary string, from []string, _ pipeline.Options) (*pipeline.Analysis, error) {
		f, err := image.Open(binary)
		if err != nil {
			return nil, err
		}
		a := &pipeline.Analysis{Path: binary, BuildID: f.BuildID, Functions: 3}
		for _, point := range from {
			if point == "nowhere" {
				return nil, fmt.Errorf("%s: no function nowhere", binary)
			}
			a.Sets = append(a.Sets, pipeline.Set{From: point, Calls: syscalls.Of(0, 1, 60)})
		}
		if os.Getenv("UNRESOLVED") != "" {
			a.Unresolved = []profile.Unresolved{{What: "dlopen", Module: binary, Offset: "0x10", Effect: "unknown libraries"}}
		}
		return a, nil
	}
	backend.loops = func(_ context.Context, binary string, _ pipeline.Options) ([]pipeline.Loop, error) {
		return []pipeline.Loop{{Rank: 1, Module: binary, Function: "f", Header: "0x10", Depth: 1, Blocking: true}}, nil
	}
	backend.callgraph = func(_ context.Context, binary string, p *profile.Profile, opt pipeline.Options, emit func(pipeline.Site) error) error {
		site := pipeline.Site{Module: binary, Site: "0x10", Rule: "level " + opt.Level.String()}
		if p != nil {
			site.Targets = [][2]string{{p.Program.Path, "0x20"}}
		}
		return emit(site)
	}
	backend.dot = func(_ context.Context, _ string, _ *profile.Profile, _ pipeline.Options, w io.Writer) error {
		_, err := io.WriteString(w, "digraph {}\n")
		return err
	}
	backend.explain = func(_ context.Context, p *profile.Profile, q pipeline.Question, _ pipeline.Options) (*pipeline.Explanation, error) {
		e := &pipeline.Explanation{Syscall: q.Syscall}
		for i := range p.Threads {
			e.Closed = append(e.Closed, p.Threads[i].Kind+": closed after the transition; never needed")
		}
		return e, nil
	}
	if os.Getenv("OBSERVE") != "really" {
		backend.observe = fakeObserve
	}
	backend.profile = fakeProfile
	backend.plan = func(_ context.Context, p *profile.Profile, action filter.Action, _ pipeline.Options) (*enforce.Plan, error) {
		if err := p.Verify(pipeline.Identify); err != nil {
			return nil, err
		}
		return &enforce.Plan{Program: p.Program.Path, Action: action}, nil
	}
	backend.run = func(_ context.Context, argv []string, e *enforced, _ func(attach.Thread)) (int, error) {
		cmd := passThrough(argv)
		cmd.Env = append(os.Environ(), "ACTION="+e.Plan.Action.String(), fmt.Sprint("SERVES=", e.Plan.Failure == stub.Serves))
		if err := cmd.Start(); err != nil {
			return proc.LaunchStatus(err), err
		}
		return endStatus(cmd), nil
	}
	backend.attach = func(_ context.Context, pid int, _ *enforced, _ time.Duration, _ func(attach.Thread)) (*attach.Result, error) {
		return &attach.Result{Threads: []attach.Thread{
			{PID: pid, TID: pid, Comm: "d", Kind: "cycle", Status: attach.Installed}, {PID: pid, TID: pid + 1, Comm: "d"}}}, nil
	}
	backend.status = func(pid int, plan *enforce.Plan) ([]attach.State, error) {
		calls := syscalls.Of(0, 60)
		list := []attach.State{{PID: pid, TID: pid, Comm: "d", Filters: 1, Allowed: &calls}, {PID: pid, TID: pid + 1, Comm: "e"}}
		if plan != nil {
			list[0].Inside, list[0].Kinds = "cycle", []string{"cycle"}
		}
		return list, nil
	}
	backend.denials = func(_ context.Context, pid int, _ *enforce.Plan, report func(attach.Denial)) error {
		report(attach.Denial{PID: pid, TID: pid + 1, Comm: "d", Kind: "cycle", Nr: 165, Args: []uint64{1, 2}, How: "trap", Where: []string{"d:f+0x1", "d:main+0x2"}})
		return nil
	}
	backend.inject = func(pid, tid, nr int, args ...uint64) (int64, error) {
		if pid != tid {
			return -1, errors.New("another thread")
		}
		return int64(nr) + int64(args[0]), nil
	}
	os.Exit(Main(os.Args))
}

func passThrough(argv []string) *exec.Cmd {
	program, _ := commandPath(argv[0])
	return &exec.Cmd{Path: program, Args: argv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
}

// endStatus waits for a command and returns its status as shells do.
func endStatus(cmd *exec.Cmd) int {
	_ = cmd.Wait()
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// fakeObserve runs the command, and ends it when it is told to.
func fakeObserve(_ context.Context, w watch) (*observe.Observation, error) {
	if w.PID != 0 {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", w.PID))
		if err != nil {
			return nil, err
		}
		w.Started(w.PID)
		return &observe.Observation{Program: exe}, nil
	}
	begin := time.Now()
	cmd := passThrough(w.Command)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w.Started(cmd.Process.Pid)
	done := make(chan struct{})
	var limit <-chan time.Time
	if w.Duration > 0 {
		limit = time.After(w.Duration)
	}
	go func() {
		select {
		case <-w.Until:
		case <-limit:
		case <-done:
			return
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}()
	status := endStatus(cmd)
	close(done)
	return &observe.Observation{Program: cmd.Path, Exited: true, ExitStatus: status, Seconds: time.Since(begin).Seconds()}, nil
}

// fakeProfile makes a profile that fits the program; WITHOUT_LOOP has it fail.
func fakeProfile(_ context.Context, binary string, _ *observe.Observation, _ pipeline.Options) (*profile.Profile, error) {
	if os.Getenv("WITHOUT_LOOP") != "" {
		return nil, fmt.Errorf("%s: %w", binary, phase.ErrNoLoop)
	}
	return profileOf(binary)
}

// profileOf is a profile of one thread kind that fits a program.
func profileOf(binary string) (*profile.Profile, error) {
	sha, id, err := pipeline.Identify(binary)
	if err != nil {
		return nil, err
	}
	return &profile.Profile{
		SchemaVersion: profile.SchemaVersion,
		Program:       profile.Program{Path: binary, SHA256: sha, BuildID: id},
		Threads: []profile.Thread{{
			Kind: "cycle", Role: profile.RoleMain, Samples: 30, Instances: 1,
			Transition: profile.Transition{Module: binary, Offset: "0x1010", Function: "fn_0x1000+0x10", Entry: "0x1000"},
			Init:       []string{"execve", "mount", "read"},
			Serving:    profile.Serving{Own: []string{"exit", "read"}, Exec: []string{"mmap"}, Enforcer: []string{"prctl"}},
		}},
		Unresolved: []profile.Unresolved{{What: "dlopen", Module: binary, Offset: "0x1020", Effect: "libraries that it loads are unknown"}},
	}, nil
}
