// Pointers to functions that are passed, compared, returned and held in variables. edges_test.go says what the expectations
// mean. Where a pointer is lost sight of, any call through one may reach it: generic stands for all such calls. Without
// optimisation all parameters are stored, at places that calls may take for arguments passed on the stack.
#include <stdarg.h>
#include <stdlib.h>

#ifdef __clang__
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noinline, noclone, noipa, used))
#endif
typedef void fn(void);
volatile int sink;
volatile int zero; // 0 when it runs, which compilers do not know
KEEP long get(long n) { return n + zero; }

struct node { struct node *next; fn *run; };
static struct node *list;
KEEP void add(fn *f) { struct node *n = malloc(sizeof *n); n->next = list; n->run = f; list = n; }
KEEP void generic(void) { for (struct node *n = list; n; n = n->next) n->run(); }
KEEP void listed(void) { sink = 1; }
// WANT: generic -> listed

// A parameter that is only called.
KEEP void by_argument(void) { sink = 2; }
KEEP void by_tail(void) { sink = 3; }
KEEP void by_either(void) { sink = 4; }
KEEP void call_it(fn *f) { f(); sink = 5; }
KEEP void tail_it(fn *f) { f(); }
// WANT: call_it -> by_argument, by_either
// WANT: tail_it -> by_tail, by_either
// WANT-NOT: generic -> by_argument, by_tail, by_either d except no-pie -O0
// WANT-NOT: tail_it -> by_argument d except no-pie
// WANT-NOT: call_it -> by_tail d except no-pie
// WANT-NOT: call_it -> listed d except no-pie
// WANT-NOT: tail_it -> listed d except no-pie

// Through two functions, at another place of the argument list in each.
KEEP void by_two(void) { sink = 6; }
KEEP void inner(int n, fn *f) { sink = n; f(); sink = n + 1; }
KEEP void outer(fn *f, int n) { sink = n; inner(n, f); sink = n + 2; }
KEEP void by_two_tails(void) { sink = 55; }
KEEP void tail_outer(fn *f, int n) { sink = n; inner(n, f); }
// WANT: inner -> by_two, by_two_tails
// WANT-NOT: generic -> by_two d except no-pie -O0
// WANT-NOT: inner -> listed d except no-pie

// In recursion.
KEEP void by_recursion(void) { sink = 7; }
KEEP void recurse(int n, fn *f) { if (n > 0) recurse(n - 1, f); f(); sink = n; }
// WANT: recurse -> by_recursion
// WANT-NOT: generic -> by_recursion c except no-pie -O0
// WANT-NOT: recurse -> listed d except no-pie

// On the stack: the seventh argument, the eighth, the ninth, and the seventh handed on as the eighth.
KEEP void by_seventh(void) { sink = 8; }
KEEP void by_eighth(void) { sink = 9; }
KEEP void by_ninth(void) { sink = 10; }
KEEP void by_handed(void) { sink = 11; }
KEEP void seventh(long a, long b, long c, long d, long e, long f, fn *g) { sink = a + b + c + d + e + f; g(); sink = 12; }
KEEP void eighth(long a, long b, long c, long d, long e, long f, long h, fn *g) { sink = a + b + c + d + e + f + h; g(); sink = 13; }
KEEP void ninth(long a, long b, long c, long d, long e, long f, long h, long i, fn *g) { sink = a + b + c + d + e + f + h + i; g(); sink = 14; }
KEEP void hands_on(long a, long b, long c, long d, long e, long f, fn *g) { eighth(f, e, d, c, b, a, 7, g); sink = 15; }
// WANT: seventh -> by_seventh
// WANT: eighth -> by_eighth, by_handed
// WANT: ninth -> by_ninth
// WANT-NOT: seventh -> by_ninth d except no-pie
// WANT-NOT: seventh -> listed d except no-pie
// WANT-NOT: eighth -> listed d except no-pie

// In a struct passed by value: in two registers, and on the stack; and in a struct passed by address.
struct small { fn *f; long n; };
struct large { long a, b, c; fn *f; };
KEEP void in_small(void) { sink = 16; }
KEEP void in_large(void) { sink = 17; }
KEEP void in_context(void) { sink = 18; }
KEEP void call_small(struct small s) { sink = s.n; s.f(); sink = 19; }
KEEP void call_large(struct large s) { sink = s.a + s.b + s.c; s.f(); sink = 20; }
KEEP void call_context(const struct large *s) { sink = s->a; s->f(); sink = s->b; }
// WANT: call_small -> in_small
// WANT: call_large -> in_large
// WANT: call_context -> in_context

