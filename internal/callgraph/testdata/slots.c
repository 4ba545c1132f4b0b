// Variables that hold pointers to functions.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __clang__
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noinline, noclone, noipa, used))
#endif
typedef void fn(void);
volatile int sink;
volatile int zero; // 0 when it runs, which compilers do not know

// An address up to 128 bytes outside of an object counts for the object too, and libc's memcpy has code for as much as 256 bytes:
// variables that are to be told apart stand apart.
// Objects that are kept in any case stay in their order.
#define USED __attribute__((used))
#define APART(name) USED static long name[64] = {0}
#define APART_DATA(name) USED static void *name[64] = {name}

struct node { struct node *next; fn *run; };
static struct node *list;
KEEP void add(fn *f) { struct node *n = malloc(sizeof *n); n->next = list; n->run = f; list = n; }
KEEP void generic(void) { for (struct node *n = list; n; n = n->next) n->run(); }
KEEP void listed(void) { sink = 1; }
// WANT: generic -> listed

// Set at two places by code that is known, and called at a third.
KEEP void hook_one(void) { sink = 2; }
KEEP void hook_two(void) { sink = 3; }
KEEP void hook_three(void) { sink = 4; }
APART(apart_1);
USED static fn *hook = 0;
APART(apart_2);
KEEP void set_hook(int i) { hook = i ? hook_one : hook_two; }
KEEP void set_again(void) { hook = hook_three; }
KEEP void run_hook(void) { if (hook) hook(); sink = 5; }
// WANT: run_hook -> hook_one, hook_two, hook_three
// WANT-NOT: run_hook -> listed d except no-pie stripped

// The same with a first value, and a setter that is given the pointer.
KEEP void first_hook(void) { sink = 6; }
KEEP void given_one(void) { sink = 7; }
KEEP void given_two(void) { sink = 8; }
APART_DATA(apart_3);
USED static fn *given = first_hook;
APART_DATA(apart_4);
KEEP void give(fn *f) { given = f ? f : first_hook; }
KEEP void run_given(void) { given(); sink = 9; }
// WANT: run_given -> first_hook, given_one, given_two
// WANT-NOT: run_given -> listed, hook_one d except no-pie stripped

// Set back to what it was.
KEEP void saved_first(void) { sink = 10; }
KEEP void saved_other(void) { sink = 11; }
static fn *saved = saved_first;
KEEP fn *exchange(fn *f) { fn *old = saved; saved = f; return old; }
KEEP void run_saved(void) { saved(); sink = 12; }
// WANT: run_saved -> saved_first, saved_other

// Written through a pointer by a function that is given the address.
KEEP void through_first(void) { sink = 13; }
KEEP void through_alias(void) { sink = 14; }
static fn *through = through_first;
KEEP void store_through(fn **p, fn *f) { *p = f; }
KEEP void run_through(void) { through(); sink = 15; }
// WANT: run_through -> through_first, through_alias

// Written through a pointer that lies in memory.
KEEP void where_first(void) { sink = 16; }
KEEP void where_alias(void) { sink = 17; }
static fn *pointed = where_first;
static fn **where;
KEEP void point(void) { where = &pointed; }
KEEP void store_where(fn *f) { *where = f; }
KEEP void run_pointed(void) { pointed(); sink = 18; }
// WANT: run_pointed -> where_first, where_alias

// Written by libc: copied, and read from a pipe.
KEEP void copied_first(void) { sink = 19; }
KEEP void copied_later(void) { sink = 20; }
KEEP void piped_first(void) { sink = 21; }
KEEP void piped_later(void) { sink = 22; }
static fn *copied = copied_first;
static fn *piped = piped_first;
KEEP void copy(fn *const *from, size_t n) { memcpy(&copied, from, n); }
KEEP void run_copied(void) { copied(); sink = 23; }
KEEP int pipe_through(fn *f) { int p[2]; return pipe(p) < 0 || write(p[1], &f, sizeof f) != sizeof f || read(p[0], &piped, sizeof piped) != sizeof piped; }
KEEP void run_piped(void) { piped(); sink = 24; }
// WANT: run_copied -> copied_first, copied_later
// WANT: run_piped -> piped_first, piped_later

// Part of a struct whose address is passed: by a known setter that fills it, at an offset, and by assignment of a whole struct.
struct config { long a; fn *start, *stop; long b; };
KEEP void conf_first(void) { sink = 25; }
KEEP void conf_start(void) { sink = 26; }
KEEP void conf_stop(void) { sink = 27; }
KEEP void conf_heap(void) { sink = 28; }
static struct config config = {1, conf_first, conf_first, 2};
KEEP void fill(struct config *c, long n) { c->a = n; c->start = conf_start; }
KEEP void fill_at(char *base, size_t off, fn *f) { memcpy(base + off, &f, sizeof f); }
KEEP void assign(const struct config *c) { config = *c; }
KEEP void run_config(void) { config.start(); config.stop(); sink = 29; }
// WANT: run_config -> conf_first, conf_start, conf_stop, conf_heap

