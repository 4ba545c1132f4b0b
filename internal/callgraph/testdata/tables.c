// Tables of functions.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __clang__
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noinline, noclone, noipa, used))
#endif
typedef int fn(int);
volatile int sink;
volatile int zero; // 0 when it runs, which compilers do not know

// An address up to 128 bytes outside of an object counts for the object too: objects that are to be told apart stand apart.
KEEP int padding(int n) { return n; }
// Objects that are kept in any case stay in their order.
#define USED __attribute__((used))
#define APART(name) USED static fn *const name[20] = {padding}

struct node { struct node *next; fn *run; };
static struct node *list;
KEEP void add(fn *f) { struct node *n = malloc(sizeof *n); n->next = list; n->run = f; list = n; }
KEEP int generic(int n) { int r = 0; for (struct node *x = list; x; x = x->next) r += x->run(n); return r; }
KEEP int listed(int n) { return n + 1; }
// WANT: generic -> listed

// A constant table with names and handlers: by index, and searched through.
struct command { const char *name; fn *run; };
KEEP int cmd_get(int n) { sink = 2; return n + 2; }
KEEP int cmd_set(int n) { sink = 3; return n + 3; }
KEEP int cmd_del(int n) { sink = 4; return n + 4; }
KEEP int adm_quit(int n) { sink = 5; return n + 5; }
KEEP int adm_stat(int n) { sink = 6; return n + 6; }
KEEP int find_one(int n) { sink = 7; return n + 7; }
KEEP int find_two(int n) { sink = 8; return n + 8; }
APART(apart_1);
USED static const struct command commands[] = {{"get", cmd_get}, {"set", cmd_set}, {"del", cmd_del}};
APART(apart_2);
USED static const struct command admin[] = {{"quit", adm_quit}, {"stat", adm_stat}};
APART(apart_3);
USED static const struct command found[] = {{"one", find_one}, {"two", find_two}, {0, 0}};
APART(apart_4);
KEEP int dispatch(unsigned i, int n) { sink = commands[i % 3].name[0]; return commands[i % 3].run(n) + 1; }
KEEP int dispatch_admin(unsigned i, int n) { sink = admin[i % 2].name[0]; return admin[i % 2].run(n) + 1; }
KEEP int search(const char *name, int n)
{
	for (const struct command *c = found; c->name; c++)
		if (!strcmp(c->name, name))
			return c->run(n) + 1;
	return 0;
}
// WANT: dispatch -> cmd_get, cmd_set, cmd_del
// WANT: dispatch_admin -> adm_quit, adm_stat
// WANT: search -> find_one, find_two
// WANT-NOT: dispatch -> adm_quit, adm_stat, find_one, listed d except no-pie stripped
// WANT-NOT: dispatch_admin -> cmd_get, cmd_set, find_one, listed d except no-pie stripped
// WANT-NOT: search -> cmd_get, listed d except no-pie

// A table that a parameter points to.
KEEP int par_one(int n) { sink = 9; return n + 9; }
KEEP int par_two(int n) { sink = 10; return n + 10; }
KEEP int par_three(int n) { sink = 11; return n + 11; }
USED static const struct command par_a[] = {{"one", par_one}, {"two", par_two}, {0, 0}};
APART(apart_5);
USED static const struct command par_b[] = {{"three", par_three}, {0, 0}};
APART(apart_6);
KEEP int run_table(const struct command *t, const char *name, int n)
{
	for (; t->name; t++)
		if (!strcmp(t->name, name))
			return t->run(n) + 1;
	return 0;
}
// WANT: run_table -> par_one, par_two, par_three
// WANT-NOT: run_table -> cmd_get, adm_quit, listed d except no-pie

// A table that the analysis must not take for a constant one: entries are set when it runs.
KEEP int set_init(int n) { sink = 12; return n + 12; }
KEEP int set_later(int n) { sink = 13; return n + 13; }
KEEP int set_moved(int n) { sink = 14; return n + 14; }
static struct command settable[6] = {{"init", set_init}};
static unsigned used = 1;
KEEP void set(const char *name, fn *f) { settable[used].name = name; settable[used++].run = f; }
KEEP void set_in_middle(const char *name, fn *f) { memmove(settable + 1, settable, used++ * sizeof *settable); settable[0] = (struct command){name, f}; }
KEEP int run_settable(const char *name, int n)
{
	for (unsigned i = 0; i < used; i++)
		if (!strcmp(settable[i].name, name))
			return settable[i].run(n) + 1;
	return 0;
}
// WANT: run_settable -> set_init, set_later, set_moved

