// System-call numbers. Each function named below is walked from by itself; "call NAME NR..." says which numbers it makes,
// "unknown NAME" that it opens every call.
#include <stdarg.h>
#include <stdlib.h>
#define KEEP __attribute__((noinline, noclone, noipa, used))

KEEP long raw(long nr, long a, long b)
{
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
	return r;
}

KEEP long constant(void) { long r; __asm__ volatile("syscall" : "=a"(r) : "a"(39L) : "rcx", "r11"); return r; }
KEEP long wrapped(void) { return raw(102, 0, 0); }
KEEP long middle(long nr, long a) { return raw(nr, a, 1); }
KEEP long two_levels(void) { return middle(107, 0); }
KEEP long plus(long nr) { return raw(nr + 1, 0, 0); }
KEEP long added(void) { return plus(109); }

// As glibc's __syscall_cancel: six arguments in registers, the number on the stack.
KEEP long cancel(long a, long b, long c, long d, long e, long f, long nr) { return raw(nr, a + c + d + e + f, b); }
KEEP long on_stack(void) { return cancel(1, 2, 3, 4, 5, 6, 110); }
KEEP long on_stack_too(long a) { return cancel(a, 2, 3, 4, 5, 6, 111); }

// As glibc's setxid: the number in a struct that is passed by address.
struct cmd { int nr; long id[3]; int error; };
KEEP long apply(struct cmd *c) { c->error = 0; return raw(c->nr, c->id[0], 0); }
KEEP long by_struct(void) { struct cmd c = {.nr = 105, .id = {1, 2, 3}}; return apply(&c); }
KEEP long by_struct_argument(int nr) { struct cmd c = {.nr = nr}; return apply(&c); }
KEEP long struct_argument(void) { return by_struct_argument(106); }

// The field is written again before it is read: the caller's number is not the one.
KEEP long overwrite(struct cmd *c, int nr) { *(volatile int *)&c->nr = nr; __asm__ volatile("" ::: "memory"); return raw(c->nr, 0, 0); }
KEEP long overwritten(int argc) { struct cmd c = {.nr = 39}; return overwrite(&c, argc); }
KEEP void spoil(struct cmd *c, int nr) { *(volatile int *)&c->nr = nr; }
KEEP long spoiled(struct cmd *c, int nr) { spoil(c, nr); return raw(c->nr, 0, 0); }
KEEP long by_spoiled(int argc) { struct cmd c = {.nr = 39}; return spoiled(&c, argc); }

KEEP long switched(int k)
{
	long nr;
	switch (k) {
	case 0: nr = 96; __asm__ volatile("# 96"); break;
	case 1: nr = 98; __asm__ volatile("# 98"); break;
	case 2: nr = 99; __asm__ volatile("# 99"); break;
	default: nr = 100;
	}
	return raw(nr, 0, 0);
}

// A number above what there is: nothing.
KEEP long none(void) { return raw(0x3fff0000, 0, 0); }

static int variable = 39;
KEEP void set_variable(int v) { variable = v; }
KEEP long from_variable(void) { return raw(*(volatile int *)&variable, 0, 0); }
KEEP long from_argv(char **argv) { return raw(atoi(argv[1]), 0, 0); }
KEEP long foreign(void) { long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory"); return r; }

int main(int argc, char **argv)
{
	set_variable(argc);
	return constant() + wrapped() + two_levels() + added() + on_stack() + on_stack_too(argc) + by_struct() + struct_argument() +
	       overwritten(argc) + by_spoiled(argc) + switched(argc) + none() + from_variable() + from_argv(argv) + foreign();
}

// WANT: call constant 39
// WANT: call wrapped 102
// WANT: call two_levels 107
// WANT: call added 110
// WANT: call on_stack 110
// WANT: call on_stack_too 111
// WANT: call by_struct 105
// WANT: call struct_argument 106
// WANT: call switched 96 98 99 100
// WANT: call none
// WANT: call foreign
// WANT: unknown overwritten by_spoiled from_variable from_argv by_struct_argument plus middle raw main