// Neighbours that compilers set by one vector move.
KEEP void both_one(void) { sink = 30; }
KEEP void both_two(void) { sink = 31; }
KEEP void both_three(void) { sink = 32; }
KEEP void both_four(void) { sink = 33; }
APART(apart_5);
USED static struct { fn *a, *b, *c, *d; } both = {0};
APART(apart_6);
KEEP void set_both(void) { both.a = both_one; both.b = both_two; both.c = both_three; both.d = both_four; }
KEEP void run_both(void) { if (both.a) { both.a(); both.b(); both.c(); both.d(); } sink = 34; }
// WANT: run_both -> both_one, both_two, both_three, both_four

// Set by a vector move from constants in memory, and copied between two variables.
KEEP void vec_one(void) { sink = 35; }
KEEP void vec_two(void) { sink = 36; }
struct quad { fn *a, *b, *c, *d; };
static const struct quad vec_const = {vec_one, vec_two, vec_two, vec_one};
static struct quad vec_var, vec_copy;
KEEP void set_vec(void) { vec_var = vec_const; }
KEEP void copy_vec(void) { vec_copy = vec_var; }
KEEP void run_vec(void) { if (vec_copy.b) { vec_copy.a(); vec_copy.b(); } sink = 37; }
// WANT: run_vec -> vec_one, vec_two

