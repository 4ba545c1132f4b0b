package elfwrite

import (
	"fmt"
	"slices"

	"syspart/internal/image"
)

// dynEntry is an entry of PT_DYNAMIC.
type dynEntry struct{ tag, val uint64 }

// dynamic is what is to change in PT_DYNAMIC. The strings that the loader reads get a copy in the new
// segment, with the new ones behind the old ones, so that old offsets stay right.
type dynamic struct {
	va      uint64     // of PT_DYNAMIC
	entries []dynEntry // up to the first DT_NULL, and the spare ones that follow it
	strtab  uint64     // address of the old strings
	strings []byte     // old strings, then new ones
	changed map[int]dynEntry
	renamed map[string]string // of needed libraries
	added   []string          // needed libraries
	soname  string            // new DT_SONAME, "" if it stays
}

// dyn reads PT_DYNAMIC when a change is asked for. Errors wrap ErrRefused.
func (w *Writer) dyn() (*dynamic, error) {
	if w.dynamic != nil {
		return w.dynamic, nil
	}
	for i := range w.ph {
		p := &w.ph[i]
		if p.typ != ptDynamic {
			continue
		}
		d := &dynamic{va: p.va, changed: map[int]dynEntry{}, renamed: map[string]string{}}
		b, ok := w.img.Bytes(p.va, p.fsz)
		if !ok {
			break
		}
		var size uint64
		for ; len(b) >= dynSize; b = b[dynSize:] {
			e := dynEntry{le.Uint64(b), le.Uint64(b[8:])}
			if n := len(d.entries); n > 0 && d.entries[n-1].tag == dtNull && e.tag != dtNull {
				break // the loader does not read on
			}
			d.entries = append(d.entries, e)
			switch e.tag {
			case dtStrtab:
				d.strtab = e.val
			case dtStrsz:
				size = e.val
			}
		}
		strs, ok := w.img.Bytes(d.strtab, size)
		if !ok || size == 0 || d.entries[len(d.entries)-1].tag != dtNull {
			break
		}
		d.strings = slices.Clone(strs)
		w.dynamic = d
		return d, nil
	}
	return nil, fmt.Errorf("%s: %w", w.name, refused("no dynamic section that can be changed"))
}

// Dynamic returns the address of PT_DYNAMIC. Errors wrap ErrRefused.
func (w *Writer) Dynamic() (uint64, error) {
	for i := range w.ph {
		if w.ph[i].typ == ptDynamic {
			return w.ph[i].va, nil
		}
	}
	return 0, fmt.Errorf("%s: %w", w.name, refused("no dynamic section"))
}

// str adds a string and returns its offset.
func (d *dynamic) str(s string) uint64 {
	off := uint64(len(d.strings))
	d.strings = append(append(d.strings, s...), 0)
	return off
}

// text returns the string at an offset, "" if there is none.
func (d *dynamic) text(off uint64) string {
	if off >= uint64(len(d.strings)) {
		return ""
	}
	if n := slices.Index(d.strings[off:], 0); n >= 0 {
		return string(d.strings[off : off+uint64(n)])
	}
	return ""
}

// append puts an entry over the first DT_NULL, if there is another one behind it.
func (d *dynamic) append(e dynEntry) error {
	for i := range d.entries[:len(d.entries)-1] {
		if at, changed := d.changed[i]; d.entries[i].tag == dtNull && (!changed || at.tag == dtNull) && d.entries[i+1].tag == dtNull {
			d.changed[i] = e
			return nil
		}
	}
	return refused("no spare entry in the dynamic section")
}

// ReplaceNeeded has the loader load another library for one that the file names in DT_NEEDED. The other one must have the old
// name as its DT_SONAME: if the file wants versions from it, the old name is needed once more behind all others, where the
// loader finds that it has it, because glibc looks for the versions by that name. Errors wrap ErrRefused.
func (w *Writer) ReplaceNeeded(old, name string) error {
	d, err := w.dyn()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(d.entries, func(e dynEntry) bool { return e.tag == dtNeeded && d.text(e.val) == old })
	if at < 0 {
		return fmt.Errorf("%s: %w", w.name, refused("it does not need %s", old))
	}
	d.changed[at] = dynEntry{dtNeeded, d.str(name)}
	d.renamed[old] = name
	for i := range w.img.Dyn.Symbols {
		if w.img.Dyn.Symbols[i].VersionFile == old {
			return w.AddNeeded(old)
		}
	}
	return nil
}

// AddNeeded has the loader load a library behind those that the file names in DT_NEEDED. Errors wrap ErrRefused.
func (w *Writer) AddNeeded(name string) error {
	d, err := w.dyn()
	if err == nil {
		if err = d.append(dynEntry{dtNeeded, d.str(name)}); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		d.added = append(d.added, name)
	}
	return err
}

// SetSoname gives a library another DT_SONAME: the name by which it stands for what others ask the loader for. Errors wrap
// ErrRefused.
func (w *Writer) SetSoname(name string) error {
	if w.img.Kind != image.KindShared {
		return fmt.Errorf("%s: %w", w.name, refused("a program gets no name of its own"))
	}
	d, err := w.dyn()
	if err != nil {
		return err
	}
	e := dynEntry{dtSoname, d.str(name)}
	if at := slices.IndexFunc(d.entries, func(e dynEntry) bool { return e.tag == dtSoname }); at >= 0 {
		d.changed[at] = e
	} else if err := d.append(e); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	d.soname = name
	return nil
}

// edits are the changes of old bytes when the strings lie at address va.
func (d *dynamic) edits(va uint64) (out []Patch) {
	for i, e := range d.entries {
		if c, ok := d.changed[i]; ok {
			e = c
		}
		switch e.tag {
		case dtStrtab:
			e.val = va
		case dtStrsz:
			e.val = uint64(len(d.strings))
		}
		if e != d.entries[i] {
			out = append(out, Patch{Addr: d.va + uint64(i)*dynSize, New: le.AppendUint64(le.AppendUint64(nil, e.tag), e.val)})
		}
	}
	return out
}

// means is what the dynamic section should say after the changes.
func (d *dynamic) means(old image.Dynamic) image.Dynamic {
	out := old
	out.Needed = slices.Clone(old.Needed)
	for i, name := range out.Needed {
		if now, ok := d.renamed[name]; ok {
			out.Needed[i] = now
		}
	}
	out.Needed = append(out.Needed, d.added...)
	if d.soname != "" {
		out.Soname = d.soname
	}
	return out
}
