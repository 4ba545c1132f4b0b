package summary

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// arityWant is what a source says of a function, see testdata/args.c.
type arityWant struct {
	args    int
	atMost  bool
	void    bool
	sites   []string // what each of its calls prepares, with r behind it if its result is used
	allCall bool     // sites are all of its calls, not only the indirect ones
}

var arityComment = regexp.MustCompile(`(?m)(?://|#) (\w+): (args|at most) (\d)( void)?(?: (calls|all)((?: \d\w*)+))?$`)

// arityWants reads the comments of a source.
func arityWants(t *testing.T, src string) map[string]arityWant {
	t.Helper()
	wants := map[string]arityWant{}
	for _, c := range arityComment.FindAllStringSubmatch(src, -1) {
		n, _ := strconv.Atoi(c[3])
		wants[c[1]] = arityWant{args: n, atMost: c[2] == "at most", void: c[4] != "", sites: strings.Fields(c[6]), allCall: c[5] == "all"}
	}
	if n := len(regexp.MustCompile(`(?m)(//|#) \w+: (args|at most)`).FindAllString(src, -1)); n != len(wants) || n < 10 {
		t.Fatalf("%d comments, of which %d are understood", n, len(wants))
	}
	return wants
}

// checkArity compares the functions of m with what their source says. Code that is not optimised is held to the bounds alone;
// voids says whether all functions have to be found that leave no value.
func checkArity(t *testing.T, m *Module, wants map[string]arityWant, optimised, voids bool) {
	t.Helper()
	x := facts{t, m}
	for name, w := range wants {
		f := x.fn(name)
		if n := int(f.Args); n > w.args || n < w.args && optimised && !w.atMost {
			t.Errorf("%s: consumes %d arguments, want %d", name, n, w.args)
		}
		if void := f.Flags&Void != 0; void && !w.void || !void && w.void && voids {
			t.Errorf("%s: leaves no value: %v", name, void)
		}
		if w.sites == nil {
			continue
		}
		var have []string
		ok := true
		for _, c := range x.calls(name) {
			if c.Kind != Indirect && !w.allCall {
				continue
			}
			s := strconv.Itoa(int(c.Prepared))
			if c.UsesResult {
				s += "r"
			}
			if k := len(have); k < len(w.sites) {
				ok = ok && (s == w.sites[k] || !optimised && s[1:] == w.sites[k][1:] && s >= w.sites[k])
			}
			have = append(have, s)
		}
		if !ok || len(have) != len(w.sites) {
			t.Errorf("%s: calls %v, want %v", name, have, w.sites)
		}
	}
}

// TestArity looks for what testdata/args.c says of its functions, in several builds.
func TestArity(t *testing.T) {
	src, err := os.ReadFile("testdata/args.c")
	if err != nil {
		t.Fatal(err)
	}
	wants := arityWants(t, string(src))
	for _, cc := range []string{"gcc", "clang"} {
		for _, flags := range [][]string{{"-O0"}, {"-O1"}, {"-O2"}, {"-O2", "-fno-omit-frame-pointer", "-fstack-protector-strong"}, {"-O2", "-no-pie", "-fno-pie"}, {"-O2", "-fno-plt"}, {"-Os"}} {
			t.Run(cc+strings.Join(flags, ""), func(t *testing.T) {
				m := build(t, testbin.BuildWith(t, cc, "testdata/args.c", append([]string{"-w"}, flags...)...))
				sanity(t, m)
				checkArity(t, m, wants, flags[0] != "-O0", flags[0] != "-O0" && cc == "gcc")
			})
		}
	}
}

