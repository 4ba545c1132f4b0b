package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// TestInstall: a hardened copy takes the program's place in a database of dpkg's own, an upgrade goes beside it, is hardened
// anew, and revert leaves what the package brought. Programs and libraries are whole at each step.
func TestInstall(t *testing.T) {
	testbin.NeedRoot(t)
	testbin.Need(t, "dpkg-divert", "dpkg")
	dir, prog := split(t)
	admin, private := filepath.Join(dir, "admin"), filepath.Join(dir, "private")
	for _, d := range []string{admin, filepath.Join(admin, "info"), filepath.Join(admin, "updates")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(admin, "status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	p, path := fixtureProfile(t, "split", prog)
	before := read(prog)
	install := []string{"harden", "-p", path, "--install", "--admindir", admin, "-o", private}
	serves := func() {
		t.Helper()
		srv, addr := testbin.StartServer(t, prog)
		leader := server(t, srv.PID, prog)
		testbin.Until(t, "every thread has a filter", func() bool { return allFiltered(family(leader)) })
		readBack(t, p, family(leader))
		if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
			t.Fatalf("answer %q, %v", got, err)
		}
		maps := string(read(fmt.Sprintf("/proc/%d/maps", leader)))
		if !strings.Contains(maps, private+"/libpool.so.1") {
			t.Errorf("the private library is not loaded:\n%s", maps)
		}
		srv.End()
	}
	if out, msg, code := call(t, "harden", "-p", path, "--verify", prog); code != 1 || !strings.Contains(msg, prog+": is the program itself, not hardened") {
		t.Errorf("verify of what is not hardened: %d %q %q", code, out, msg)
	}
	must(t, install...)
	packaged := prog + ".unhardened"
	if !slices.Equal(read(packaged), before) || slices.Equal(read(prog), before) {
		t.Error("the packaged program is not beside the copy")
	}
	serves()
	must(t, "harden", "-p", path, "--verify", prog)

	// An upgrade: dpkg would write the new program to where the diversion says. Here it has other bytes in data alone.
	upgraded := slices.Clone(before)
	at := strings.Index(string(upgraded), "READY %d")
	if at < 0 {
		t.Fatal("no text to change")
	}
	copy(upgraded[at:], "READY  %d"[:8])
	if err := os.WriteFile(packaged, upgraded, 0o755); err != nil {
		t.Fatal(err)
	}
	hardened := read(prog)
	if _, msg, code := call(t, install...); code != 0 || !strings.Contains(msg, "computed anew") {
		t.Errorf("after the upgrade: status %d, %s", code, msg)
	}
	if now := read(prog); slices.Equal(now, hardened) || !strings.Contains(string(now), "READY  ") || !slices.Equal(read(packaged), upgraded) {
		t.Error("the copy is not of the upgraded program")
	}

	must(t, "revert", "--admindir", admin, prog)
	if !slices.Equal(read(prog), upgraded) {
		t.Error("revert does not bring the packaged program back")
	}
	for _, gone := range []string{packaged, private} {
		if _, err := os.Lstat(gone); err == nil {
			t.Errorf("%s is left", gone)
		}
	}
	if left := strings.TrimSpace(string(read(filepath.Join(admin, "diversions")))); left != "" {
		t.Errorf("a diversion is left: %s", left)
	}
	if _, msg, code := call(t, "revert", "--admindir", admin, prog); code != 1 || !strings.Contains(msg, "no hardened copy") {
		t.Errorf("revert twice: status %d, %s", code, msg)
	}
}
