package main

import (
	"context"
	"os/exec"
	"regexp"
	"testing"

	"syspart/internal/image"
	"syspart/internal/summary"
	"syspart/internal/testbin"
)

// TestMeasure keeps what is measured from rotting.
func TestMeasure(t *testing.T) {
	c, err := measure(context.Background(), testbin.BuildText(t, "small.c", "int main(void) { return 0; }\n"))
	if err != nil {
		t.Fatal(err)
	}
	// libc alone has more than a quarter of a million instructions, of 15 bytes at most.
	if c.instructions < 200_000 || c.mib*(1<<20) < float64(c.instructions) || c.mib*(1<<20) > 15*float64(c.instructions) {
		t.Errorf("%d instructions in %.1f MiB", c.instructions, c.mib)
	}
	for i, s := range c.stages {
		if s < 0 {
			t.Errorf("stage %d took %v", i, s)
		}
	}
	if c.stages[2] == 0 {
		t.Error("summaries took no time")
	}
	if _, err := measure(context.Background(), "/nonexistent"); err == nil {
		t.Error("no error for a program that is not there")
	}
}

// TestDecode: all instructions of a program are counted, as objdump lists them.
func TestDecode(t *testing.T) {
	objdump := testbin.Need(t, "objdump", "binutils")
	bin := testbin.BuildText(t, "alone.s", ".globl _start\n.type _start, @function\n_start: xor %edi, %edi\nmov $60, %eax\nsyscall\n.size _start, . - _start\n"+
		".type other, @function\nother: push %rbx\ncall _start\npop %rbx\nret\n.size other, . - other\n", "-nostdlib", "-static")
	out, err := exec.Command(objdump, "-d", bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := len(regexp.MustCompile(`(?m)^ +[0-9a-f]+:\t`).FindAll(out, -1))
	f, err := image.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	m, err := summary.Build(f)
	if err != nil {
		t.Fatal(err)
	}
	var c cost
	c.decode(f, m)
	if want != 7 || c.instructions != want {
		t.Errorf("%d instructions, objdump has %d, want 7", c.instructions, want)
	}
}
