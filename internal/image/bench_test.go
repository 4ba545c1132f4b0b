package image

import (
	"crypto/sha256"
	"os"
	"testing"

	"syspart/internal/testbin"
)

// BenchmarkOpen reads whole files and reports what was found in them: fewer symbols, relocations or FDEs in less time is
// no improvement.
func BenchmarkOpen(b *testing.B) {
	for _, path := range []string{libc, libcrypto, nginx} {
		b.Run(path, func(b *testing.B) {
			testbin.NeedFile(b, path, "nginx")
			var f *File
			b.ReportAllocs()
			for b.Loop() {
				f = open(b, path)
			}
			b.ReportMetric(float64(len(f.Dyn.Symbols)), "symbols")
			b.ReportMetric(float64(len(f.Dyn.Relocs)), "relocs")
			b.ReportMetric(float64(f.Size), "bytes")
		})
	}
}

// BenchmarkParse leaves out reading and hashing.
func BenchmarkParse(b *testing.B) {
	for _, path := range []string{libc, libcrypto} {
		b.Run(path, func(b *testing.B) {
			data := read(b, testbin.NeedFile(b, path, "nginx"))
			b.ReportAllocs()
			for b.Loop() {
				f := &File{Name: path, Size: int64(len(data)), data: data}
				if err := f.parse(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFrames(b *testing.B) {
	for _, path := range []string{libc, libcrypto} {
		b.Run(path, func(b *testing.B) {
			f := open(b, testbin.NeedFile(b, path, "nginx"))
			var fr *Frames
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if fr, err = f.parseFrames(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(fr.FDEs)), "FDEs")
			b.ReportMetric(float64(len(fr.CIEs)), "CIEs")
		})
	}
}

func BenchmarkSHA256(b *testing.B) {
	data, err := os.ReadFile(testbin.NeedFile(b, libcrypto, "nginx"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sha256.Sum256(data)
	}
}
