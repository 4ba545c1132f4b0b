package cfg

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// real are binaries as Debian ships them, with bounds of what may stay unknown in them.
var real = []struct {
	path, pkg  string
	incomplete int // functions; libc has setcontext and swapcontext, which return to where they are told
	indirect   int // indirect jumps that are no jump tables: tail calls through pointers
}{
	{"/usr/sbin/nginx", "nginx", 0, 100},
	{"/usr/bin/redis-server", "redis-server", 0, 100},
	{"/usr/sbin/lighttpd", "lighttpd", 1, 100},
	{"/usr/sbin/apache2", "apache2-bin", 1, 100},
	{"/usr/sbin/named", "bind9", 1, 100},
	{"/usr/bin/memcached", "memcached", 1, 50},
	{"/lib/x86_64-linux-gnu/libc.so.6", "libc6", 4, 130},
	{"/lib64/ld-linux-x86-64.so.2", "libc6", 4, 50},
	{"/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "libssl3", 2, 450},
	{"/usr/lib/x86_64-linux-gnu/libssl.so.3", "libssl3", 1, 100},
	{"/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "libstdc++6", 3, 400},
	{"/usr/lib/x86_64-linux-gnu/libpcre2-8.so.0", "libpcre2-8-0", 2, 50},
}

func open(t testing.TB, path, pkg string) *image.File {
	t.Helper()
	f, err := image.Open(testbin.NeedFile(t, path, pkg))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// unknowns counts incomplete functions and indirect jumps other than those of stubs.
func unknowns(g *Graph) (incomplete, indirect int) {
	for _, fn := range g.Funcs {
		if fn.Incomplete != "" {
			incomplete++
		}
		for i := range fn.Blocks {
			if fn.Blocks[i].Term == TermIndirect && !fn.Stub {
				indirect++
			}
		}
	}
	return incomplete, indirect
}

func TestRealBinaries(t *testing.T) {
	for _, c := range real {
		t.Run(filepath.Base(c.path), func(t *testing.T) {
			f := open(t, c.path, c.pkg)
			g, err := Build(f)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range sanity(g) {
				if i < 20 {
					t.Error(e)
				}
			}
			lost, err := frameStarts(g)
			if err != nil || len(lost) > 0 {
				t.Errorf("unwind entries without function: %#x (%v)", lost, err)
			}
			// Tables do not overlap: one that runs into the next was read with a wrong bound.
			tables := slices.SortedFunc(slices.Values(g.Tables), func(x, y JumpTable) int { return cmp.Compare(x.Table, y.Table) })
			for i := 1; i < len(tables); i++ {
				if x, y := &tables[i-1], &tables[i]; x.Table != y.Table && x.Table+uint64(x.Entries)*uint64(x.Width) > y.Table {
					t.Errorf("table %#x of %d entries runs into table %#x", x.Table, x.Entries, y.Table)
				}
			}
			incomplete, indirect := unknowns(g)
			t.Logf("%d functions, %d jump tables, %d incomplete, %d indirect jumps", len(g.Funcs), len(g.Tables), incomplete, indirect)
			if incomplete > c.incomplete || indirect > c.indirect {
				t.Errorf("more than %d incomplete functions or %d indirect jumps", c.incomplete, c.indirect)
				for _, fn := range g.Funcs {
					if fn.Incomplete != "" {
						t.Logf("%#x %s: %s", fn.Entry, fn.Name, fn.Incomplete)
					}
				}
			}
		})
	}
}

// TestKnownFacts pins what anybody can look up about libc.
func TestKnownFacts(t *testing.T) {
	g, err := Build(open(t, "/lib/x86_64-linux-gnu/libc.so.6", "libc6"))
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*Func)
	for _, s := range g.File.Dyn.Symbols {
		if fn := g.At(s.Value); fn != nil && !s.Undefined {
			byName[s.Name] = fn
		}
	}
	for _, name := range []string{"exit", "_exit", "abort", "longjmp", "__assert_fail", "__stack_chk_fail", "pthread_exit", "err", "quick_exit"} {
		if fn := byName[name]; fn == nil || !fn.NoReturn {
			t.Errorf("%s is not known not to return", name)
		}
	}
	for _, name := range []string{"printf", "malloc", "setcontext", "syscall", "execve", "error", "fork", "setjmp", "_setjmp"} {
		if fn := byName[name]; fn == nil || fn.NoReturn {
			t.Errorf("%s is missing, or taken not to return", name)
		}
	}
	for _, name := range []string{"setcontext", "swapcontext"} {
		if fn := byName[name]; fn == nil || fn.Incomplete == "" {
			t.Errorf("%s jumps to where it is told and is taken to be complete", name)
		}
	}
	if fn := byName["vfprintf"]; fn == nil || fn.Incomplete != "" {
		t.Error("vfprintf is incomplete")
	}
	// The unwind entry of what signal handlers return to begins a byte before it.
	found := false
	for _, text := range g.File.Segments {
		if !text.Exec {
			continue
		}
		code, _ := g.File.Bytes(text.Start, text.End-text.Start)
		if i := bytes.Index(code, restorers[0]); i >= 0 {
			found = true
			if va := text.Start + uint64(i); g.At(va) == nil || g.At(va-1) != nil {
				t.Errorf("signal handlers return to %#x, where no function begins, or one before it", va)
			}
		}
	}
	if !found {
		t.Error("no code for the return from signal handlers was found")
	}
}

// The same bytes give the same graph, however many processors work on it.
func TestDeterministic(t *testing.T) {
	f := open(t, "/usr/sbin/nginx", "nginx")
	var first []byte
	for i, procs := range []int{1, 3, 2} {
		old := runtime.GOMAXPROCS(procs)
		g, err := Build(f)
		runtime.GOMAXPROCS(old)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte(describe(g))
		if i == 0 {
			first = text
		} else if !bytes.Equal(first, text) {
			t.Fatalf("another graph with %d processors", procs)
		}
	}
}

func TestContaining(t *testing.T) {
	g, err := Build(open(t, "/usr/sbin/nginx", "nginx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range g.Funcs {
		for _, k := range []int{0, len(fn.Insts) / 2, len(fn.Insts) - 1} {
			in := &fn.Insts[k]
			for _, va := range []uint64{in.Addr, in.Next() - 1} {
				found := false
				for _, other := range g.Containing(va) {
					found = found || other == fn
					if other.BlockAt(va) < 0 {
						t.Fatalf("%#x: function %#x has no block there", va, other.Entry)
					}
				}
				if !found {
					t.Fatalf("%#x: function %#x is missing", va, fn.Entry)
				}
			}
			if b := fn.BlockAt(in.Addr); fn.Blocks[b].First > int32(k) || fn.Blocks[b].Last <= int32(k) {
				t.Fatalf("%#x: block %d does not hold instruction %d", in.Addr, b, k)
			}
		}
	}
	for _, va := range []uint64{0, ^uint64(0), g.Orphans[0].Start} {
		if fns := g.Containing(va); len(fns) > 0 {
			t.Errorf("%#x: function %#x", va, fns[0].Entry)
		}
	}
	if g.At(0) != nil || g.At(^uint64(0)) != nil {
		t.Error("a function where there is none")
	}
}

// A file made to be expensive, with thousands of entries into one long function, is refused.
func TestTooComplex(t *testing.T) {
	bin := testbin.BuildText(t, "many.s", `
	.globl _start
_start:
	ret
	.type big, @function
big:
	.cfi_startproc
	.rept 20000
	nop
	.endr
	ret
	.cfi_endproc
	.data
	.balign 8
	.set i, 0
	.rept 20000
	.quad big + i
	.set i, i + 1
	.endr
`, "-nostdlib", "-no-pie")
	f, err := image.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Build(f); !errors.Is(err, ErrTooComplex) {
		t.Errorf("error %v, want %v", err, ErrTooComplex)
	}
}

// An interpreter like LuaJIT's: hundreds of pieces of code, each of which jumps through a table whose address it keeps on a
// stack that grows from one piece to the next. The slices of all these jumps are bounded by the size of the function.
func TestManyJumps(t *testing.T) {
	var text strings.Builder
	const pieces = 250
	fmt.Fprint(&text, ".globl _start\n.type _start, @function\n_start:\n.cfi_startproc\nlea table(%rip), %rbx\nmov %rbx, 8(%rsp)\njmp l0\n")
	for i := range pieces {
		fmt.Fprintf(&text, "l%d: push %%rax\nmov 0x10(%%rsp), %%rbx\nmovzbl (%%rdi), %%eax\ninc %%rdi\ntest %%eax, %%eax\njz l%d\njmp *(%%rbx,%%rax,8)\n", i, (i*7+1)%pieces)
	}
	fmt.Fprint(&text, ".cfi_endproc\n.section .data.rel.ro,\"aw\"\n.balign 8\ntable:\n")
	for i := range pieces {
		fmt.Fprintf(&text, ".quad l%d\n", i)
	}
	f, err := image.Open(testbin.BuildText(t, "interpreter.s", text.String(), "-nostdlib", "-static-pie"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := build(f)
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, n := range b.nodes {
		steps += n.steps
	}
	if limit := sliceRatio*10*pieces + len(b.nodes)*(sliceBase+sliceBase/2); len(b.nodes) < 2 || steps > limit {
		t.Errorf("slices of %d functions took %d steps, want at most %d", len(b.nodes), steps, limit)
	}
	g := b.graph()
	if fn := g.At(f.Entry); fn == nil || len(fn.Blocks) < 2*pieces {
		t.Errorf("%v: not all code was found", fn)
	}
}

// Files without code, or with nothing but a header's worth of it, have an empty graph.
func TestNoCode(t *testing.T) {
	bin := testbin.BuildText(t, "data.s", ".data\n.globl x\nx: .quad 1\n", "-nostdlib", "-shared")
	f, err := image.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Build(f)
	if err != nil || len(g.Funcs) > 0 || len(g.Tables) > 0 {
		t.Errorf("%d functions, %d tables, %v", len(g.Funcs), len(g.Tables), err)
	}
}

// FuzzBuild changes bytes of small programs: no panic, and a consistent graph or one of the documented errors.
func FuzzBuild(f *testing.F) {
	for _, src := range []string{"hand.s", "except.cc"} {
		flags := []string{"-w", "-Os"}
		if src == "hand.s" {
			flags = []string{"-w", "-nostdlib", "-static-pie"}
		}
		data, err := os.ReadFile(testbin.Build(f, filepath.Join("testdata", src), flags...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint32(0), uint64(0))
		for at := uint32(0x40); at < uint32(len(data)); at += uint32(len(data) / 40) {
			f.Add(data, at, uint64(0x0102030405060708)*uint64(at))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint32, x uint64) {
		data = bytes.Clone(data)
		for i := range 8 {
			if n := uint64(at) + uint64(i); n < uint64(len(data)) {
				data[n] ^= byte(x >> (8 * i))
			}
		}
		file, err := image.Parse("fuzz", data)
		if err != nil {
			return
		}
		g, err := Build(file)
		if err != nil {
			if !errors.Is(err, ErrTooComplex) && !errors.Is(err, image.ErrFormat) && !errors.Is(err, image.ErrTruncated) {
				t.Errorf("error of no known kind: %v", err)
			}
			return
		}
		if errs := sanity(g); len(errs) > 0 {
			t.Error(errs[0])
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	for _, c := range real {
		b.Run(filepath.Base(c.path), func(b *testing.B) {
			f := open(b, c.path, c.pkg)
			if _, err := f.Frames(); err != nil {
				b.Fatal(err)
			}
			var g *Graph
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if g, err = Build(f); err != nil {
					b.Fatal(err)
				}
			}
			insts := 0
			for _, fn := range g.Funcs {
				insts += len(fn.Insts)
			}
			incomplete, indirect := unknowns(g)
			b.ReportMetric(float64(len(g.Funcs)), "functions")
			b.ReportMetric(float64(insts), "instructions")
			b.ReportMetric(float64(len(g.Tables)), "tables")
			b.ReportMetric(float64(incomplete), "incomplete")
			b.ReportMetric(float64(indirect), "indirect")
		})
	}
}
