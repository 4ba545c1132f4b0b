package summary

import (
	"encoding/binary"
	"errors"
	"fmt"

	"syspart/internal/image"
	"syspart/internal/value"
)

// ErrEncoding is the sentinel of errors of Decode.
var ErrEncoding = errors.New("not an encoded module summary")

// The encoding: magic, layout, version, number of tables, then for each table its length in bytes and its bytes, padded
// to 8. The bytes are the tables as they lie in memory: reading is a matter of pointing at them.
const magic = "syspart\x02"

// headSize is the number of bytes before the first table: a multiple of 8, as the version's length is.
const headSize = len(magic) + 8 + len(Version) + 8

// header holds the fields of a Module that are no tables.
type header struct {
	SHA256       [32]byte
	Size         int64
	Entry        uint64
	TLS, Relro   image.Range
	BuildID      Name
	Interp       Name
	Kind, Static uint8
	_            [6]uint8
}

// dynamic is image.Dynamic without its tables.
type dynamic struct {
	Soname, Rpath, Runpath             Name
	Flags, Flags1, Init, Fini          uint64
	PreinitArray, InitArray, FiniArray image.Range
	Symbolic                           uint8
	_                                  [7]uint8
}

// symbol is image.Symbol with its strings in the text.
type symbol struct {
	Name, Version, VersionFile Name
	Value, Size                uint64
	Type, Bind, Vis, Flags     uint8
	_                          uint32
}

const (
	symHidden = 1 << iota
	symUndefined
	symTLS
	symAbs
)

// Encode returns the cache's form of m.
func (m *Module) Encode() []byte {
	text := append([]byte(nil), m.Text...)
	seen := map[string]Name{}
	put := func(s string) Name {
		if s == "" {
			return Name{}
		}
		n, ok := seen[s]
		if !ok {
			n = Name{uint32(len(text)), uint32(len(s))}
			text = append(text, s...)
			seen[s] = n
		}
		return n
	}
	list := func(l []string) []Name {
		out := make([]Name, len(l))
		for i, s := range l {
			out[i] = put(s)
		}
		return out
	}
	bit := func(b bool, v uint8) uint8 {
		if b {
			return v
		}
		return 0
	}
	h := header{SHA256: m.SHA256, Size: m.Size, Entry: m.Entry, TLS: m.TLS, Relro: m.Relro, BuildID: put(m.BuildID), Interp: put(m.Interp),
		Kind: uint8(m.Kind), Static: bit(m.Static, 1)}
	d := &m.Dyn
	dyn := dynamic{Soname: put(d.Soname), Rpath: put(d.Rpath), Runpath: put(d.Runpath), Flags: d.Flags, Flags1: d.Flags1, Init: d.Init, Fini: d.Fini,
		PreinitArray: d.PreinitArray, InitArray: d.InitArray, FiniArray: d.FiniArray, Symbolic: bit(d.Symbolic, 1)}
	syms := make([]symbol, len(d.Symbols))
	for i := range d.Symbols {
		s := &d.Symbols[i]
		syms[i] = symbol{Name: put(s.Name), Version: put(s.Version), VersionFile: put(s.VersionFile), Value: s.Value, Size: s.Size, Type: s.Type, Bind: s.Bind, Vis: s.Vis,
			Flags: bit(s.Hidden, symHidden) | bit(s.Undefined, symUndefined) | bit(s.TLS, symTLS) | bit(s.Abs, symAbs)}
	}
	needed, defined, filters, audit := list(d.Needed), list(d.VersionsDefined), list(d.Filters), list(d.Audit)
	tables := [][]byte{
		bytesOf([]header{h}), bytesOf([]dynamic{dyn}), bytesOf(syms), bytesOf(d.Relocs), bytesOf(needed), bytesOf(defined), bytesOf(filters), bytesOf(audit),
		bytesOf(m.Segments), bytesOf(m.Sections), bytesOf(m.Got),
		bytesOf(m.Funcs), bytesOf(m.Blocks), bytesOf(m.Succs), bytesOf(m.Calls), bytesOf(m.Sys), bytesOf(m.Frame), bytesOf(m.Firsts), bytesOf(m.Stores),
		bytesOf(m.Rets), bytesOf(m.Takes), bytesOf(m.Refs), bytesOf(m.Losts), bytesOf(m.Exprs), bytesOf(m.Runs), bytesOf(m.Sets), bytesOf(m.Ptrs),
		bytesOf(m.Always), bytesOf(m.Objs), bytesOf(m.Words), bytesOf(m.Strs), text,
	}
	n := headSize
	for _, t := range tables {
		n += 8 + (len(t)+7)&^7
	}
	out := make([]byte, 0, n)
	out = append(out, magic...)
	out = binary.LittleEndian.AppendUint64(out, layout())
	out = append(out, Version...)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(tables)))
	for _, t := range tables {
		out = binary.LittleEndian.AppendUint64(out, uint64(len(t)))
		out = append(out, t...)
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
	}
	return out
}

