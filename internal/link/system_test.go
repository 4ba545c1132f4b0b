package link

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"syspart/internal/image"
	"syspart/internal/summary"
	"syspart/internal/testbin"
)

// ldd returns what the loader itself would load for a program, in its order, cleaned; without interpreter and vDSO.
func ldd(t testing.TB, loader, exe string) []string {
	t.Helper()
	exe, err := filepath.EvalSymlinks(exe) // a loader that is called by name takes $ORIGIN from the name it is given
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, nil, loader, "--list", exe)
	var list []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) >= 3 && f[1] == "=>" && f[2] != loader && !strings.HasPrefix(f[0], "/lib64/ld-linux") {
			list = append(list, filepath.Clean(f[2]))
		}
	}
	return list
}

// TestModulesOfSystem compares the modules with those of the loader, for executables of the system.
func TestModulesOfSystem(t *testing.T) {
	const loader = "/lib64/ld-linux-x86-64.so.2"
	testbin.NeedFile(t, loader, "libc6")
	const want = 90
	compared := 0
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, len(entries)/(want*2/3))
		for i := 0; i < len(entries); i++ {
			file := filepath.Join(dir, entries[i].Name())
			// Every server, and a sample of the rest.
			server := slices.Contains([]string{"nginx", "redis-server", "memcached", "lighttpd", "apache2", "named"}, entries[i].Name())
			if i%step != 0 && !server {
				continue
			}
			f, err := image.Open(file)
			if err != nil || f.Interp != loader {
				continue
			}
			p := load(t, file, Options{})
			if got, want := paths(p)[1:], ldd(t, loader, file); !slices.Equal(got, want) {
				t.Errorf("%s:\n got %q\nwant %q", file, got, want)
			}
			if p.Interp < 0 || p.Modules[p.Interp].Path != loader {
				t.Errorf("%s: no interpreter", file)
			}
			compared++
		}
	}
	t.Logf("%d executables", compared)
	if compared < 20 {
		t.Errorf("only %d executables compared", compared)
	}
}

// reference is a reference by symbol of a module, as LD_DEBUG=bindings prints it.
type reference struct{ from, name, version string }

var bindingLine = regexp.MustCompile("binding file (\\S+) \\[0\\] to (\\S+) \\[0\\]: (?:normal|protected) symbol `([^']+)'(?: \\[([^]]+)\\])?")

