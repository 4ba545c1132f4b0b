package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	shaA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	shaB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	libc = "/usr/lib/x86_64-linux-gnu/libc.so.6"
)

// sample is a profile with every list out of order.
func sample() *Profile {
	return &Profile{
		SchemaVersion: SchemaVersion,
		Program:       Program{Path: "/usr/sbin/d", SHA256: shaA, BuildID: "0a1b"},
		Modules: []Module{
			{Path: libc, SHA256: shaB, BuildID: "c0ffee", Found: FoundNeeded},
			{Path: "/lib64/ld-linux-x86-64.so.2", SHA256: shaA, Found: FoundLoader},
		},
		Threads: []Thread{
			{
				Kind: "worker", Role: RoleThread, Samples: 3, Instances: 2,
				Transition: Transition{Module: libc, Offset: "0x1010", Function: "f+0x10", Entry: "0x1000",
					Edges: [][2]string{{"0x100f", "0x1010"}, {"0xfff", "0x1010"}, {"0xfff", "0x1010"}},
					Stack: []Frame{{Module: libc, Offset: "0x2000"}, {Module: "/usr/sbin/d", Offset: "0x10"}}, Bottom: true},
				Init:    []string{"write", "read", "write"},
				Serving: Serving{Own: []string{"read", "exit"}, Exec: []string{"mmap"}, Enforcer: []string{"prctl"}},
			},
			{
				Kind: "cycle", Role: RoleMain, Transition: Transition{Module: "/usr/sbin/d", Offset: "0x5", Entry: "0x1"},
				Serving: Serving{Own: []string{"accept4", "exit"}},
			},
		},
		Executes:    []Execute{{Path: "/bin/sh", SHA256: shaB, Found: FoundStatic, Needs: []string{"read", "mmap"}}},
		Unresolved:  []Unresolved{{What: "dlopen", Module: libc, Offset: "0x20", Effect: "x"}, {What: "execve", Module: libc, Offset: "0x3", Effect: "y"}},
		Assumptions: []string{"b", "a", "b"},
	}
}

func TestMarshalIsSortedStableAndReadBack(t *testing.T) {
	p := sample()
	first, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if p.Threads[0].Kind != "worker" || p.Threads[0].Init[0] != "write" {
		t.Error("Marshal changed its receiver")
	}
	slices.Reverse(p.Modules)
	slices.Reverse(p.Threads)
	slices.Reverse(p.Unresolved)
	second, _ := p.Marshal()
	if !bytes.Equal(first, second) {
		t.Errorf("order of lists shows in the document:\n%s\n%s", first, second)
	}
	q, err := Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	third, _ := q.Marshal()
	if !bytes.Equal(first, third) {
		t.Errorf("document changes when read and written:\n%s\n%s", first, third)
	}
	if !bytes.HasSuffix(first, []byte("}\n")) || !bytes.HasPrefix(first, []byte("{\n  \"schemaVersion\": 1,\n")) {
		t.Errorf("form of the document: %.60q", first)
	}
	if bytes.Contains(first, []byte("null")) {
		t.Errorf("absent list is null, want []:\n%s", first)
	}
	w := q.Kind("worker")
	if got := q.Threads[0].Kind; got != "cycle" {
		t.Errorf("first thread is %s, want the main thread", got)
	}
	if fmt.Sprint(w.Init) != "[read write]" || fmt.Sprint(w.Transition.Edges) != "[[0xfff 0x1010] [0x100f 0x1010]]" {
		t.Errorf("lists not sorted: %v %v", w.Init, w.Transition.Edges)
	}
	if w.Transition.Stack[0].Offset != "0x2000" || !w.Transition.Bottom {
		t.Errorf("stack lost its order or bottom: %+v", w.Transition)
	}
}

func TestUnion(t *testing.T) {
	p := sample()
	for _, tt := range []struct{ set, kind, want string }{
		{SetAll, "", "accept4 exit mmap prctl read"},
		{SetOwn, "", "accept4 exit read"},
		{SetExec, "", "mmap"},
		{SetEnforcer, "", "prctl"},
		{SetAll, "cycle", "accept4 exit"},
		{SetOwn, "worker", "exit read"},
		{SetExec, "cycle", ""},
		{SetAll, "nobody", ""},
		{"nothing", "", ""},
	} {
		if got := strings.Join(p.Union(tt.set, tt.kind), " "); got != tt.want {
			t.Errorf("Union(%q, %q) = %q, want %q", tt.set, tt.kind, got, tt.want)
		}
	}
	if p.Kind("nobody") != nil {
		t.Error("Kind of an unknown name is not nil")
	}
}

