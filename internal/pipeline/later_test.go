package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestNameService(t *testing.T) {
	for name, want := range map[string][]string{
		"getpwnam_r": {"passwd"}, "getgrgid": {"group"}, "getgroups": nil, "getpid": nil, "getgrouplist": {"group", "initgroups"},
		"getaddrinfo": {"hosts", "services"}, "innetgr": {"netgroup"}, "getservbyname": {"services"}, "glob": {"passwd", "hosts", "services"},
	} {
		if got := nameService(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestNsswitch(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "# names\npasswd: files [NOTFOUND=return] systemd # twice: sss\nhosts:\tfiles mdns4_minimal [ !UNAVAIL=return ] dns\nshadow: sss\ngroup: files ../evil\n"
	if err := os.WriteFile(filepath.Join(root, "etc", "nsswitch.conf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ databases, want []string }{
		{nil, nil}, {[]string{"passwd"}, []string{"systemd"}}, {[]string{"passwd", "hosts"}, []string{"mdns4_minimal", "systemd"}},
		{[]string{"group"}, nil}, {[]string{"services"}, nil},
	} {
		asked := map[string]bool{}
		for _, db := range tt.databases {
			asked[db] = true
		}
		if got := nsswitch(nil, root, asked); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.databases, got, tt.want)
		}
	}
}
