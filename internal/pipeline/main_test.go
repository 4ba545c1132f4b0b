package pipeline

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"syspart/internal/observe"
	"syspart/internal/testbin"
	"syspart/profile"
)

// opt is what the tests analyse with: a cache of their own, so that every library is analysed once.
var opt Options

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "syspart-pipeline-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	opt.CacheDir = dir
	return m.Run()
}

// observed runs a server, waits until serve says that it serves, lets work load it, and returns what was seen in at least
// the given number of samples, half of them after the work. serve gets the server's first line of output, if there is
// one; work may be nil.
func observed(t *testing.T, argv []string, samples int64, serve func(line string) bool, work func()) *observe.Observation {
	t.Helper()
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var first atomic.Pointer[string]
	go func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			line := s.Text()
			first.CompareAndSwap(nil, &line)
		}
	}()
	var taken atomic.Int64
	until, done := make(chan struct{}), make(chan struct{})
	var obs *observe.Observation
	go func() {
		defer close(done)
		defer out.Close()
		obs, err = observe.Observe(context.Background(), observe.Options{Command: argv, Stdin: null, Stdout: out, Stderr: os.Stderr,
			Until: until, Kill: true, NoSignals: true, Progress: func(p observe.Progress) { taken.Store(int64(p.Samples)) }})
	}()
	// The observation ends whatever happens here.
	defer func() {
		select {
		case <-until:
		default:
			close(until)
		}
		<-done
	}()
	ended := func() bool {
		select {
		case <-done:
			t.Fatalf("%s: the observation has ended: %v", argv[0], err)
		default:
		}
		return false
	}
	testbin.Until(t, argv[0]+" serves", func() bool {
		line := ""
		if p := first.Load(); p != nil {
			line = *p
		}
		return ended() || serve(line)
	})
	if work != nil {
		work()
	}
	end := max(samples, taken.Load()+samples/2)
	testbin.Until(t, "samples of "+argv[0], func() bool { return ended() || taken.Load() >= end })
	close(until)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	return obs
}

// observedServer is observed for a fixture of testdata/servers, with some requests if it answers any.
func observedServer(t *testing.T, name, bin string, requests int) *observe.Observation {
	t.Helper()
	addr := ""
	return observed(t, []string{bin}, 120, func(line string) bool {
		port, ok := strings.CutPrefix(line, "READY ")
		addr = "127.0.0.1:" + port
		return ok
	}, func() {
		for range requests {
			if name == "handler" || name == "noloop" {
				return
			}
			if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
				t.Errorf("%s answers %q, %v", name, got, err)
			}
		}
	})
}

// profiled makes a profile that is valid.
func profiled(t testing.TB, bin string, obs *observe.Observation, opt Options) *profile.Profile {
	t.Helper()
	p, err := Profile(context.Background(), bin, obs, opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Marshal(); err != nil {
		t.Errorf("the profile is not valid: %v", err)
	}
	return p
}

// sets are the serving sets of a profile's kinds without their names, which symbols decide.
func sets(p *profile.Profile) []string {
	var out []string
	for i := range p.Threads {
		th := &p.Threads[i]
		out = append(out, fmt.Sprint(th.Role, th.Instances, " ", th.Serving.Own, th.Serving.Exec, th.Serving.Enforcer))
	}
	slices.Sort(out)
	return out
}

// sameSets compares serving sets.
func sameSets(t *testing.T, what string, got, want *profile.Profile) {
	t.Helper()
	if g, w := sets(got), sets(want); !slices.Equal(g, w) {
		t.Errorf("%s: other serving sets\n%s\nwant\n%s", what, strings.Join(g, "\n"), strings.Join(w, "\n"))
	}
}
