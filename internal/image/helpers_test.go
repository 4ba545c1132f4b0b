package image

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// diff reports where got differs from want.
func diff(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%.2000s", what, d)
	}
}

// output runs a tool of binutils in the C locale and returns what it prints on standard output. Its exit status says
// nothing: readelf 2.40 exits with 1 after printing all of libc's frames without a complaint.
func output(t testing.TB, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	out, err := cmd.Output()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) || len(out) == 0 {
		t.Fatalf("%v: %v", argv, err)
	}
	return string(out)
}
