package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/observe"
	"syspart/internal/report"
	"syspart/profile"
)

// settings are what the flags of all analysing verbs say.
type settings struct {
	Root     string
	Level    string // "" is the best there is
	CacheDir string
	NoCache  bool
	Modules  []string
	Exec     []string
	Progress func(stage string, done, total int)
}

// watch is what is to be observed: a command that is started, or a process that runs.
type watch struct {
	Program  string   // resolved path of the command's program
	Command  []string // argument vector
	PID      int
	Duration time.Duration   // 0: until the server exits or Until is closed
	Until    <-chan struct{} // ends the observation
	Started  func(pid int)   // called once, with the first process
}

// placed is what became of one thread's filter.
type placed struct {
	PID, TID  int
	Kind      string
	Installed bool
	Why       string
}

// errNoLoop: no thread of the server was seen in a loop.
var errNoLoop = errors.New("no thread enters a serving loop")

// backend is the layers below as the verbs call them.
var backend = struct {
	analyze   func(ctx context.Context, binary string, from []string, s settings) (*report.AnalysisValue, error)
	loops     func(ctx context.Context, binary string, s settings) ([]report.LoopValue, error)
	callgraph func(ctx context.Context, binary string, p *profile.Profile, s settings, emit func(report.IndirectSite) error) error
	dot       func(ctx context.Context, binary string, p *profile.Profile, s settings, w io.Writer) error
	observe   func(ctx context.Context, w watch) (*observe.Observation, error)
	profile   func(ctx context.Context, binary string, obs *observe.Observation, s settings) (*profile.Profile, error)
	explain   func(ctx context.Context, p *profile.Profile, call string, s settings) (*report.ExplanationValue, error)
	identify  profile.Open
	plan      func(ctx context.Context, p *profile.Profile, action filter.Action, s settings) (*enforce.Plan, error)
	run       func(ctx context.Context, program string, argv []string, plan *enforce.Plan) (status int, err error)
	attach    func(ctx context.Context, pid int, plan *enforce.Plan) ([]placed, error)
	inject    func(pid, tid, nr int, args [6]uint64) (int64, error)
}{
	identify: identify,
}

// identify returns SHA-256 and build-id of the file that a path of a profile means now.
func identify(path string) (sha256, buildID string, err error) {
	var f *image.File
	if path == vdso {
		data, err := link.ReadVDSO()
		if err != nil {
			return "", "", err
		}
		if f, err = image.Parse(path, data); err != nil {
			return "", "", err
		}
	} else if f, err = image.Open(path); err != nil {
		return "", "", err
	}
	return hex.EncodeToString(f.SHA256[:]), f.BuildID, nil
}

// vdso is how profiles name the vDSO.
const vdso = "[vdso]"
