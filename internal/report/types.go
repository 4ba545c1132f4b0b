package report

import (
	"syspart/internal/syscalls"
	"syspart/profile"
)

// Set is what can be reached from one starting point.
type Set struct {
	From      string // as the user wrote it: entry, main, FUNC+0xOFF, 0xADDR
	Calls     syscalls.Set
	Functions int // reachable functions
}

// AnalysisValue is the result of analysing a binary from given starting points.
type AnalysisValue struct {
	Path, SHA256, BuildID                  string
	Modules                                []profile.Module
	Sets                                   []Set
	Functions, AddressTaken, IndirectSites int
	AverageTargets                         float64
	Unresolved                             []profile.Unresolved
	Assumptions                            []string
}

// LoopValue is a loop of the binary or of one of its libraries.
type LoopValue struct {
	Module, Function, Entry, Header string
	Depth                           int      // 1 is outermost in its function
	Blocking                        bool     // contains a blocking event call
	Calls                           []string // the event calls
	Rank                            int      // 1 is the likeliest main loop
}

// IndirectSite is an indirect call site and what it can call; addresses are ELF virtual addresses in hex.
type IndirectSite struct {
	Module  string      `json:"module"`
	Site    string      `json:"site"`
	Targets [][2]string `json:"targets"` // module and offset
	Rule    string      `json:"rule"`
}

// Step is one edge of an explanation.
type Step struct {
	Module, Function, Offset string
	Kind                     string // kind of the edge
	Rule                     string // in words
}

// Path is a path from a thread's start or transition to a system call.
type Path struct {
	Kind    string // thread kind
	Phase   string // init or serving
	Steps   []Step
	Syscall string
	Site    string
}

// ExplanationValue says why a call is allowed, or why not.
type ExplanationValue struct {
	Syscall string
	Open    []Path
	Closed  []string // in words, one a thread kind
}
