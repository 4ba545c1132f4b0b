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
	"syspart/internal/stub"
	"syspart/profile"
)

// ErrHarden: a program cannot be given its filters so; the text says which kinds of threads and why.
var ErrHarden = errors.New("cannot be hardened")

// Hardened is a program that filters itself.
type Hardened struct {
	Path    string // of the original
	Data    []byte
	Patches []HardenedPatch
	// Left are the kinds that the program does not filter, with the reasons: they keep the filter of the thread that makes
	// them, or have none.
	Left []string
}

// HardenedPatch is a change of the program's text.
type HardenedPatch struct {
	Addr     uint64
	Old, New []byte
	Kinds    []string
}

// Harden writes stubs and filters into a copy of a profile's program: each thread then installs its own filter when it enters
// its main loop, without syspart. Kinds whose loops are in a library, that are entered by an edge without room for a jump, or
// whose stack below the loop goes through a library and back, are left out; if that is a kind and partial is not set, the
// error wraps ErrHarden.
//
// Return addresses in the program itself are compared, those in libraries below them are not: what calls main and start
// routines is libc. The copy is for the modules of the profile; it does not look whether others are loaded.
func Harden(ctx context.Context, p *profile.Profile, action filter.Action, partial bool, opt Options) (*Hardened, error) {
	plan, err := Plan(ctx, p, action, opt)
	if err != nil {
		return nil, err
	}
	path := p.Program.Path
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	w, err := elfwrite.New(path, data)
	if err != nil {
		return nil, err
	}
	out := &Hardened{Path: path}
	type point struct {
		*stub.Point
		kinds []*enforce.Kind
	}
	var points []point
	for i := range plan.Kinds {
		k := &plan.Kinds[i]
		if why := unfit(k, path); why != "" {
			out.Left = append(out.Left, k.Name+": "+why)
			continue
		}
		for n := range k.Points {
			at := slices.IndexFunc(points, func(q point) bool { return q.Addr == k.Points[n].Addr })
			if at < 0 {
				points = append(points, point{&k.Points[n], nil})
				at = len(points) - 1
			}
			points[at].kinds = append(points[at].kinds, k)
		}
	}
	if len(points) == 0 || len(out.Left) > 0 && !partial {
		return nil, fmt.Errorf("%s: %w: %s; serve it with syspart run", path, ErrHarden, strings.Join(out.Left, "; "))
	}
	var code []byte
	for _, q := range points {
		slices.SortStableFunc(q.kinds, func(a, b *enforce.Kind) int { return len(b.Stack) - len(a.Stack) })
		var installs []stub.Install
		var names []string
		for _, k := range q.kinds {
			in := stub.Install{Name: k.Name, Mark: k.Mark, Filter: k.Filter.Encode()}
			for i, fr := range k.Stack {
				r := &k.Rows[i]
				in.Frames = append(in.Frames, stub.Frame{Return: fr.PC, Here: fr.Module == path, Any: fr.Module != path, RBP: r.FromRBP, Off: r.Off, Saved: r.Saved, At: r.At})
			}
			installs = append(installs, in)
			names = append(names, k.Name)
		}
		for len(code)%16 != 0 {
			code = append(code, 0xcc)
		}
		at := w.Base() + uint64(len(code))
		b, err := q.Code(0, at, installs, plan.Failure)
		if err != nil {
			return nil, err
		}
		jump, err := q.Patch(0, at)
		if err != nil {
			return nil, err
		}
		if err := w.Patch(elfwrite.Patch{Addr: q.Addr, Old: q.Old, New: jump}); err != nil {
			return nil, err
		}
		out.Patches = append(out.Patches, HardenedPatch{q.Addr, q.Old, jump, names})
		code = append(code, b...)
	}
	w.SetCode(code)
	if out.Data, err = w.Bytes(); err != nil {
		return nil, err
	}
	return out, nil
}

// unfit says why a kind's loop cannot be entered through a stub in the program's file; "" if it can.
func unfit(k *enforce.Kind, path string) string {
	switch {
	case k.Module != path:
		return "its main loop is in " + k.Module
	case len(k.Points) == 0:
		return k.NoPoint
	}
	foreign := false
	for _, fr := range k.Stack {
		if fr.Module == path && foreign {
			return "its stack goes through " + fr.Module + " again below a library"
		}
		foreign = foreign || fr.Module != path
	}
	return ""
}
