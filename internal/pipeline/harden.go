package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"syspart/internal/callframe"
	"syspart/internal/elfwrite"
	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/modcheck"
	"syspart/internal/stub"
	"syspart/internal/unwind"
	"syspart/profile"
)

// ErrHarden: a program cannot be given its filters so; the text says which kinds of threads and why.
var ErrHarden = errors.New("cannot be hardened")

// HardenOptions say how a program is hardened.
type HardenOptions struct {
	Action filter.Action
	// Failure is what the program does if the kernel refuses a filter.
	Failure stub.Failure
	// Partial leaves out kinds of threads that cannot filter themselves, instead of refusing.
	Partial bool
	// Warn has the program say that modules are loaded which it was not made for, and go on; else it ends.
	Warn bool
	// Libraries is the directory in which the program looks for its private copies of libraries: absolute, or "$ORIGIN" for its
	// own, which the loader does not take in programs that gain privileges.
	Libraries string
	// Original is where the program's contents are, if not at the path that the profile says: a copy of it was put there.
	Original string
}

// Hardened is a program that filters itself.
type Hardened struct {
	// Files are the program and, behind it, private copies of the libraries with main loops, by path.
	Files []HardenedFile
	// Left are the kinds that the program does not filter, with the reasons: they keep the filter of the thread that makes
	// them, or have none.
	Left []string
	// Unchecked are modules without build-id: the program does not see whether they are others.
	Unchecked []string
}

// HardenedFile is one rewritten file.
type HardenedFile struct {
	Path string // of the original
	Name string // in the directory of the copies
	// As is what the program or a library of it asks the loader for and gets this file; "" for the program.
	As      string
	Data    []byte
	Patches []HardenedPatch
}

// HardenedPatch is a change of a file's text.
type HardenedPatch struct {
	Addr     uint64
	Old, New []byte
	Kinds    []string
}

// Harden writes stubs and filters into a copy of a profile's program, and of its libraries with main loops: each thread then
// installs its own filter when it enters its main loop, without syspart. The program loads the copies of the libraries instead
// of the originals. Where a loop in a library is known by a caller in the program, the call there leads through the stub, and
// the library stays as it is.
//
// Kinds that are entered by an edge without room for a jump, or whose stack below the loop goes from one module to another, are
// left out; if that is a kind and opt.Partial is not set, the error wraps ErrHarden.
//
// Return addresses in the module of the stub are compared, those in libc below them are not: it is what calls main and start
// routines.
func Harden(ctx context.Context, p *profile.Profile, opt HardenOptions, analysis Options) (*Hardened, error) {
	name := base(p.Program.Path)
	if opt.Original != "" {
		p = Moved(p, opt.Original)
	}
	plan, err := Plan(ctx, p, opt.Action, analysis)
	if err != nil {
		return nil, err
	}
	plan.Failure = opt.Failure
	h := &hardening{p: p, plan: plan, analysis: analysis, files: map[string]*hardenedFile{}, images: map[string]*image.File{}}
	defer h.close()
	out := &Hardened{}
	for i := range plan.Kinds {
		k := &plan.Kinds[i]
		if err := h.place(ctx, i); errors.Is(err, errUnfit) {
			why := strings.TrimPrefix(err.Error(), errUnfit.Error()+": ")
			out.Left = append(out.Left, k.Name+": "+why)
		} else if err != nil {
			return nil, err
		}
	}
	path := p.Program.Path
	if len(h.files) == 0 || len(out.Left) > 0 && !opt.Partial {
		return nil, fmt.Errorf("%s: %w: %s; serve it with syspart run", path, ErrHarden, strings.Join(out.Left, "; "))
	}
	prog, err := h.file(path)
	if err != nil {
		return nil, err
	}
	prog.Name = name
	order := []*hardenedFile{prog}
	for _, m := range p.Modules {
		f := h.files[m.Path]
		if f == nil || f == prog {
			continue
		}
		if err := h.private(prog, f, opt.Libraries); err != nil {
			return nil, err
		}
		order = append(order, f)
	}
	if prog.w.Image().Interp != "" {
		if prog.check, out.Unchecked, err = h.check(prog, opt.Warn); err != nil {
			return nil, err
		}
	}
	for _, f := range order {
		if err := f.write(); err != nil {
			return nil, err
		}
		out.Files = append(out.Files, f.HardenedFile)
	}
	return out, nil
}

