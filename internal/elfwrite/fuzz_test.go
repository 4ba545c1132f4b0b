package elfwrite

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// small are programs and a library to be damaged.
func small(t testing.TB) (files [][]byte) {
	for _, flags := range [][]string{{"-pie", "-s"}, {"-no-pie", "-fno-pie", "-s"}, {"-fPIC", "-shared", "-s"}} {
		data, err := os.ReadFile(testbin.BuildText(t, "small.c", "int main(void) { return 0; }\n", flags...))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, data)
	}
	return files
}

// rewriteAny: any file in, a valid one or an error out, with a new library as well as without; the same twice. Bytes reads its
// output again, so an error of its check is a defect here. It reports whether the file was accepted.
func rewriteAny(t *testing.T, data []byte) bool {
	w, err := New("file", data)
	if err != nil || w.segOff > 1<<21 { // a bridged hole of megabytes only costs time
		return false
	}
	w.SetCode([]byte{0xf3, 0x0f, 0x1e, 0xfa, 0xc3})
	w.AddFrame(Frame{Start: w.Base(), Size: 5})
	if _, err := w.Bytes(); errors.Is(err, ErrRefused) {
		return false
	} else if err != nil {
		t.Fatalf("accepted, then: %v", err)
	}
	if err := w.AddNeeded("libother.so"); err != nil && !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	out, err := w.Bytes()
	if errors.Is(err, ErrRefused) {
		return false
	}
	if err != nil {
		t.Fatalf("accepted, then not with a new library: %v", err)
	}
	if _, err := image.Parse("file", out); err != nil {
		t.Fatal(err)
	}
	again, err := w.Bytes()
	if err != nil || !bytes.Equal(out, again) {
		t.Fatalf("another output the second time: %v", err)
	}
	return true
}

func FuzzRewrite(f *testing.F) {
	for _, data := range small(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= 1<<20 {
			rewriteAny(t, data)
		}
	})
}

// TestDamaged changes small files at random places, headers and tables above all, the same in every run.
func TestDamaged(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	accepted, refused := 0, 0
	for _, file := range small(t) {
		places := tables(file)
		for range 2000 {
			data := slices.Clone(file)
			for range 1 + random.IntN(4) {
				damage(random, data, places)
			}
			if rewriteAny(t, data) {
				accepted++
			} else {
				refused++
			}
		}
	}
	if accepted == 0 || refused == 0 {
		t.Errorf("%d accepted, %d refused", accepted, refused)
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
}

// tables are the extents of a file's headers and tables, and the file's own.
func tables(file []byte) (places []image.Range) {
	start, n := le.Uint64(file[offPhoff:]), uint64(le.Uint16(file[offPhnum:]))*phdrSize
	size := uint64(len(file))
	places = []image.Range{{Start: 0, End: ehdrSize}, {Start: start, End: start + n}, {Start: le.Uint64(file[offShoff:]), End: size}, {Start: 0, End: size}}
	for ; n > 0; n, start = n-phdrSize, start+phdrSize {
		switch p := readPhdr(file[start:]); p.typ {
		case ptDynamic:
			places = append(places, image.Range{Start: p.off, End: p.off + p.fsz})
		case ptGNUEhFrame:
			places = append(places, image.Range{Start: p.off, End: p.off + p.fsz + 0xa0}) // with .eh_frame
		}
	}
	return places
}

// damage changes a byte or a word at one of the places.
func damage(random *rand.Rand, data []byte, places []image.Range) {
	somewhere := func() uint64 {
		r := places[random.IntN(len(places))]
		return r.Start + random.Uint64N(r.End-r.Start)
	}
	at := somewhere()
	word := data[at&^7:][:8]
	switch random.IntN(4) {
	case 0:
		data[at] = []byte{0, 1, 0x7f, 0xff, byte(random.Uint32())}[random.IntN(5)]
	case 1:
		data[at] ^= 1 << random.IntN(8)
	case 2:
		copy(word, data[somewhere()&^7:])
	case 3:
		le.PutUint64(word, random.Uint64N(0x6000)+[]uint64{0, 0x400000}[random.IntN(2)])
	}
}
