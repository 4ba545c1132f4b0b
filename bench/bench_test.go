// Package bench measures the whole tool on real servers: what an analysis costs, and beside it what it is worth, so that a
// faster analysis that allows more shows in the same line.
//
//	go test -run '^$' -bench . -benchtime 1x ./bench
//
// Cold is an analysis of the program and all its libraries with an empty cache, warm one that was made before.
// Both run the built command, as a user does; MiB is the largest resident set that the kernel has seen. Figures of the
// design's limits: nginx cold at most 3 s and 1 GiB, warm at most 0.3 s.
package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"syspart/internal/testbin"
)

// servers are those of the paper, as Debian names them.
var servers = []struct{ program, pkg string }{
	{"nginx", "nginx"},
	{"redis-server", "redis-server"},
	{"memcached", "memcached"},
	{"lighttpd", "lighttpd"},
	{"apache2", "apache2"},
	{"named", "bind9"},
}

// binary is the program under test, built for this run.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "syspart-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "syspart")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "syspart/cmd/syspart")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, text)
		return 1
	}
	return m.Run()
}

// analysis is what we read of "analyze -o json".
type analysis struct {
	Modules        []struct{ Path string }
	Functions      int
	AddressTaken   int
	IndirectSites  int
	Edges          int
	AverageTargets float64
	Sets           []struct {
		From      string
		Functions int
		Calls     []string
	}
	Unresolved []struct{ What string }
}

// analyze runs one analysis and returns its result and the largest resident set in MiB.
func analyze(tb testing.TB, program, cache string) (analysis, float64) {
	var out, msg bytes.Buffer
	cmd := exec.Command(binary, "analyze", "-o", "json", "--cache-dir", cache, program)
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		tb.Fatalf("analyze %s: %v\n%s", program, err, msg.String())
	}
	var a analysis
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		tb.Fatalf("analyze %s: %v", program, err)
	}
	if len(a.Sets) == 0 || a.Functions == 0 {
		tb.Fatalf("analyze %s: an empty result: %+v", program, a)
	}
	return a, float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
}

// report puts an analysis beside the time.
func (a *analysis) report(b *testing.B, mib float64) {
	b.ReportMetric(mib, "MiB")
	b.ReportMetric(float64(len(a.Modules)), "modules")
	b.ReportMetric(float64(a.Functions), "funcs")
	b.ReportMetric(float64(a.AddressTaken), "taken")
	b.ReportMetric(float64(a.IndirectSites), "isites")
	b.ReportMetric(a.AverageTargets, "targets/isite")
	b.ReportMetric(float64(a.Edges), "edges")
	b.ReportMetric(float64(len(a.Unresolved)), "unresolved")
	for _, s := range a.Sets {
		b.ReportMetric(float64(len(s.Calls)), "calls-from-"+s.From)
	}
}

func BenchmarkCold(b *testing.B) {
	for _, s := range servers {
		b.Run(s.program, func(b *testing.B) {
			path := testbin.Need(b, s.program, s.pkg)
			var a analysis
			var mib float64
			for b.Loop() {
				b.StopTimer()
				cache := b.TempDir()
				b.StartTimer()
				a, mib = analyze(b, path, cache)
			}
			a.report(b, mib)
		})
	}
}

func BenchmarkWarm(b *testing.B) {
	for _, s := range servers {
		b.Run(s.program, func(b *testing.B) {
			path := testbin.Need(b, s.program, s.pkg)
			cache := b.TempDir()
			analyze(b, path, cache)
			var a analysis
			var mib float64
			for b.Loop() {
				a, mib = analyze(b, path, cache)
			}
			a.report(b, mib)
		})
	}
}

// TestAnswers keeps the benchmarks from rotting: what they read of an analysis is there, and a warm analysis says what
// the cold one said.
func TestAnswers(t *testing.T) {
	path := testbin.Need(t, "memcached", "memcached")
	cache := t.TempDir()
	cold, _ := analyze(t, path, cache)
	warm, _ := analyze(t, path, cache)
	if c, w := fmt.Sprintf("%+v", cold), fmt.Sprintf("%+v", warm); c != w {
		t.Errorf("cold and warm differ:\n%s\n%s", c, w)
	}
	for _, s := range cold.Sets {
		if s.Functions == 0 || len(s.Calls) == 0 {
			t.Errorf("from %s: %d functions, %d calls", s.From, s.Functions, len(s.Calls))
		}
	}
	if cold.IndirectSites == 0 || cold.Edges <= cold.IndirectSites || cold.AverageTargets == 0 || cold.AddressTaken == 0 || len(cold.Modules) < 3 {
		t.Errorf("figures are missing: %+v", cold)
	}
}
