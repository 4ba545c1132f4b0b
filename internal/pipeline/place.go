package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/callgraph"
	"syspart/internal/enforce"
	"syspart/internal/phase"
	"syspart/internal/stub"
	"syspart/internal/syscalls"
	"syspart/internal/unwind"
)

// errUnfit: a kind cannot filter itself; the text says why.
var errUnfit = errors.New("unfit")

func unfit(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUnfit, fmt.Sprintf(format, args...))
}

// Opcodes of the direct jump and call with a distance of four bytes, and the length of both.
const (
	opCall, opJump = 0xe8, 0xe9
	callLen        = 5
)

func base(path string) string { return filepath.Base(path) }

// place finds where the filter of the ith kind goes: onto the edges into its loop, if below it are callers in the loop's module
// and then libc alone, else into the call of the program that leads to it. Errors wrap errUnfit if there is no such place.
func (h *hardening) place(ctx context.Context, i int) error {
	k := &h.plan.Kinds[i]
	path := h.p.Program.Path
	if own := ownFrames(k.Stack, k.Module); h.libcFrom(k.Stack[own:]) {
		if len(k.Points) == 0 {
			return unfit("%s", k.NoPoint)
		}
		if k.Module != path {
			if err := h.copyable(k.Module); err != nil {
				return err
			}
		}
		f, err := h.file(k.Module)
		if err != nil {
			return err
		}
		kind := hardenedKind{k, frames(k.Stack[:own], k.Rows)}
		for _, pt := range k.Points {
			f.add(pt, nil, kind)
		}
		return nil
	}
	at := 0
	for at < len(k.Stack) && k.Stack[at].Module != path {
		at++
	}
	if k.Module == path || at == len(k.Stack) || !h.libcFrom(k.Stack[at+ownFrames(k.Stack[at:], path):]) {
		return unfit("its stack goes from one module to another below the loop")
	}
	return h.redirect(ctx, i, at)
}

// ownFrames is how many of the innermost frames are in a module.
func ownFrames(stack []enforce.Frame, module string) int {
	n := 0
	for n < len(stack) && stack[n].Module == module {
		n++
	}
	return n
}

// libcFrom reports whether frames are all of the C library, which calls main and start routines, and of nothing else.
func (h *hardening) libcFrom(stack []enforce.Frame) bool {
	for _, fr := range stack {
		img, err := h.image(fr.Module)
		if err != nil || !strings.HasPrefix(img.Dyn.Soname, "libc.") {
			return false
		}
	}
	return true
}

// frames are the return addresses that a stub compares.
func frames(stack []enforce.Frame, rows []unwind.Simple) (out []stub.Frame) {
	for i, fr := range stack {
		r := &rows[i]
		out = append(out, stub.Frame{Return: fr.PC, Here: true, RBP: r.FromRBP, Off: r.Off, Saved: r.Saved, At: r.At})
	}
	return out
}

// redirect has the call of the program that leads to the ith kind's loop, at frame at of its stack, go through a stub, which
// goes on as the call would. The filter then holds for all of the function that is called, so that it is refused where that
// needs a call that the loop and what follows it do not.
func (h *hardening) redirect(ctx context.Context, i, at int) error {
	k := &h.plan.Kinds[i]
	f, err := h.file(h.p.Program.Path)
	if err != nil {
		return err
	}
	img := f.w.Image()
	site := k.Stack[at].PC - callLen
	old, ok := img.Bytes(site, callLen)
	if !ok || old[0] != opCall {
		return unfit("%#x, where %s is called, is not a direct call", site, base(k.Module))
	}
	to := site + callLen + uint64(int64(int32(binary.LittleEndian.Uint32(old[1:]))))
	table, err := unwind.NewTable(img)
	if err != nil {
		return err
	}
	below := k.Stack[at : at+ownFrames(k.Stack[at:], h.p.Program.Path)]
	rows := []unwind.Simple{{Off: 8}} // behind the call
	for _, fr := range below[:len(below)-1] {
		row, err := table.Simple(fr.PC - 1)
		if err != nil {
			return unfit("%v", err)
		}
		rows = append(rows, row)
	}
	if h.graph == nil {
		if h.graph, err = newCoverage(ctx, h); err != nil {
			return err
		}
	}
	if more, err := h.graph.beyond(i, at); err != nil {
		return err
	} else if !more.Empty() {
		return unfit("the call at %#x that leads to it needs %s before the loop begins", site, strings.Join(more.Names(), ", "))
	}
	// What a stub does is as if a jump were there.
	jump := append([]byte{opJump}, old[1:]...)
	f.add(stub.Point{Module: f.Path, Addr: site, Old: jump, To: []uint64{to}}, old, hardenedKind{k, frames(below, rows)})
	return nil
}

// coverage is the call graph of a program, to judge what a filter must allow that is installed before its loop.
type coverage struct {
	h *hardening
	l *loader
	g *callgraph.Graph
	f *phase.Finder
}

func newCoverage(ctx context.Context, h *hardening) (*coverage, error) {
	c := &coverage{h: h, l: newLoader(&h.analysis)}
	var err error
	if c.g, err = c.l.profiled(ctx, h.p.Program.Path, h.p); err != nil {
		c.l.close()
		return nil, err
	}
	c.f = phase.NewFinder(c.g)
	return c, nil
}

func (c *coverage) close() { c.l.close() }

// beyond returns the calls that the ith kind's filter closes, and that code may need from the entry of the functions on that
// are above frame at of its stack.
func (c *coverage) beyond(i, at int) (syscalls.Set, error) {
	k, err := kindOf(c.f, &c.h.p.Threads[i])
	if err != nil {
		return syscalls.Set{}, err
	}
	// All of the functions above the call, instead of the parts of them that come behind the loop.
	whole := []callgraph.Start{{Func: k.Func, Why: "the function of the main loop"}}
	for _, fr := range k.Below[:at] {
		fn := containing(c.g, moduleOf(c.g.P, fr.Module), fr.PC-1)
		if fn < 0 {
			return syscalls.Set{}, unfit("no function of %s contains %#x", fr.Module, fr.PC)
		}
		whole = append(whole, callgraph.Start{Func: fn, Why: "a caller of the main loop's function"})
	}
	starts := slices.DeleteFunc(c.f.Serving(k), func(s callgraph.Start) bool {
		return slices.ContainsFunc(whole, func(w callgraph.Start) bool { return w.Func == s.Func })
	})
	starts = append(whole, starts...)
	// The call may go through the loader, which resolves it: that is part of the graph where it is so.
	return c.g.WalkSignals(starts).Calls.Minus(c.h.plan.Kinds[i].Allow).Minus(syscalls.Always()), nil
}
