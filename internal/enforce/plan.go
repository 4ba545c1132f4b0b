package enforce

import (
	"errors"
	"fmt"

	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/stub"
	"syspart/internal/syscalls"
	"syspart/internal/unwind"
)

// Errors of planning. Those with a type carry what is needed to act on them and match these sentinels.
var (
	// ErrPlan: the plan contradicts itself.
	ErrPlan = errors.New("invalid plan")
	// ErrKernel: this kernel cannot enforce the plan. *KernelError.
	ErrKernel = errors.New("not supported by the kernel")
	// ErrModule: a process runs other code than the plan was made for. *ModuleError.
	ErrModule = errors.New("module does not fit the plan")
)

// Plan says what a program's threads get.
type Plan struct {
	Program string // path of the executable as the kernel resolves it
	BuildID string
	Modules []PlanModule
	Kinds   []Kind
	// Pins are all functions of the program that unload modules. None if no kind needs them, or one of them has no room; then
	// NoPin says why.
	Pins    []Pin
	NoPin   string
	Action  filter.Action // what happens to a call that is not allowed
	Failure stub.Failure  // what a thread's stub does when the kernel refuses its filter
}

// Contains reports whether an address lies in the function.
func (p *Pin) Contains(va uint64) bool { return contains(p.Code, va) }

// PlanModule is a file that the plan's filters were computed from. All files that a process maps executable must be here,
// with the contents stated.
type PlanModule struct {
	Path    string // "[vdso]" for the vDSO
	BuildID string // hex, "" if the file has none
	SHA256  string // hex; "" for the vDSO
	// Removed: the file is gone since the plan's profile was made. What lies at its path may be something else by now.
	Removed bool
}

// Kind is a kind of threads and its filter.
type Kind struct {
	Name   string
	Role   string        // profile.RoleMain, RoleChild or RoleThread
	Module string        // path of the module with the loop
	Loop   []image.Range // the loop's blocks, ELF virtual addresses of Module
	// Stack are the return addresses below the frame of the loop's function, innermost caller first.
	Stack []Frame
	// Bottom: Stack reaches the thread's bottom and must match in full. Else it is a prefix: the outermost function of it
	// (or the loop's function itself if Stack is empty) never returns, so what lies below is dead.
	Bottom bool
	Allow  syscalls.Set   // union of the three serving sets
	Filter filter.Program // compiled from Allow by Compile
	Mark   uint32         // of the filter, see filter.CompileMarked
	// Points are where jumps to stubs go, so that threads which enter the loop later install the filter themselves: no way
	// into the loop passes none. None if there is no room for one of them, or a frame below cannot be found by a stub; then
	// NoPoint says why.
	Points  []stub.Point
	NoPoint string
	// Rows say how a stub finds the return addresses of Stack, in that order, from the loop's header on.
	Rows []unwind.Simple
	// Instances is how many threads of the kind a run has shown.
	Instances int
	// Stays: nothing unloads the loop's module while the program runs. Others are unloaded unless the plan's pins hold them.
	Stays bool
}

// Pin is the entry of dlclose. A stub there answers 0 for modules that carry points, which then stay: POSIX does not ask of
// dlclose that it unload anything, and modules of a static build stay as well.
type Pin struct {
	Point stub.Point
	Code  []image.Range // of the function: a thread in it may be about to unload a module
}

// Frame is one return address.
type Frame struct {
	Module string
	PC     uint64 // ELF virtual address
}

// Compile fills in the kinds' filters from their sets and the plan's action, and validates the plan.
func (p *Plan) Compile() error {
	for i := range p.Kinds {
		f, mark, err := filter.CompileMarked(p.Kinds[i].Allow, p.Action)
		if err != nil {
			return fmt.Errorf("kind %s: %w", p.Kinds[i].Name, err)
		}
		p.Kinds[i].Filter, p.Kinds[i].Mark = f, mark
	}
	return p.Validate()
}