// Pointers alone: up to a null, in two dimensions, from behind, and with an index that does not begin at 0.
KEEP int nul_one(int n) { sink = 15; return n + 15; }
KEEP int nul_two(int n) { sink = 16; return n + 16; }
KEEP int dim_a(int n) { sink = 17; return n + 17; }
KEEP int dim_b(int n) { sink = 18; return n + 18; }
KEEP int dim_c(int n) { sink = 19; return n + 19; }
KEEP int back_one(int n) { sink = 20; return n + 20; }
KEEP int back_two(int n) { sink = 21; return n + 21; }
KEEP int bias_one(int n) { sink = 22; return n + 22; }
KEEP int bias_two(int n) { sink = 23; return n + 23; }
USED static fn *const to_null[] = {nul_one, nul_two, 0};
USED static fn *const square[2][2] = {{dim_a, dim_b}, {dim_c, dim_a}};
static fn *const backwards[] = {back_one, back_two};
static fn *const biased[] = {bias_one, bias_two};
KEEP int run_to_null(int n) { int r = 0; for (fn *const *p = to_null; *p; p++) r += (*p)(n); return r; }
KEEP int run_square(unsigned i, unsigned j, int n) { return square[i & 1][j & 1](n) + 1; }
KEEP int run_backwards(int n) { int r = 0; for (fn *const *p = backwards + 2; p-- > backwards;) r += (*p)(n); return r; }
KEEP int run_biased(unsigned i, int n) { return biased[i - 40](n) + 1; }
// WANT: run_to_null -> nul_one, nul_two
// WANT: run_square -> dim_a, dim_b, dim_c
// WANT: run_backwards -> back_one, back_two
// WANT: run_biased -> bias_one, bias_two
// WANT-NOT: run_to_null -> listed d except no-pie stripped gcc clang+-O1
// WANT-NOT: run_square -> listed, cmd_get d except clang+no-pie

// Larger than what a set of expressions holds.
#define MANY(n) KEEP int many_##n(int x) { sink = 100 + n; return x * n; }
MANY(1) MANY(2) MANY(3) MANY(4) MANY(5) MANY(6) MANY(7) MANY(8) MANY(9) MANY(10) MANY(11) MANY(12) MANY(13) MANY(14) MANY(15) MANY(16)
MANY(17) MANY(18) MANY(19) MANY(20) MANY(21) MANY(22) MANY(23) MANY(24) MANY(25) MANY(26) MANY(27) MANY(28) MANY(29) MANY(30) MANY(31) MANY(32)
APART(apart_7);
USED static fn *const many[] = {many_1, many_2, many_3, many_4, many_5, many_6, many_7, many_8, many_9, many_10, many_11, many_12, many_13, many_14,
	many_15, many_16, many_17, many_18, many_19, many_20, many_21, many_22, many_23, many_24, many_25, many_26, many_27, many_28, many_29, many_30,
	many_31, many_32};
APART(apart_8);
KEEP int run_many(unsigned i, int n) { return many[i % 32](n) + 1; }
// WANT: run_many -> many_1, many_2, many_16, many_25, many_31, many_32
// WANT-NOT: run_many -> listed, cmd_get d

// A table of tables, and a table in a struct that a table points to.
struct module { const char *name; const struct command *commands; int count; };
KEEP int mod_one(int n) { sink = 24; return n + 24; }
KEEP int mod_two(int n) { sink = 25; return n + 25; }
static const struct command mod_a[] = {{"one", mod_one}};
static const struct command mod_b[] = {{"two", mod_two}};
static const struct module mod_first = {"first", mod_a, 1}, mod_second = {"second", mod_b, 1};
static const struct module *const modules[] = {&mod_first, &mod_second, 0};
KEEP int run_modules(int n)
{
	int r = 0;
	for (const struct module *const *m = modules; *m; m++)
		for (int i = 0; i < (*m)->count; i++)
			r += (*m)->commands[i].run(n);
	return r;
}
// WANT: run_modules -> mod_one, mod_two

