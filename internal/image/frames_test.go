package image

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// All of readelf's CIEs and FDEs, and no others, must be found.
func TestFramesAgainstReadelf(t *testing.T) {
	testbin.Need(t, "readelf", "binutils")
	paths := []string{
		testbin.NeedFile(t, nginx, "nginx"), libc, "/lib64/ld-linux-x86-64.so.2",
		testbin.Build(t, "testdata/exceptions.cc", "-no-pie", "-rdynamic", "-ldl", "-O2"),
		testbin.Build(t, "testdata/small.c", "-static"),
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f := open(t, path)
			fr := frames(t, f)
			var got []string
			for _, d := range fr.FDEs {
				cie := &fr.CIEs[d.CIE]
				got = append(got, fmt.Sprintf("%x-%x align %d/%d ret %d signal %v", d.Start, d.End, cie.CodeAlign, cie.DataAlign,
					cie.RetReg, cie.Signal))
				if s := f.segment(d.LSDA); d.LSDA != 0 && (s == nil || s.Exec && s.Start == d.Start) {
					t.Errorf("LSDA of %#x at %#x", d.Start, d.LSDA)
				}
				if (d.LSDA != 0) && cie.Personality == 0 {
					t.Errorf("LSDA of %#x, but no personality", d.Start)
				}
			}
			want := readelfFrames(t, path)
			slices.Sort(got)
			slices.Sort(want)
			compareLines(t, "FDEs", got, want)
			t.Logf("%d FDEs, %d CIEs", len(fr.FDEs), len(fr.CIEs))
		})
	}
}