// Among the variable arguments: in registers, and on the stack.
KEEP void variable_two(void) { sink = 21; }
KEEP void variable_eight(void) { sink = 22; }
KEEP void call_variable(int n, ...)
{
	va_list ap;
	va_start(ap, n);
	for (int i = 0; i < n; i++)
		va_arg(ap, fn *)();
	va_end(ap);
}
// WANT: call_variable -> variable_two, variable_eight

// Only compared, or passed to who does not use it.
KEEP void only_compared(void) { sink = 23; }
KEEP void only_branched_on(void) { sink = 54; }
KEEP void only_ignored(void) { sink = 25; }
KEEP int is_it(fn *f) { return f == only_compared; }
KEEP void if_it(fn *f) { if (f == only_branched_on) sink = 24; }
KEEP int ignores(fn *f, int n) { (void)f; return n; }
// WANT-NOT: generic -> only_ignored d except no-pie gcc+-O0

// Returned and called.
typedef fn *chooser(int);
KEEP void ret_one(void) { sink = 26; }
KEEP void ret_two(void) { sink = 27; }
KEEP void ret_deep(void) { sink = 28; }
KEEP fn *choose(int i) { return i ? ret_one : ret_two; }
KEEP fn *choose_deep(int i) { sink = i; return i == 2 ? ret_deep : choose(i); }
KEEP void call_returned(int i) { choose(i)(); sink = 29; }
KEEP void call_deep(int i) { choose_deep(i)(); sink = 30; }
// WANT: call_returned -> ret_one, ret_two
// WANT: call_deep -> ret_one, ret_two, ret_deep
// WANT-NOT: call_returned -> listed, ret_deep d except no-pie
// WANT-NOT: call_deep -> listed d except no-pie

// What a function got is what it returns.
KEEP void came_back(void) { sink = 31; }
KEEP fn *give_back(fn *f, int n) { if (n) f = choose(n - 1); sink = n; return f; }
KEEP void call_back(int n) { give_back(came_back, n)(); sink = 32; }
// WANT: call_back -> came_back, ret_one, ret_two
// WANT-NOT: call_back -> listed d except no-pie

// Returned by a function that is called through a pointer.
KEEP void ret_pointer(void) { sink = 33; }
KEEP fn *choose_pointer(int i) { sink = i; return ret_pointer; }
KEEP void call_chosen(chooser *c) { c(1)(); sink = 34; }
// WANT: call_chosen -> choose_pointer, ret_pointer

// Returned in the second register, through memory of the caller's, and in a struct.
struct pair { long n; fn *f; };
KEEP void in_second(void) { sink = 35; }
KEEP void in_out(void) { sink = 36; }
KEEP void in_struct(void) { sink = 37; }
KEEP struct pair make_pair(int i) { struct pair p = {i, in_second}; return p; }
KEEP void make_out(fn **out) { *out = in_out; }
KEEP struct large make_large(int i) { struct large l = {i, i + 1, i + 2, in_struct}; return l; }
KEEP void call_pair(int i) { struct pair p = make_pair(i); sink = p.n; p.f(); sink = 38; }
KEEP void call_out(void) { fn *f; make_out(&f); f(); sink = 39; }
KEEP void call_made(int i) { struct large l = make_large(i); l.f(); sink = 40; }
// WANT: call_pair -> in_second
// WANT: call_out -> in_out
// WANT: call_made -> in_struct

// One of two, both known where they are called.
KEEP void merge_one(void) { sink = 41; }
KEEP void merge_two(void) { sink = 42; }
KEEP void merge(int i) { fn *f = i ? merge_one : merge_two; sink = i; f(); sink = 43; }
KEEP void merge_returned(int i) { fn *f = merge_one; if (i) { sink = i; f = choose(i - 1); } f(); sink = 44; }
// WANT: merge -> merge_one, merge_two
// WANT-NOT: merge -> listed a except no-pie
// WANT-NOT: merge -> listed d except no-pie
// WANT: merge_returned -> merge_one, ret_one, ret_two
// WANT-NOT: merge_returned -> listed, merge_two d except no-pie

// Kept across calls among more values than there are registers.
KEEP void spill_one(void) { sink = 45; }
KEEP void spill_two(void) { sink = 46; }
KEEP fn *choose_spilled(int i) { sink = i; return i ? spill_one : spill_two; }
KEEP void call_spilled(int i)
{
	fn *f = choose_spilled(i);
	long a = get(1), b = get(2), c = get(3), d = get(4), e = get(5), g = get(6), h = get(7), j = get(8), k = get(9), l = get(10);
	f();
	sink = a + b * 2 + c * 3 + d * 4 + e * 5 + g * 6 + h * 7 + j * 8 + k * 9 + l * 10;
	f();
	sink = a * 2 + b + c * 4 + d * 3 + e * 6 + g * 5 + h * 8 + j * 7 + k * 10 + l * 9;
}
// WANT: call_spilled -> spill_one, spill_two
// WANT-NOT: call_spilled -> listed d except no-pie