// TestArityAssembly is TestArity for what compilers make too seldom. unknown stands for any function of another module.
func TestArityAssembly(t *testing.T) {
	const src = `
	.text
	.macro fn name
	.globl \name
	.type \name, @function
\name:
	.cfi_startproc
	.endm
	.macro end name
	.cfi_endproc
	.size \name, .-\name
	.endm

fn main # main: args 0 void
	ret
end main
fn first # first: args 1
	mov (%rdi), %eax
	ret
end first
fn third # third: args 3
	mov %edx, %eax
	ret
end third

# Two paths with arguments of different number meet at one call; what either prepares is prepared.
fn joined # joined: args 1 all 6r 5r
	push %rbx
	mov %rdi, %rbx
	call rand@plt
	mov $1, %edi
	mov $2, %esi
	mov $3, %edx
	mov $4, %ecx
	test %eax, %eax
	je 1f
	mov $5, %r8d
1:	call *(%rbx)
	test %eax, %eax
	pop %rbx
	ret
end joined
# On one path alone something was called before: nothing is certainly left over.
fn one_call # one_call: args 1 all 6 6
	push %rbx
	mov %rdi, %rbx
	test %rdi, %rdi
	je 1f
	call rand@plt
1:	mov $1, %edi
	call *(%rbx)
	pop %rbx
	ret
end one_call
# In a loop: on the first round nothing is left over, on others all but the first.
fn looped # looped: args 1 all 6
	push %rbx
	mov %rdi, %rbx
1:	mov $1, %edi
	call *(%rbx)
	add $8, %rbx
	jmp 1b
end looped

# A callee that is known to keep registers, or that saves and restores them, leaves them prepared; rax too is not its result.
fn keeps # keeps: args 0 void
	mov $1, %edx
	ret
end keeps
fn restores # restores: args 0 all 6
	push %rcx
	push %r8
	call rand@plt
	pop %r8
	pop %rcx
	ret
end restores
fn kept # kept: args 1 all 6 4 4 5r
	push %rbx
	mov %rdi, %rbx
	call rand@plt
	mov $1, %edi
	mov $2, %esi
	mov $3, %ecx
	mov $7, %eax
	call keeps
	test %eax, %eax
	call keeps
	mov $1, %edi
	mov $2, %esi
	mov $3, %edx
	mov $4, %r8d
	call *(%rbx)
	test %eax, %eax
	pop %rbx
	ret
end kept
fn kept_saved # kept_saved: args 1 all 6 5 5
	push %rbx
	mov %rdi, %rbx
	call rand@plt
	mov $1, %edi
	mov $5, %r8d
	call restores
	mov $1, %edi
	call *(%rbx)
	pop %rbx
	ret
end kept_saved

# A register that has a value on one path only is a variable that may be without one.
fn maybe # maybe: args 1
	test %edi, %edi
	je 1f
	mov $1, %edx
1:	test %edi, %edi
	je 2f
	mov %edx, %eax
	ret
2:	xor %eax, %eax
	ret
end maybe
# ... or may hold an argument on the way to who consumes one.
fn maybe_on # maybe_on: args 1 all 6
	test %edi, %edi
	je 1f
	mov $1, %edx
1:	jmp third
end maybe_on
# Through a chain whose end comes last.
fn up1 # up1: args 1 all 6
	jmp up2
end up1
fn up2 # up2: args 1 all 6
	jmp up3
end up2
fn up3 # up3: args 1
	mov (%rdi), %eax
	ret
end up3
fn stops # stops: args 0
	ud2
end stops
fn may_stop # may_stop: args 1 void
	test %rdi, %rdi
	je stops
	movl $1, (%rdi)
	ret
end may_stop
# Registers that are read without need.
fn idle # idle: args 0
	xor %edi, %edi
	sbb %esi, %esi
	and $0, %edx
	or $-1, %ecx
	sete %r8b
	mov $1, %r9w
	mov $0, %eax
	ret
end idle
fn idle2 # idle2: args 1
	bsf %edi, %esi
	xchg %rdx, %rsi
	push %r8
	mov %r9, -16(%rsp)
	mov $0, %eax
	pop %rcx
	ret
end idle2
fn own # own: args 2
	movzbl %dil, %edi
	mov (%rsi), %rsi
	mov $0, %eax
	ret
end own
fn idle3 # idle3: args 0
	push %rbx
	mov $0, %eax
	cpuid
	pop %rbx
	ret
end idle3
fn opaque # opaque: args 0
	tileloadd (%rdi,%rsi,1), %tmm0
	ret
end opaque
# What the kernel gets it need not look at.
fn wrapper # wrapper: args 0
	mov %rcx, %r10
	mov %r8, %rdx
	mov $39, %eax
	syscall
	ret
end wrapper
fn passed # passed: args 0 all 6r
	call rand@plt
	mov %rax, %rdi
	mov $39, %eax
	syscall
	ret
end passed
# rbp is a base like any other where it is no frame pointer.
fn based # based: args 2 void
	push %rbp
	mov (%rdi), %rbp
	mov %rsi, 8(%rbp)
	pop %rbp
	ret
end based
fn framed # framed: args 1
	push %rbp
	mov %rsp, %rbp
	mov (%rdi), %eax
	mov %rsi, -8(%rbp)
	mov %edx, -16(%rbp)
	pop %rbp
	ret
end framed
# A spill of less than a register is no variadic function's; optimised code makes none without need.
fn spilled # spilled: args 2 void
	mov %rdx, -16(%rsp)
	mov %esi, -4(%rsp)
	ret
end spilled
# ... nor is one that stores what it has made of an argument.
fn changed # changed: args 2
	mov (%rsi), %rsi
	mov %rsi, -8(%rsp)
	mov $0, %eax
	ret
end changed
fn changed_before # changed_before: args 3
	mov (%rdx), %rdx
	test %rdi, %rdi
	je 1f
	mov $0, %eax
1:	mov %rdx, -16(%rsp)
	ret
end changed_before
# Behind a call nothing is an argument.
fn behind # behind: args 1 all 6
	push (%rdi)
	call rand@plt
	mov %esi, %eax
	pop %rdx
	ret
end behind
# al, read at entry, is the number of vector registers; not so after it was written.
fn variadic # variadic: args 0
	test %al, %al
	je 1f
	nop
1:	mov (%rdi), %eax
	ret
end variadic
fn not_variadic # not_variadic: args 1
	mov $1, %eax
	test %al, %al
	mov (%rdi), %eax
	ret
end not_variadic
fn not_variadic2 # not_variadic2: args 1 all 6r
	push %rbx
	mov (%rdi), %ebx
	call rand@plt
	test %al, %al
	pop %rbx
	ret
end not_variadic2

# Results: read before anything else of rax is written, from one call alone.
fn part # part: args 1 all 6
	push (%rdi)
	call rand@plt
	sete %al
	movzx %al, %eax
	pop %rdx
	ret
end part
fn either # either: args 1 all 6 6
	push %rbx
	test %edi, %edi
	je 1f
	call rand@plt
	jmp 2f
1:	call first
2:	test %eax, %eax
	pop %rbx
	ret
end either
fn later # later: args 1 all 6r
	push %rbx
	mov %edi, %ebx
	call rand@plt
	test %ebx, %ebx
	je 1f
	mov %rax, -8(%rsp)
1:	xor %eax, %eax
	pop %rbx
	ret
end later
fn saved # saved: args 0 all 6 1
	call rand@plt
	push %rax
	mov $1, %edi
	call *handler(%rip)
	pop %rcx
	ret
end saved

# Where not all ways are known, nothing is claimed.
fn incomplete # incomplete: args 0 all 6 6
	mov (%rsi), %rbx
	call rand@plt
	test %eax, %eax
	mov $1, %edi
	call *(%rbx)
	test %eax, %eax
	.byte 0x06
end incomplete

# Control that runs on from a call into another function: two calls.
	.type runs_on, @function
runs_on: # runs_on: at most 0
	call rand@plt
	.size runs_on, .-runs_on
	.type runs_into, @function
runs_into: # runs_into: args 1 void
	movl $1, (%rdi)
	ret
	.size runs_into, .-runs_into

	.data
handler:
	.quad first
	.section .note.GNU-stack,"",@progbits
`
	m := build(t, testbin.BuildText(t, "args.s", src))
	sanity(t, m)
	checkArity(t, m, arityWants(t, src), true, true)
}