// Moved returns a profile for its program at another path.
func Moved(p *profile.Profile, path string) *profile.Profile {
	old := p.Program.Path
	q := *p
	q.Program.Path = path
	q.Threads = slices.Clone(p.Threads)
	for i := range q.Threads {
		t := &q.Threads[i].Transition
		if t.Module == old {
			t.Module = path
		}
		t.Stack = slices.Clone(t.Stack)
		for k := range t.Stack {
			if t.Stack[k].Module == old {
				t.Stack[k].Module = path
			}
		}
	}
	return &q
}

// hardening is a program that is being hardened.
type hardening struct {
	p        *profile.Profile
	plan     *enforce.Plan
	analysis Options
	files    map[string]*hardenedFile
	images   map[string]*image.File
	graph    *coverage // built when a call has to be judged
}

func (h *hardening) close() {
	if h.graph != nil {
		h.graph.close()
	}
}

// hardenedFile is a file with the points in it.
type hardenedFile struct {
	HardenedFile
	w       *elfwrite.Writer
	points  []hardenedPoint
	check   *modcheck.Params // nil: it does not look at the modules that are loaded
	failure stub.Failure
}

// hardenedPoint is a place where a jump, or a call, to a stub goes, and the kinds that come by.
type hardenedPoint struct {
	stub.Point
	call  []byte // the call that is redirected; nil for a jump on an edge
	kinds []hardenedKind
}

type hardenedKind struct {
	*enforce.Kind
	frames []stub.Frame
}

