// Code that never runs, and what only it has the address of; and code that runs although nothing seems to call it.
#include <signal.h>
#include <stdlib.h>

#ifdef __clang__
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noinline, noclone, noipa, used))
#endif
typedef void fn(void);
volatile int sink;
volatile int zero; // 0 when it runs, which compilers do not know

// An object within 128 bytes of a live one counts as live: dead ones stand apart.
KEEP void padding(void) { sink = 1; }
// Objects that are kept in any case stay in their order.
#define USED __attribute__((used))
#define APART(name) USED static fn *const name[20] = {padding}
#define APART_DATA(name) USED static fn *name[20] = {padding}

struct node { struct node *next; fn *run; };
static struct node *list;
KEEP void add(fn *f) { struct node *n = malloc(sizeof *n); n->next = list; n->run = f; list = n; }
KEEP void generic(void) { for (struct node *n = list; n; n = n->next) n->run(); }
KEEP void listed(void) { sink = 2; }
// WANT: generic -> listed

// Its address is made by a function that nothing calls, or that only such a function calls.
KEEP void taken_by_dead(void) { sink = 3; }
KEEP void taken_deeper(void) { sink = 4; }
KEEP void taken_in_cycle(void) { sink = 5; }
KEEP void dead_below(void) { add(taken_deeper); }
KEEP void dead(void) { add(taken_by_dead); dead_below(); }
KEEP void dead_cycle(int n) { add(taken_in_cycle); if (n) dead_cycle(n - 1); }
// WANT-NOT: generic -> taken_by_dead, taken_deeper, taken_in_cycle b
// WANT-NOT: main => dead, dead_below, taken_by_dead, taken_deeper, taken_in_cycle b

// It lies in an object that only dead code refers to, or in one that such an object points to.
struct chain { const struct chain *next; fn *run; };
KEEP void in_dead_table(void) { sink = 6; }
KEEP void in_dead_chain(void) { sink = 7; }
KEEP void in_dead_variable(void) { sink = 8; }
APART(apart_1);
USED static fn *const dead_table[] = {in_dead_table, in_dead_table};
APART(apart_2);
USED static const struct chain dead_last = {0, in_dead_chain};
APART(apart_3);
USED static const struct chain dead_first = {&dead_last, 0};
APART(apart_4);
APART_DATA(apart_5);
USED static fn *dead_variable[] = {in_dead_variable, in_dead_variable};
APART_DATA(apart_6);
KEEP void dead_user(int i) { dead_table[i & 1](); for (const struct chain *c = &dead_first; c; c = c->next) if (c->run) c->run(); dead_variable[i & 1](); dead_variable[zero] = listed; }
// WANT-NOT: generic -> in_dead_table, in_dead_chain, in_dead_variable b except static stripped

// The same with code that runs.
KEEP void in_live_chain(void) { sink = 9; }
USED static const struct chain live_last = {0, in_live_chain};
USED static const struct chain live_first = {&live_last, 0};
KEEP void live_user(void) { for (const struct chain *c = &live_first; c; c = c->next) if (c->run) add(c->run); }
// WANT: generic -> in_live_chain

// Code that nothing calls by name.
KEEP void by_constructor(void) { sink = 10; }
KEEP void by_destructor(void) { sink = 11; }
KEEP void by_handler(void) { sink = 12; }
KEEP void by_atexit(void) { sink = 13; }
KEEP void by_callee(void) { sink = 14; }
KEEP void by_alias(void) { sink = 15; }
KEEP void by_resolved(void) { sink = 16; }
__attribute__((constructor)) static void construct(void) { add(by_constructor); }
__attribute__((destructor)) static void destroy(void) { add(by_destructor); generic(); }
KEEP void on_signal(int s) { sink = s; add(by_handler); }
KEEP void at_end(void) { add(by_atexit); generic(); }
KEEP void callee(void) { add(by_callee); }
KEEP void real_name(void) { add(by_alias); }
void other_name(void) __attribute__((alias("real_name")));
KEEP void implementation(void) { add(by_resolved); }
KEEP void implementation_too(void) { add(by_resolved); sink = 17; }
__attribute__((used)) static fn *resolver(void) { return __builtin_cpu_supports("avx2") ? implementation : implementation_too; }
void resolved(void) __attribute__((ifunc("resolver")));
// WANT: generic -> by_constructor, by_destructor, by_handler, by_atexit, by_callee, by_alias, by_resolved, callee
// WANT: main => by_constructor, by_destructor, by_handler, by_atexit, by_callee, by_alias, by_resolved

int main(int argc, char **argv)
{
	(void)argv;
	add(listed);
	add(callee);
	generic();
	live_user();
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	atexit(at_end);
	if (argc)
		other_name();
	resolved();
	generic();
	return 0;
}
