// Package profile is the public document of syspart: which system calls each thread kind of a server can still need from
// its transition point on, where that point is, and what the statement rests on.
//
// A profile is JSON, deterministic to the byte: lists that have no order of their own are sorted, there are no timestamps
// and no process ids. It errs on one side only: a call that is missing from a kind's serving sets cannot be needed by it
// as long as Assumptions hold and the files are the ones named by Program, Modules and Executes (Verify). A call that is
// listed need not ever be made.
//
//	p, err := profile.Load("nginx.json")
//	names := p.Union(profile.SetAll, "")            // what the filters allow, over all kinds
//	err = p.Verify(open)                            // does it still fit the files on this machine?
//
// Reading is strict: another schema version, an unknown field, a malformed address or name, a kind without calls or a
// duplicate is an error, since every one of them would change what a filter allows.
package profile

// SchemaVersion is the version that this package writes and the only one that it reads.
const SchemaVersion = 1

// Profile is the document.
type Profile struct {
	SchemaVersion int          `json:"schemaVersion"` // always SchemaVersion
	Program       Program      `json:"program"`
	Modules       []Module     `json:"modules"`     // all that was analysed; one entry a path
	Threads       []Thread     `json:"threads"`     // at least one; Kind is unique
	Executes      []Execute    `json:"executes"`    // programs that the server runs
	Unresolved    []Unresolved `json:"unresolved"`  // where the analysis had to widen
	Assumptions   []string     `json:"assumptions"` // in words: what the allow-lists rest on
}

// Program is the server's executable.
type Program struct {
	Path    string `json:"path"`    // absolute, symbolic links resolved
	SHA256  string `json:"sha256"`  // of the whole file, 64 lower-case hex digits
	BuildID string `json:"buildID"` // GNU build-id in hex; empty if the file has none
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
	Path    string `json:"path"`    // as the loader opened it, or "[vdso]"
	SHA256  string `json:"sha256"`  // of the whole file or vDSO image, 64 lower-case hex digits
	BuildID string `json:"buildID"` // GNU build-id in hex; empty if the file has none
	Found   string `json:"found"`   // one of the Found constants
	// Removed: the file was gone, or another one in its place, when the profile was made; what was analysed is what a run had
	// mapped. Nobody can compare it (Verify).
	Removed bool `json:"removed,omitempty"`
}

// Roles of a thread kind.
const (
	RoleMain   = "main"   // main thread of the first process
	RoleChild  = "child"  // main thread of a forked process
	RoleThread = "thread" // created by clone within a process
)

// Thread is one thread kind: all threads with the same stack below their main loop.
type Thread struct {
	Kind       string     `json:"kind"`      // unique name: the function that holds the main loop, with the start routine where needed
	Role       string     `json:"role"`      // one of the Role constants
	Samples    int        `json:"samples"`   // stack samples that the kind rests on
	Instances  int        `json:"instances"` // threads of the kind that were seen
	Transition Transition `json:"transition"`
	// Init are the calls that the kind can make from its start on (for RoleMain: from the program's entry).
	Init    []string `json:"init"`
	Serving Serving  `json:"serving"`
}

// Transition is the point at which the kind's filter goes in. Addresses are ELF virtual addresses of the module, written
// as 0x and lower-case hex digits.
type Transition struct {
	Module   string `json:"module"`   // path of the module that holds the loop
	Offset   string `json:"offset"`   // first instruction executed after the switch: the loop's header
	Function string `json:"function"` // symbol+0xoff, or fn_0xaddr in stripped files
	Entry    string `json:"entry"`    // entry of the function that holds the loop
	// Edges are the edges that enter the loop from outside: the last instruction before it and the first inside.
	Edges [][2]string `json:"edges"`
	// Stack is the call path below the loop's function, innermost caller first, as return addresses.
	Stack []Frame `json:"stack"`
	// Bottom: Stack reaches the bottom of the thread, so that a thread of the kind has exactly this stack below its loop.
	// Otherwise Stack is a prefix, cut where the caller can never be returned to.
	Bottom bool `json:"bottom"`
	// Static: no run was possible, the loop was ranked statically.
	Static bool `json:"static,omitempty"`
}

// Frame is one return address.
type Frame struct {
	Module string `json:"module"` // path of a module or of the program
	Offset string `json:"offset"` // the address returned to: ELF virtual address in hex
	// Nth: of several calls in the module that lead to the frame above, in address order, it is this one, from 1 on; 0 if
	// there is only one, or none that is seen. By it the frame is found again when the module has changed.
	Nth int `json:"nth,omitempty"`
}

// Serving are the three sets whose union the filter allows. Names are those of the kernel's x86-64 table.
type Serving struct {
	Own      []string `json:"own"`      // what the partition needs, with threads and forked children it creates and what the kernel issues
	Exec     []string `json:"exec"`     // what executed programs need beyond Own
	Enforcer []string `json:"enforcer"` // what installing the filters of later threads and children needs beyond Own
}

// Execute is a program that the server runs by execve.
type Execute struct {
	Path   string   `json:"path"`   // the file that the kernel executes; for a script its interpreter
	SHA256 string   `json:"sha256"` // of the whole file; empty if it could not be read
	Found  string   `json:"found"`  // one of the Found constants
	Needs  []string `json:"needs"`  // calls that the program can make from its loader's first instruction on
	// Privileges are those that the file would give (set-user-ID, file capabilities), and what becomes of them; "" if none.
	Privileges string `json:"privileges,omitempty"`
}

// Unresolved is a place where the analysis had to widen, or where threads were seen that get no filter.
type Unresolved struct {
	What     string `json:"what"`     // "syscall number", "indirect call", "dlopen", "execve", "code", "thread", ...
	Module   string `json:"module"`   // path of the module; empty if the place is not in one
	Offset   string `json:"offset"`   // ELF virtual address in hex; empty if the place is none
	Function string `json:"function"` // symbol, or fn_0xaddr in stripped files
	Effect   string `json:"effect"`   // in words: what was opened or assumed because of it
	// Seen are the names that a run has shown the place to be given, sorted, with a comma and a blank between them. They add
	// to what is allowed and never bound it.
	Seen string `json:"seen,omitempty"`
}
