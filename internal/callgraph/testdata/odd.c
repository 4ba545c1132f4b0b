// Control flow and arithmetic that are out of the ordinary: functions are called all the same.
#include <setjmp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __clang__
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noinline, noclone, noipa, used))
#endif
typedef void fn(void);
volatile int sink;
volatile int zero; // 0 when it runs, which compilers do not know
KEEP fn *pick(fn *a, fn *b) { return zero ? a : b; }

// A pointer that lives over setjmp's second return.
static jmp_buf env;
KEEP void jump(int n) { sink = n; longjmp(env, n); }
KEEP void before_jump(void) { sink = 1; }
KEEP void after_jump(void) { sink = 2; }
KEEP void kept_over_jump(void) { sink = 3; }
KEEP void call_jumping(void)
{
	fn *volatile f = before_jump;
	fn *kept = pick(before_jump, kept_over_jump);
	int n = setjmp(env);
	f();
	if (n == 0) {
		f = after_jump;
		jump(1);
	} else if (n == 1)
		jump(2);
	kept();
	sink = 4;
}
// WANT: call_jumping -> before_jump, after_jump, kept_over_jump

// An interpreter with computed gotos: addresses of labels, and differences of them.
KEEP void from_goto(void) { sink = 5; }
KEEP void from_goto_table(void) { sink = 6; }
KEEP void from_difference(void) { sink = 7; }
KEEP void from_switch(void) { sink = 8; }
static fn *const primitives[] = {from_goto_table, from_goto_table, from_goto};
KEEP int interpret(const unsigned char *pc)
{
	static const void *const labels[] = {&&op_end, &&op_call, &&op_add, &&op_table};
	fn *f = pick(from_goto_table, from_goto);
	int sum = 0;
	goto *labels[*pc++];
op_call:
	f();
	goto *labels[*pc++];
op_add:
	sum += *pc++;
	goto *labels[*pc++];
op_table:
	primitives[*pc++ % 2]();
	goto *labels[*pc++];
op_end:
	return sum;
}
KEEP int interpret_differences(const unsigned char *pc)
{
	static const int labels[] = {&&op_end - &&op_end, &&op_call - &&op_end, &&op_add - &&op_end};
	fn *f = pick(from_goto, from_difference);
	int sum = 0;
	goto *(&&op_end + labels[*pc++]);
op_call:
	f();
	goto *(&&op_end + labels[*pc++]);
op_add:
	sum += *pc++;
	goto *(&&op_end + labels[*pc++]);
op_end:
	return sum;
}
KEEP int interpret_switch(const unsigned char *pc)
{
	fn *f = pick(from_goto, from_switch);
	int sum = 0;
	for (;;)
		switch (*pc++) {
		case 0: return sum;
		case 1: f(); break;
		case 2: sum += *pc++; break;
		case 3: sum -= *pc++; break;
		case 4: sum *= *pc++; break;
		case 5: sum ^= *pc++; break;
		case 6: sink = sum; break;
		}
}
// WANT: interpret -> from_goto, from_goto_table
// WANT: interpret_differences -> from_difference
// WANT: interpret_switch -> from_switch

// Encoded: with a key, rotated, shifted, negated, in two halves, and as a 32-bit offset from a function or from data.
static uintptr_t key = 0x5aa5000000000000;
static uintptr_t with_key, rotated, shifted, negated;
static uint32_t low, high, from_function, from_data;
static char anchor[8];
KEEP void base(void) { sink = 9; }
KEEP void by_key(void) { sink = 10; }
KEEP void by_rotation(void) { sink = 11; }
__attribute__((aligned(16))) KEEP void by_shift(void) { sink = 12; }
KEEP void by_negation(void) { sink = 13; }
KEEP void by_halves(void) { sink = 14; }
KEEP void by_offset(void) { sink = 15; }
KEEP void by_data_offset(void) { sink = 16; }
KEEP void encode(void)
{
	uintptr_t r = (uintptr_t)by_rotation;
	with_key = (uintptr_t)by_key ^ key;
	rotated = r << 17 | r >> 47;
	shifted = (uintptr_t)by_shift >> 4;
	negated = ~(uintptr_t)by_negation;
	low = (uint32_t)(uintptr_t)by_halves;
	high = (uint32_t)((uintptr_t)by_halves >> 32);
	from_function = (uint32_t)((uintptr_t)by_offset - (uintptr_t)base);
	from_data = (uint32_t)((uintptr_t)by_data_offset - (uintptr_t)anchor);
}
KEEP void call_key(void) { ((fn *)(with_key ^ key))(); sink = 17; }
KEEP void call_rotated(void) { ((fn *)(rotated >> 17 | rotated << 47))(); sink = 18; }
KEEP void call_shifted(void) { ((fn *)(shifted << 4))(); sink = 19; }
KEEP void call_negated(void) { ((fn *)~negated)(); sink = 20; }
KEEP void call_halves(void) { ((fn *)((uintptr_t)high << 32 | low))(); sink = 21; }
KEEP void call_offset(void) { ((fn *)((uintptr_t)base + (uintptr_t)(intptr_t)(int32_t)from_function))(); sink = 22; }
KEEP void call_data_offset(void) { ((fn *)((uintptr_t)anchor + (uintptr_t)(intptr_t)(int32_t)from_data))(); sink = 23; }
// WANT: call_key -> by_key
// WANT: call_rotated -> by_rotation
// WANT: call_shifted -> by_shift
// WANT: call_negated -> by_negation
// WANT: call_halves -> by_halves
// WANT: call_offset -> by_offset
// WANT: call_data_offset -> by_data_offset

