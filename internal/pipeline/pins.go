package pipeline

import (
	"fmt"

	"syspart/internal/enforce"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/stub"
)

// pins finds where a program's modules are unloaded: every dlclose of its modules. The error says why one of them cannot be
// kept from it.
func pins(p *link.Program) ([]enforce.Pin, error) {
	var out []enforce.Pin
	seen := map[[2]uint64]bool{}
	for _, t := range p.LookupName("dlclose", "", link.ScopeAny) {
		if key := [2]uint64{uint64(t.Module), t.Value}; seen[key] {
			continue
		} else {
			seen[key] = true
		}
		m := p.Modules[t.Module]
		i := m.At(t.Value)
		if i < 0 || t.IFunc {
			return nil, fmt.Errorf("%w: dlclose of %s is no function", stub.ErrPoint, m.Path)
		}
		file, err := image.Open(m.File)
		if err != nil {
			return nil, err
		}
		fn := &m.Funcs[i]
		r, err := newRooms(m, file, fn)
		if err != nil {
			return nil, err
		}
		pt, err := r.head(t.Value)
		if err != nil {
			return nil, err
		}
		pin := enforce.Pin{Point: pt}
		for _, b := range r.blocks {
			pin.Code = append(pin.Code, image.Range{Start: b.Start, End: b.End})
		}
		out = append(out, pin)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no module defines dlclose", stub.ErrPoint)
	}
	return out, nil
}
