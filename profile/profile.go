// Package profile is the public document of syspart: which system calls each thread kind of a server can still need from
// its transition point on, where that point is, and what the statement rests on.
//
// A profile is JSON, deterministic to the byte: lists are sorted, no timestamps, no process ids.
package profile

// SchemaVersion is the version that this package writes and the only one that it reads.
const SchemaVersion = 1

// Profile is the document.
type Profile struct {
	SchemaVersion int          `json:"schemaVersion"`
	Program       Program      `json:"program"`
	Modules       []Module     `json:"modules"`
	Threads       []Thread     `json:"threads"`
	Executes      []Execute    `json:"executes"`
	Unresolved    []Unresolved `json:"unresolved"`
	Assumptions   []string     `json:"assumptions"`
}

// Program is the server's executable.
type Program struct {
	Path    string `json:"path"`
	SHA256  string `json:"sha256"`
	BuildID string `json:"buildID"`
}

// How a module came into the program.
const (
	FoundNeeded    = "needed"    // DT_NEEDED, directly or not
	FoundLoader    = "loader"    // PT_INTERP
	FoundVDSO      = "vdso"      // mapped by the kernel
	FoundStatic    = "static"    // a dlopen argument resolved statically, NSS and the like by their configuration
	FoundHeuristic = "heuristic" // exports the symbols that an unresolved dlopen site asks for
	FoundObserved  = "observed"  // was in the link map of a run
	FoundGiven     = "given"     // named by the user
)

// Module is one ELF object of the program.
type Module struct {
	Path    string `json:"path"`
	SHA256  string `json:"sha256"`
	BuildID string `json:"buildID"`
	Found   string `json:"found"`
}

// Roles of a thread kind.
const (
	RoleMain   = "main"   // main thread of the first process
	RoleChild  = "child"  // main thread of a forked process
	RoleThread = "thread" // created by clone within a process
)

// Thread is one thread kind: all threads with the same stack below their main loop.
type Thread struct {
	Kind       string     `json:"kind"` // unique name: the function that holds the main loop, with the start routine where needed
	Role       string     `json:"role"`
	Samples    int        `json:"samples"`   // stack samples that the kind rests on
	Instances  int        `json:"instances"` // threads of the kind that were seen
	Transition Transition `json:"transition"`
	// Init are the calls that the kind can make from its start on (for RoleMain: from the program's entry).
	Init    []string `json:"init"`
	Serving Serving  `json:"serving"`
}

// Transition is the point at which the kind's filter goes in.
type Transition struct {
	Module   string `json:"module"`   // path of the module
	Offset   string `json:"offset"`   // hex ELF virtual address of the instruction that is first executed after the switch: the loop header
	Function string `json:"function"` // symbol+0xoff, or fn_0xaddr in stripped files
	// Header is the main loop's header block, Function the entry of its function, both hex ELF virtual addresses.
	Entry string `json:"entry"`
	// Edges are the edges that enter the loop from outside, [from, to] hex addresses of the last instruction before and
	// the first inside.
	Edges [][2]string `json:"edges"`
	// Stack is the call path below the loop, innermost caller first: return addresses as module and hex ELF address.
	Stack []Frame `json:"stack"`
	// Static: no run was possible, the loop was ranked statically.
	Static bool `json:"static,omitempty"`
}

// Frame is one return address.
type Frame struct {
	Module string `json:"module"`
	Offset string `json:"offset"`
}

// Serving are the three sets whose union the filter allows; see DESIGN 8.
type Serving struct {
	Own      []string `json:"own"`
	Exec     []string `json:"exec"`
	Enforcer []string `json:"enforcer"`
}

// Execute is a program that the server runs by execve.
type Execute struct {
	Path   string   `json:"path"`
	SHA256 string   `json:"sha256"`
	Found  string   `json:"found"`
	Needs  []string `json:"needs"`
}

// Unresolved is a place where the analysis had to widen.
type Unresolved struct {
	What     string `json:"what"` // "syscall number", "indirect call", "dlopen", "execve", "code", ...
	Module   string `json:"module"`
	Offset   string `json:"offset"`
	Function string `json:"function"`
	Effect   string `json:"effect"` // in words: what was opened or assumed because of it
}
