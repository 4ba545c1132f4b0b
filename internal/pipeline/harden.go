package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"syspart/internal/elfwrite"
	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/stub"
	"syspart/profile"
)

// ErrHarden: a program cannot be given its filters so; the text says which kinds of threads and why.
var ErrHarden = errors.New("cannot be hardened")

// HardenOptions say how a program is hardened.
type HardenOptions struct {
	Action filter.Action
	// Partial leaves out kinds of threads that cannot filter themselves, instead of refusing.
	Partial bool
	// Libraries is the directory in which the program looks for its private copies of libraries: absolute, or "$ORIGIN" for its
	// own, which the loader does not take in programs that gain privileges.
	Libraries string
}

// Hardened is a program that filters itself.
type Hardened struct {
	// Files are the program and, behind it, private copies of the libraries with main loops, by path.
	Files []HardenedFile
	// Left are the kinds that the program does not filter, with the reasons: they keep the filter of the thread that makes
	// them, or have none.
	Left []string
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
	plan, err := Plan(ctx, p, opt.Action, analysis)
	if err != nil {
		return nil, err
	}
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
	for _, f := range order {
		if err := f.write(); err != nil {
			return nil, err
		}
		out.Files = append(out.Files, f.HardenedFile)
	}
	return out, nil
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
	w      *elfwrite.Writer
	points []hardenedPoint
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
	f := &hardenedFile{HardenedFile: HardenedFile{Path: path, Name: base(path)}, w: w}
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

// write puts the stubs into the file.
func (f *hardenedFile) write() error {
	var code []byte
	for i := range f.points {
		q := &f.points[i]
		// The one that says most of the stack comes first.
		slices.SortStableFunc(q.kinds, func(a, b hardenedKind) int { return len(b.frames) - len(a.frames) })
		var installs []stub.Install
		var names []string
		for _, k := range q.kinds {
			installs = append(installs, stub.Install{Filter: k.Filter.Encode(), Frames: k.frames})
			names = append(names, k.Name)
		}
		for len(code)%16 != 0 {
			code = append(code, 0xcc)
		}
		at := f.w.Base() + uint64(len(code))
		b, err := q.Code(0, at, installs)
		if err != nil {
			return err
		}
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
		code = append(code, b...)
	}
	if len(code) == 0 {
		code = []byte{0xcc} // a program of which libraries alone are changed
	}
	f.w.SetCode(code)
	var err error
	f.Data, err = f.w.Bytes()
	return err
}
