package view

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHold: notes hold until what was answered changes, what was not there included.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(in(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write("file", "one")
	must(os.Mkdir(in("dir"), 0o755))
	must(os.Symlink("file", in("link")))
	asks := map[string]func(v *View){
		"Stat":           func(v *View) { v.Stat(in("file")) },
		"Stat of none":   func(v *View) { v.Stat(in("none")) },
		"Lstat":          func(v *View) { v.Lstat(in("link")) },
		"Readlink":       func(v *View) { v.Readlink(in("link")) },
		"EvalSymlinks":   func(v *View) { v.EvalSymlinks(in("link")) },
		"ReadFile":       func(v *View) { v.ReadFile(in("file")) },
		"ReadFileSum":    func(v *View) { v.ReadFileSum(in("file")) },
		"ReadFile, none": func(v *View) { v.ReadFile(in("none")) },
		"ReadDir":        func(v *View) { v.ReadDir(dir) },
		"Glob":           func(v *View) { v.Glob(in("n*")) },
		"Head":           func(v *View) { v.Head(in("file")) },
		"Head of none":   func(v *View) { v.Head(in("none")) },
		"HasXattr":       func(v *View) { v.HasXattr(in("file"), "user.some") },
		"Getwd":          func(v *View) { v.Getwd() },
	}
	notes := func(ask func(v *View)) []Note {
		t.Helper()
		v := New()
		ask(v)
		n, ok := v.Notes()
		if !ok || len(n) != 1 {
			t.Fatalf("notes %v, %v", n, ok)
		}
		return n
	}
	changes := []struct {
		what string
		do   func() (undo func())
		ends []string // asks whose notes do not hold then
		may  []string // others of which that is not sure: the system may give an inode's number again
	}{
		{"nothing", func() func() { return func() {} }, nil, nil},
		{"other contents, as long", func() func() { write("file", "two"); return func() { write("file", "one") } }, []string{"Head", "ReadFile", "ReadFileSum"}, nil},
		{"other contents, longer", func() func() { write("file", "three"); return func() { write("file", "one") } }, []string{"Head", "ReadFile", "ReadFileSum", "Stat"}, nil},
		{"other permissions", func() func() {
			must(os.Chmod(in("file"), 0o4755))
			return func() { must(os.Chmod(in("file"), 0o644)) }
		}, []string{"Stat"}, nil},
		{"a new file", func() func() { write("none", ""); return func() { must(os.Remove(in("none"))) } },
			[]string{"Glob", "Head of none", "ReadDir", "ReadFile, none", "Stat of none"}, nil},
		{"another link", func() func() {
			must(os.Remove(in("link")))
			must(os.Symlink("dir", in("link")))
			return func() {
				must(os.Remove(in("link")))
				must(os.Symlink("file", in("link")))
			}
		}, []string{"EvalSymlinks", "Readlink"}, []string{"Lstat"}},
	}
	all := map[string][]Note{}
	for what, ask := range asks {
		all[what] = notes(ask)
	}
	for _, c := range changes {
		undo := c.do()
		var ended []string
		for what, n := range all {
			if !Hold(n) && !slices.Contains(c.may, what) {
				ended = append(ended, what)
			}
		}
		slices.Sort(ended)
		if !slices.Equal(ended, c.ends) {
			t.Errorf("%s: these do not hold: %q, want %q", c.what, ended, c.ends)
		}
		undo()
	}
	if err := unix.Setxattr(in("file"), "user.some", []byte("x"), 0); err == nil && Hold(all["HasXattr"]) {
		t.Error("an attribute is new, and nobody saw it")
	}
	t.Chdir(dir)
	if Hold(all["Getwd"]) {
		t.Error("another working directory, and nobody saw it")
	}
}

// TestTorn: what was answered in two ways is no base for anything.
func TestTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	v := New()
	v.Stat(path)
	if _, ok := v.Notes(); !ok {
		t.Error("one answer is torn")
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	v.Stat(path)
	if _, ok := v.Notes(); ok {
		t.Error("two answers to one question are not torn")
	}
}

// TestNil: a view that is nil answers, too.
func TestNil(t *testing.T) {
	var v *View
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if data, err := v.ReadFile(path); err != nil || string(data) != "x" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := v.Stat(path + "0"); !os.IsNotExist(err) {
		t.Errorf("error %v", err)
	}
}

// TestDamagedNotes: what is no question does not hold.
func TestDamagedNotes(t *testing.T) {
	if Hold([]Note{{Op: 99, Path: "/"}}) || Hold([]Note{{}}) {
		t.Error("a note of nothing holds")
	}
}
