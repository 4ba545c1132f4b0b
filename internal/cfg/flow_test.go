package cfg

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// want is one expectation of a fixture.
type want struct {
	line int
	key  string
	args []string
	when []string
}

// wantsOf reads the WANT lines of a source; flow.c explains them.
func wantsOf(t *testing.T, src string) (ws []want) {
	t.Helper()
	text, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		_, rest, ok := strings.Cut(line, " WANT: ")
		if !ok {
			continue
		}
		w := want{line: i + 1}
		if rest, cond, ok := strings.Cut(rest, "["); ok {
			w.when = strings.Fields(strings.TrimSuffix(strings.TrimSpace(cond), "]"))
			w.args = strings.Fields(rest)
		} else {
			w.args = strings.Fields(rest)
		}
		w.key, w.args = w.args[0], w.args[1:]
		ws = append(ws, w)
	}
	if len(ws) < 5 {
		t.Fatalf("%s: only %d WANT lines", src, len(ws))
	}
	return ws
}

// applies reports whether the line holds for a compiler and its flags.
func (w *want) applies(cc string, flags []string) bool {
	for _, c := range w.when {
		c, not := strings.CutPrefix(c, "!")
		has := c == cc || slices.Contains(flags, "-"+c) || c == "O2" && slices.Contains(flags, "-O3")
		if has == not {
			return false
		}
	}
	return true
}

// fixture is one build of a source, with the symbols of its unstripped form.
type fixture struct {
	g    *Graph
	addr map[string]uint64
}

func (x *fixture) fn(name string) (*Func, error) {
	va, ok := x.addr[name]
	if !ok {
		return nil, fmt.Errorf("no symbol %s", name)
	}
	fn := x.g.At(va)
	if fn == nil {
		return nil, fmt.Errorf("no function at %s", name)
	}
	return fn, nil
}

// leads reports whether fn calls or tail-calls the address.
func leads(fn *Func, to uint64) bool {
	for i := range fn.Blocks {
		b := &fn.Blocks[i]
		if b.TailTo == to || b.Term == TermCall && uint64(fn.Insts[b.Last-1].Imm) == to {
			return true
		}
	}
	return false
}

// check says in which way the expectation is not met, "" if it is.
func (x *fixture) check(w *want) string {
	if w.key == "absent" {
		if fn, _ := x.fn(w.args[0]); fn != nil {
			return "there is a function"
		}
		return ""
	}
	if w.key == "noreturn" || w.key == "returns" || w.key == "incomplete" {
		for _, name := range w.args {
			fn, err := x.fn(name)
			if err != nil {
				return err.Error()
			}
			if w.key == "incomplete" {
				if fn.Incomplete == "" {
					return name + " is not incomplete"
				}
			} else if fn.NoReturn != (w.key == "noreturn") {
				return fmt.Sprintf("%s: NoReturn is %v", name, fn.NoReturn)
			}
		}
		return ""
	}
	fn, err := x.fn(w.args[0])
	if err != nil {
		return err.Error()
	}
	number := 0
	if len(w.args) > 1 {
		n, _, _ := strings.Cut(w.args[1], ":")
		number, _ = strconv.Atoi(n)
	}
	switch w.key {
	case "calls", "avoids":
		for _, name := range w.args[1:] {
			if leads(fn, x.addr[name]) != (w.key == "calls") {
				return "not so for " + name
			}
		}
	case "tails":
		if !slices.ContainsFunc(fn.Blocks, func(b Block) bool { return b.TailTo == x.addr[w.args[1]] }) {
			return "no tail call"
		}
	case "joined":
		va := x.addr[w.args[1]]
		if b := fn.BlockAt(va); b < 0 || fn.blockStart(b) != va {
			return "no block there"
		}
	case "indirect":
		if !slices.ContainsFunc(fn.Blocks, func(b Block) bool { return b.Term == TermIndirect }) {
			return "no indirect jump"
		}
	case "switch":
		most := 0
		for _, b := range fn.Blocks {
			if b.Term == TermSwitch {
				most = max(most, len(b.Succs))
			}
		}
		if most < number {
			return fmt.Sprintf("%d targets", most)
		}
	case "cold":
		if len(fn.Ranges) < 2 {
			return "one range"
		}
	case "pads":
		if len(fn.Pads) == 0 {
			return "no landing pads"
		}
	case "irreducible":
		if !slices.ContainsFunc(fn.Loops(), func(l Loop) bool { return len(l.Entries) > 1 }) {
			return fmt.Sprintf("loops %+v", fn.Loops())
		}
	case "loops":
		loops := fn.Loops()
		deepest := 0
		for i := range loops {
			d := 0
			for k := int32(i); k >= 0; k = loops[k].Parent {
				d++
			}
			deepest = max(deepest, d)
		}
		if got := fmt.Sprintf("%d:%d", len(loops), deepest); got != w.args[1] {
			return got
		}
	default:
		return "unknown expectation"
	}
	return ""
}

