package observe

import (
	"os"
	"testing"

	"syspart/internal/proc"
)

// TestExecutedMeanwhile: what a process has mapped counts for the program that it runs alone, also if the news of its exec
// comes after its mappings were read.
func TestExecutedMeanwhile(t *testing.T) {
	exe, _, err := proc.Exe(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	s := newSampler(&Options{}, nil, newJournal())
	for _, m := range []*member{{pid: os.Getpid(), exe: "/before"}, {pid: os.Getpid(), exe: exe}} {
		if !s.ensure(m) {
			t.Fatal("no mappings")
		}
	}
	if n := len(s.modules["/before"]); n != 0 {
		t.Errorf("%d modules for the program before", n)
	}
	if s.modules[exe][exe] == nil {
		t.Errorf("modules %v", s.modules)
	}
}
