package attach

import (
	"errors"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// TestLoaded: the loader's list of a process is read, and one that goes round is an error.
func TestLoaded(t *testing.T) {
	for _, round := range []string{"0", "1"} {
		bin := testbin.BuildText(t, "round.c", `
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <unistd.h>
extern struct r_debug _r_debug;
int main(void)
{
	if (ROUND)
		_r_debug.r_map->l_next->l_next = _r_debug.r_map;
	puts("ready");
	fflush(stdout);
	pause();
}
`, "-no-pie", "-fno-pie", "-DROUND="+round)
		p := testbin.Start(t, bin)
		testbin.Until(t, "it is ready", func() bool { return strings.Contains(p.Output(), "ready") })
		list, err := loaded(p.PID, 0)
		switch {
		case round == "1" && !errors.Is(err, ErrThread):
			t.Errorf("a list that goes round: %v", err)
		case round == "0" && (err != nil || list[0] == 0 || len(list) < 3): // program, vDSO, libc, loader
			t.Errorf("%v, %v", list, err)
		}
	}
}