// TestArityPads: what the unwinder brings to a landing pad in rax and rdx is no argument, no number of vector registers, and
// no call's result.
func TestArityPads(t *testing.T) {
	for _, flags := range [][]string{{"-O2"}, {"-O2", "-fno-reorder-blocks-and-partition"}} {
		m := build(t, testbin.BuildText(t, "pads.cc", `
extern "C" __attribute__((noipa)) int raise(int a) { if (a) throw a; return 1; }
extern "C" __attribute__((noipa)) int catches(int a) { try { return raise(a) + 1; } catch (int x) { return x; } catch (long) { return 2; } }
int main() { return 0; }
`, flags...))
		sanity(t, m)
		f := facts{t, m}.fn("catches")
		if f.Flags&HasPads == 0 || f.Args != 1 {
			t.Errorf("%v: catches consumes %d arguments, flags %b", flags, f.Args, f.Flags)
		}
	}
}

// TestArityTLS: what may be the call through a TLS descriptor keeps what is prepared for another one; only in files that
// have such descriptors.
func TestArityTLS(t *testing.T) {
	for name, want := range map[string]uint8{"v@tlsdesc": 4, "w": 1} {
		tls := strings.HasSuffix(name, "desc")
		call := "*(%rax)"
		if tls {
			call = "*v@tlscall(%rax)"
		}
		x := facts{t, build(t, testbin.BuildText(t, "tls.s", fmt.Sprintf(`
	.globl f
	.type f, @function
f:	push %%rbx
	mov %%rdi, %%rbx
	call rand@plt
	mov $1, %%edi
	mov $4, %%ecx
	lea %[1]s(%%rip), %%rax
	call %[2]s
	mov $1, %%edi
	call *(%%rbx)
	pop %%rbx
	ret
	.size f, .-f
	.globl g
	.type g, @function
g:	lea %[1]s(%%rip), %%rax
	call %[2]s
	mov (%%rdi), %%eax
	ret
	.size g, .-g
	.data
w:	.quad 0
	.section .note.GNU-stack,"",@progbits
`, name, call), "-shared", "-nostartfiles"))}
		c := x.calls("f")
		if len(c) != 3 || c[0].Prepared != 6 || c[1].Prepared != 4 || c[2].Prepared != want {
			t.Errorf("%s: %+v", name, c)
		}
		if f := x.fn("g"); f.Args != 0 { // perhaps it is none
			t.Errorf("%s: g consumes %d arguments", name, f.Args)
		}
	}
}