// file returns the rewriting of a module.
func (h *hardening) file(path string) (*hardenedFile, error) {
	if f := h.files[path]; f != nil {
		return f, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	w, err := elfwrite.New(path, data)
	if err != nil {
		return nil, err
	}
	f := &hardenedFile{HardenedFile: HardenedFile{Path: path, Name: base(path)}, w: w, failure: h.plan.Failure}
	h.files[path] = f
	return f, nil
}

// add adds a kind at a point.
func (f *hardenedFile) add(pt stub.Point, call []byte, k hardenedKind) {
	at := slices.IndexFunc(f.points, func(q hardenedPoint) bool { return q.Addr == pt.Addr })
	if at < 0 {
		f.points = append(f.points, hardenedPoint{Point: pt, call: call})
		at = len(f.points) - 1
	}
	f.points[at].kinds = append(f.points[at].kinds, k)
}

// write puts the check of modules and the stubs into the file.
func (f *hardenedFile) write() error {
	table, err := unwind.NewTable(f.w.Image())
	if err != nil {
		return err
	}
	var code []byte
	var late uint64
	if f.check != nil {
		c, err := modcheck.Make(f.w.Base(), *f.check)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		code = c.Bytes
		for i := range f.points {
			if f.points[i].main() {
				late = c.Late
			}
		}
		if f.check.Refuse || late == 0 {
			f.w.SetEntry(c.Entry)
		}
		if err := f.describeCheck(c); err != nil {
			return err
		}
	}
	for i := range f.points {
		q := &f.points[i]
		// The one that says most of the stack comes first.
		slices.SortStableFunc(q.kinds, func(a, b hardenedKind) int { return len(b.frames) - len(a.frames) })
		var installs []stub.Install
		var names []string
		for _, k := range q.kinds {
			installs = append(installs, stub.Install{Name: k.Name, Mark: k.Mark, Filter: k.Filter.Encode(), Frames: k.frames})
			names = append(names, k.Name)
		}
		code = pad(code)
		at := f.w.Base() + uint64(len(code))
		var b []byte
		if late != 0 && q.main() {
			b = calling(at, late)
		}
		rest, err := q.Code(0, at+uint64(len(b)), installs, f.failure)
		if err != nil {
			return err
		}
		b = append(b, rest...)
		jump, err := q.Patch(0, at)
		if err != nil {
			return err
		}
		old := q.Old
		if q.call != nil {
			old = q.call
			jump[0] = opCall
		}
		if err := f.w.Patch(elfwrite.Patch{Addr: q.Addr, Old: old, New: jump}); err != nil {
			return err
		}
		f.Patches = append(f.Patches, HardenedPatch{q.Addr, old, jump, names})
		f.describe(table, q, at, b)
		code = append(code, b...)
	}
	if len(code) == 0 {
		code = []byte{opTrap} // a static program of which nothing is changed
	}
	f.w.SetCode(code)
	f.Data, err = f.w.Bytes()
	return err
}

// opTrap fills what is between pieces of code.
const opTrap = 0xcc

func pad(code []byte) []byte {
	for len(code)%16 != 0 {
		code = append(code, opTrap)
	}
	return code
}

// main reports whether a point is passed by the program's first thread.
func (q *hardenedPoint) main() bool {
	return slices.ContainsFunc(q.kinds, func(k hardenedKind) bool { return k.Role == profile.RoleMain })
}

// calling is code at address at that calls a function which keeps all registers; the red zone and the flags are kept, too.
func calling(at, function uint64) []byte {
	b := []byte{0x48, 0x8d, 0x64, 0x24, 0x80, opCall} // lea -0x80(%rsp),%rsp; call function
	b = binary.LittleEndian.AppendUint32(b, uint32(function-(at+uint64(len(b))+4)))
	return append(b, 0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0) // lea 0x80(%rsp),%rsp
}

// describe adds the call-frame information of a stub at address at, if that of the place where it is entered can be said.
func (f *hardenedFile) describe(table *unwind.Table, q *hardenedPoint, at uint64, code []byte) {
	row, entry := unwind.Simple{Off: 8}, []byte(nil) // where a call has led to
	if q.call == nil {
		var err1, err2 error
		row, err1 = table.Simple(q.Addr)
		entry, err2 = table.Insts(q.Addr)
		if err1 != nil || err2 != nil {
			return
		}
	}
	if insts, err := callframe.Insts(code, at, entry, row); err == nil {
		f.w.AddFrame(elfwrite.Frame{Start: at, Size: uint64(len(code)), Insts: insts})
	}
}

// describeCheck adds the call-frame information of the check: no caller at the program's entry, a function behind it.
func (f *hardenedFile) describeCheck(c *modcheck.Code) error {
	const undefined = 0x07 // DW_CFA_undefined: the return address
	f.w.AddFrame(elfwrite.Frame{Start: c.Entry, Size: c.Late - c.Entry, Insts: []byte{undefined, uint8(unwind.RA)}})
	code := c.Bytes[c.Late-c.Entry:]
	insts, err := callframe.Insts(code, c.Late, nil, unwind.Simple{Off: 8})
	if err == nil {
		f.w.AddFrame(elfwrite.Frame{Start: c.Late, Size: uint64(len(code)), Insts: insts})
	}
	return err
}

// check says what the program is to compare when it starts and when it begins to serve. Modules that have no build-id are
// returned by path.
func (h *hardening) check(prog *hardenedFile, warn bool) (*modcheck.Params, []string, error) {
	c := &modcheck.Params{Entry: prog.w.Image().Entry, Refuse: !warn}
	var without []string
	for _, m := range h.p.Modules {
		if m.BuildID == "" || len(m.BuildID) > 2*modcheck.MaxID {
			without = append(without, m.Path)
		} else if !slices.Contains(c.IDs, m.BuildID) {
			c.IDs = append(c.IDs, m.BuildID)
		}
	}
	slices.Sort(c.IDs)
	c.Anonymous = len(without) > 0
	var err error
	c.Dynamic, err = prog.w.Dynamic()
	return c, without, err
}
