// What main reaches, at each level. A function named in "reach" is reached at all levels from main, in "reach-a" at level a
// only; "not" are reached at none. Constructors are reached because the loader calls them by pointers: their addresses are
// there for every indirect call.
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEP __attribute__((noinline, noclone, used))
volatile int sink;

KEEP void direct(void) { sink++; }
KEEP void tail_target(void) { sink += 2; }
KEEP void tail(void) { sink++; tail_target(); }
KEEP void in_table_one(void) { sink++; }
KEEP void in_table_two(void) { sink += 3; }
KEEP void in_dead_table(void) { sink += 4; }
KEEP void taken_dead(void) { sink += 5; }
KEEP void never(void) { sink += 6; }
KEEP void on_exit_handler(void) { sink += 7; }
KEEP void on_signal(int s) { sink += s; }
KEEP void from_constructor(void) { sink += 8; }
KEEP void registered(void) { sink += 9; }
KEEP void weak_default(void) { sink += 10; }
__attribute__((weak)) void weak_missing(void);
void looked_up(void) { sink += 11; }
void not_looked_up(void) { sink += 12; }
KEEP void through_constant(void) { sink += 13; }
KEEP void by_argument(void) { sink += 14; }

static void (*const table[])(void) = {in_table_one, in_table_two};
// An object within 128 bytes of a live one counts as live: keep this one away from the others.
#define APART(name) __attribute__((used)) static void (*const name[20])(void) = {direct}
APART(apart_one);
static void (*const dead_table[])(void) = {in_dead_table, in_dead_table};
APART(apart_two);
static void (*callback)(void);

KEEP static void impl_one(void) { sink += 16; }
KEEP static void impl_two(void) { sink += 17; }
static void *resolver(void) { return __builtin_cpu_supports("avx2") ? (void *)impl_one : (void *)impl_two; }
void chosen(void) __attribute__((ifunc("resolver")));

KEEP void dead(int i) { dead_table[i](); callback = taken_dead; }

__attribute__((constructor)) static void start(void) { callback = registered; from_constructor(); }

KEEP void call_it(void (*f)(void)) { f(); }

int main(int argc, char **argv)
{
	direct();
	tail();
	table[argc & 1]();
	atexit(on_exit_handler);
	signal(SIGUSR1, on_signal);
	if (callback)
		callback();
	if (weak_missing)
		weak_missing();
	void (*f)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "looked_up");
	if (f)
		f();
	chosen();
	void (*c)(void) = through_constant;
	__asm__("" ::: "memory");
	c();
	call_it(by_argument);
	return sink;
}

// WANT: reach main direct tail tail_target in_table_one in_table_two on_exit_handler on_signal registered looked_up
// WANT: reach start from_constructor
// WANT: reach impl_one impl_two through_constant by_argument call_it
// WANT: reach-a taken_dead in_dead_table
// WANT: not never dead weak_default not_looked_up