// TestFixtures builds the sources in all the ways that matter and checks their WANT lines on the program as linked, on
// the stripped one and on the one without section headers.
func TestFixtures(t *testing.T) {
	common := []string{"-w", "-fno-stack-protector"}
	var builds []struct {
		cc, src string
		flags   []string
	}
	add := func(cc, src string, flags ...string) {
		builds = append(builds, struct {
			cc, src string
			flags   []string
		}{cc, src, append(flags, common...)})
	}
	for _, cc := range []string{"gcc", "clang"} {
		for _, opt := range []string{"-O0", "-O1", "-O2", "-O3", "-Os"} {
			for _, pie := range []string{"-pie -fPIE", "-no-pie -fno-pie"} {
				add(cc, "flow.c", append(strings.Fields(pie), opt)...)
			}
		}
		add(cc, "flow.c", "-O2", "-fcf-protection=full", "-Wl,-z,ibtplt")
		add(cc, "flow.c", "-O2", "-fPIE", "-pie", "-fcf-protection=full", "-fno-plt", "-Wl,-z,now")
	}
	for _, opt := range []string{"-O0", "-O2"} {
		add("g++", "except.cc", opt)
		add("clang++", "except.cc", opt, "-no-pie", "-fno-pie")
	}
	add("gcc", "hand.s", "-nostdlib", "-no-pie", "-Wl,-z,norelro")
	add("gcc", "hand.s", "-nostdlib", "-static-pie")
	for _, b := range builds {
		t.Run(strings.Join(append([]string{b.src, b.cc}, b.flags[:len(b.flags)-len(common)]...), " "), func(t *testing.T) {
			src := filepath.Join("testdata", b.src)
			bin := testbin.BuildWith(t, b.cc, src, b.flags...)
			ws := wantsOf(t, src)
			file, err := image.Open(bin)
			if err != nil {
				t.Fatal(err)
			}
			addr := make(map[string]uint64)
			for i := range file.Symtab {
				s := &file.Symtab[i]
				if name := plainName(s.Name); !s.Undefined && (addr[name] == 0 || !isColdName(s.Name)) && !isColdName(s.Name) {
					addr[name] = s.Value
				}
			}
			stripped := testbin.Strip(t, bin)
			for _, v := range []struct{ name, path string }{
				{"linked", bin}, {"stripped", stripped}, {"no sections", testbin.NoSections(t, stripped)},
			} {
				file, err := image.Open(v.path)
				if err != nil {
					t.Fatal(err)
				}
				g, err := Build(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range sanity(g) {
					t.Errorf("%s: %s", v.name, e)
				}
				if lost, err := frameStarts(g); err != nil || len(lost) > 0 {
					t.Errorf("%s: unwind entries without function: %#x (%v)", v.name, lost, err)
				}
				stubs := make(map[uint64]bool)
				for _, fn := range g.Funcs {
					if fn.Stub {
						stubs[fn.Slot] = true
					}
				}
				for _, r := range file.Dyn.Relocs {
					if r.PLT && !stubs[r.Off] {
						t.Errorf("%s: no stub for %s", v.name, file.Dyn.Symbols[r.Sym].Name)
					}
				}
				x := fixture{g, addr}
				wanted := make(map[string]bool)
				for i := range ws {
					w := &ws[i]
					if w.key == "incomplete" {
						wanted[w.args[0]] = true
					}
					if w.applies(b.cc, b.flags) {
						if why := x.check(w); why != "" {
							t.Errorf("%s: line %d: %s %s: %s", v.name, w.line, w.key, strings.Join(w.args, " "), why)
						}
					}
				}
				for name, va := range addr {
					if fn := g.At(va); fn != nil && fn.Incomplete != "" && !wanted[name] {
						t.Errorf("%s: %s is incomplete: %s", v.name, name, fn.Incomplete)
					}
				}
			}
		})
	}
}

// plainName reduces a mangled name of a function without namespace to the name.
func plainName(name string) string {
	rest, ok := strings.CutPrefix(name, "_Z")
	if !ok {
		return name
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if n, err := strconv.Atoi(rest[:digits]); err == nil && digits+n <= len(rest) {
		return rest[digits : digits+n]
	}
	return name
}
