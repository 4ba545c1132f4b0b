package image

import (
	"slices"
	"testing"
)

// goImage is a file with three segments: tables of Go 1.20 with two functions, of which the second is the method M of a
// type, and the code that they lie in.
func goImage() []byte {
	const (
		base, tables, module, types, text = 0x1000, 0x1100, 0x1800, 0x1c00, 0x3000
	)
	d := make([]byte, 0x3000)
	at := func(va int) []byte { return d[va-base:] }
	copy(at(base+16), goMark)
	h := at(tables)
	copy(h, "\xf1\xff\xff\xff\x00\x00\x01\x08")
	le.PutUint64(h[8:], 2)        // functions
	le.PutUint64(h[0x20:], 0x100) // names
	le.PutUint64(h[0x38:], 0x300) // steps of the stack pointer
	le.PutUint64(h[0x40:], 0x200) // functions' table
	// main.f: 0 for 4 bytes, 24 for 16, -1 (broken) for 4, nothing for the rest.
	copy(h[0x300:], []byte{0, 2, 4, 48, 16, 49, 4, 0})
	copy(h[0x100:], "main.f\x00main.T.M\x00")
	f := h[0x200:]
	for k, x := range [][2]uint32{{0, 0x40}, {0x20, 0x60}} {
		le.PutUint32(f[8*k:], x[0])
		le.PutUint32(f[8*k+4:], x[1])
		le.PutUint32(f[x[1]:], x[0])
	}
	le.PutUint32(f[16:], 0x40)
	le.PutUint32(f[0x40+8:], 24) // bytes of arguments
	le.PutUint32(f[0x40+16:], 1) // its steps
	f[0x60+41] = goTopFrame
	le.PutUint32(f[0x60+4:], 7)    // its name
	le.PutUint32(f[0x60+12:], 0x8) // goes on there behind a panic
	m := at(module)
	word := func(k int, v uint64) { le.PutUint64(m[8*k:], v) }
	word(goPcHeader, tables)
	word(goFtab, tables+0x200)
	word(goFtabLen, 3)
	word(goMinPC, text)
	word(goText, text)
	word(goEtext, text+0x40)
	word(goTypes120, types)
	word(goTypes120+1, types+0x100)
	t := at(types)
	copy(t[8:], "\x01\x01M")
	for k, v := range []uint32{8, 0, 0x20, 0x20} { // name, type, functions
		le.PutUint32(t[0x20+4*k:], v)
	}
	return d
}

// goFile is a file that maps data at 0x1000, what lies from 0x3000 on as code.
func goFile(data []byte) *File {
	f := &File{data: data, Size: int64(len(data))}
	n := uint64(min(len(data), 0x2000))
	f.Segments = []Segment{{Range: Range{0x1000, 0x1000 + n}, FileSize: n, Write: true}}
	if len(data) > 0x2000 {
		f.Segments = append(f.Segments, Segment{Range: Range{0x3000, 0x1000 + uint64(len(data))}, Off: 0x2000, FileSize: uint64(len(data)) - 0x2000, Exec: true})
	}
	return f
}

func TestGolang(t *testing.T) {
	g := goFile(goImage()).Golang()
	if g == nil {
		t.Fatal("no tables")
	}
	if want := []GoFunc{{0x3000, "main.f", 24, 1, 0}, {0x3020, "main.T.M", 0, 0, goTopFrame}}; !slices.Equal(g.Funcs, want) {
		t.Errorf("functions: %v", g.Funcs)
	}
	if want := []uint64{0x3020, 0x3028}; !slices.Equal(g.Methods, want) {
		t.Errorf("methods: %#x", g.Methods)
	}
	if g.Text != (Range{0x3000, 0x3040}) || g.At(0x3020) == nil || g.At(0x3021) != nil {
		t.Errorf("text %#x", g.Text)
	}
	// Tables that contradict themselves are none.
	for name, at := range map[string]int{"mark": 0x10, "functions": 0x108, "text": 0x800 + 8*goText, "table": 0x800 + 8*goFtab, "order": 0x308, "types": 0x801 + 8*goTypes120} {
		d := goImage()
		d[at] ^= 0xff
		if goFile(d).Golang() != nil {
			t.Errorf("%s: believed", name)
		}
	}
}

// FuzzGolang: no table makes the reader fail, or find functions outside its text.
func FuzzGolang(f *testing.F) {
	f.Add(goImage())
	f.Fuzz(func(t *testing.T, data []byte) {
		g := goFile(data).Golang()
		if g == nil {
			return
		}
		for _, x := range g.Funcs {
			if !g.Text.Contains(x.Entry) {
				t.Errorf("function at %#x", x.Entry)
			}
			if r, ok := g.Frame(x.Entry); ok && (r.Size < 0 || r.Func < g.Text.Start) {
				t.Errorf("frame at %#x: %+v", x.Entry, r)
			}
		}
	})
}

// TestGoFrame reads frames from the table of steps.
func TestGoFrame(t *testing.T) {
	g := goFile(goImage()).Golang()
	if g == nil {
		t.Fatal("no tables")
	}
	for _, c := range []struct {
		va   uint64
		want GoFrame
		ok   bool
	}{
		{0x2fff, GoFrame{}, false},
		{0x3000, GoFrame{Func: 0x3000, Size: 0}, true},
		{0x3003, GoFrame{Func: 0x3000, Size: 0}, true},
		{0x3004, GoFrame{Func: 0x3000, Size: 24}, true},
		{0x3013, GoFrame{Func: 0x3000, Size: 24}, true},
		{0x3014, GoFrame{}, false},
		{0x3018, GoFrame{}, false},
		{0x3020, GoFrame{}, false}, // where a signal handler begins
		{0x3040, GoFrame{}, false},
	} {
		if got, ok := g.Frame(c.va); ok != c.ok || ok && got != c.want {
			t.Errorf("%#x: %+v %v, want %+v %v", c.va, got, ok, c.want, c.ok)
		}
	}
	g.Funcs[1].Name = "runtime.mcall"
	if got, ok := g.Frame(0x3024); !ok || got != (GoFrame{Func: 0x3020, Outermost: true}) {
		t.Errorf("a thread that leaves a goroutine: %+v %v", got, ok)
	}
}
