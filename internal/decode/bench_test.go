package decode

import (
	"debug/elf"
	"testing"
)

// BenchmarkDecode decodes the code of the C library from end to end. It reports the instructions that are no more than
// their length (opaque) and the bytes that are no instruction beside the time.
func BenchmarkDecode(b *testing.B) {
	f, err := elf.Open("/lib/x86_64-linux-gnu/libc.so.6")
	if err != nil {
		b.Skipf("needs Debian's libc6: %v", err)
	}
	defer f.Close()
	text := f.Section(".text")
	code, err := text.Data()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var insts, opaque, bad int
	for b.Loop() {
		insts, opaque, bad = 0, 0, 0
		var in Inst
		for at := 0; at < len(code); at += int(in.Len) {
			if !Decode(code[at:], text.Addr+uint64(at), &in) {
				bad++
			} else if in.Flags&Opaque != 0 {
				opaque++
			}
			insts++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(insts), "ns/inst")
	b.ReportMetric(float64(insts), "insts")
	b.ReportMetric(float64(opaque), "opaque")
	b.ReportMetric(float64(bad), "bad")
}
