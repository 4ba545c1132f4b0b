package decode

import (
	"debug/elf"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// libcText returns the code of the C library and its address.
func libcText(b *testing.B) ([]byte, uint64) {
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
	return code, text.Addr
}

// BenchmarkDecode decodes the code of the C library from end to end. It reports the instructions that are no more than
// their length (opaque) and the bytes that are no instruction beside the time.
func BenchmarkDecode(b *testing.B) {
	code, va := libcText(b)
	b.ReportAllocs()
	var insts, opaque, bad int
	for b.Loop() {
		insts, opaque, bad = 0, 0, 0
		var in Inst
		for at := 0; at < len(code); at += int(in.Len) {
			if !Decode(code[at:], va+uint64(at), &in) {
				bad++
			} else if in.Flags&Opaque != 0 {
				opaque++
			}
			insts++
		}
	}
	report(b, insts, bad)
	b.ReportMetric(float64(opaque), "opaque")
}

// BenchmarkX86asm is the yardstick: the same with golang.org/x/arch/x86/x86asm.
func BenchmarkX86asm(b *testing.B) {
	code, _ := libcText(b)
	b.ReportAllocs()
	var insts, bad int
	for b.Loop() {
		insts, bad = 0, 0
		for at := 0; at < len(code); insts++ {
			if x, err := x86asm.Decode(code[at:], 64); err == nil && x.Op != 0 {
				at += x.Len
			} else {
				at++
				bad++
			}
		}
	}
	report(b, insts, bad)
}

// report adds the metrics of a decoder.
func report(b *testing.B, insts, bad int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(insts), "ns/inst")
	b.ReportMetric(float64(insts), "insts")
	b.ReportMetric(float64(bad), "bad")
}