// A parameter kept across calls.
KEEP void by_spilled(void) { sink = 47; }
KEEP void spill_argument(fn *f)
{
	long a = get(1), b = get(2), c = get(3), d = get(4), e = get(5), g = get(6), h = get(7), j = get(8);
	f();
	sink = a + b * 2 + c * 3 + d * 4 + e * 5 + g * 6 + h * 7 + j * 8;
}
// WANT: spill_argument -> by_spilled
// WANT-NOT: generic -> by_spilled d except no-pie -O0 clang
// WANT-NOT: spill_argument -> listed d except no-pie

// Carried around a loop.
KEEP void loop_one(void) { sink = 48; }
KEEP void loop_two(void) { sink = 49; }
KEEP void loop_three(void) { sink = 50; }
KEEP void call_looped(int n)
{
	fn *f = loop_one;
	for (int i = 0; i < n; i++) {
		f();
		f = f == loop_one ? loop_two : f == loop_two ? loop_three : loop_one;
		sink = i;
	}
}
// WANT: call_looped -> loop_one, loop_two, loop_three
// WANT-NOT: call_looped -> listed d except no-pie

// Carried around a loop and changed by a call.
KEEP void loop_first(void) { sink = 51; }
KEEP void loop_later(void) { sink = 52; }
KEEP fn *choose_later(int i) { sink = i; return zero ? loop_first : loop_later; }
KEEP void call_changed(int n)
{
	fn *f = loop_first, *last = 0;
	for (int i = 0; i < n; i++) {
		f();
		last = f;
		f = choose_later(i);
	}
	if (last)
		last();
	sink = 53;
}
// WANT: call_changed -> loop_first, loop_later
// WANT-NOT: call_changed -> listed d except no-pie

// States that return the next state.
struct state { struct state (*next)(int); };
KEEP struct state state_end(int i) { sink = i; return (struct state){0}; }
KEEP struct state state_middle(int i) { sink = i + 1; return (struct state){state_end}; }
KEEP struct state state_begin(int i) { sink = i + 2; return (struct state){state_middle}; }
KEEP void machine(int i) { for (struct state s = {state_begin}; s.next;) s = s.next(i); }
// WANT: machine -> state_begin, state_middle, state_end

// What is used of the above, a function for each kind: where a pointer is made, it is not to be mixed with others.
KEEP void use_arguments(void) { call_it(by_argument); tail_it(by_tail); call_it(by_either); tail_it(by_either); }
KEEP void use_two(int n) { outer(by_two, n); tail_outer(by_two_tails, n); recurse(3, by_recursion); }
KEEP void use_seventh(void) { seventh(1, 2, 3, 4, 5, 6, by_seventh); }
KEEP void use_eighth(void) { eighth(1, 2, 3, 4, 5, 6, 7, by_eighth); }
KEEP void use_ninth(void) { ninth(1, 2, 3, 4, 5, 6, 7, 8, by_ninth); }
KEEP void use_handed(void) { hands_on(1, 2, 3, 4, 5, 6, by_handed); }
KEEP void use_structs(int n)
{
	call_small((struct small){in_small, 1});
	call_large((struct large){1, 2, 3, in_large});
	struct large l = {1, 2, n, in_context};
	call_context(&l);
}
KEEP void use_variable(void) { call_variable(8, variable_two, variable_two, variable_two, variable_two, variable_two, variable_two, variable_two, variable_eight); }
KEEP void use_compared(int n) { sink = is_it(n > 5 ? only_compared : listed); if_it(only_branched_on); sink = ignores(only_ignored, n); }
KEEP void use_returned(int n)
{
	for (int i = 0; i < n; i++) {
		call_returned(i);
		call_deep(i);
		call_back(i);
	}
	call_chosen(choose_pointer);
	call_pair(n);
	call_out();
	call_made(n);
}
KEEP void use_merged(int n)
{
	for (int i = 0; i < n; i++) {
		merge(i);
		merge_returned(i);
		call_spilled(i);
		machine(i);
	}
}
KEEP void use_spilled(void) { spill_argument(by_spilled); }

int main(int argc, char **argv)
{
	(void)argv;
	add(listed);
	generic();
	use_arguments();
	use_two(argc);
	use_seventh();
	use_eighth();
	use_ninth();
	use_handed();
	use_structs(argc);
	use_variable();
	use_compared(argc);
	use_returned(3);
	use_merged(3);
	use_spilled();
	call_looped(3);
	call_changed(3);
	return 0;
}
