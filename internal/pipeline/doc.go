// Package pipeline runs the whole way: load, summarise in parallel through the cache, link, build the call graph, find
// phases. Its results are values that report prints and cli returns. The contract:
//
//	type Options struct {
//		Root     string
//		Level    callgraph.Level   // zero value: the best there is; callgraph.ParseLevel("a".."e")
//		CacheDir string; NoCache bool
//		Modules  []string          // files or directories loaded later (--module)
//		Exec     []string          // programs executed (--exec)
//		Progress func(stage string, done, total int) // may be nil
//	}
//
//	// Analysis of a binary from given starting points.
//	type Set struct { From string; Calls syscalls.Set; Functions int /* reachable */ }
//	type Analysis struct {
//		Path, SHA256, BuildID string
//		Modules    []profile.Module
//		Sets       []Set
//		Functions, AddressTaken, IndirectSites int
//		AverageTargets float64
//		Unresolved []profile.Unresolved
//		Assumptions []string
//	}
//	func Analyze(ctx context.Context, binary string, from []string /* entry, main, FUNC[+0xOFF], 0xADDR */, opt Options) (*Analysis, error)
//
//	type Loop struct { Module, Function, Entry, Header string; Depth int; Blocking bool /* contains a blocking event call */; Calls []string /* event calls */; Rank int }
//	func Loops(ctx, binary string, opt Options) ([]Loop, error)
//
//	// One line per indirect site, sorted.
//	type Site struct { Module, Site string; Targets [][2]string; Rule string }   // JSON names: module, site, targets, rule
//	func Callgraph(ctx, binary string, p *profile.Profile /* may be nil */, opt Options, emit func(Site) error) error
//	func CallgraphDot(ctx, binary string, p *profile.Profile, opt Options, w io.Writer) error
//
//	// Profile from an observation; static fallback if obs has no samples in a loop (ErrNoLoop names it).
//	func Profile(ctx, binary string, obs *observe.Observation, opt Options) (*profile.Profile, error)
//
//	// Plan for enforcement: verifies that p fits the binaries (profile.ModuleChangedError) and finds the loops' ranges.
//	func Plan(ctx, p *profile.Profile, action filter.Action, opt Options) (*enforce.Plan, error)
//
//	// Explain: the shortest reasoned path per thread kind and phase.
//	type Step struct { Module, Function, Offset string; Kind string /* edge kind */; Rule string /* in words */ }
//	type Path struct { Kind string /* thread kind */; Phase string /* init, serving */; Steps []Step; Syscall string; Site string }
//	type Explanation struct { Syscall string; Open []Path; Closed []string /* "kind: closed after the transition; needed before it by ..." in words */ }
//	func Explain(ctx, p *profile.Profile, call string, opt Options) (*Explanation, error)
//
// Errors of bad input come from image, link, observe as typed errors and are passed through with %w.
package pipeline