// debugBindings runs a program with all symbols bound at start and returns what the loader says it bound them to, for
// the process itself.
func debugBindings(t testing.TB, env []string, argv ...string) map[reference][]string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "b")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(append(os.Environ(), env...), "LD_DEBUG=bindings", "LD_BIND_NOW=1", "LD_DEBUG_OUTPUT="+out)
	if err := cmd.Run(); err != nil {
		t.Logf("%s: %v", argv[0], err)
	}
	text, err := os.ReadFile(fmt.Sprintf("%s.%d", out, cmd.ProcessState.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	bound := map[reference][]string{}
	for line := range strings.Lines(string(text)) {
		m := bindingLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		r := reference{filepath.Clean(m[1]), m[3], m[4]}
		if to := filepath.Clean(m[2]); !slices.Contains(bound[r], to) {
			bound[r] = append(bound[r], to)
		}
	}
	return bound
}

// ourBindings returns the same by our own account: all symbolic relocations of all modules.
func ourBindings(p *Program) map[reference][]string {
	bound := map[reference][]string{}
	for i, m := range p.Modules {
		if i == p.VDSO {
			continue
		}
		for _, rel := range m.Dyn.Relocs {
			if rel.Sym == 0 {
				continue
			}
			s := &m.Dyn.Symbols[rel.Sym]
			if s.Bind == byte(elf.STB_LOCAL) || s.Vis == byte(elf.STV_HIDDEN) {
				continue // not looked up
			}
			r := reference{m.Path, s.Name, s.Version}
			for _, target := range p.LookupClass(i, rel.Sym, ClassOf(rel.Type)) {
				if to := p.Modules[target.Module].Path; !slices.Contains(bound[r], to) {
					bound[r] = append(bound[r], to)
				}
			}
		}
	}
	return bound
}

// compareBindings compares both, both ways, and returns the number of references.
func compareBindings(t *testing.T, p *Program, want map[reference][]string) int {
	t.Helper()
	got := ourBindings(p)
	known := map[string]bool{}
	for _, m := range p.Modules {
		known[m.Path] = true
	}
	n, bad := 0, 0
	report := func(format string, args ...any) {
		if bad++; bad <= 10 {
			t.Errorf(format, args...)
		}
	}
	for r, to := range want {
		if !known[r.from] || r.from == p.Modules[max(p.Interp, 0)].Path && p.Interp >= 0 {
			continue // loaded later, or the vDSO's own
		}
		ours, ok := got[r]
		if !ok {
			// Not by relocation, hence by the loader itself, dlsym or dlvsym.
			for _, target := range append(p.LoaderFuncs(), p.LookupName(r.name, r.version, ScopeAny)...) {
				if s := p.Modules[target.Module].Dyn.Symbols[target.Sym]; s.Name != r.name {
					continue
				}
				ours = append(ours, p.Modules[target.Module].Path)
			}
			for _, f := range to {
				if known[f] && !slices.Contains(ours, f) {
					report("%v: bound to %q, LookupName says %q", r, to, ours)
				}
			}
			continue
		}
		n++
		slices.Sort(to)
		slices.Sort(ours)
		if !slices.Equal(ours, to) {
			report("%v: bound to %q, we say %q", r, to, ours)
		}
	}
	for r, ours := range got {
		if _, ok := want[r]; !ok && r.from != p.Modules[p.Interp].Path {
			report("%v: not bound, we say %q", r, ours)
		}
	}
	if bad > 10 {
		t.Errorf("%d more differences", bad-10)
	}
	return n
}

// TestBindingsOfSystem compares all symbol bindings of programs of the system with those that the loader makes.
func TestBindingsOfSystem(t *testing.T) {
	for _, test := range []struct {
		pkg  string // "": not worth installing for this
		argv []string
	}{
		{"nginx-core", []string{"/usr/sbin/nginx", "-v"}},
		{"redis-server", []string{"/usr/bin/redis-server", "--version"}},
		{"curl", []string{"/usr/bin/curl", "--version"}},
		{"memcached", []string{"/usr/bin/memcached", "-V"}},
		{"lighttpd", []string{"/usr/sbin/lighttpd", "-v"}},
		{"apache2-bin", []string{"/usr/sbin/apache2", "-v"}},
		{"bind9", []string{"/usr/sbin/named", "-V"}},
		{"bash", []string{"/usr/bin/bash", "-c", ":"}},
		{"", []string{"/usr/bin/git", "--version"}},
		{"", []string{"/usr/bin/perl", "-e", "1"}},
		{"", []string{"/usr/bin/gdb", "--version"}},
		{"", []string{"/usr/bin/apt", "--version"}},
	} {
		argv := test.argv
		if _, err := os.Stat(argv[0]); err != nil && test.pkg == "" {
			continue
		}
		t.Run(filepath.Base(argv[0]), func(t *testing.T) {
			testbin.NeedFile(t, argv[0], test.pkg)
			p := load(t, argv[0], Options{})
			n := compareBindings(t, p, debugBindings(t, nil, argv...))
			t.Logf("%d modules, %d references", len(p.Modules), n)
			if n < 20 {
				t.Errorf("only %d references compared", n)
			}
		})
	}
}

func TestVDSO(t *testing.T) {
	data, err := ReadVDSO()
	if errors.Is(err, ErrNoVDSO) {
		testbin.Skip(t, "the kernel maps no vDSO here")
	}
	if err != nil {
		t.Fatal(err)
	}
	p := load(t, testbin.NeedFile(t, "/usr/bin/true", "coreutils"), Options{VDSO: data})
	if p.VDSO < 0 || p.Modules[p.VDSO].Path != "[vdso]" {
		t.Fatalf("vDSO is module %d", p.VDSO)
	}
	names := map[string]bool{}
	for _, f := range p.VDSOFuncs() {
		names[p.Modules[f.Module].Dyn.Symbols[f.Sym].Name] = true
	}
	for _, want := range []string{"__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu"} {
		if !names[want] {
			t.Errorf("%s is missing in %v", want, names)
		}
	}
	if got := p.LookupName("clock_gettime", "", ScopeGlobal); len(got) != 1 || got[0].Module == p.VDSO {
		t.Errorf("clock_gettime is bound to %v, which is not libc", got)
	}
	if p := load(t, "/usr/bin/true", Options{NoVDSO: true}); p.VDSO != -1 || p.VDSOFuncs() != nil {
		t.Errorf("vDSO in spite of NoVDSO")
	}
}

// TestDeterministic loads the same program several times.
func TestDeterministic(t *testing.T) {
	exe := testbin.NeedFile(t, "/usr/sbin/nginx", "nginx-core")
	var first []string
	for range 3 {
		p := load(t, exe, Options{})
		var got []string
		for i, m := range p.Modules {
			got = append(got, fmt.Sprint(i, m.Index, m.Path, m.Real, m.Found, m.Needed, m.Base))
			for j := range m.Dyn.Symbols {
				got = append(got, fmt.Sprint(p.Lookup(i, uint32(j))))
			}
		}
		if first != nil && !slices.Equal(got, first) {
			t.Error("results differ")
		}
		first = got
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	called := false
	_, err := Load(ctx, testbin.NeedFile(t, "/usr/bin/true", "coreutils"), Options{Summarize: func(string, []byte) (*summary.Module, error) {
		called = true
		return nil, errors.New("called")
	}})
	if !errors.Is(err, context.Canceled) || called {
		t.Errorf("got %v, summarised: %v", err, called)
	}
}

// BenchmarkLink links nginx, whose files are read already, and binds every symbol.
func BenchmarkLink(b *testing.B) {
	exe := testbin.NeedFile(b, "/usr/sbin/nginx", "nginx-core")
	cached := cachingSummarize()
	load(b, exe, Options{Summarize: cached})
	var linking, binding time.Duration
	var p *Program
	bound := 0
	for b.Loop() {
		start := time.Now()
		p = load(b, exe, Options{Summarize: cached})
		linking += time.Since(start)
		start = time.Now()
		bound = 0
		for i, m := range p.Modules {
			for _, rel := range m.Dyn.Relocs {
				if rel.Sym != 0 && len(p.Lookup(i, rel.Sym)) > 0 {
					bound++
				}
			}
		}
		binding += time.Since(start)
	}
	relocs := 0
	for _, m := range p.Modules {
		relocs += len(m.Dyn.Relocs)
	}
	b.ReportMetric(float64(linking.Microseconds())/1000/float64(b.N), "ms-load/op")
	b.ReportMetric(float64(binding.Microseconds())/1000/float64(b.N), "ms-bind/op")
	b.ReportMetric(float64(relocs), "relocations")
	b.ReportMetric(float64(bound), "bound")
	b.ReportMetric(float64(len(p.Modules)), "modules")
	runtime.KeepAlive(p)
}
