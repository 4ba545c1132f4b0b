package link

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"syspart/internal/testbin"
)

// copyFile copies a file and makes its directory.
func copyFile(t *testing.T, to, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data))
}

func symlink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// makeRoot makes a root with a program, its library and libc, that is full of absolute symbolic links.
//
//	/bin -> /usr/bin    /lib -> /usr/lib    /lib64 -> /usr/lib64    /usr/lib/link.so -> /opt/lib/liba.so
func makeRoot(t *testing.T) string {
	root := t.TempDir()
	real := func(name string) string {
		f, err := filepath.EvalSymlinks(testbin.NeedFile(t, name, "libc6"))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	copyFile(t, root+"/usr/lib64/loader", real(glibcLoader))
	symlink(t, "/usr/lib64/loader", root+"/usr/lib64/ld-linux-x86-64.so.2")
	copyFile(t, root+"/usr/lib/x86_64-linux-gnu/libc.so.6", real("/lib/x86_64-linux-gnu/libc.so.6"))
	for _, d := range []string{"bin", "lib", "lib64"} {
		symlink(t, "/usr/"+d, root+"/"+d)
	}
	lib := gcc(t, root, "opt/lib/liba.so", "int a(void) { return 1; }", "-shared", "-fPIC", "-Wl,-soname,liba.so")
	gcc(t, root, "usr/bin/prog", "int a(void); int main(void) { return !a(); }", lib)
	write(t, root+"/etc/ld.so.conf", "# comment\ninclude ld.so.conf.d/*.conf\n")
	write(t, root+"/etc/ld.so.conf.d/b.conf", "/nonexistent\n/opt/lib # ours\n")
	write(t, root+"/etc/ld.so.conf.d/a.conf", "include /etc/ld.so.conf\n") // a cycle
	return root
}

func rootPaths(p *Program) (list []string) {
	for _, m := range p.Modules {
		list = append(list, m.Path+" "+m.Real)
	}
	return list
}

func TestRoot(t *testing.T) {
	root := makeRoot(t)
	want := []string{
		"/bin/prog /usr/bin/prog",
		"/opt/lib/liba.so /opt/lib/liba.so",
		"/lib/x86_64-linux-gnu/libc.so.6 /usr/lib/x86_64-linux-gnu/libc.so.6",
		"/lib64/ld-linux-x86-64.so.2 /usr/lib64/loader",
	}
	check := func(t *testing.T) {
		t.Helper()
		p := load(t, "/bin/prog", Options{Root: root, NoVDSO: true})
		if got := rootPaths(p); !slices.Equal(got, want) {
			t.Errorf("\n got %q\nwant %q", got, want)
		}
		for _, m := range p.Modules {
			if m.File != root+m.Real {
				t.Errorf("%s: file %s", m.Path, m.File)
			}
		}
		if got := p.Lookup(0, symbol(t, p.Modules[0], "a", "")); len(got) != 1 || got[0].Module != 1 {
			t.Errorf("a is bound to %v", got)
		}
	}
	t.Run("ld.so.conf", check)
	t.Run("ld.so.cache", func(t *testing.T) {
		if msg, err := exec.Command(testbin.NeedFile(t, "/sbin/ldconfig", "libc-bin"), "-r", root).CombinedOutput(); err != nil {
			testbin.Skip(t, "ldconfig -r does not work here: %s", msg)
		}
		if err := os.Remove(root + "/etc/ld.so.conf"); err != nil {
			t.Fatal(err)
		}
		check(t)
	})
	t.Run("damaged cache", func(t *testing.T) {
		write(t, root+"/etc/ld.so.cache", "nonsense")
		_, err := Load(t.Context(), "/bin/prog", Options{Root: root, Summarize: summarize})
		var missing *MissingError
		if !errors.As(err, &missing) || missing.Library != "liba.so" || missing.NeededBy != "/bin/prog" {
			t.Errorf("got %v", err)
		}
		write(t, root+"/etc/ld.so.conf", "/opt/lib\n")
		p := load(t, "/bin/prog", Options{Root: root, NoVDSO: true})
		if len(p.Skipped) != 1 || !errors.Is(p.Skipped[0].Err, ErrCache) {
			t.Errorf("skipped: %v", p.Skipped)
		}
	})
	t.Run("preload file", func(t *testing.T) {
		gcc(t, root, "opt/pre.so", "int a(void) { return 2; }", "-shared", "-fPIC")
		write(t, root+"/etc/ld.so.preload", "# comment\n /opt/pre.so:/none.so\n")
		p := load(t, "/bin/prog", Options{Root: root, NoVDSO: true})
		if p.Modules[1].Path != "/opt/pre.so" {
			t.Errorf("modules: %q", rootPaths(p))
		}
		if got := p.Lookup(0, symbol(t, p.Modules[0], "a", "")); len(got) != 1 || got[0].Module != 1 {
			t.Errorf("a is bound to %v", got)
		}
	})
	t.Run("no interpreter", func(t *testing.T) {
		if err := os.Remove(root + "/usr/lib64/loader"); err != nil {
			t.Fatal(err)
		}
		_, err := Load(t.Context(), "/bin/prog", Options{Root: root, Summarize: summarize})
		var missing *MissingError
		if !errors.As(err, &missing) || missing.Library != glibcLoader {
			t.Errorf("got %v", err)
		}
	})
}

// TestRootIsTight follows links that try to get out.
func TestRootIsTight(t *testing.T) {
	outside := t.TempDir()
	write(t, outside+"/secret", "x")
	root := t.TempDir()
	write(t, root+"/etc/real", "y")
	symlink(t, "/etc/real", root+"/abs")
	symlink(t, "../../../../../../../../../etc/real", root+"/etc/up")
	symlink(t, outside+"/secret", root+"/out")
	symlink(t, "loop", root+"/loop")
	symlink(t, "/etc", root+"/dir")
	symlink(t, "abs/x", root+"/through")
	r, err := newRoot(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, want string
		err        error
	}{
		{"/etc/real", "/etc/real", nil},
		{"//etc/./real", "/etc/real", nil},
		{"/abs", "/etc/real", nil},
		{"/etc/up", "/etc/real", nil},
		{"/dir/../../../dir/real", "/etc/real", nil},
		{"/../../..", "/", nil},
		{"/out", "", fs.ErrNotExist},
		{outside + "/secret", "", fs.ErrNotExist},
		{"/loop", "", syscall.ELOOP},
		{"/through", "", syscall.ENOTDIR},
		{"/etc/real/x", "", syscall.ENOTDIR},
	} {
		inside, host, err := r.resolve(test.name)
		if !errors.Is(err, test.err) || inside != test.want {
			t.Errorf("%s: %q, %v, want %q, %v", test.name, inside, err, test.want, test.err)
		}
		if err == nil && host != strings.TrimSuffix(root+inside, "/") {
			t.Errorf("%s: host %q", test.name, host)
		}
	}
	if got := r.glob("/dir/r*l"); !slices.Equal(got, []string{"/dir/real"}) {
		t.Errorf("glob: %q", got)
	}
	if _, err := newRoot(root+"/etc/real", nil); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("root that is a file: %v", err)
	}
	if _, err := newRoot(root+"/none", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("root that does not exist: %v", err)
	}
}
