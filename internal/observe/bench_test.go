package observe

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"syspart/internal/proc"
)

// BenchmarkBlocked takes samples of threads that are asleep: what one costs, and how many of the stacks are complete.
func BenchmarkBlocked(b *testing.B) {
	cmd := exec.Command(server(b, "-O2"), "threads")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { unix.Kill(cmd.Process.Pid, unix.SIGKILL); cmd.Wait() }()
	out.Read(make([]byte, 10))
	p, err := OpenProcess(cmd.Process.Pid, nil)
	if err != nil {
		b.Fatal(err)
	}
	tids, err := proc.Tasks(p.PID)
	if err != nil {
		b.Fatal(err)
	}
	var outcomes [Unsure + 1]int
	frames, n := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		st, o, err := p.Blocked(tids[n%len(tids)])
		if err != nil {
			b.Fatal(err)
		}
		outcomes[o]++
		frames += len(st.Frames)
		n++
	}
	b.ReportMetric(float64(frames)/float64(n), "frames/op")
	b.ReportMetric(100*float64(outcomes[Asleep])/float64(n), "%complete")
	b.ReportMetric(100*float64(outcomes[Unsure])/float64(n), "%unsure")
	b.ReportMetric(100*float64(outcomes[Running])/float64(n), "%running")
}