// Atomic: exchanged, compared and exchanged, and stored.
KEEP void atom_first(void) { sink = 38; }
KEEP void atom_exchange(void) { sink = 39; }
KEEP void atom_compare(void) { sink = 40; }
KEEP void atom_store(void) { sink = 41; }
static fn *atom = atom_first;
KEEP void set_atom(int i)
{
	fn *old = __atomic_load_n(&atom, __ATOMIC_SEQ_CST);
	if (i == 0)
		old = __atomic_exchange_n(&atom, atom_exchange, __ATOMIC_SEQ_CST);
	else if (i == 1)
		__atomic_compare_exchange_n(&atom, &old, atom_compare, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		__atomic_store_n(&atom, atom_store, __ATOMIC_SEQ_CST);
	sink = old != 0;
}
KEEP void run_atom(void) { fn *f = __atomic_load_n(&atom, __ATOMIC_SEQ_CST); f(); sink = 42; }
// WANT: run_atom -> atom_first, atom_exchange, atom_compare, atom_store

// Taken out by an exchange, and called.
KEEP void taken_out(void) { sink = 43; }
static fn *pending;
KEEP void set_pending(fn *f) { pending = f; }
KEEP void run_pending(void) { fn *f = __atomic_exchange_n(&pending, (fn *)0, __ATOMIC_SEQ_CST); if (f) f(); sink = 44; }
// WANT: run_pending -> taken_out

// Added to, as pointer arithmetic on what is really an integer: 64-bit differences, and written in halves and bytes.
KEEP void halves_first(void) { sink = 45; }
KEEP void halves_later(void) { sink = 46; }
static union { fn *f; uint32_t half[2]; unsigned char byte[8]; } halves = {halves_first};
KEEP void set_halves(uintptr_t v) { halves.half[0] = (uint32_t)v; halves.half[1] = (uint32_t)(v >> 32); }
KEEP void run_halves(void) { halves.f(); sink = 47; }
// WANT: run_halves -> halves_first, halves_later

KEEP void bytes_first(void) { sink = 48; }
KEEP void bytes_later(void) { sink = 49; }
static union { fn *f; unsigned char byte[8]; } bytes = {bytes_first};
KEEP void set_bytes(uintptr_t v, volatile int n) { for (int i = 0; i < n; i++) bytes.byte[i] = (unsigned char)(v >> 8 * i); }
KEEP void run_bytes(void) { bytes.f(); sink = 50; }
// WANT: run_bytes -> bytes_first, bytes_later

// Changed in place: a difference is added.
KEEP void moved_first(void) { sink = 51; }
KEEP void moved_later(void) { sink = 52; }
static uintptr_t moved = 0;
KEEP void set_moved(void) { moved = (uintptr_t)moved_first; }
KEEP void move(void) { moved += (uintptr_t)moved_later - (uintptr_t)moved_first; }
KEEP void run_moved(void) { ((fn *)moved)(); sink = 53; }
// WANT: run_moved -> moved_first, moved_later

// An array that is written by an index that nobody knows, and whose end a pointer runs to.
KEEP void arr_one(void) { sink = 54; }
KEEP void arr_two(void) { sink = 55; }
KEEP void arr_three(void) { sink = 56; }
static fn *arr[8];
KEEP void set_arr(int i, fn *f) { arr[i & 7] = f; }
KEEP void clear_arr(fn *f) { for (fn **p = arr; p < arr + 8; p++) *p = f; }
KEEP void run_arr(int i) { arr[i & 7](); sink = 57; }
KEEP void run_third(void) { arr[3](); sink = 58; }
// WANT: run_arr -> arr_one, arr_two, arr_three
// WANT: run_third -> arr_one, arr_two, arr_three

// Of each thread.
KEEP void tls_first(void) { sink = 59; }
KEEP void tls_later(void) { sink = 60; }
static __thread fn *tls = tls_first;
KEEP void set_tls(fn *f) { tls = f; }
KEEP void run_tls(void) { tls(); sink = 61; }
// WANT: run_tls -> tls_first, tls_later

// Exported, so that other modules can write it.
KEEP void pub_first(void) { sink = 62; }
KEEP void pub_later(void) { sink = 63; }
fn *public_hook = pub_first;
KEEP void set_public(fn *f) { public_hook = f; }
KEEP void run_public(void) { public_hook(); sink = 64; }
// WANT: run_public -> pub_first, pub_later

// Written only by code that never runs, which is not there for a call.
KEEP void dead_hook(void) { sink = 65; }
KEEP void quiet_hook(void) { sink = 66; }
static fn *quiet = quiet_hook;
KEEP void set_dead(void) { quiet = dead_hook; }
KEEP void run_quiet(void) { quiet(); sink = 67; }
// WANT: run_quiet -> quiet_hook
// WANT-NOT: run_quiet -> dead_hook b
// WANT-NOT: generic -> dead_hook b

// A list of objects that are variables: each is reached through its neighbour.
struct entry { struct entry *next; fn *run; };
KEEP void entry_one(void) { sink = 68; }
KEEP void entry_two(void) { sink = 69; }
KEEP void entry_new(void) { sink = 70; }
static struct entry entry_b = {0, entry_two}, entry_a = {&entry_b, entry_one}, entry_c = {&entry_a, 0};
static struct entry *entries = &entry_a;
KEEP void push_entry(fn *f) { entry_c.run = f; entries = &entry_c; }
KEEP void run_entries(void) { for (struct entry *e = entries; e; e = e->next) e->run(); sink = 71; }
// WANT: run_entries -> entry_one, entry_two, entry_new

int main(int argc, char **argv)
{
	(void)argv;
	add(listed);
	generic();
	run_hook();
	set_hook(zero);
	run_hook();
	set_hook(1);
	run_hook();
	set_again();
	run_hook();
	run_given();
	give(given_one);
	run_given();
	give(given_two);
	run_given();
	fn *old = exchange(saved_other);
	run_saved();
	exchange(old);
	run_saved();
	run_through();
	store_through(&through, through_alias);
	run_through();
	point();
	run_pointed();
	store_where(where_alias);
	run_pointed();
	run_copied();
	fn *f = copied_later;
	copy(&f, sizeof f + zero);
	run_copied();
	run_piped();
	int r = pipe_through(piped_later);
	run_piped();
	run_config();
	fill(&config, argc);
	run_config();
	fill_at((char *)&config, offsetof(struct config, stop) + zero, conf_stop);
	run_config();
	struct config *c = calloc(1, sizeof *c);
	c->start = c->stop = conf_heap;
	assign(c);
	run_config();
	run_both();
	set_both();
	run_both();
	run_vec();
	set_vec();
	copy_vec();
	run_vec();
	run_atom();
	for (int i = 0; i < 3; i++) {
		set_atom(i);
		run_atom();
	}
	set_pending(taken_out);
	run_pending();
	run_halves();
	set_halves((uintptr_t)halves_later);
	run_halves();
	run_bytes();
	set_bytes((uintptr_t)bytes_later, 8);
	run_bytes();
	set_moved();
	run_moved();
	move();
	run_moved();
	clear_arr(arr_one);
	run_arr(argc);
	set_arr(3, arr_two);
	run_arr(3);
	run_third();
	set_arr(argc + 2, arr_three);
	run_arr(argc + 2);
	run_third();
	clear_arr(arr_one);
	run_third();
	run_tls();
	set_tls(tls_later);
	run_tls();
	run_public();
	set_public(pub_later);
	run_public();
	run_quiet();
	run_entries();
	push_entry(entry_new);
	run_entries();
	return r;
}
