package attach

import (
	"encoding/binary"
	"fmt"
	"slices"

	"syspart/internal/enforce"
	"syspart/internal/observe"
	"syspart/internal/proc"
)

// A module that a server unloads and loads again, as httpd does with its mpm on every graceful restart, would come back
// without its jumps. So dlclose answers 0 for the handles of modules with points, and they stay. The handle is the address of
// the loader's struct link_map, as with glibc; musl unloads nothing.

// maxLoaded bounds the loader's list.
const maxLoaded = 1 << 14

// loaded returns the loader's entries by the difference between addresses in memory and in the file, as the list that the
// program's DT_DEBUG leads to has them (struct r_debug, struct link_map: <link.h>); it is empty until the loader has made it.
func loaded(pid int, program uint64) (map[uint64]uint64, error) {
	aux, err := proc.ReadAuxv(pid)
	if err != nil {
		return nil, err
	}
	mem := proc.Memory(pid)
	headers := make([]byte, 56*min(aux[proc.AuxPhnum], 256)) // Elf64_Phdr
	if _, err := mem.ReadAt(headers, int64(aux[proc.AuxPhdr])); err != nil {
		return nil, err
	}
	word := func(at uint64) uint64 {
		var b [8]byte
		if _, e := mem.ReadAt(b[:], int64(at)); e != nil && err == nil {
			err = e
		}
		return binary.LittleEndian.Uint64(b[:])
	}
	list := map[uint64]uint64{}
	for h := headers; len(h) > 0; h = h[56:] {
		if binary.LittleEndian.Uint32(h) != 2 { // PT_DYNAMIC
			continue
		}
		at := program + binary.LittleEndian.Uint64(h[16:])
		for end := at + binary.LittleEndian.Uint64(h[40:]); at < end && err == nil; at += 16 {
			if word(at) != 21 { // DT_DEBUG
				continue
			}
			debug := word(at + 8)
			if debug == 0 {
				break
			}
			n := 0 // not len(list): the list of a process that means harm may go round
			for entry := word(debug + 8); entry != 0 && err == nil; entry = word(entry + 24) {
				list[word(entry)] = entry
				if n++; n > maxLoaded {
					return nil, fmt.Errorf("process %d: the loader's list does not end: %w", pid, ErrThread)
				}
			}
		}
	}
	return list, err
}

// held returns the loader's entries for the modules with points that may be unloaded, which pins answer for; if there is not
// one for each of them, why.
func (a *agent) held(p *process) (handles []uint64, why string) {
	if a.plan.NoPin != "" {
		return nil, a.plan.NoPin
	}
	program, ok := p.stacks.Bias(a.plan.Program)
	if !ok {
		return nil, "the program is not mapped"
	}
	list, err := loaded(p.pid, program)
	if err != nil {
		return nil, err.Error()
	}
	for i := range a.plan.Kinds {
		k := &a.plan.Kinds[i]
		if k.Stays {
			continue
		}
		bias, ok := p.stacks.Bias(k.Module)
		if !ok {
			return nil, k.Module + " is not loaded"
		}
		handle := list[bias]
		if handle == 0 || bias == 0 {
			return nil, "the loader has no entry for " + k.Module
		}
		if !slices.Contains(handles, handle) {
			handles = append(handles, handle)
		}
	}
	slices.Sort(handles)
	return handles, ""
}

// pinned appends the pins to the points of a process. If that cannot be done, it says why.
func (a *agent) pinned(points []planted, p *process) (all []planted, why string) {
	if !slices.ContainsFunc(a.plan.Kinds, func(k enforce.Kind) bool { return !k.Stays && len(k.Points) > 0 }) {
		return points, ""
	}
	handles, why := a.held(p)
	if why != "" {
		return points, why
	}
	all = slices.Clone(points)
	for i := range a.plan.Pins {
		pt := &a.plan.Pins[i].Point
		bias, ok := p.stacks.Bias(pt.Module)
		if !ok {
			return points, pt.Module + " is not loaded"
		}
		all = append(all, planted{point: pt, bias: bias, handles: handles})
	}
	return all, ""
}

// closing reports whether a thread may be inside a function that unloads modules.
func (a *agent) closing(stack *observe.Stack) bool {
	if !stack.Complete {
		return true
	}
	for i := range a.plan.Pins {
		pin := &a.plan.Pins[i]
		for _, fr := range stack.Frames {
			if fr.Module == pin.Point.Module && (pin.Contains(fr.PC) || pin.Contains(fr.PC-1)) && fr.PC != pin.Point.Addr {
				return true
			}
		}
	}
	return false
}
