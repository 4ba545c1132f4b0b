package elfwrite

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// framed has a function with room for a jump between its prologue and its epilogue.
const framed = `int inner(void);
__asm__(".text\n.globl inner\n.type inner, @function\ninner:\n.cfi_startproc\npush %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset rbx, -16\n"
	".globl spot\nspot: .byte 0x0f, 0x1f, 0x44, 0, 0\npop %rbx\n.cfi_def_cfa_offset 8\nret\n.cfi_endproc\n.size inner, . - inner\n");
__attribute__((noinline)) int outer(void) { return inner() + 1; }
int main(void) { return outer() & 0; }
`

// TestBacktrace has gdb stop in new code, with the stack deeper than where the code was entered, and print the callers.
func TestBacktrace(t *testing.T) {
	gdb := testbin.Need(t, "gdb", "gdb")
	bin := testbin.BuildText(t, "framed.c", framed, "-no-pie", "-fno-pie", "-O1", "-fno-omit-frame-pointer")
	data, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	w, err := New("framed", data)
	if err != nil {
		t.Fatal(err)
	}
	var spot uint64
	for _, s := range w.Image().Symtab {
		if s.Name == "spot" {
			spot = s.Value
		}
	}
	nop := []byte{0x0f, 0x1f, 0x44, 0, 0}
	code := append([]byte{0x48, 0x83, 0xec, 0x18}, nop...) // sub rsp, 24; nop
	code = append(code, 0x48, 0x83, 0xc4, 0x18)            // add rsp, 24
	code = append(code, jump(w.Base()+uint64(len(code)), spot+5)...)
	build := func(name string, frames bool) string {
		w.SetCode(code)
		if frames {
			w.AddFrame(Frame{Start: w.Base(), Size: uint64(len(code)), Insts: []byte{
				0x0e, 16, 0x83, 2, // CFA is RSP+16, RBX at CFA-16
				0x44, 0x0e, 40, 0x49, 0x0e, 16, // after sub: RSP+40; after add: RSP+16
			}})
		}
		out, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, out, 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if err := w.Patch(Patch{spot, nop, jump(spot, w.Base())}); err != nil {
		t.Fatal(err)
	}
	backtrace := func(file string) string {
		cmd := exec.Command(gdb, "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", fmt.Sprintf("break *%#x", w.Base()+4),
			"-ex", "run", "-ex", "bt", file)
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), "Breakpoint 1, ") {
			testbin.Skip(t, "gdb cannot run programs here: %s", out)
		}
		return string(out)
	}
	callers := func(out string) bool {
		return strings.Contains(out, " in outer (") && strings.Contains(out, " in main (")
	}
	if out := backtrace(build("without", false)); callers(out) {
		t.Log("gdb finds the callers by itself, so this test shows little")
	}
	if out := backtrace(build("with", true)); !callers(out) {
		t.Errorf("no callers:\n%s", out)
	}
}
