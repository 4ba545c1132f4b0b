package observe

import (
	"encoding/hex"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"syspart/internal/testbin"
)

// TestArguments: what a server of many threads asks the loader for and executes is seen with the place that asks, and nothing
// that it asks for fails because of that.
func TestArguments(t *testing.T) {
	bin := testbin.Build(t, filepath.Join("testdata", "asks.c"), "-O1", "-pthread", "-fno-optimize-sibling-calls")
	prog, err := exec.LookPath("true")
	if err != nil {
		t.Skip("true: not installed")
	}
	for _, kill := range []bool{true, false} {
		w := watch(t, Options{Command: []string{bin, "libz.so.1", "inflate", prog}, Kill: kill})
		if got, want := w.line(), "good 832 of 832"; got != want {
			t.Errorf("the server says %q, want %q", got, want)
		}
		w.samples(5)
		o := w.end()
		if !kill {
			if len(o.Arguments) > 0 {
				t.Errorf("of a server that lives on: %v", o.Arguments)
			}
			_ = unix.Kill(w.pid, unix.SIGKILL)
			continue
		}
		n := namer{}
		var got []string
		for _, a := range o.Arguments {
			if a.Module == bin {
				got = append(got, fmt.Sprintf("%s %s in %s", a.What, a.Name, n.name(Frame{Module: a.Module, PC: a.PC}, false)))
			}
		}
		slices.Sort(got)
		want := []string{"dlopen libz.so.1 in open_it", "dlsym inflate in look_up", "execve " + prog + " in fork_it", "execve " + prog + " in spawn_it"}
		if !slices.Equal(got, want) {
			t.Errorf("seen:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if !hasAll(moduleNames(o), "libz.so.1") && !slices.ContainsFunc(moduleNames(o), func(s string) bool { return strings.HasPrefix(s, "libz.so.1") }) {
			t.Errorf("modules %v", moduleNames(o))
		}
	}
}

// TestStep: instructions that functions begin with do to registers and stack what the processor does.
func TestStep(t *testing.T) {
	start := unix.PtraceRegs{Rip: 100, Rsp: 1000, Rax: 1, Rbx: 2, Rdi: 3, R13: 4, R15: 5}
	for code, want := range map[string]func(r *unix.PtraceRegs) access{
		"f30f1efa":     func(r *unix.PtraceRegs) access { r.Rip += 4; return access{} },
		"53":           func(r *unix.PtraceRegs) access { r.Rip++; r.Rsp -= 8; return access{8, 2} },
		"54":           func(r *unix.PtraceRegs) access { r.Rip++; r.Rsp -= 8; return access{8, 1000} },
		"4157":         func(r *unix.PtraceRegs) access { r.Rip += 2; r.Rsp -= 8; return access{8, 5} },
		"4883ec30":     func(r *unix.PtraceRegs) access { r.Rip += 4; r.Rsp -= 0x30; return access{} },
		"4883ec80":     func(r *unix.PtraceRegs) access { r.Rip += 4; r.Rsp += 0x80; return access{} },
		"b83b0000ff":   func(r *unix.PtraceRegs) access { r.Rip += 5; r.Rax = 0xff00003b; return access{} },
		"41bf01000000": func(r *unix.PtraceRegs) access { r.Rip += 6; r.R15 = 1; return access{} },
		"4989fd":       func(r *unix.PtraceRegs) access { r.Rip += 3; r.R13 = 3; return access{} },
		"4c89e8":       func(r *unix.PtraceRegs) access { r.Rip += 3; r.Rax = 4; return access{} },
		"c3":           func(r *unix.PtraceRegs) access { r.Rip++; r.Rsp += 8; return access{size: -8} },
		"4883c430":     nil, // add rsp
		"4885ff":       nil, // test
		"48b801000000": nil,
		"6a00":         nil, // push of a constant
		"8987":         nil, // a store
		"4889042400":   nil,
		"e800000000":   nil,
		"6653":         nil,
		"0f05":         nil,
	} {
		b, _ := hex.DecodeString(code)
		b = append(b, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90)[:maxStep]
		got := start
		mem, ok := step(&got, b)
		if ok != (want != nil) {
			t.Errorf("%s: known: %v", code, ok)
		}
		if want == nil || !ok {
			continue
		}
		next := start
		if wantMem := want(&next); mem != wantMem || got != next {
			t.Errorf("%s: %+v, %+v; want %+v, %+v", code, mem, got, wantMem, next)
		}
	}
}
