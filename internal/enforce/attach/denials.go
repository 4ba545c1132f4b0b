package attach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/proc"
	"syspart/internal/syscalls"
)

// Denial is a system call that a filter has denied.
type Denial struct {
	PID  int
	TID  int // 0 if it is not known: the kernel's log names the process alone
	Comm string
	Kind string // kind of the plan whose loop the thread was in, "" if in none or not known
	Nr   int
	Args []uint64 // in their order; none if they are not known
	How  string   // the filter's verdict, as filter.VerdictName has it
	// Where is the place of the call and those of its callers, innermost first, as MODULE:FUNCTION+OFFSET.
	Where []string
}

// Name returns the call's name.
func (d *Denial) Name() string { return syscalls.Name(d.Nr) }

// String writes a denial in one line.
func (d *Denial) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "process %d", d.PID)
	if d.TID != 0 {
		fmt.Fprintf(&b, ", thread %d", d.TID)
	}
	fmt.Fprintf(&b, " (%s)", d.Comm)
	switch {
	case d.Kind != "":
		fmt.Fprintf(&b, ", serving in %s", d.Kind)
	case d.TID != 0:
		b.WriteString(", in no main loop")
	}
	b.WriteString(": " + d.Name())
	if d.Args != nil {
		args := make([]string, len(d.Args))
		for i, v := range d.Args {
			args[i] = fmt.Sprintf("%#x", v)
		}
		fmt.Fprintf(&b, "(%s)", strings.Join(args, ", "))
	}
	fmt.Fprintf(&b, ", %s, at %s", d.How, strings.Join(d.Where, " < "))
	return b.String()
}