// TestArityForeign: of programs in languages that pass arguments in ways of their own, nothing is claimed.
func TestArityForeign(t *testing.T) {
	for _, mark := range []string{`\xff Go buildinf:`, "called `Option::unwrap()` on a `None` value"} {
		x := facts{t, build(t, testbin.BuildText(t, "foreign.c", fmt.Sprintf(`
#include <stdlib.h>
const char *volatile mark = "%s";
__attribute__((noipa)) int use(int a, int b) { return a + b; }
__attribute__((noipa)) void set(int *p) { *p = 1; }
__attribute__((noipa)) int site(int (**f)(void)) { rand(); return (*f)() + 1; }
int main(void) { return 0; }
`, mark), "-O2"))}
		if f := x.fn("use"); f.Args != 0 {
			t.Errorf("%s: consumes %d arguments", mark, f.Args)
		}
		if x.fn("set").Flags&Void != 0 {
			t.Errorf("%s: leaves no value", mark)
		}
		if c := x.calls("site"); len(c) != 2 || c[1].Prepared != 6 || c[1].UsesResult {
			t.Errorf("%s: %+v", mark, c)
		}
	}
}

// TestArityReal holds real files against themselves: a direct call prepares what its callee consumes, and uses no result
// that its callee does not leave. glibc's variadic functions consume no more than the arguments that they name.
func TestArityReal(t *testing.T) {
	files := realFiles(t)
	for _, path := range files {
		m := build(t, path)
		var direct, args, prepared, bad int
		for i := range m.Calls {
			c := &m.Calls[i]
			g := m.Callee(c)
			if g < 0 {
				continue
			}
			f := &m.Funcs[g]
			direct++
			args += int(f.Args)
			prepared += int(c.Prepared)
			if c.Prepared < f.Args || c.UsesResult && f.Flags&Void != 0 {
				if bad++; bad <= 10 {
					t.Errorf("%s: call at %#x prepares %d arguments, its callee at %#x consumes %d; uses result: %v, left none: %v",
						path, c.Site, c.Prepared, f.Entry, f.Args, c.UsesResult, f.Flags&Void != 0)
				}
			}
		}
		t.Logf("%s: %d direct calls, %.2f arguments consumed and %.2f prepared on average", path, direct, float64(args)/float64(direct), float64(prepared)/float64(direct))
		if args < direct || prepared > 5*direct {
			t.Errorf("%s: too little is known", path)
		}
	}
	m := build(t, files[0])
	named := map[string]uint8{"fcntl": 2, "open": 2, "openat": 3, "ioctl": 2, "prctl": 1, "syscall": 1, "semctl": 3, "mremap": 4, "ptrace": 1, "clone": 4,
		"execl": 2, "printf": 1, "snprintf": 3, "syslog": 2, "sem_open": 2, "mq_open": 2, "ulimit": 1, "makecontext": 3, "dprintf": 2, "scanf": 1}
	found := 0
	for i := range m.Dyn.Symbols {
		s := &m.Dyn.Symbols[i]
		n, ok := named[s.Name]
		if k := m.At(s.Value); ok && k >= 0 {
			found++
			if m.Funcs[k].Args > n {
				t.Errorf("%s consumes %d arguments, it names %d", s.Name, m.Funcs[k].Args, n)
			}
		}
	}
	if found < len(named)/2 {
		t.Errorf("only %d variadic functions found", found)
	}
}

