package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"syspart/internal/filter"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
)

// BenchmarkSyscall is what a filter costs a thread for each call that it allows, of its processor's time: ns/getppid for a call that the kernel answers from
// its bitmap, ns/prctl for the one whose arguments the filter looks at.
func BenchmarkSyscall(b *testing.B) {
	program := testbin.Build(b, filepath.Join("testdata", "calls.c"), "-O2")
	for _, open := range []int{0, 20, 100, 300} {
		name := "plain"
		argv := []string{"20000"}
		if open > 0 {
			name = fmt.Sprintf("open=%d", open)
			allow := syscalls.Of(1, 5, 9, 12, 39, 110, 157, 228, 231, 262) // the two, and what telling the figures takes
			for nr := 2; allow.Len() < open; nr += 1 + nr%2 {
				allow.Add(nr)
			}
			program, _, err := filter.CompileMarked(allow, filter.KillProcess)
			if err != nil {
				b.Fatal(err)
			}
			path := filepath.Join(b.TempDir(), "filter")
			if err := os.WriteFile(path, program.Encode(), 0o644); err != nil {
				b.Fatal(err)
			}
			argv = append(argv, path)
		}
		b.Run(name, func(b *testing.B) {
			var plain, args float64
			for range b.N {
				out, err := exec.Command(program, argv...).CombinedOutput()
				if err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				var x, y float64
				if _, err := fmt.Sscan(string(out), &x, &y); err != nil {
					b.Fatalf("%q: %v", out, err)
				}
				plain, args = plain+x, args+y
			}
			b.ReportMetric(plain/float64(b.N), "ns/getppid")
			b.ReportMetric(args/float64(b.N), "ns/prctl")
			b.ReportMetric(0, "ns/op")
		})
	}
}
