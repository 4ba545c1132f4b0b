// Calls with few and many arguments, of functions that take few and many, and with results that are there or not. A call
// with fewer arguments than a function reads, or one whose result is used of a function that has none, cannot happen.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#ifdef __clang__
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noinline, noclone, noipa, used))
#endif
volatile int sink;
volatile int zero; // 0 when it runs, which compilers do not know
static jmp_buf env;

// Every function here lies in a box on the heap, and every call takes it out of one: without a look at the arguments all
// of these calls reach all of these functions.
struct box { void *f; };
KEEP struct box *box(void *f) { struct box *b = malloc(sizeof *b); b->f = f; return b; }
#define AS(type, b) ((type)(b)->f)
KEEP long get(long n) { return n + zero; }

// Functions that take none, one, two, three, six and eight arguments.
KEEP long none(void) { return 1 + zero; }
KEEP long one(long a) { return a + 2; }
KEEP long two(long a, long b) { return a * 3 + b; }
KEEP long three(long a, long b, long c) { return a * 4 + b * 2 + c; }
KEEP long six(long a, long b, long c, long d, long e, long f) { return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6; }
KEEP long eight(long a, long b, long c, long d, long e, long f, long g, long h) { return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + g * 7 + h * 8; }
// Functions that return nothing.
KEEP void nothing(void) { sink = 3; }
KEEP void nothing_of_one(long a) { if (a) sink = 4; }

// Calls, each behind a call of libc, which leaves nothing in the argument registers except the third: rdx may hold a result.
// Without optimisation parameters are stored first, and whether they are read shows only in the loads from there.
KEEP long call_none(struct box *b) { rand(); return AS(long (*)(void), b)() + 1; }
KEEP long call_one(struct box *b) { rand(); return AS(long (*)(long), b)(5) + 1; }
KEEP long call_two(struct box *b) { rand(); return AS(long (*)(long, long), b)(5, 6) + 1; }
KEEP long call_three(struct box *b) { rand(); return AS(long (*)(long, long, long), b)(5, 6, 7) + 1; }
KEEP long call_six(struct box *b) { rand(); return AS(long (*)(long, long, long, long, long, long), b)(5, 6, 7, 8, 9, 10) + 1; }
KEEP long call_eight(struct box *b) { rand(); return AS(long (*)(long, long, long, long, long, long, long, long), b)(5, 6, 7, 8, 9, 10, 11, 12) + 1; }
KEEP void call_void(struct box *b) { rand(); AS(void (*)(void), b)(); sink = 5; }
KEEP void call_void_one(struct box *b) { rand(); AS(void (*)(long), b)(5); sink = 6; }
// WANT: call_none -> none
// WANT: call_one -> one
// WANT: call_two -> two
// WANT: call_three -> three
// WANT: call_six -> six
// WANT: call_eight -> eight
// WANT: call_void -> nothing
// WANT: call_void_one -> nothing_of_one
// WANT-NOT: call_none -> one, two, three, six, eight e except -O0
// WANT-NOT: call_one -> two, three, six, eight e except -O0
// WANT-NOT: call_two -> six, eight e except -O0
// WANT-NOT: call_three -> six, eight e except -O0
// WANT-NOT: call_void -> one, two, three, six, eight e except -O0
// WANT-NOT: call_none -> nothing, nothing_of_one e
// WANT-NOT: call_one -> nothing, nothing_of_one e
// WANT-NOT: call_six -> nothing, nothing_of_one e

// A call with more arguments than the function takes, and one whose result is not used, are common.
// WANT: call_two -> one_of_two
// WANT: call_eight -> none_of_eight
// WANT: call_void -> result_unused
KEEP long one_of_two(long a) { return a + 7; }
KEEP long none_of_eight(void) { return zero + 8; }
KEEP long result_unused(void) { return zero + 9; }

// Parameters that are not used, in registers that nobody sets. Without optimisation they are stored and never read.
KEEP long unused_two(long a, long b, long c) { (void)b; (void)c; return a + 10; }
KEEP long unused_six(long a, long b, long c, long d, long e, long f) { (void)a; (void)b; (void)c; (void)d; (void)e; (void)f; return zero + 11; }
// WANT: call_one -> unused_two, unused_six
// WANT: call_none -> unused_six

