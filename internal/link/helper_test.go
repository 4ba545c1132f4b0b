package link

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"syspart/internal/image"
	"syspart/internal/summary"
	"syspart/internal/testbin"
)

// summarize makes a summary that has only what linking needs.
func summarize(path string, data []byte) (*summary.Module, error) {
	f, err := image.Open(path)
	if data != nil {
		f, err = image.Parse(path, data)
	}
	if err != nil {
		return nil, err
	}
	return &summary.Module{
		SHA256: f.SHA256, BuildID: f.BuildID, Kind: f.Kind, Static: f.Static, Interp: f.Interp, Entry: f.Entry, Dyn: f.Dyn,
	}, nil
}

// load loads a program and fails the test if that does not work.
func load(t testing.TB, exe string, opt Options) *Program {
	t.Helper()
	if opt.Summarize == nil {
		opt.Summarize = summarize
	}
	p, err := Load(context.Background(), exe, opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// gcc compiles C source to dir/name with flags and returns the file.
func gcc(t testing.TB, dir, name, src string, flags ...string) string {
	t.Helper()
	return compile(t, "gcc", dir, name, src, flags...)
}

func compile(t testing.TB, cc, dir, name, src string, flags ...string) string {
	t.Helper()
	cc = testbin.Need(t, cc, map[string]string{"gcc": "gcc", "musl-gcc": "musl-tools"}[cc])
	out := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "f.c")
	write(t, file, src)
	cmd := exec.Command(cc, append([]string{"-O1", "-w", "-o", out, file}, flags...)...)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, msg)
	}
	return out
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run executes a program with more environment and returns what it prints.
func run(t testing.TB, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

// paths returns the paths of the modules, without interpreter and vDSO.
func paths(p *Program) []string {
	var list []string
	for i, m := range p.Modules {
		if i != p.VDSO && i != p.Interp {
			list = append(list, m.Path)
		}
	}
	return list
}

// byBase returns the module whose file has that name.
func byBase(t testing.TB, p *Program, base string) *Module {
	t.Helper()
	for _, m := range p.Modules {
		if filepath.Base(m.Path) == base {
			return m
		}
	}
	t.Fatalf("no module %s", base)
	return nil
}

// symbol returns the index of a dynamic symbol of a module, with a version or, if that is "", any.
func symbol(t testing.TB, m *Module, name, version string) uint32 {
	t.Helper()
	for i, s := range m.Dyn.Symbols {
		if s.Name == name && (version == "" || s.Version == version) {
			return uint32(i)
		}
	}
	t.Fatalf("%s: no symbol %s@%s", m.Path, name, version)
	return 0
}

// cachingSummarize is summarize with a memory, so that a benchmark does not measure package image.
func cachingSummarize() func(string, []byte) (*summary.Module, error) {
	var mu sync.Mutex
	known := map[string]*summary.Module{}
	return func(path string, data []byte) (*summary.Module, error) {
		mu.Lock()
		m := known[path]
		mu.Unlock()
		if m != nil {
			return m, nil
		}
		m, err := summarize(path, data)
		if err == nil {
			mu.Lock()
			known[path] = m
			mu.Unlock()
		}
		return m, err
	}
}
