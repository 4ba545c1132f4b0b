package decode

import (
	"bufio"
	"fmt"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// corpus are the files whose every function is compared with other disassemblers.
var corpus = []struct{ name, path, pkg string }{
	{"nginx", "/usr/sbin/nginx", "nginx"},
	{"redis-server", "/usr/bin/redis-server", "redis-server"},
	{"libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6", "libc6"},
	{"libcrypto.so.3", "/lib/x86_64-linux-gnu/libcrypto.so.3", "libssl3"},
}

// listed is one instruction as objdump lists it.
type listed struct {
	addr uint64
	code []byte // valid until the next one
	text string // AT&T syntax
}

// listing streams what objdump says of the addresses from start to end (all if end is 0).
func listing(t testing.TB, path string, start, end uint64, each func(*listed)) {
	t.Helper()
	args := []string{"-d", "-w", "-z", "--insn-width=16"}
	if end != 0 {
		args = append(args, fmt.Sprintf("--start-address=%#x", start), fmt.Sprintf("--stop-address=%#x", end))
	}
	cmd := exec.Command(testbin.Need(t, "objdump", "binutils"), append(args, path)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var l listed
	buf := make([]byte, 0, 16)
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		addr, rest, ok := strings.Cut(sc.Text(), ":\t")
		if !ok {
			continue
		}
		if l.addr, err = strconv.ParseUint(strings.TrimSpace(addr), 16, 64); err != nil {
			continue
		}
		hex, text, _ := strings.Cut(rest, "\t")
		buf = buf[:0]
		for i := 0; i+1 < len(hex) && hex[i] != ' '; i += 3 {
			buf = append(buf, unhex(hex[i])<<4|unhex(hex[i+1]))
		}
		l.code, l.text = buf, strings.TrimRight(text, " ")
		each(&l)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("objdump %s: %v", path, err)
	}
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// functions returns the ranges of code that path's unwind entries describe, without overlaps.
func functions(t testing.TB, path string) []image.Range {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := f.Frames()
	if err != nil || frames == nil {
		t.Fatalf("%s: no unwind entries: %v", path, err)
	}
	var r []image.Range
	for i := range frames.FDEs {
		fde := frames.FDEs[i].Range
		if n := len(r); n > 0 && fde.Start < r[n-1].End {
			r[n-1].End = fde.Start
		}
		if fde.Start < fde.End && !plt(f, fde.Start) {
			r = append(r, fde)
		}
	}
	return r
}

// plt reports whether va lies in a procedure linkage table, one unwind entry for many stubs.
func plt(f *image.File, va uint64) bool {
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Contains(va) {
			return strings.HasPrefix(s.Name, ".plt")
		}
	}
	return false
}

// eachInst calls each for every instruction of every function of path. Where objdump's sweep arrives at a function out of
// step, because data lies before it, objdump is asked again from the function's start.
func eachInst(t testing.TB, path string, each func(*listed)) (funcs int) {
	t.Helper()
	fns := functions(t, path)
	inside := make([]bool, len(fns)) // the sweep hit the function's start
	at := 0
	listing(t, path, 0, 0, func(l *listed) {
		for at < len(fns) && fns[at].End <= l.addr {
			at++
		}
		if at == len(fns) {
			return
		}
		if l.addr == fns[at].Start {
			inside[at] = true
		}
		if inside[at] {
			each(l)
		}
	})
	var missed []int
	for i, ok := range inside {
		if !ok {
			missed = append(missed, i)
		}
	}
	if len(missed) > 60 {
		t.Errorf("%s: objdump's sweep misses the start of %d functions of %d", path, len(missed), len(fns))
		missed = missed[:60]
	}
	sort.Ints(missed)
	for _, i := range missed {
		n := 0
		listing(t, path, fns[i].Start, fns[i].End, func(l *listed) {
			n++
			each(l)
		})
		if n == 0 {
			t.Errorf("%s: objdump lists nothing for the function at %#x", path, fns[i].Start)
		}
	}
	if len(missed) != 0 {
		t.Logf("%s: %d functions listed apart", path, len(missed))
	}
	return len(fns)
}

// TestCorpus compares every instruction of every function with objdump, with x86asm and with the table of register effects.
func TestCorpus(t *testing.T) {
	effects := loadEffects(t)
	for _, c := range corpus {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			testbin.NeedFile(t, c.path, c.pkg)
			check := checker{t: t, effects: effects}
			funcs := eachInst(t, c.path, check.inst)
			t.Logf("%d functions, %d instructions: %d branch targets, %d memory operands; x86asm: %d compared, %d set aside; %d with register effects listed",
				funcs, check.insts, check.targets, check.mems, check.asm, check.asmSkipped, check.listed)
			if check.wrong > 0 {
				t.Errorf("%d differences", check.wrong)
			}
			if check.insts < 100_000 || check.targets < check.insts/10 || check.mems < check.insts/5 || check.asm < check.insts*9/10 || check.listed < check.insts*9/10 {
				t.Errorf("compared too little: %+v", check)
			}
		})
	}
}
