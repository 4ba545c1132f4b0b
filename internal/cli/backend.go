package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"syspart/internal/enforce"
	"syspart/internal/enforce/attach"
	"syspart/internal/filter"
	"syspart/internal/observe"
	"syspart/internal/pipeline"
	"syspart/profile"
)

// watch is what is to be observed: a command that is started, or a process that runs.
type watch struct {
	Command  []string        // program (looked up in PATH) and arguments
	PID      int             // process, if there is no command
	Duration time.Duration   // 0: until the server exits or Until is closed
	Until    <-chan struct{} // ends the observation
	Started  func(pid int)   // called once, with the first process: the one that was started or attached to
}

// backend is the layers below as the verbs call them.
var backend = struct {
	analyze   func(ctx context.Context, binary string, from []string, opt pipeline.Options) (*pipeline.Analysis, error)
	loops     func(ctx context.Context, binary string, opt pipeline.Options) ([]pipeline.Loop, error)
	callgraph func(ctx context.Context, binary string, p *profile.Profile, opt pipeline.Options, emit func(pipeline.Site) error) error
	dot       func(ctx context.Context, binary string, p *profile.Profile, opt pipeline.Options, w io.Writer) error
	observe   func(ctx context.Context, w watch) (*observe.Observation, error)
	profile   func(ctx context.Context, binary string, obs *observe.Observation, opt pipeline.Options) (*profile.Profile, error)
	explain   func(ctx context.Context, p *profile.Profile, q pipeline.Question, opt pipeline.Options) (*pipeline.Explanation, error)
	identify  profile.Open
	renew     func(ctx context.Context, p *profile.Profile, opt pipeline.Options) (*profile.Profile, error)
	plan      func(ctx context.Context, p *profile.Profile, action filter.Action, opt pipeline.Options) (*enforce.Plan, error)
	harden    func(ctx context.Context, p *profile.Profile, how pipeline.HardenOptions, opt pipeline.Options) (*pipeline.Hardened, error)
	run       func(ctx context.Context, argv []string, e *enforced, report func(attach.Thread)) (status int, err error)
	attach    func(ctx context.Context, pid int, e *enforced, wait time.Duration, report func(attach.Thread)) (*attach.Result, error)
	status    func(pid int, plan *enforce.Plan) ([]attach.State, error)
	denials   func(ctx context.Context, pid int, plan *enforce.Plan, report func(attach.Denial)) error
	inject    func(pid, tid, nr int, args ...uint64) (int64, error)
}{
	analyze:   pipeline.Analyze,
	loops:     pipeline.Loops,
	callgraph: pipeline.Callgraph,
	dot:       pipeline.CallgraphDot,
	observe:   follow,
	profile:   pipeline.Profile,
	explain:   pipeline.Explain,
	identify:  pipeline.Identify,
	renew:     pipeline.Renew,
	plan:      pipeline.Plan,
	harden:    pipeline.Harden,
	run:       runCommand,
	attach:    attachTo,
	status:    attach.Inspect,
	denials:   attach.Denials,
	inject:    attach.Inject,
}

// follow observes a server. A started one is ended with the observation.
func follow(ctx context.Context, w watch) (*observe.Observation, error) {
	return observe.Observe(ctx, observe.Options{
		Command: w.Command, PID: w.PID, Duration: w.Duration, Until: w.Until, Kill: w.PID == 0, Started: w.Started,
		Progress: func(p observe.Progress) {
			slog.Debug("observing", "processes", p.Processes, "threads", p.Threads, "samples", p.Samples)
		},
	})
}

// enforced is a plan and what it was made from.
type enforced struct {
	Plan *enforce.Plan
	// Profile is what modules are judged by that are not in the plan; nil: they are refused.
	Profile  *profile.Profile
	CacheDir string
	NoCache  bool
}

// options are those of the package attach.
func (e *enforced) options(ctx context.Context, report func(attach.Thread)) attach.Options {
	o := attach.Options{Report: report, AnonymousCode: true, Stubs: true, Note: noteStubs}
	if e.Profile != nil {
		n := pipeline.Newcomers{Profile: e.Profile, Options: pipeline.Options{CacheDir: e.CacheDir, NoCache: e.NoCache}}
		o.Admit = func(path string, data []byte) error { return n.Admit(ctx, path, data) }
	}
	return o
}

// runCommand starts a command and installs filters as its threads enter their loops.
func runCommand(ctx context.Context, argv []string, e *enforced, report func(attach.Thread)) (int, error) {
	if inPlace(e.Plan) {
		err := become(argv, e)
		code := exitLaunch
		if has := (*exitStatus)(nil); errors.As(err, &has) {
			code = has.code
		}
		return code, err
	}
	return attach.Run(ctx, argv, nil, e.Plan, e.options(ctx, report))
}

// noteStubs logs what became of the stubs.
func noteStubs(text string) { slog.Info("stubs", "what", text) }

// attachTo installs filters in a running server, and goes on for a time while threads of it are outside their loops.
func attachTo(ctx context.Context, pid int, e *enforced, wait time.Duration, report func(attach.Thread)) (*attach.Result, error) {
	opts := e.options(ctx, report)
	result, err := attach.Attach(ctx, pid, e.Plan, opts)
	if err != nil || wait <= 0 || result.Count(attach.Outside) == 0 {
		return result, err
	}
	ctx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	return attach.Watch(ctx, pid, e.Plan, opts)
}
