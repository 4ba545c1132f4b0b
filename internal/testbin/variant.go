package testbin

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Offsets in the header of a 64-bit ELF file (gABI, "ELF Header").
const (
	ehShoff    = 0x28
	ehShentsz  = 0x3a
	ehShnum    = 0x3c
	ehShstrndx = 0x3e
	ehSize     = 0x40
)

// Copy copies a program into a directory of the test's own under the same name and returns its path.
func Copy(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Base(path), data)
}

// Strip returns a copy without symbol table and debug sections, as distributions ship servers.
func Strip(t testing.TB, path string) string {
	t.Helper()
	strip := Need(t, "strip", "binutils")
	out := filepath.Join(t.TempDir(), filepath.Base(path))
	if text, err := exec.Command(strip, "-o", out, path).CombinedOutput(); err != nil {
		t.Fatalf("strip %s: %v\n%s", path, err, text)
	}
	return out
}

// NoSections returns a copy whose header denies that there are section headers (e_shoff, e_shentsize, e_shnum and
// e_shstrndx zero): only the program headers are left to go by.
func NoSections(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) < ehSize || string(data[:4]) != "\x7fELF" || data[4] != 2 || data[5] != 1 {
		t.Fatalf("%s: no little-endian 64-bit ELF file", path)
	}
	binary.LittleEndian.PutUint64(data[ehShoff:], 0)
	binary.LittleEndian.PutUint16(data[ehShentsz:], 0)
	binary.LittleEndian.PutUint16(data[ehShnum:], 0)
	binary.LittleEndian.PutUint16(data[ehShstrndx:], 0)
	return write(t, filepath.Base(path), data)
}

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(out, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return out
}

// ownedByUs refuses a directory that somebody else could have prepared.
func ownedByUs(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.IsDir() || int(sys.Uid) != os.Getuid() || st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s: not a directory of this user alone", dir)
	}
	return nil
}
