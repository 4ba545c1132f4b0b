package pipeline

import (
	"fmt"

	"syspart/internal/enforce"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/phase"
	"syspart/internal/stub"
	"syspart/internal/unwind"
	"syspart/profile"
)

// points finds where jumps to stubs go on the edges into a kind's loop, and how a stub finds the return addresses below.
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
	header := f.Header(k)
	for _, e := range f.Enters(k) {
		end := uint64(0)
		for i := range m.Blocks {
			if m.Blocks[i].Start == e[0] {
				end = max(end, m.Blocks[i].End)
			}
		}
		code := t.File().Tail(e[0])
		if end <= e[0] || uint64(len(code)) < end-e[0] {
			return fmt.Errorf("block at %#x: %w", e[0], stub.ErrPoint)
		}
		pt, err := stub.Find(code[:end-e[0]], e[0], end, e[1])
		if err != nil {
			return err
		}
		pt.Module = path
		if n := len(out.Points); n > 0 && out.Points[n-1].Merge(&pt) {
			continue
		}
		out.Points = append(out.Points, pt)
	}
	if len(out.Points) == 0 {
		return fmt.Errorf("the loop is its function's first block: %w", stub.ErrPoint)
	}
	at := header
	for i := range k.Below {
		row, err := t.Simple(at)
		if err != nil {
			return err
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
