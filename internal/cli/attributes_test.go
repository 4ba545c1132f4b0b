package cli

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"syspart/internal/testbin"
)

// TestAttributes: a copy keeps what belongs to the file, not what signs or hashes its contents.
func TestAttributes(t *testing.T) {
	testbin.NeedRoot(t)
	dir := t.TempDir()
	like, to := filepath.Join(dir, "like"), filepath.Join(dir, "to")
	if err := os.WriteFile(like, []byte("old"), 0o750); err != nil {
		t.Fatal(err)
	}
	// cap_net_raw=p, as setcap writes it (linux/capability.h: struct vfs_cap_data, revision 2).
	capability := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	set := map[string][]byte{"security.capability": capability, "security.ima": {4, 4, 1}, "security.evm": {2, 4, 1}}
	for name, value := range set {
		if err := unix.Setxattr(like, name, value, 0); err != nil {
			if name == "security.evm" { // closed on kernels with EVM
				continue
			}
			testbin.Skip(t, "attribute %s: %v", name, err)
		}
	}
	if err := writeLike(to, like, []byte("new")); err != nil {
		t.Fatal(err)
	}
	for name, value := range set {
		got := make([]byte, 64)
		n, err := unix.Getxattr(to, name, got)
		switch kept := name == "security.capability"; {
		case kept && (err != nil || string(got[:n]) != string(value)):
			t.Errorf("%s: %x, %v", name, got[:max(n, 0)], err)
		case !kept && err == nil:
			t.Errorf("%s is copied: it is of the old contents", name)
		}
	}
	if st, err := os.Stat(to); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}