func TestValidate(t *testing.T) {
	known := func(name string) bool { return name != "mkdri" }
	for _, tt := range []struct {
		name string
		edit func(*Profile)
		is   error
		want string
	}{
		{"version", func(p *Profile) { p.SchemaVersion = 2 }, ErrSchema, "unsupported schema version 2"},
		{"no program", func(p *Profile) { p.Program.Path = "" }, ErrInvalid, "program: path: empty"},
		{"short hash", func(p *Profile) { p.Program.SHA256 = shaA[1:] }, ErrInvalid, "program: sha256"},
		{"build-id", func(p *Profile) { p.Program.BuildID = "xy" }, ErrInvalid, "program: buildID"},
		{"module hash", func(p *Profile) { p.Modules[0].SHA256 = "" }, ErrInvalid, "modules[0]: sha256"},
		{"module twice", func(p *Profile) { p.Modules[1].Path = libc }, ErrInvalid, "modules[1]: path: " + libc + " occurs twice"},
		{"found", func(p *Profile) { p.Modules[0].Found = "guessed" }, ErrInvalid, `modules[0]: found: "guessed"`},
		{"no threads", func(p *Profile) { p.Threads = nil }, ErrInvalid, "threads: no thread kind"},
		{"no kind", func(p *Profile) { p.Threads[0].Kind = "" }, ErrInvalid, "threads[0] (): kind: empty"},
		{"kind twice", func(p *Profile) { p.Threads[1].Kind = "worker" }, ErrInvalid, `kind "worker" occurs twice`},
		{"role", func(p *Profile) { p.Threads[0].Role = "boss" }, ErrInvalid, `role: "boss"`},
		{"negative", func(p *Profile) { p.Threads[0].Samples = -1 }, ErrInvalid, "negative"},
		{"empty own", func(p *Profile) { p.Threads[0].Serving.Own = nil }, ErrInvalid, "serving.own: empty"},
		{"form of a call", func(p *Profile) { p.Threads[0].Init = []string{"Read"} }, ErrInvalid, `init: "Read" is no system call`},
		{"unknown call", func(p *Profile) { p.Threads[1].Serving.Exec = []string{"mkdri"} }, ErrInvalid, `serving.exec: "mkdri"`},
		{"foreign module", func(p *Profile) { p.Threads[0].Transition.Module = "/x" }, ErrInvalid, `transition.module: "/x"`},
		{"offset", func(p *Profile) { p.Threads[0].Transition.Offset = "4096" }, ErrInvalid, `transition.offset: "4096" is not a hex`},
		{"entry", func(p *Profile) { p.Threads[0].Transition.Entry = "0x" }, ErrInvalid, "transition.entry"},
		{"upper case", func(p *Profile) { p.Threads[0].Transition.Entry = "0xAB" }, ErrInvalid, "transition.entry"},
		{"edge", func(p *Profile) { p.Threads[0].Transition.Edges[1][1] = "0x11112222333344445" }, ErrInvalid, "transition.edges[1]"},
		{"stack", func(p *Profile) { p.Threads[0].Transition.Stack[1].Offset = "" }, ErrInvalid, "transition.stack[1]: offset"},
		{"stack module", func(p *Profile) { p.Threads[0].Transition.Stack[0].Module = "" }, ErrInvalid, "transition.stack[0]: module"},
		{"exec path", func(p *Profile) { p.Executes[0].Path = "" }, ErrInvalid, "executes[0]: path"},
		{"exec hash", func(p *Profile) { p.Executes[0].SHA256 = "00" }, ErrInvalid, "executes[0]: sha256"},
		{"exec found", func(p *Profile) { p.Executes[0].Found = "" }, ErrInvalid, "executes[0]: found"},
		{"exec needs", func(p *Profile) { p.Executes[0].Needs = []string{""} }, ErrInvalid, "executes[0]: needs"},
		{"unresolved what", func(p *Profile) { p.Unresolved[0].What = "" }, ErrInvalid, "unresolved[0]: what"},
		{"unresolved effect", func(p *Profile) { p.Unresolved[0].Effect = "" }, ErrInvalid, "unresolved[0]: effect"},
		{"unresolved offset", func(p *Profile) { p.Unresolved[1].Offset = "here" }, ErrInvalid, "unresolved[1]: offset"},
	} {
		p := sample()
		tt.edit(p)
		err := p.Validate(known)
		if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if err := sample().Validate(known); err != nil {
		t.Errorf("valid profile: %v", err)
	}
	p := sample()
	p.Threads[0].Init = []string{"mkdri"}
	if err := p.Validate(nil); err != nil {
		t.Errorf("without a table names are checked for their form only: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	good, _ := sample().Marshal()
	for _, tt := range []struct {
		name, data string
		is         error
		want       string
	}{
		{"empty", "", ErrInvalid, "not JSON: byte 0: unexpected end"},
		{"truncated", string(good[:len(good)/2]), ErrInvalid, "not JSON"},
		{"binary", "\x7fELF\x02\x01", ErrInvalid, "byte 1"},
		{"list", "[]", ErrInvalid, "array"},
		{"no version", "{}", ErrInvalid, "no schemaVersion"},
		{"later version", `{"schemaVersion": 9, "phases": {}}`, ErrSchema, "version 9 (this syspart reads 1)"},
		{"trailing", string(good) + "{}", ErrInvalid, "not JSON"},
		{"misspelt", strings.Replace(string(good), `"serving"`, `"servng"`, 1), ErrInvalid, `unknown field "servng"`},
		{"wrong type", strings.Replace(string(good), `"samples": 3`, `"samples": "3"`, 1), ErrInvalid, "samples"},
		{"invalid", strings.Replace(string(good), `"main"`, `"chief"`, 1), ErrInvalid, `role: "chief"`},
	} {
		_, err := Parse([]byte(tt.data))
		if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestSaveWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.json")
	p := sample()
	if err := p.Save(path); err != nil {
		t.Fatal(err)
	}
	want, _ := p.Marshal()
	if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
		t.Errorf("file differs from Marshal")
	}
	if st, _ := os.Stat(path); st.Mode() != 0o644 {
		t.Errorf("mode %v, want 0644", st.Mode())
	}
	if q, err := Load(path); err != nil || q.Program != p.Program {
		t.Errorf("Load: %v", err)
	}

	// An invalid profile leaves the old file alone.
	bad := sample()
	bad.Threads = nil
	if err := bad.Save(path); !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), path) {
		t.Errorf("saving an invalid profile: %v", err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
		t.Errorf("old file changed")
	}

	// Through a symbolic link, the file that it names is replaced.
	link := filepath.Join(dir, "link.json")
	if err := os.Symlink("p.json", link); err != nil {
		t.Fatal(err)
	}
	p.Assumptions = []string{"new"}
	if err := p.Save(link); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Lstat(link); st.Mode()&fs.ModeSymlink == 0 {
		t.Error("symbolic link was replaced by a file")
	}
	if q, _ := Load(path); q == nil || q.Assumptions[0] != "new" {
		t.Error("file behind the symbolic link is the old one")
	}

	// A device stays one, a directory is refused, nothing temporary stays behind.
	if err := p.Save("/dev/null"); err != nil {
		t.Errorf("/dev/null: %v", err)
	}
	if st, _ := os.Stat("/dev/null"); st.Mode().IsRegular() {
		t.Error("/dev/null is a file now")
	}
	if err := p.Save(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("directory: %v", err)
	}
	if err := p.Save(filepath.Join(dir, "no", "p.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("broken: %v", err)
	}
}

func TestVerify(t *testing.T) {
	p := sample()
	files := map[string][2]string{
		"/usr/sbin/d":                 {shaA, "0a1b"},
		libc:                          {shaB, "c0ffee"},
		"/lib64/ld-linux-x86-64.so.2": {shaA, ""},
		"/bin/sh":                     {shaB, ""},
	}
	denied := ""
	open := func(path string) (string, string, error) {
		if path == denied {
			return "", "", fs.ErrPermission
		}
		f, ok := files[path]
		if !ok {
			return "", "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return f[0], f[1], nil
	}
	if err := p.Verify(open); err != nil {
		t.Fatalf("unchanged files: %v", err)
	}

	files[libc] = [2]string{shaA, "deadbeef"}
	var changed *ModuleChangedError
	if err := p.Verify(open); !errors.As(err, &changed) || changed.Path != libc || !errors.Is(err, ErrChanged) {
		t.Fatalf("changed library: %v", err)
	}
	if want := libc + ": changed since it was profiled (want build-id c0ffee, is build-id deadbeef); profile the server again"; changed.Error() != want {
		t.Errorf("message %q, want %q", changed.Error(), want)
	}

	files[libc] = [2]string{shaA, "c0ffee"} // rewritten, build-id kept
	if err := p.Verify(open); !errors.As(err, &changed) || changed.Want != "sha256 "+shaB || changed.Got != "sha256 "+shaA {
		t.Errorf("rewritten library: %v", err)
	}

	delete(files, "/bin/sh")
	files["/usr/sbin/d"] = [2]string{shaB, "0a1b"}
	all := p.Mismatches(open)
	var missing *MissingModule
	if len(all) != 3 || !errors.As(all[0], &changed) || changed.Path != "/usr/sbin/d" || !errors.As(all[2], &missing) ||
		missing.Path != "/bin/sh" || !errors.Is(missing, ErrChanged) || !errors.Is(missing, fs.ErrNotExist) {
		t.Errorf("all mismatches: %v", all)
	}

	denied = "/usr/sbin/d"
	if err := p.Verify(open); !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrChanged) || !strings.HasPrefix(err.Error(), denied) {
		t.Errorf("unreadable file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	good, _ := sample().Marshal()
	f.Add(good)
	f.Add([]byte(`{"schemaVersion":1}`))
	f.Add([]byte(`{"schemaVersion":1,"threads":[{"kind":"a","transition":{"edges":[["0x1"]]}}]}`))
	f.Add([]byte(`[[[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrSchema) {
				t.Errorf("error of no known kind: %v", err)
			}
			return
		}
		first, err := p.Marshal()
		if err != nil {
			t.Fatalf("a profile that was read cannot be written: %v", err)
		}
		q, err := Parse(first)
		if err != nil {
			t.Fatalf("a profile that was written cannot be read: %v\n%s", err, first)
		}
		if second, _ := q.Marshal(); !bytes.Equal(first, second) {
			t.Errorf("not stable:\n%s\n%s", first, second)
		}
	})
}
