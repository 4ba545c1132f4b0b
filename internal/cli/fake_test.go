//go:build testscript

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
	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/report"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// mainFake is the command with layers below it that do next to nothing, so that tests see what the command line alone
// does: what goes to which stream, exit codes, files.
func mainFake() {
	backend.analyze = func(_ context.Context, binary string, from []string, _ settings) (*report.AnalysisValue, error) {
		f, err := image.Open(binary)
		if err != nil {
			return nil, err
		}
		a := &report.AnalysisValue{Path: binary, BuildID: f.BuildID, Functions: 3}
		for _, point := range from {
			if point == "nowhere" {
				return nil, fmt.Errorf("%s: no function nowhere", binary)
			}
			a.Sets = append(a.Sets, report.Set{From: point, Calls: syscalls.Of(0, 1, 60)})
		}
		if os.Getenv("UNRESOLVED") != "" {
			a.Unresolved = []profile.Unresolved{{What: "dlopen", Module: binary, Offset: "0x10", Effect: "unknown libraries"}}
		}
		return a, nil
	}
	backend.loops = func(_ context.Context, binary string, _ settings) ([]report.LoopValue, error) {
		return []report.LoopValue{{Rank: 1, Module: binary, Function: "f", Header: "0x10", Depth: 1, Blocking: true}}, nil
	}
	backend.callgraph = func(_ context.Context, binary string, p *profile.Profile, s settings, emit func(report.IndirectSite) error) error {
		site := report.IndirectSite{Module: binary, Site: "0x10", Rule: "level " + s.Level}
		if p != nil {
			site.Targets = [][2]string{{p.Program.Path, "0x20"}}
		}
		return emit(site)
	}
	backend.dot = func(_ context.Context, _ string, _ *profile.Profile, _ settings, w io.Writer) error {
		_, err := io.WriteString(w, "digraph {}\n")
		return err
	}
	backend.explain = func(_ context.Context, p *profile.Profile, call string, _ settings) (*report.ExplanationValue, error) {
		e := &report.ExplanationValue{Syscall: call}
		for i := range p.Threads {
			e.Closed = append(e.Closed, p.Threads[i].Kind+": closed after the transition; never needed")
		}
		return e, nil
	}
	backend.observe = fakeObserve
	backend.profile = fakeProfile
	backend.plan = func(_ context.Context, p *profile.Profile, action filter.Action, _ settings) (*enforce.Plan, error) {
		if err := p.Verify(identify); err != nil {
			return nil, err
		}
		return &enforce.Plan{Program: p.Program.Path, Action: action}, nil
	}
	backend.run = func(_ context.Context, program string, argv []string, plan *enforce.Plan) (int, error) {
		cmd := passThrough(program, argv)
		cmd.Env = append(os.Environ(), "ACTION="+plan.Action.String())
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		return endStatus(cmd), nil
	}
	backend.attach = func(_ context.Context, pid int, _ *enforce.Plan) ([]placed, error) {
		return []placed{{PID: pid, TID: pid, Kind: "cycle", Installed: true}, {PID: pid, TID: pid + 1, Why: "not in its main loop"}}, nil
	}
	backend.inject = func(pid, tid, nr int, args [6]uint64) (int64, error) {
		if pid != tid {
			return -1, errors.New("another thread")
		}
		return int64(nr) + int64(args[0]), nil
	}
	os.Exit(Main(os.Args))
}

func passThrough(program string, argv []string) *exec.Cmd {
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
		return &observe.Observation{Program: exe}, nil
	}
	begin := time.Now()
	cmd := passThrough(w.Program, w.Command)
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
	return &observe.Observation{Program: w.Program, Exited: true, ExitStatus: status, Seconds: time.Since(begin).Seconds()}, nil
}

// fakeProfile makes a profile that fits the program; NOLOOP has it fail.
func fakeProfile(_ context.Context, binary string, _ *observe.Observation, _ settings) (*profile.Profile, error) {
	if os.Getenv("NOLOOP") != "" {
		return nil, fmt.Errorf("%s: %w", binary, errNoLoop)
	}
	return profileOf(binary)
}

// profileOf is a profile of one thread kind that fits a program.
func profileOf(binary string) (*profile.Profile, error) {
	sha, id, err := identify(binary)
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
