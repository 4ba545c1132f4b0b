package pipeline

import (
	"fmt"
	"maps"
	"slices"

	"syspart/internal/enforce"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/phase"
	"syspart/internal/stub"
	"syspart/internal/unwind"
	"syspart/profile"
)

// points finds where jumps to stubs go so that no thread comes into a kind's loop past them, and how a stub finds the return
// addresses below: on the edges into the loop, or at the blocks that these lead to where an edge has no room.
func points(f *phase.Finder, p *link.Program, k *phase.Kind, out *enforce.Kind) error {
	tables := map[string]*unwind.Table{}
	table := func(path string) (*unwind.Table, error) {
		if t := tables[path]; t != nil {
			return t, nil
		}
		file, err := image.Open(path)
		if err != nil {
			return nil, err
		}
		t, err := unwind.NewTable(file)
		if err == nil {
			tables[path] = t
		}
		return t, err
	}
	m := p.Modules[k.Module]
	out.Stays = !m.Later && m.Found != profile.FoundVDSO
	path := modulePath(m)
	t, err := table(path)
	if err != nil {
		return err
	}
	_, fn := p.Where(int(k.Func))
	r, err := newRooms(m, t.File(), &m.Funcs[fn])
	if err != nil {
		return err
	}
	header := f.Header(k)
	row, err := t.Simple(header)
	if err != nil {
		return err
	}
	if out.Points, err = r.points(f.Enters(k), header); err != nil {
		return err
	}
	for _, e := range f.Enters(k) {
		if other, err := t.Simple(e[1]); err != nil || other != row {
			return fmt.Errorf("%w: the stack at %#x is not that at %#x", stub.ErrPoint, e[1], header)
		}
	}
	at := header
	for i := range k.Below {
		row, err := t.Simple(at)
		if err != nil {
			return err
		}
		if row.FromRBP && slices.ContainsFunc(out.Rows, func(r unwind.Simple) bool { return r.Lost }) {
			return fmt.Errorf("%w: the frame pointer at %#x is not known", stub.ErrPoint, at)
		}
		out.Rows = append(out.Rows, row)
		fr := &k.Below[i]
		if t, err = table(fr.Module); err != nil {
			return err
		}
		at = fr.PC - 1
	}
	return nil
}

// points returns one point for each edge into a loop, or for the block that it leads to.
func (r *rooms) points(enters [][2]uint64, header uint64) ([]stub.Point, error) {
	heads := map[uint64]bool{}
	if len(enters) == 0 {
		heads[header] = true // it is the function's first block
	}
	edges := make([]stub.Point, len(enters))
	for i, e := range enters {
		var err error
		if edges[i], err = r.edge(e[0], e[1]); err != nil {
			heads[e[1]] = true
		}
	}
	var out []stub.Point
	for _, va := range slices.Sorted(maps.Keys(heads)) {
		pt, err := r.head(va)
		if err != nil {
			return nil, err
		}
		out = append(out, pt)
	}
	for i, e := range enters {
		if heads[e[1]] {
			continue
		}
		if n := len(out); n == 0 || !out[n-1].Merge(&edges[i]) {
			out = append(out, edges[i])
		}
	}
	for i := range out {
		for j := range out[:i] {
			if out[i].Overlaps(&out[j]) {
				return nil, fmt.Errorf("%w: the jumps at %#x and %#x would overlap", stub.ErrPoint, out[j].Addr, out[i].Addr)
			}
		}
	}
	return out, nil
}

// apart leaves points out that overlap with those of kinds before.
func apart(kinds []enforce.Kind) {
	for i := range kinds {
		for _, other := range kinds[:i] {
			for j := range kinds[i].Points {
				q := &kinds[i].Points[j]
				at := slices.IndexFunc(other.Points, func(p stub.Point) bool { return p.Overlaps(q) })
				if at >= 0 {
					kinds[i].NoPoint = fmt.Sprintf("%v: the jump at %#x would overlap with that of %s", stub.ErrPoint, q.Addr, other.Name)
					kinds[i].Points, kinds[i].Rows = nil, nil
					break
				}
			}
		}
	}
}
