package testbin

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// sbin are directories that hold servers but are often missing from an ordinary user's PATH.
var sbin = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// Need returns the path of tool, looked up in PATH and in the sbin directories. If it is missing the test is skipped, or
// fails where nothing may be skipped (see Skip); the message names pkg, the Debian package that has the tool.
func Need(t testing.TB, tool, pkg string) string {
	t.Helper()
	if path, ok := lookup(tool); ok {
		return path
	}
	Skip(t, "%s is not installed (Debian package %s)", tool, pkg)
	return ""
}

// NeedFile returns path if it is a file that can be read. Otherwise it does as Need does.
func NeedFile(t testing.TB, path, pkg string) string {
	t.Helper()
	if f, err := os.Open(path); err == nil {
		f.Close()
		return path
	}
	Skip(t, "%s cannot be read (Debian package %s)", path, pkg)
	return ""
}

// NeedRoot skips a test that does what only root may.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "needs root")
	}
}

// Skip skips the test; the message names what is missing. Where Strict says that nothing may be missing it fails instead.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if Strict() {
		t.Fatal("must not be skipped here: " + fmt.Sprintf(format, args...))
	}
	t.Skipf(format, args...)
}

// Strict reports whether nothing may be skipped: SYSPART_NO_SKIP is 1, we are root, and the system is Debian, so that all
// that tests need can be installed.
func Strict() bool {
	if os.Getenv("SYSPART_NO_SKIP") != "1" || os.Geteuid() != 0 {
		return false
	}
	_, err := os.Stat("/etc/debian_version")
	return err == nil
}

func lookup(tool string) (string, bool) {
	if path, err := exec.LookPath(tool); err == nil {
		return path, true
	}
	for _, dir := range sbin {
		path := filepath.Join(dir, tool)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, true
		}
	}
	return "", false
}