// Offsets that are parameters and results.
KEEP void by_passed(void) { sink = 24; }
KEEP void call_passed(uint32_t off) { ((fn *)((uintptr_t)base + (uintptr_t)(intptr_t)(int32_t)off))(); sink = 25; }
KEEP void pass_offset(void) { call_passed((uint32_t)((uintptr_t)by_passed - (uintptr_t)base)); sink = 26; }
KEEP void by_returned(void) { sink = 27; }
KEEP uint32_t offset(void) { return (uint32_t)((uintptr_t)pick(base, by_returned) - (uintptr_t)base); }
KEEP void call_returned(void) { ((fn *)((uintptr_t)base + (uintptr_t)(intptr_t)(int32_t)offset()))(); sink = 28; }
// WANT: call_passed -> by_passed
// WANT: call_returned -> by_returned

// Marked by an addition, which compilers make part of the address.
KEEP void by_sum(void) { sink = 29; }
KEEP void by_difference(void) { sink = 30; }
KEEP void call_sum(uintptr_t f, uintptr_t n) { ((fn *)(f + n))(); sink = 31; }
KEEP void call_difference(uintptr_t f, uintptr_t n) { ((fn *)(f - n))(); sink = 32; }
KEEP void sums(void) { call_sum((uintptr_t)by_sum + 1, (uintptr_t)zero - 1); call_difference((uintptr_t)by_difference + 2, 2 + (uintptr_t)zero); sink = 33; }
// WANT: call_sum -> by_sum
// WANT: call_difference -> by_difference

// Through text, a thread's storage, and the environment of a comparison.
KEEP void by_text(void) { sink = 34; }
KEEP void by_specific(void) { sink = 35; }
KEEP void by_comparison(void) { sink = 36; }
KEEP void call_text(void)
{
	char s[64];
	void *p = 0;
	snprintf(s, sizeof s, "%p", (void *)by_text);
	sscanf(s, "%p", &p);
	((fn *)p)();
	sink = 37;
}
KEEP void call_specific(void)
{
	pthread_key_t k;
	pthread_key_create(&k, 0);
	pthread_setspecific(k, (void *)by_specific);
	((fn *)pthread_getspecific(k))();
	sink = 38;
}
// It is compared, and what it is equal to is called.
KEEP void call_equal(fn *f) { if (f == by_comparison) { f = by_comparison; f(); sink = 39; } }
// WANT: call_text -> by_text
// WANT: call_specific -> by_specific

// Stepped through with a pointer that is a loop's only variable, by structs of an odd size.
struct __attribute__((packed)) step { char tag; fn *f; };
KEEP void step_one(void) { sink = 40; }
KEEP void step_two(void) { sink = 41; }
static struct step steps[] = {{1, step_one}, {2, step_two}, {0, 0}};
KEEP void call_steps(void) { for (struct step *s = steps; s->tag; s++) s->f(); sink = 42; }
// WANT: call_steps -> step_one, step_two

// A large frame, and a stack pointer that alloca moves between the pointer's store and its use.
KEEP void in_large_frame(void) { sink = 43; }
KEEP void over_alloca(void) { sink = 44; }
KEEP void touch(char *p, int n) { memset(p, n, (size_t)n); }
KEEP void call_large_frame(int n) { fn *f = pick(base, in_large_frame); char b[20000]; touch(b, n); f(); sink = b[0]; }
KEEP void call_over_alloca(int n)
{
	fn *volatile f = over_alloca;
	for (int i = 1; i < n; i++) {
		char *p = __builtin_alloca((size_t)(i * 32));
		touch(p, i);
		f();
		sink = p[0];
	}
}
// WANT: call_large_frame -> in_large_frame
// WANT: call_over_alloca -> over_alloca

int main(int argc, char **argv)
{
	(void)argv;
	call_jumping();
	int r = interpret((const unsigned char[]){1, 2, 5, 3, 0, 0}) + interpret_differences((const unsigned char[]){1, 2, 5, 0}) +
		interpret_switch((const unsigned char[]){1, 2, 5, 0});
	encode();
	call_key();
	call_rotated();
	call_shifted();
	call_negated();
	call_halves();
	call_offset();
	call_data_offset();
	pass_offset();
	call_returned();
	sums();
	call_text();
	call_specific();
	call_equal(argc > 9 ? by_comparison : base);
	call_steps();
	call_large_frame(argc);
	call_over_alloca(4);
	return r == 0;
}
