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

// TestDamaged changes headers and tables at random places, the same in every run.
func TestDamaged(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	accepted, refused := 0, 0
	for _, file := range small(t) {
		start, n := int(le.Uint64(file[offPhoff:])), int(le.Uint16(file[offPhnum:]))*phdrSize
		shoff := int(le.Uint64(file[offShoff:]))
		for range 2000 {
			data := slices.Clone(file)
			for range 1 + random.IntN(3) {
				at := []int{random.IntN(ehdrSize), start + random.IntN(n), shoff + random.IntN(len(file)-shoff), random.IntN(len(file))}[random.IntN(4)]
				data[at] = []byte{0, 1, 0x7f, 0xff, byte(random.Uint32())}[random.IntN(5)]
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