// TestRoles: whoever follows a pointer without code is named.
func TestRoles(t *testing.T) {
	asm := `
	.text
	.globl main
	.type main, @function
main:	.cfi_startproc
	.cfi_personality 0x1b, direct
	.cfi_lsda 0x1b, table
	ret
	.cfi_endproc
	.size main, .-main
	.type other, @function
other:	.cfi_startproc
	.cfi_personality 0x9b, slot
	.cfi_lsda 0x1b, table
	ret
	.cfi_endproc
	.size other, .-other
	.type direct, @function
direct:	ret
	.size direct, .-direct
	.type indirect, @function
indirect: ret
	.size indirect, .-indirect
	.section .rodata
table:	.byte 255, 255, 1, 0
	.data
slot:	.quad indirect
	.section .note.GNU-stack,"",@progbits
`
	check := func(path string, want map[string]PtrRole) {
		t.Helper()
		x := facts{t, build(t, path)}
		for name, role := range want {
			f := x.fn(name)
			var have []PtrRole
			for _, p := range x.m.Always {
				if p.Target == f.Entry {
					have = append(have, p.Role)
				}
			}
			if len(have) == 0 || slices.ContainsFunc(have, func(r PtrRole) bool { return r != role }) {
				t.Errorf("%s: %s has roles %v, want %d", path, name, have, role)
			}
		}
		for _, p := range x.m.Always {
			if p.Role == RoleNone {
				t.Errorf("%s: %+v has no role", path, p)
			}
		}
		for _, p := range x.m.Ptrs {
			if p.Role != RoleNone {
				t.Errorf("%s: %+v has a role", path, p)
			}
		}
	}
	run := map[string]PtrRole{"construct": RoleInit, "destruct": RoleFini, "_init": RoleInit, "_fini": RoleFini}
	check(testbin.Build(t, "testdata/args.c", "-w", "-O2"), run)
	check(testbin.Build(t, "testdata/args.c", "-w", "-O2", "-static"), run)
	check(testbin.BuildText(t, "roles.s", asm), map[string]PtrRole{"direct": RolePersonality, "indirect": RolePersonality})
}