// Variable arguments: all registers are stored, for whom it may concern.
KEEP long variable(long n, ...)
{
	va_list ap;
	long sum = n;
	va_start(ap, n);
	for (long i = 5; i < n; i++)
		sum += va_arg(ap, long);
	va_end(ap);
	return sum;
}
KEEP long call_variable_one(struct box *b) { rand(); return AS(long (*)(long, ...), b)(5) + 1; }
KEEP long call_variable_two(struct box *b) { rand(); return AS(long (*)(long, ...), b)(6, 7L) + 1; }
KEEP long call_variable_many(struct box *b) { rand(); return AS(long (*)(long, ...), b)(12, 1L, 2L, 3L, 4L, 5L, 6L, 7L) + 1; }
// WANT: call_variable_one -> variable
// WANT: call_variable_two -> variable
// WANT: call_variable_many -> variable

// Arguments that are handed on as they came: nothing is written to their registers.
static struct box *target_three, *target_six, *target_last, *target_void;
KEEP long tail_three(long a, long b, long c) { return AS(long (*)(long, long, long), target_three)(a, b, c); }
KEEP long tail_six(long a, long b, long c, long d, long e, long f) { return AS(long (*)(long, long, long, long, long, long), target_six)(a, b, c, d, e, f); }
KEEP long tail_changed(long a, long b, long c) { return AS(long (*)(long, long, long), target_last)(a + 1, b, c); }
KEEP long untouched_three(long a, long b, long c) { long r = AS(long (*)(long, long, long), target_three)(a, b, c); sink = 12; return r; }
KEEP void tail_void(long a) { AS(void (*)(long), target_void)(a); }
KEEP long last_three(long a, long b, long c) { return a + b * 2 + c * 5; }
KEEP long last_six(long a, long b, long c, long d, long e, long f) { return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 7; }
KEEP long last_changed(long a, long b, long c) { return a + b * 2 + c * 6; }
KEEP void last_void(long a) { if (a) sink = 13; }
// WANT: call_three -> tail_three, tail_changed, untouched_three
// WANT: call_six -> tail_six
// WANT: call_void_one -> tail_void
// WANT: tail_three -> last_three
// WANT: untouched_three -> last_three
// WANT: tail_six -> last_six
// WANT: tail_changed -> last_changed
// WANT: tail_void -> last_void

// A result that another function makes, that only an instruction of its own writes, or that is smaller than a register.
KEEP long other(long a) { return a + 14; }
KEEP long by_other(long a) { return other(a); }
KEEP long by_pointer(long a) { return AS(long (*)(long), target_three + 1)(a); }
KEEP int by_instruction(long a) { unsigned lo; (void)a; __asm__ volatile("rdtsc" : "=a"(lo) : : "rdx"); return (int)lo | 1; }
KEEP char by_flag(long a) { return a > zero; }
KEEP char by_byte(long a) { char r; __asm__ volatile("cmp %1, %1\n\tsetz %b0" : "=a"(r) : "r"(a)); return r; }
KEEP int call_int(struct box *b) { rand(); return AS(int (*)(long), b)(5) + 1; }
KEEP int call_char(struct box *b) { rand(); return AS(char (*)(long), b)(5) ? 15 : 16; }
// WANT: call_one -> by_other, by_pointer
// WANT: by_pointer -> other_too
// WANT: call_int -> by_instruction
// WANT: call_char -> by_flag, by_byte
KEEP long other_too(long a) { return a + 15; }

// A function that never returns has no result to write.
__attribute__((noreturn)) KEEP void leave(long a) { longjmp(env, (int)a); }
KEEP long leaves(long a) { leave(a + 1); }
// WANT: call_one -> leaves