// Decode reads what Encode wrote. The module shares b's memory, which must be aligned to 8 bytes and not change. Whoever
// keeps encodings guards them against corruption (package store); Decode checks the layout, not every index.
func Decode(b []byte) (*Module, error) {
	if len(b) < headSize || string(b[:8]) != magic || binary.LittleEndian.Uint64(b[8:]) != layout() || string(b[16:headSize-8]) != Version {
		return nil, fmt.Errorf("%w: other version or layout", ErrEncoding)
	}
	count := binary.LittleEndian.Uint64(b[headSize-8:])
	at, bad := uint64(headSize), false
	next := func() []byte {
		if bad || at+8 > uint64(len(b)) {
			bad = true
			return nil
		}
		n := binary.LittleEndian.Uint64(b[at:])
		if n > uint64(len(b))-at-8 {
			bad = true
			return nil
		}
		t := b[at+8 : at+8+n]
		at += 8 + (n+7)&^7
		return t
	}
	m := &Module{}
	var h []header
	var dyn []dynamic
	var syms []symbol
	var needed, defined, filters, audit []Name
	table(next, &bad, &h)
	table(next, &bad, &dyn)
	table(next, &bad, &syms)
	table(next, &bad, &m.Dyn.Relocs)
	table(next, &bad, &needed)
	table(next, &bad, &defined)
	table(next, &bad, &filters)
	table(next, &bad, &audit)
	table(next, &bad, &m.Segments)
	table(next, &bad, &m.Sections)
	table(next, &bad, &m.Got)
	table(next, &bad, &m.Funcs)
	table(next, &bad, &m.Blocks)
	table(next, &bad, &m.Succs)
	table(next, &bad, &m.Calls)
	table(next, &bad, &m.Sys)
	table(next, &bad, &m.Frame)
	table(next, &bad, &m.Firsts)
	table(next, &bad, &m.Stores)
	table(next, &bad, &m.Rets)
	table(next, &bad, &m.Takes)
	table(next, &bad, &m.Refs)
	table(next, &bad, &m.Losts)
	table(next, &bad, &m.Exprs)
	table(next, &bad, &m.Runs)
	table(next, &bad, &m.Sets)
	table(next, &bad, &m.Ptrs)
	table(next, &bad, &m.Always)
	table(next, &bad, &m.Objs)
	table(next, &bad, &m.Words)
	table(next, &bad, &m.Strs)
	text := next()
	if bad || count != 32 || len(h) != 1 || len(dyn) != 1 {
		return nil, fmt.Errorf("%w: damaged", ErrEncoding)
	}
	get := func(n Name) string {
		if uint64(n.Off)+uint64(n.Len) > uint64(len(text)) {
			bad = true
			return ""
		}
		return textOf(text[n.Off : n.Off+n.Len])
	}
	list := func(l []Name) []string {
		if len(l) == 0 {
			return nil
		}
		out := make([]string, len(l))
		for i, n := range l {
			out[i] = get(n)
		}
		return out
	}
	m.Text = text
	m.SHA256, m.Size, m.Entry, m.TLS, m.Relro = h[0].SHA256, h[0].Size, h[0].Entry, h[0].TLS, h[0].Relro
	m.BuildID, m.Interp, m.Kind, m.Static = get(h[0].BuildID), get(h[0].Interp), image.Kind(h[0].Kind), h[0].Static != 0
	d, s := &m.Dyn, &dyn[0]
	d.Soname, d.Rpath, d.Runpath = get(s.Soname), get(s.Rpath), get(s.Runpath)
	d.Flags, d.Flags1, d.Init, d.Fini, d.Symbolic = s.Flags, s.Flags1, s.Init, s.Fini, s.Symbolic != 0
	d.PreinitArray, d.InitArray, d.FiniArray = s.PreinitArray, s.InitArray, s.FiniArray
	d.Needed, d.VersionsDefined, d.Filters, d.Audit = list(needed), list(defined), list(filters), list(audit)
	d.Symbols = make([]image.Symbol, len(syms))
	for i := range syms {
		x := &syms[i]
		d.Symbols[i] = image.Symbol{Name: get(x.Name), Version: get(x.Version), VersionFile: get(x.VersionFile), Value: x.Value, Size: x.Size,
			Type: x.Type, Bind: x.Bind, Vis: x.Vis, Hidden: x.Flags&symHidden != 0, Undefined: x.Flags&symUndefined != 0, TLS: x.Flags&symTLS != 0, Abs: x.Flags&symAbs != 0}
	}
	if bad || len(m.Exprs) == 0 || m.Exprs[0] != (value.Expr{}) {
		return nil, fmt.Errorf("%w: damaged", ErrEncoding)
	}
	return m, nil
}

func table[T any](next func() []byte, bad *bool, out *[]T) {
	s, ok := sliceOf[T](next())
	if !ok {
		*bad = true
		return
	}
	*out = s
}
