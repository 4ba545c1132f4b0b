package pipeline

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"syspart/internal/testbin"
)

// TestRenew: if all libraries count as changed, return addresses in them are found again by what is called there, and the
// new profile is the old one, for nothing has really changed.
func TestRenew(t *testing.T) {
	for _, name := range []string{"cleanup", "threads", "prefork", "execs"} {
		t.Run(name, func(t *testing.T) {
			bin, _ := testbin.Server(t, name, "-O2")
			p := profiled(t, bin, observedServer(t, name, bin, 2), opt)
			old := *p
			old.Modules = slices.Clone(p.Modules)
			frames := 0
			for i := range old.Modules {
				old.Modules[i].SHA256 = strings.Repeat("0", 64)
			}
			old.Threads = slices.Clone(p.Threads)
			for i := range old.Threads {
				th := &old.Threads[i]
				th.Transition.Stack = slices.Clone(th.Transition.Stack)
				for k := range th.Transition.Stack {
					if fr := &th.Transition.Stack[k]; fr.Module != p.Program.Path {
						fr.Offset = "0x1"
						frames++
					}
				}
			}
			got, err := Renew(context.Background(), &old, opt)
			if err != nil {
				t.Fatal(err)
			}
			if (name == "cleanup" || name == "threads") && frames == 0 {
				t.Error("no frame of a library to find again")
			}
			for i := range got.Threads { // where a thread began shows in frames that are not kept
				if !got.Threads[i].Transition.Bottom {
					got.Threads[i].Init = p.Threads[i].Init
				}
			}
			if d := cmp.Diff(p, got); d != "" {
				t.Errorf("another profile (-old +renewed):\n%s", d)
			}
		})
	}
}

// TestRenewMoved: another build of the program has its loop elsewhere.
func TestRenewMoved(t *testing.T) {
	bin, _ := testbin.Server(t, "cleanup", "-O2")
	p := profiled(t, bin, observedServer(t, "cleanup", bin, 1), opt)
	other, _ := testbin.Server(t, "cleanup", "-O0")
	p.Program.Path = other
	for i := range p.Threads {
		p.Threads[i].Transition.Module = other
		for k := range p.Threads[i].Transition.Stack {
			if fr := &p.Threads[i].Transition.Stack[k]; fr.Module == bin {
				fr.Module = other
			}
		}
	}
	if _, err := Renew(context.Background(), p, opt); !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), "syspart profile -o") {
		t.Errorf("%v", err)
	}
}