// Several cases, each with a function: compilers make a table of them, of 32-bit differences too.
KEEP int case_a(int n) { sink = 26; return n + 26; }
KEEP int case_b(int n) { sink = 27; return n + 27; }
KEEP int case_c(int n) { sink = 28; return n + 28; }
KEEP int case_d(int n) { sink = 29; return n + 29; }
KEEP int case_e(int n) { sink = 30; return n + 30; }
KEEP int case_f(int n) { sink = 31; return n + 31; }
KEEP int case_else(int n) { sink = 32; return n + 32; }
KEEP int run_case(int i, int n)
{
	fn *f;
	switch (i) {
	case 3: f = case_a; break;
	case 4: f = case_b; break;
	case 5: f = case_c; break;
	case 6: f = case_d; break;
	case 7: f = case_e; break;
	case 8: f = case_f; break;
	default: f = case_else;
	}
	return f(n) + 1;
}
// WANT: run_case -> case_a, case_b, case_c, case_d, case_e, case_f, case_else
// WANT-NOT: run_case -> listed d except no-pie

// The same, and what was chosen is stored and called elsewhere.
KEEP int keep_a(int n) { sink = 33; return n + 33; }
KEEP int keep_b(int n) { sink = 34; return n + 34; }
KEEP int keep_c(int n) { sink = 35; return n + 35; }
KEEP int keep_d(int n) { sink = 36; return n + 36; }
KEEP void keep_case(int i)
{
	switch (i) {
	case 0: add(keep_a); break;
	case 1: add(keep_b); break;
	case 2: add(keep_c); break;
	case 3: add(keep_d); break;
	}
}
// WANT: generic -> keep_a, keep_b, keep_c, keep_d

// 32-bit differences from the table itself, and from a function.
__asm__(".pushsection .rodata\n\t.balign 4\n"
	"differences: .long rel_one - differences, rel_two - differences, rel_three - differences\n"
	"\t.type differences, @object\n\t.size differences, 12\n\t.popsection");
extern const int32_t differences[] __attribute__((visibility("hidden")));
KEEP int rel_one(int n) { sink = 37; return n + 37; }
KEEP int rel_two(int n) { sink = 38; return n + 38; }
KEEP int rel_three(int n) { sink = 39; return n + 39; }
KEEP int run_relative(unsigned i, int n) { return ((fn *)((const char *)differences + differences[i % 3]))(n) + 1; }
// WANT: run_relative -> rel_one, rel_two, rel_three

__asm__(".pushsection .rodata\n\t.balign 4\n"
	"distances: .long far_one - far_base, far_two - far_base\n"
	"\t.type distances, @object\n\t.size distances, 8\n\t.popsection");
extern const int32_t distances[] __attribute__((visibility("hidden")));
KEEP int far_one(int n) { sink = 40; return n + 40; }
KEEP int far_two(int n) { sink = 41; return n + 41; }
KEEP int far_base(int n) { sink = 42; return n + 42; }
KEEP int run_distant(unsigned i, int n) { return ((fn *)((const char *)far_base + distances[i & 1]))(n) + 1; }
// WANT: run_distant -> far_one, far_two

int main(int argc, char **argv)
{
	(void)argv;
	add(listed);
	int r = 0;
	for (int i = 0; i < 32; i++)
		r += dispatch(i, 1) + dispatch_admin(i, 1) + run_square(i, i >> 1, 1) + run_biased(40 + (i & 1), 1) + run_many(i, 1) + run_case(i, 1) +
			run_relative(i, 1) + run_distant(i, 1);
	r += search("one", argc) + search("two", argc) + run_table(par_a, "one", 1) + run_table(par_a, "two", 1) + run_table(par_b, "three", 1);
	set("later", set_later);
	set_in_middle("moved", set_moved);
	r += run_settable("init", 1) + run_settable("later", 1) + run_settable("moved", 1);
	r += run_to_null(1) + run_backwards(1) + run_modules(1);
	for (int i = 0; i < 4; i++)
		keep_case(i);
	r += generic(1);
	return r == 0;
}
