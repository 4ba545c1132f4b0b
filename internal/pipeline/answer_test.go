package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"syspart/internal/callgraph"
	"syspart/internal/testbin"
)

// rootWithProgram makes a root directory with a program that asks for users, its library, and libc; it returns the program's path inside.
func rootWithProgram(t *testing.T) (root, program string) {
	t.Helper()
	root = t.TempDir()
	put := func(inside string, data []byte) {
		t.Helper()
		path := filepath.Join(root, inside)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) []byte {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	lib := testbin.BuildText(t, "own.c", "int getpid(void); int own(void) { return getpid(); }", "-shared", "-fPIC", "-Wl,-soname,libown.so")
	bin := testbin.BuildText(t, "asks.c", "void *getpwnam(const char *); int own(void); int main(void) { return own() + !getpwnam(\"x\"); }", "-O1", lib)
	put("bin/asks", read(bin))
	put("opt/libown.so", read(lib))
	put("etc/ld.so.conf", []byte("/first\n/opt\n"))
	put("etc/nsswitch.conf", []byte("passwd: files\n"))
	for _, f := range []string{"/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"} {
		put(f, read(testbin.NeedFile(t, f, "libc6")))
	}
	return root, "/bin/asks"
}

// TestAnswer: an analysis that is asked for again is not done again, unless anything that it saw has changed: a module, a
// file of the configuration, a file that was not there; or what is asked.
func TestAnswer(t *testing.T) {
	root, bin := rootWithProgram(t)
	opt := Options{Root: root, CacheDir: t.TempDir()}
	from := []string{"entry", "main"}
	ask := func(opt Options, from []string) *Analysis {
		t.Helper()
		a, err := Analyze(context.Background(), bin, from, opt)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	kept := func(opt Options, from []string) bool {
		t.Helper()
		l := newLoader(&opt)
		defer l.close()
		key, ok := answerKey(bin, from, &opt)
		if !ok {
			t.Fatal("this program has no identification")
		}
		_, ok = l.recall(key)
		return ok
	}
	if kept(opt, from) {
		t.Fatal("there is an answer before anything was asked")
	}
	first := ask(opt, from)
	if !kept(opt, from) {
		t.Fatal("the answer was not kept")
	}
	if again := ask(opt, from); !reflect.DeepEqual(again, first) {
		t.Errorf("kept:\n%+v\ncomputed:\n%+v", again, first)
	}
	if fresh := ask(Options{Root: root, NoCache: true}, from); !reflect.DeepEqual(fresh, first) {
		t.Errorf("with a cache:\n%+v\nwithout:\n%+v", first, fresh)
	}
	for what, o := range map[string]Options{
		"another level":           {Root: root, CacheDir: opt.CacheDir, Level: callgraph.LevelA},
		"a module that is given":  {Root: root, CacheDir: opt.CacheDir, Modules: []string{"/opt/libown.so"}},
		"a program that is given": {Root: root, CacheDir: opt.CacheDir, Exec: []string{"/bin/asks"}},
		"plug-ins":                {Root: root, CacheDir: opt.CacheDir, Plugins: true},
		"another policy":          {Root: root, CacheDir: opt.CacheDir, ExecPolicy: ExecNone},
		"no root":                 {CacheDir: opt.CacheDir},
	} {
		if kept(o, from) {
			t.Errorf("%s: the answer to another question", what)
		}
	}
	if kept(opt, from[:1]) || kept(opt, []string{"main", "entry"}) {
		t.Error("other starting points: the answer to another question")
	}

	write := func(inside string, data []byte) func(t *testing.T) {
		return func(t *testing.T) {
			path := filepath.Join(root, inside)
			old, err := os.ReadFile(path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err != nil {
					os.Remove(path)
				} else if err := os.WriteFile(path, old, 0o755); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	other, err := os.ReadFile(testbin.BuildText(t, "own2.c", "int getuid(void); int own(void) { return getuid(); }", "-shared", "-fPIC", "-Wl,-soname,libown.so"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		change func(t *testing.T)
		calls  bool // and the answer is another one
	}{
		{"a module", write("opt/libown.so", other), true},
		{"a library that is found earlier", write("first/libown.so", other), true},
		{"the configuration of names", write("etc/nsswitch.conf", []byte("passwd: files systemd\n")), false},
		{"the configuration of the loader", write("etc/ld.so.conf", []byte("# here\n/first\n/opt\n")), false},
	} {
		t.Run(c.what, func(t *testing.T) {
			c.change(t)
			if kept(opt, from) {
				t.Error("the answer holds although it has changed")
			}
			now := ask(opt, from)
			if c.calls == reflect.DeepEqual(now.Sets, first.Sets) {
				t.Errorf("another answer: %v", !c.calls)
			}
			if !kept(opt, from) {
				t.Error("the new answer was not kept")
			}
		})
	}
	if again := ask(opt, from); !reflect.DeepEqual(again, first) {
		t.Error("everything is as it was, but not the answer")
	}
}

// TestDamagedAnswer: an answer that is no answer is computed again.
func TestDamagedAnswer(t *testing.T) {
	root, bin := rootWithProgram(t)
	opt := Options{Root: root, CacheDir: t.TempDir()}
	from := []string{"entry"}
	want, err := Analyze(context.Background(), bin, from, opt)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := answerKey(bin, from, &opt)
	if !ok {
		t.Fatal("this program has no identification")
	}
	for _, text := range []string{"", "{", "{}", `{"Seen":[],"Analysis":{"Sets":[{}]},"Calls":[[]]}`, `{"Seen":[{"Op":77,"Path":"/","Answer":""}],"Analysis":{"Sets":[{}]},"Calls":[[1]]}`,
		`{"Seen":[{"Op":1,"Path":"/nowhere","Answer":"!2"}],"Analysis":{"Sets":[{}]},"Calls":[]}`} {
		l := newLoader(&opt)
		if err := l.cache.Put(key, []byte(text)); err != nil {
			t.Fatal(err)
		}
		l.close()
		got, err := Analyze(context.Background(), bin, from, opt)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// TestAsked: what an analysis wants to know of the file system it asks its view, or an answer would be given again although
// something has changed. The files named here are part of an answer's key, or of what is never kept.
func TestAsked(t *testing.T) {
	elsewhere := map[string]bool{"cpu.go": true, "vdso.go": true, "answer.go": true, // the key
		"ahead.go": true,                                                                                              // decides nothing
		"plan.go":  true, "pins.go": true, "points.go": true, "harden.go": true, "private.go": true, "renew.go": true} // what rests on a profile
	asks := regexp.MustCompile(`\b(os\.(Open|OpenFile|ReadFile|Stat|Lstat|ReadDir|Readlink|Getwd|DirFS)|filepath\.(EvalSymlinks|Glob|Walk|WalkDir|Abs)|image\.Open|unix\.(Stat|Lstat|Open|Getxattr)|elf\.Open)\(`)
	for _, dir := range []string{".", "../link"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", dir, err, len(files))
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || elsewhere[filepath.Base(file)] {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(text), "\n") {
				if asks.MatchString(line) {
					t.Errorf("%s:%d: not asked of the view: %s", file, i+1, strings.TrimSpace(line))
				}
			}
		}
	}
}