// Validate checks that the plan is whole: a program, kinds with unique names, loops inside known modules, filters that
// allow what the kinds' sets and syscalls.Always say and nothing else.
func (p *Plan) Validate() error {
	if p.Program == "" || len(p.Kinds) == 0 {
		return fmt.Errorf("no program or no thread kinds: %w", ErrPlan)
	}
	modules := make(map[string]bool, len(p.Modules))
	for _, m := range p.Modules {
		modules[m.Path] = true
	}
	names := make(map[string]bool, len(p.Kinds))
	for i := range p.Kinds {
		k := &p.Kinds[i]
		switch {
		case k.Name == "" || names[k.Name]:
			return fmt.Errorf("kind %d: name %q is empty or used twice: %w", i, k.Name, ErrPlan)
		case !modules[k.Module]:
			return fmt.Errorf("kind %s: its module %q is not in the plan: %w", k.Name, k.Module, ErrPlan)
		case len(k.Loop) == 0:
			return fmt.Errorf("kind %s: no loop: %w", k.Name, ErrPlan)
		}
		names[k.Name] = true
		for _, r := range k.Loop {
			if r.Start >= r.End {
				return fmt.Errorf("kind %s: loop block [%#x, %#x) is empty: %w", k.Name, r.Start, r.End, ErrPlan)
			}
		}
		for _, f := range k.Stack {
			if !modules[f.Module] {
				return fmt.Errorf("kind %s: module %q of a return address is not in the plan: %w", k.Name, f.Module, ErrPlan)
			}
		}
		// In numbers, not in instructions: the action "log" lets pass, too, but with another verdict.
		allowed, err := filter.Allowed(k.Filter)
		if err != nil {
			return fmt.Errorf("kind %s: %w", k.Name, err)
		}
		if want := k.Allow.Union(syscalls.Always()); allowed != want {
			return fmt.Errorf("kind %s: filter and set differ (not allowed: %v, not in the set: %v): %w", k.Name,
				want.Minus(allowed).Names(), allowed.Minus(want).Names(), ErrPlan)
		}
	}
	return nil
}

// Match finds the kind whose loop a thread is in, and the index of the frame that is in the loop; nil and -1 if it is in
// none. Frames are innermost first, as observe unwinds them. A frame is in a loop if its address is: the exact program
// counter for the innermost frame and for one interrupted by a signal, else that of the call (return address minus one).
// The older frames must equal the kind's Stack.
//
// If several frames match, the outermost one wins: a loop nested in another kind's loop returns to it. Frames below a
// function that never returns do not count as outer: a worker forked inside its master's loop is in its own loop alone.
func (p *Plan) Match(frames []observe.Frame) (*Kind, int) {
	var best *Kind
	at := -1
	live := len(frames) // frames from this index on are dead
	for i := 0; i < live; i++ {
		f := &frames[i]
		pc := f.PC
		if i > 0 && !f.Signal {
			pc--
		}
		for k := range p.Kinds {
			kind := &p.Kinds[k]
			if kind.Module != f.Module || !contains(kind.Loop, pc) || !below(kind, frames[i+1:]) {
				continue
			}
			// Two kinds may share a loop and differ in how much of the stack they state: the longer one says more.
			if at < i || len(kind.Stack) > len(best.Stack) {
				best, at = kind, i
			}
			if !kind.Bottom {
				live = min(live, i+1+len(kind.Stack))
			}
		}
	}
	return best, at
}

func contains(loop []image.Range, pc uint64) bool {
	for _, r := range loop {
		if r.Contains(pc) {
			return true
		}
	}
	return false
}

// below reports whether the frames older than the loop's are what the kind states.
func below(k *Kind, older []observe.Frame) bool {
	if len(older) < len(k.Stack) || k.Bottom && len(older) != len(k.Stack) {
		return false
	}
	for i, want := range k.Stack {
		if older[i].Signal || older[i].Module != want.Module || older[i].PC != want.PC {
			return false
		}
	}
	return true
}
