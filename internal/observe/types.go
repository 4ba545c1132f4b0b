package observe

// Observation is what a run showed: where threads wait, what is loaded, what is executed. It never says what is allowed.
type Observation struct {
	Program string // path of the server's executable as the kernel resolved it
	Modules []Module
	Threads []Thread
	Execs   []Exec
	// Arguments are what functions were given that load or look up something or execute a program, sorted, each once: of
	// servers that were started and ended by us.
	Arguments []Argument
	Seconds   float64
	// ExitStatus of the observed command when it was started by us and ended: as a shell would report it.
	ExitStatus int
	Exited     bool
}

// Module is a file that was mapped executable in a process of the server at any time.
type Module struct {
	Path    string // as mapped; "[vdso]" for the vDSO
	BuildID string
	Data    []byte // contents as they were mapped; nil if they could not be read. Not to be changed
}

// Thread is one thread that was seen at least once.
type Thread struct {
	PID, TID  int
	Comm      string
	Leader    bool // main thread of its process
	ParentPID int
	First     bool    // in the first process
	Forked    bool    // its process was made by fork from a process of the server and has not executed another program
	Program   string  // executable of its process
	Stacks    []Stack // distinct stacks, in order of first appearance
	Samples   int
	Discarded int // torn samples
}

// Stack is one distinct call stack and how often it was sampled.
type Stack struct {
	Frames   []Frame // innermost first
	Count    int
	Running  bool // sampled by stopping a running thread, not while blocked
	Complete bool // unwound to the bottom of the thread
	// Inherited is the number of outermost frames that already existed when the process was forked, seen at the fork. They
	// are activations of the parent's that this process has not returned from. 0 if the fork was not seen.
	Inherited int
	// ForkPC is the return address, at the time of the fork, in the innermost of these frames (ELF virtual address in that
	// frame's module): where it called what forked. 0 if Inherited is.
	ForkPC              uint64
	FirstSeen, LastSeen float64 // seconds since observation began
}

// Frame is one frame. PC is the program counter (innermost) or the return address, as ELF virtual address of the module.
type Frame struct {
	Module string // path as in Modules
	PC     uint64
	CFA    uint64 // canonical frame address: identifies the activation
	Func   uint64 // start of the unwind entry that covers PC, as ELF virtual address; 0 if there is none
	Signal bool   // interrupted by a signal: PC is exact, not a return address
}

// Exec is a program executed by a process of the server.
type Exec struct {
	Path   string // the file the kernel executes (interpreter for a script)
	Script string // the script, if one
	ByPID  int
	Forked bool // by a forked child; false: the server replaced itself
}

// Argument is a name that a function of libc was given.
type Argument struct {
	What   string // dlopen, dlmopen, dlsym, dlvsym or execve
	Module string // path, as in Modules, of the caller: the innermost one outside of libc
	PC     uint64 // where the call returns to, as ELF virtual address of Module
	Name   string // for execve of a shell by system or popen with " -c " and the command line
}