// Denials tells of the calls that filters deny to the threads of a process and its descendants, until ctx ends or they have
// ended. All threads are traced for that, which costs them nothing while they do what they may; a call that ends the process
// or raises SIGSYS is told of with its arguments and its stack. A call that is denied by the action "log" is not denied: the
// kernel's log has its number and its place, and where /dev/kmsg cannot be read it is not seen. What an "errno" filter denies
// is seen nowhere.
//
// Errors: proc.ErrGone, proc.ErrPermission, *proc.TracedError.
func Denials(ctx context.Context, pid int, plan *enforce.Plan, report func(Denial)) error {
	root, err := processOf(pid)
	if err != nil {
		return err
	}
	seen := make(chan Denial, 64)
	d := &denials{plan: plan, tables: observe.NewFiles(), names: make(map[string][]image.Symbol), seen: seen}
	tr := proc.NewTracer(d.handle)
	defer tr.Close()
	all, err := proc.Children(root)
	if err != nil {
		return err
	}
	err = tr.Do(func(c *proc.Conn) error {
		for _, p := range all {
			if err := c.SeizeProcess(p, proc.Follow); err != nil && (p == root || !errors.Is(err, proc.ErrGone)) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	log := openKernelLog() // nil: there is none for us
	defer log.close()
	tick := time.NewTicker(maxPause)
	defer tick.Stop()
	for {
		traced := 0
		err := tr.Do(func(c *proc.Conn) error {
			traced = len(c.Tracees(0))
			for _, l := range log.read() {
				if len(c.Tracees(l.pid)) > 0 {
					d.logged(l)
				}
			}
			return nil
		})
		for len(seen) > 0 {
			report(<-seen)
		}
		if err != nil || traced == 0 {
			return err
		}
		select {
		case x := <-seen:
			report(x)
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// denials is the state of Denials; it is used on the tracer's thread.
type denials struct {
	plan   *enforce.Plan
	tables *observe.Files
	names  map[string][]image.Symbol // functions of modules, by address
	seen   chan<- Denial
}

// handle looks at threads that SIGSYS is delivered to or ends.
func (d *denials) handle(c *proc.Conn, ev proc.Event) proc.Verdict {
	if ev.Kind == proc.EventSignal && ev.Signal == unix.SIGSYS || ev.Kind == proc.EventExit && unix.WaitStatus(ev.Status).Signal() == unix.SIGSYS {
		d.look(c, ev.PID, ev.TID)
	}
	return proc.Resume
}

// modeDead is the mode of a thread whose filter has ended it (kernel/seccomp.c, SECCOMP_MODE_DEAD).
const modeDead = unix.SECCOMP_MODE_FILTER + 1

// look tells of the call that a thread is stopped at if its filters deny it. Of the threads of a process that a filter ends,
// one has made such a call.
func (d *denials) look(c *proc.Conn, pid, tid int) {
	regs, err := c.GetRegs(tid)
	if err != nil {
		return // it is gone
	}
	nr := int(int32(regs.Orig_rax))
	if nr < 0 { // rolled back
		nr = int(int32(regs.Rax))
	}
	args := [6]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9}
	v := filter.RetKillProcess
	if st, err := proc.ReadStatus(tid); err != nil {
		return
	} else if st.Seccomp != modeDead { // before Linux 5.16 filters can still be read
		filters, err := readFilters(c, tid)
		if err != nil {
			return
		}
		v, err = filter.Effective(filters, filter.Data{Nr: int32(nr), Arch: filter.ArchX86_64, IP: regs.Rip, Args: args})
		if action := v & filter.RetAction; err != nil || action == filter.RetAllow || action == filter.RetLog {
			return
		}
	}
	x := Denial{PID: pid, TID: tid, Nr: nr, Args: args[:], How: filter.VerdictName(v)}
	x.Comm, _ = proc.Comm(tid)
	if p, err := observe.OpenProcess(pid, d.tables); err == nil {
		stack := p.Stopped(regs)
		if k, _ := d.plan.Match(stack.Frames); k != nil {
			x.Kind = k.Name
		}
		for i := range stack.Frames[:min(len(stack.Frames), maxPlaces)] {
			x.Where = append(x.Where, d.place(stack.Frames[i].Module, stack.Frames[i].PC))
		}
	}
	d.tell(x)
}

// logged tells of a line of the kernel's log.
func (d *denials) logged(l logLine) {
	x := Denial{PID: l.pid, Comm: l.comm, Nr: l.nr, How: filter.VerdictName(filter.RetLog)}
	if p, err := observe.OpenProcess(l.pid, d.tables); err == nil {
		if module, va, ok := p.Locate(l.ip); ok {
			x.Where = []string{d.place(module, va)}
		}
	}
	if x.Where == nil {
		x.Where = []string{fmt.Sprintf("%#x", l.ip)}
	}
	d.tell(x)
}

// tell passes a denial on; where nobody keeps up with them, some are lost.
func (d *denials) tell(x Denial) {
	select {
	case d.seen <- x:
	default:
	}
}

// place names an address by the nearest function below it that the module's symbols name.
func (d *denials) place(module string, va uint64) string {
	funcs, ok := d.names[module]
	if !ok {
		if f, err := image.Open(module); err == nil {
			for _, s := range slices.Concat(f.Symtab, f.Dyn.Symbols) {
				if !s.Undefined && !s.TLS && !s.Abs && s.Name != "" && s.Type == 2 { // STT_FUNC
					funcs = append(funcs, s)
				}
			}
			slices.SortStableFunc(funcs, compareSymbols)
		}
		d.names[module] = funcs
	}
	base := filepath.Base(module)
	i, _ := slices.BinarySearchFunc(funcs, va, func(s image.Symbol, va uint64) int {
		if s.Value <= va {
			return -1
		}
		return 1
	})
	if i > 0 && va-funcs[i-1].Value < max(funcs[i-1].Size, 1) {
		return fmt.Sprintf("%s:%s+%#x", base, funcs[i-1].Name, va-funcs[i-1].Value)
	}
	return fmt.Sprintf("%s+%#x", base, va)
}

// compareSymbols orders symbols by their addresses, and those of one address by their names, the last of which counts: the one
// with fewest underscores before it.
func compareSymbols(a, b image.Symbol) int {
	return cmp.Or(cmp.Compare(a.Value, b.Value), strings.Compare(a.Name, b.Name))
}