func readelfFrames(t *testing.T, path string) []string {
	type cie struct {
		code, data, ret string
		signal          bool
	}
	cies := map[string]*cie{}
	var out []string
	var cur *cie
	inEhFrame := false
	for line := range strings.Lines(output(t, "readelf", "-W", "--debug-dump=frames", path)) {
		if strings.HasPrefix(line, "Contents of the ") {
			inEhFrame = strings.Contains(line, ".eh_frame section")
			continue
		}
		if !inEhFrame {
			continue
		}
		w := strings.Fields(line)
		last := func() string { return w[len(w)-1] }
		switch {
		case len(w) == 4 && w[3] == "CIE":
			cur = new(cie)
			cies[w[0]] = cur
		case len(w) >= 6 && w[3] == "FDE":
			c := cies[strings.TrimPrefix(w[4], "cie=")]
			start, end, _ := strings.Cut(strings.TrimPrefix(w[5], "pc="), "..")
			a, err := strconv.ParseUint(start, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			b, err := strconv.ParseUint(end, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%x-%x align %s/%s ret %s signal %v", a, b, c.code, c.data, c.ret, c.signal))
		case strings.HasPrefix(line, "  Augmentation: "):
			cur.signal = strings.Contains(last(), "S")
		case strings.HasPrefix(line, "  Code alignment"):
			cur.code = last()
		case strings.HasPrefix(line, "  Data alignment"):
			cur.data = last()
		case strings.HasPrefix(line, "  Return address column"):
			cur.ret = last()
		}
	}
	return out
}

// Personality and instructions: what an unwinder needs besides ranges.
func TestCIE(t *testing.T) {
	f := open(t, testbin.Build(t, "testdata/exceptions.cc", "-O2"))
	fr := frames(t, f)
	personalities, initial := 0, 0
	for _, cie := range fr.CIEs {
		// def_cfa rsp+8; offset rip at cfa-8: what a call leaves.
		if bytes.HasPrefix(cie.Insts, []byte{0x0c, 7, 8, 0x90, 1}) {
			initial++
		}
		if cie.Personality == 0 {
			continue
		}
		personalities++
		bound := false
		for _, r := range f.Dyn.Relocs {
			if r.Off == cie.Personality && f.Dyn.Symbols[r.Sym].Name == "__gxx_personality_v0" {
				bound = true
			}
		}
		if !cie.PersonalityIndirect || !bound {
			t.Errorf("personality %#x, indirect %v, bound %v", cie.Personality, cie.PersonalityIndirect, bound)
		}
	}
	if personalities == 0 || initial != len(fr.CIEs) {
		t.Errorf("%d CIEs, %d with personality, %d with the usual start", len(fr.CIEs), personalities, initial)
	}
	signal := false
	lc := open(t, libc)
	for _, fde := range frames(t, lc).FDEs {
		signal = signal || frames(t, lc).CIEs[fde.CIE].Signal
	}
	if !signal {
		t.Error("libc has no signal frame, but __restore_rt is one")
	}
}

// ehFile makes an executable out of an .eh_frame_hdr at 0x1000 (may be nil) and an .eh_frame at 0x2000. Addresses from
// 0x4000 to 0x8000 are executable.
func ehFile(hdr, frame []byte) []byte {
	const size = 0x8000
	data := make([]byte, size)
	copy(data, "\x7fELF\x02\x01\x01")
	le.PutUint16(data[16:], etDyn)
	le.PutUint16(data[18:], 62)
	le.PutUint32(data[20:], 1)
	le.PutUint64(data[32:], ehdrSize)
	le.PutUint16(data[54:], phdrSize)
	n := 0
	phdr := func(typ, flags uint32, start, length uint64) {
		p := data[ehdrSize+n*phdrSize:]
		le.PutUint32(p, typ)
		le.PutUint32(p[4:], flags)
		for i, v := range []uint64{start, start, start, length, length, 4096} {
			le.PutUint64(p[8+8*i:], v)
		}
		n++
		le.PutUint16(data[56:], uint16(n))
	}
	phdr(ptLoad, 4, 0, 0x4000)
	phdr(ptLoad, 4|pfX, 0x4000, 0x4000)
	if hdr != nil {
		phdr(ptGNUEhFrame, 4, 0x1000, uint64(len(hdr)))
		copy(data[0x1000:0x2000], hdr)
	}
	copy(data[0x2000:0x4000], frame)
	return data
}

// noTable is an .eh_frame_hdr that only points to .eh_frame at 0x2000 (udata4, absolute).
var noTable = []byte{1, peU4, peOmit, peOmit, 0, 0x20, 0, 0}

// entry prefixes the parts with their length.
func entry(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch v := p.(type) {
		case int:
			b = append(b, byte(v))
		case uint32:
			b = le.AppendUint32(b, v)
		case uint64:
			b = le.AppendUint64(b, v)
		case string:
			b = append(append(b, v...), 0)
		case []byte:
			b = append(b, v...)
		}
	}
	return append(le.AppendUint32(nil, uint32(len(b))), b...)
}

func TestPointerEncodings(t *testing.T) {
	const at = 0x2000 + 17 + 4 + 4 // of the FDE's pc: behind the CIE, the FDE's length and its CIE pointer
	tests := map[string]struct {
		enc       int
		pc, size  []byte
		start, to uint64 // 0: an error
	}{
		"absptr":     {peAbs, le.AppendUint64(nil, 0x4100), le.AppendUint64(nil, 0x10), 0x4100, 0x4110},
		"udata2":     {peU2, []byte{0, 0x41}, []byte{0x10, 0}, 0x4100, 0x4110},
		"udata4":     {peU4, []byte{0, 0x41, 0, 0}, []byte{0x10, 0, 0, 0}, 0x4100, 0x4110},
		"udata8":     {peU8, le.AppendUint64(nil, 0x4100), le.AppendUint64(nil, 0x10), 0x4100, 0x4110},
		"sdata8":     {peS8, le.AppendUint64(nil, 0x4100), le.AppendUint64(nil, 0x10), 0x4100, 0x4110},
		"uleb":       {peULEB, []byte{0x80, 0x82, 1}, []byte{0x90, 0}, 0x4100, 0x4110},
		"sleb":       {peSLEB, []byte{0x80, 0x82, 1}, []byte{0x10}, 0x4100, 0x4110},
		"textrel":    {peTextRel | peU2, []byte{0, 0x41}, []byte{0x10, 0}, 0x4100, 0x4110},
		"datarel":    {peDataRel | peU2, []byte{0, 0x41}, []byte{0x10, 0}, 0x4100, 0x4110}, // no DT_PLTGOT: base 0
		"pcrel":      {pePCRel | peS4, []byte{0, 0x21, 0, 0}, []byte{0x10, 0, 0, 0}, at + 0x2100, at + 0x2110},
		"pcrel sd2":  {pePCRel | peS2, []byte{0, 0x21}, []byte{0x10, 0}, at + 0x2100, at + 0x2110},
		"aligned":    {peAligned, append([]byte{0, 0, 0, 0, 0, 0, 0}[:-at&7], le.AppendUint64(nil, 0x4100)...), le.AppendUint64(nil, 0x10), 0x4100, 0x4110},
		"cut to seg": {peU4, []byte{0, 0x7f, 0, 0}, []byte{0, 0x10, 0, 0}, 0x7f00, 0x8000},
		"indirect":   {0x80 | peU4, []byte{0, 0x41, 0, 0}, []byte{0x10, 0, 0, 0}, 0, 0},
		"format 5":   {5, []byte{0, 0x41, 0, 0}, []byte{0x10, 0, 0, 0}, 0, 0},
		"base 6":     {0x60 | peU4, []byte{0, 0x41, 0, 0}, []byte{0x10, 0, 0, 0}, 0, 0},
		"uleb long":  {peULEB, bytes.Repeat([]byte{0x80}, 12), []byte{0}, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cie := entry(uint32(0), 1, "zR", 1, 0x78, 16, 1, tt.enc)
			fde := entry(uint32(len(cie)+4), tt.pc, tt.size, 0, []byte{0x41})
			f, err := Parse("x", ehFile(noTable, append(append(bytes.Clone(cie), fde...), 0, 0, 0, 0)))
			if err != nil {
				t.Fatal(err)
			}
			fr, err := f.Frames()
			if tt.start == 0 {
				if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTruncated) {
					t.Errorf("got %v, %v", fr, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(cie)+8+0x2000 != at {
				t.Fatalf("FDE's pc is at %#x, not %#x", len(cie)+8+0x2000, at)
			}
			want := Frames{
				CIEs: []CIE{{CodeAlign: 1, DataAlign: -8, RetReg: 16, Insts: []byte{}}},
				FDEs: []FDE{{Range: Range{tt.start, tt.to}, Insts: []byte{0x41}}},
			}
			diff(t, "frames", *fr, want)
		})
	}
}

func TestOddFrames(t *testing.T) {
	plain := entry(uint32(0), 1, "", 1, 0x78, 16) // absolute pointers, no augmentation
	fdeAt := func(back int, start uint64) []byte { return entry(uint32(back), start, uint64(0x10), []byte{0x41}) }
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	end := []byte{0, 0, 0, 0}
	fde1 := fdeAt(len(plain)+4, 0x4100)
	fde2 := fdeAt(len(plain)+len(fde1)+4, 0x4200)
	// table is an .eh_frame_hdr that lists FDEs at these offsets (datarel sdata4, as linkers write it).
	table := func(offs ...int) []byte {
		b := join([]byte{1, peU4, peU4, peDataRel | peS4, 0, 0x20, 0, 0}, le.AppendUint32(nil, uint32(len(offs))))
		for _, o := range offs {
			b = append(b, 1, 2, 3, 0)
			b = le.AppendUint32(b, uint32(0x1000+o))
		}
		return b
	}
	wide := func(e []byte) []byte { // the same entry with a 64-bit length
		return join([]byte{0xff, 0xff, 0xff, 0xff}, le.AppendUint64(nil, uint64(len(e)-4)), e[4:])
	}
	behind := fdeAt(len(plain)+len(fde1)+4+4, 0x4200) // behind a terminator
	overlap := bytes.Clone(plain)
	for range 16 {
		overlap = append(overlap, entry(uint32(len(overlap)+4), uint64(0x4000), uint64(0x4000))...)
	}
	overlap = append(overlap, entry(uint32(len(overlap)+4), uint64(0x4000), uint64(1))...)
	tests := map[string]struct {
		hdr, frame []byte
		starts     []uint64
		err        error
	}{
		"two":              {noTable, join(plain, fde1, fde2, end), []uint64{0x4100, 0x4200}, nil},
		"listed":           {table(len(plain), len(plain)+len(fde1)), join(plain, fde1, fde2, end), []uint64{0x4100, 0x4200}, nil},
		"no frame header":  {nil, join(plain, fde1, end), nil, nil},
		"terminated":       {noTable, join(plain, fde1, end, behind), []uint64{0x4100}, nil},
		"listed behind":    {table(len(plain), len(plain)+len(fde1)+4), join(plain, fde1, end, behind), []uint64{0x4100, 0x4200}, nil},
		"garbage after":    {table(len(plain)), join(plain, fde1, []byte{0xfe, 1, 2, 3}), []uint64{0x4100}, nil},
		"garbage between":  {table(len(plain), len(plain)+len(fde1)+4), join(plain, fde1, []byte{9, 0, 0, 0x70}, behind), []uint64{0x4100, 0x4200}, nil},
		"no end":           {noTable, join(plain, fde1, []byte{0xfe, 1, 2, 3}), nil, ErrTruncated},
		"64-bit length":    {noTable, join(plain, wide(fdeAt(len(plain)+12, 0x4100)), end), []uint64{0x4100}, nil},
		"not executable":   {noTable, join(plain, fdeAt(len(plain)+4, 0x3000), end), nil, nil},
		"discarded":        {noTable, join(plain, fdeAt(len(plain)+4, 0), end), nil, nil},
		"CIE of an FDE":    {noTable, join(plain, fde1, fdeAt(len(fde1)+4, 0x4200), end), nil, ErrFormat},
		"CIE before start": {noTable, join(plain, fdeAt(0x7fff, 0x4100), end), nil, ErrFormat},
		"CIE version":      {noTable, join(entry(uint32(0), 2, "", 1, 0x78, 16), end), nil, ErrFormat},
		"CIE version 4":    {noTable, join(entry(uint32(0), 4, "", 8, 0, 1, 0x78, 16), end), nil, nil},
		"augmentation":     {noTable, join(entry(uint32(0), 1, "q", 1, 0x78, 16), end), nil, ErrFormat},
		"sized unknown":    {noTable, join(entry(uint32(0), 1, "zq", 1, 0x78, 16, 2, 7, 7), end), nil, nil},
		"eh":               {noTable, join(entry(uint32(0), 1, "eh", uint64(5), 1, 0x78, 16), end), nil, nil},
		"data too short":   {noTable, join(entry(uint32(0), 1, "zP", 1, 0x78, 16, 1, peU8, uint64(1)), end), nil, ErrFormat},
		"short entry":      {noTable, []byte{2, 0, 0, 0, 0, 0}, nil, ErrTruncated},
		"overlapping":      {noTable, overlap, nil, ErrFormat},
		"header version":   {[]byte{2, 3, 0xff, 0xff, 0, 0x20, 0, 0}, plain, nil, ErrFormat},
		"header nowhere":   {[]byte{1, peU4, 0xff, 0xff, 0, 0, 0, 0x70}, plain, nil, ErrTruncated},
		"listed nowhere":   {table(0x7000), join(plain, fde1, end), nil, ErrFormat},
		"count":            {[]byte{1, peU4, peU4, peDataRel | peS4, 0, 0x20, 0, 0, 0xff, 0xff, 0xff, 0xff}, plain, nil, ErrTruncated},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := Parse("x", ehFile(tt.hdr, tt.frame))
			if err != nil {
				t.Fatal(err)
			}
			fr, err := f.Frames()
			if !errors.Is(err, tt.err) || err != nil && !strings.HasPrefix(err.Error(), "x: .eh_frame: ") {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			var starts []uint64
			if fr != nil {
				for _, d := range fr.FDEs {
					starts = append(starts, d.Start)
				}
			}
			if !slices.Equal(starts, tt.starts) {
				t.Errorf("FDEs at %#x, want %#x", starts, tt.starts)
			}
		})
	}
}

func TestOddLSDA(t *testing.T) {
	tests := map[string]struct {
		lsda []byte
		pads []LandingPad
		err  error
	}{
		"none":         {[]byte{0xff, 0xff, 1, 0}, nil, nil},
		"uleb":         {[]byte{0xff, 0xff, 1, 8, 2, 3, 0x20, 0, 5, 1, 0, 0}, []LandingPad{{Range{0x4102, 0x4105}, 0x4120}}, nil},
		"with types":   {[]byte{0xff, 3, 9, 1, 4, 2, 3, 0x20, 1, 0}, []LandingPad{{Range{0x4102, 0x4105}, 0x4120}}, nil},
		"udata4":       {[]byte{0xff, 0xff, 3, 13, 2, 0, 0, 0, 3, 0, 0, 0, 0x20, 0, 0, 0, 0}, []LandingPad{{Range{0x4102, 0x4105}, 0x4120}}, nil},
		"pad base":     {[]byte{peU2, 0, 0x50, 0xff, 1, 4, 2, 3, 0x20, 0}, []LandingPad{{Range{0x4102, 0x4105}, 0x5020}}, nil},
		"funcrel base": {[]byte{peFuncRel | peU2, 0, 2, 0xff, 1, 4, 2, 3, 0x20, 0}, []LandingPad{{Range{0x4102, 0x4105}, 0x4320}}, nil},
		"cut record":   {[]byte{0xff, 0xff, 1, 6, 2, 3, 0x20, 0, 5, 1}, nil, ErrTruncated},
		"cut table":    {[]byte{0xff, 0xff, 1, 0xff, 0xff, 3}, nil, ErrTruncated},
		"pad nowhere":  {[]byte{0xff, 0xff, 1, 6, 2, 3, 0x80, 0x80, 1, 0}, nil, ErrFormat},
		"relative":     {[]byte{0xff, 0xff, pePCRel | peU4, 0}, nil, ErrFormat},
		"call behind":  {[]byte{0xff, 0xff, 1, 5, 2, 0x80, 2, 0x20, 0}, nil, ErrFormat},
		"many":         {append([]byte{0xff, 0xff, 1, 0x84, 0x10}, bytes.Repeat([]byte{2, 1, 1, 0}, 513)...), nil, ErrFormat},
		"overflow":     {append([]byte{0xff, 0xff, 1, 13, 2}, append(bytes.Repeat([]byte{0xff}, 9), 1, 0x20, 0)...), nil, ErrFormat},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := Parse("x", ehFile(nil, tt.lsda))
			if err != nil {
				t.Fatal(err)
			}
			pads, err := f.LandingPads(&FDE{Range: Range{0x4100, 0x4200}, LSDA: 0x2000})
			if !errors.Is(err, tt.err) || !slices.Equal(pads, tt.pads) {
				t.Errorf("got %#x, %v; want %#x, %v", pads, err, tt.pads, tt.err)
			}
		})
	}
	f, err := Parse("x", ehFile(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.LandingPads(&FDE{Range: Range{0x4100, 0x4200}, LSDA: 0x9000}); !errors.Is(err, ErrTruncated) {
		t.Errorf("LSDA outside the file: %v", err)
	}
}

// A null pointer is null whatever it is relative to.
func TestNullPointer(t *testing.T) {
	for _, enc := range []uint8{peAbs, pePCRel | peS4, peDataRel | peU4, peFuncRel | peU4, peOmit} {
		c := cursor{b: make([]byte, 8), va: 0x1000}
		if v := c.pointer(enc, bases{data: 0x2000, fn: 0x3000}); v != 0 || c.bad {
			t.Errorf("encoding %#x: %#x, bad %v", enc, v, c.bad)
		}
	}
}

func TestLEB128(t *testing.T) {
	tests := []struct {
		b    []byte
		uleb uint64
		sleb int64
	}{
		{[]byte{0}, 0, 0},
		{[]byte{0x3f}, 63, 63},
		{[]byte{0x40}, 64, -64},
		{[]byte{0x7f}, 127, -1},
		{[]byte{0x80, 1}, 128, 128},
		{[]byte{0x80, 0x7f}, 0x3f80, -128},
		{[]byte{0xe5, 0x8e, 0x26}, 624485, 624485},
		{[]byte{0x80, 0x80, 0}, 0, 0},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, 1<<63 - 1, -1},
	}
	for _, tt := range tests {
		u, s := cursor{b: tt.b}, cursor{b: tt.b}
		if v := u.uleb(); v != tt.uleb || u.bad || u.pos != len(tt.b) {
			t.Errorf("uleb %x: %d, bad %v", tt.b, v, u.bad)
		}
		if v := s.sleb(); v != tt.sleb || s.bad || s.pos != len(tt.b) {
			t.Errorf("sleb %x: %d, bad %v", tt.b, v, s.bad)
		}
	}
	most := append(bytes.Repeat([]byte{0xff}, 9), 1)
	if c := (cursor{b: most}); c.uleb() != ^uint64(0) || c.bad {
		t.Error("uleb: largest value")
	}
	for _, b := range [][]byte{nil, {0x80}, append(bytes.Repeat([]byte{0xff}, 9), 2), append(bytes.Repeat([]byte{0x80}, 10), 0)} {
		u, s := cursor{b: b}, cursor{b: b}
		if u.uleb(); !u.bad {
			t.Errorf("uleb %x is accepted", b)
		}
		if s.sleb(); !s.bad {
			t.Errorf("sleb %x is accepted", b)
		}
	}
}