// A result that is not in rax: floating point, and memory of the caller's.
struct large { long v[5]; };
KEEP double half(double d) { return d / 2 + zero; }
KEEP double mixed(long a, double d, long b) { return d * (double)a + (double)b; }
KEEP struct large make_large(long a) { struct large l = {{a, a + 1, a + 2, a + 3, a + 4}}; return l; }
KEEP double call_double(struct box *b) { rand(); return AS(double (*)(double), b)(5.0) + 1; }
KEEP double call_mixed(struct box *b) { rand(); return AS(double (*)(long, double, long), b)(5, 6.0, 7) + 1; }
KEEP long call_large(struct box *b) { rand(); struct large l = AS(struct large (*)(long), b)(5); return l.v[0] + l.v[4]; }
// WANT: call_double -> half
// WANT: call_mixed -> mixed
// WANT: call_large -> make_large

// A struct in two registers of which only one is set, which is C as long as nobody looks at the other field.
struct tagged { long kind; long value; };
struct tagged kept;
KEEP long keep_tagged(struct tagged t) { kept = t; return t.kind + zero; }
KEEP long call_tagged(struct box *b, long kind) { struct tagged t; rand(); t.kind = kind; return AS(long (*)(struct tagged), b)(t) + 1; }
// WANT: call_tagged -> keep_tagged

// A register that is pushed behind a call only to align the stack is no use of the result.
KEEP long seven(long a, long b, long c, long d, long e, long f, long g) { return a + b + c + d + e + f + g + zero; }
KEEP long eight_more(long a, long b, long c, long d, long e, long f, long g, long h) { return a + b + c + d + e + f + g - h + zero; }
KEEP long void_then_seven(struct box *b) { rand(); AS(void (*)(void), b)(); return seven(1, 2, 3, 4, 5, 6, 7) + eight_more(1, 2, 3, 4, 5, 6, 7, 8); }
// WANT: void_then_seven -> nothing

// Arguments that are set on each path to the call, before other code, and around a loop.
KEEP long two_paths(long a, long b) { return a * 5 + b; }
KEEP long call_two_paths(struct box *b, int i) { long x, y; rand(); if (i) { x = 1; y = get(2); } else { x = get(3); y = 4; } return AS(long (*)(long, long), b)(x, y) + 1; }
KEEP long call_in_loop(struct box *b, int n) { long sum = 0; for (int i = 0; i < n; i++) sum += AS(long (*)(long, long), b)(i, sum); return sum; }
// WANT: call_two_paths -> two_paths
// WANT: call_in_loop -> two_paths
// WANT-NOT: call_two_paths -> six, eight e except -O0

int main(int argc, char **argv)
{
	(void)argv;
	target_three = malloc(2 * sizeof *target_three);
	target_three[0].f = (void *)last_three;
	target_three[1].f = (void *)other_too;
	target_six = box((void *)last_six);
	target_last = box((void *)last_changed);
	target_void = box((void *)last_void);
	long r = call_none(box((void *)none)) + call_one(box((void *)one)) + call_two(box((void *)two)) + call_three(box((void *)three));
	r += call_six(box((void *)six)) + call_eight(box((void *)eight));
	call_void(box((void *)nothing));
	call_void_one(box((void *)nothing_of_one));
	r += call_two(box((void *)one_of_two)) + call_eight(box((void *)none_of_eight));
	call_void(box((void *)result_unused));
	r += call_one(box((void *)unused_two)) + call_one(box((void *)unused_six)) + call_none(box((void *)unused_six));
	struct box *v = box((void *)variable);
	r += call_variable_one(v) + call_variable_two(v) + call_variable_many(v);
	r += call_three(box((void *)tail_three)) + call_three(box((void *)tail_changed)) + call_three(box((void *)untouched_three));
	r += call_six(box((void *)tail_six));
	call_void_one(box((void *)tail_void));
	r += call_one(box((void *)by_other)) + call_one(box((void *)by_pointer)) + call_int(box((void *)by_instruction));
	r += call_char(box((void *)by_flag)) + call_char(box((void *)by_byte));
	if (!setjmp(env))
		r += call_one(box((void *)leaves));
	r += (long)call_double(box((void *)half)) + (long)call_mixed(box((void *)mixed)) + call_large(box((void *)make_large));
	r += call_tagged(box((void *)keep_tagged), argc) + void_then_seven(box((void *)nothing));
	struct box *p = box((void *)two_paths);
	r += call_two_paths(p, argc) + call_two_paths(p, zero) + call_in_loop(p, 3);
	return r == 0;
}
