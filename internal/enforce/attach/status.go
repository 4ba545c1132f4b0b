package attach

import (
	"errors"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/observe"
	"syspart/internal/proc"
	"syspart/internal/syscalls"
)

// State is what a thread of a server carries now.
type State struct {
	PID, TID int
	Comm     string
	Program  string // path of the process's executable
	// Inside is the kind of the plan whose serving loop the thread is in now; "" if it is in none, or if there is no plan.
	Inside string
	// Filters is how many filters the thread carries, those inherited included; Strict that it is in seccomp's strict mode.
	Filters int
	Strict  bool
	// Allowed are the calls that they allow together; nil if they cannot be read (that takes CAP_SYS_ADMIN).
	Allowed *syscalls.Set
	// Kinds are the plan's kinds that are allowed just that.
	Kinds []string
}

// Inspect looks at all threads of a process and its descendants. The plan may be nil. A thread is stopped for the time that
// it takes to read its filters; blocked calls are restarted. Errors: proc.ErrGone, proc.ErrPermission.
func Inspect(pid int, plan *enforce.Plan) ([]State, error) {
	root, err := processOf(pid)
	if err != nil {
		return nil, err
	}
	pids, err := proc.Children(root)
	if err != nil {
		return nil, err
	}
	tables := observe.NewFiles()
	var out []State
	for _, p := range pids {
		exe, _, err := proc.Exe(p)
		if errors.Is(err, proc.ErrPermission) && p == root {
			return nil, err
		}
		tids, err := proc.Tasks(p)
		if err != nil {
			continue // it has ended
		}
		stacks, _ := observe.OpenProcess(p, tables)
		for _, tid := range tids {
			s := State{PID: p, TID: tid, Program: exe}
			if s.look(plan, stacks) {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// look fills in a state; false if the thread has ended.
func (s *State) look(plan *enforce.Plan, stacks *observe.Process) bool {
	st, err := proc.ReadStatus(s.TID)
	if err != nil {
		return false
	}
	s.Comm, _ = proc.Comm(s.TID)
	s.Strict = st.Seccomp == unix.SECCOMP_MODE_STRICT
	if st.Seccomp == unix.SECCOMP_MODE_FILTER {
		s.Filters = 1 // at least
		if filters, err := ReadFilters(s.PID, s.TID); err == nil {
			s.Filters = len(filters)
			if allowed, err := filter.Allowed(filters...); err == nil {
				s.Allowed = &allowed
			}
		} else if errors.Is(err, proc.ErrGone) {
			return false
		}
	}
	if plan == nil {
		return true
	}
	if stacks != nil && s.Program == plan.Program {
		if stack, how, err := stacks.Blocked(s.TID); err == nil && how == observe.Asleep {
			if k, _ := plan.Match(stack.Frames); k != nil {
				s.Inside = k.Name
			}
		}
	}
	for i := range plan.Kinds {
		if s.Allowed != nil && *s.Allowed == plan.Kinds[i].Allow.Union(syscalls.Always()) {
			s.Kinds = append(s.Kinds, plan.Kinds[i].Name)
		}
	}
	return true
}
