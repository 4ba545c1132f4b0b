// Objects on the heap and on the stack that hold pointers to functions.
#include <alloca.h>
#include <stddef.h>
#include <stdint.h>
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

// A handler in an object, set in one function and called in another.
struct object { int kind; void (*handle)(struct object *); };
KEEP void on_one(struct object *o) { sink = o->kind; }
KEEP void on_two(struct object *o) { sink = o->kind + 1; }
KEEP void on_three(struct object *o) { sink = o->kind + 2; }
KEEP struct object *make(int kind) { struct object *o = malloc(sizeof *o); o->kind = kind; o->handle = kind ? on_one : on_two; return o; }
KEEP void change(struct object *o, void (*f)(struct object *)) { o->handle = f; }
KEEP void fire(struct object *o) { o->handle(o); sink = 1; }
KEEP void fire_tail(struct object *o) { o->handle(o); }
// WANT: fire -> on_one, on_two, on_three
// WANT: fire_tail -> on_one, on_two, on_three

// Constant operations that objects point to.
struct ops { int (*open)(int); int (*close)(int); int (*poke)(int); };
struct file { long n; const struct ops *ops; };
KEEP int file_open(int n) { sink = 2; return n + 2; }
KEEP int file_close(int n) { sink = 3; return n + 3; }
KEEP int sock_open(int n) { sink = 4; return n + 4; }
KEEP int sock_close(int n) { sink = 5; return n + 5; }
static const struct ops file_ops = {file_open, file_close, 0};
static const struct ops sock_ops = {sock_open, sock_close, 0};
KEEP struct file *new_file(int sock) { struct file *f = malloc(sizeof *f); f->n = sock; f->ops = sock ? &sock_ops : &file_ops; return f; }
KEEP int do_open(struct file *f) { return f->ops->open(1) + 1; }
KEEP int do_close(struct file *f) { return f->ops->close(1) + 1; }
// WANT: do_open -> file_open, sock_open
// WANT: do_close -> file_close, sock_close

// Operations copied to the heap from a constant: by assignment, by memcpy of a size that is not known, a large struct, and
// one of which a field is changed afterwards.
struct many { fn *f[30]; };
KEEP int copy_open(int n) { sink = 6; return n + 6; }
KEEP int copy_close(int n) { sink = 7; return n + 7; }
KEEP int copy_poke(int n) { sink = 8; return n + 8; }
KEEP int own_close(int n) { sink = 9; return n + 9; }
static const struct ops copy_ops = {copy_open, copy_close, copy_poke};
KEEP struct ops *assigned(void) { struct ops *o = malloc(sizeof *o); *o = copy_ops; return o; }
KEEP struct ops *changed(void) { struct ops *o = assigned(); o->close = own_close; return o; }
KEEP int call_assigned(struct ops *o) { return o->open(1) + o->close(2) + o->poke(3); }
// WANT: call_assigned -> copy_open, copy_close, copy_poke, own_close

KEEP int mem_open(int n) { sink = 10; return n + 10; }
KEEP int mem_close(int n) { sink = 11; return n + 11; }
static const struct ops mem_ops = {mem_open, mem_close, mem_close};
KEEP struct ops *copied(size_t n) { struct ops *o = malloc(n); memcpy(o, &mem_ops, n); return o; }
KEEP int call_copied(struct ops *o) { return o->open(1) + o->close(2); }
// WANT: call_copied -> mem_open, mem_close

KEEP void large_first(void) { sink = 12; }
KEEP void large_last(void) { sink = 13; }
static const struct many large = {{large_first, [29] = large_last}};
KEEP struct many *copied_large(void) { struct many *m = malloc(sizeof *m); *m = large; return m; }
KEEP void call_large(struct many *m) { m->f[0](); m->f[29](); sink = 14; }
// WANT: call_large -> large_first, large_last

KEEP void two_first(void) { sink = 15; }
KEEP void two_second(void) { sink = 16; }
struct two { fn *a, *b; };
static const struct two two_const = {two_first, two_second};
KEEP struct two *copied_two(void) { struct two *t = malloc(sizeof *t); *t = two_const; return t; }
KEEP void call_two(struct two *t) { t->a(); t->b(); sink = 17; }
// WANT: call_two -> two_first, two_second

// Two pointers that code makes, stored by one vector move.
KEEP void pair_first(void) { sink = 18; }
KEEP void pair_second(void) { sink = 19; }
KEEP struct two *made_pair(void) { struct two *t = malloc(sizeof *t); t->a = pair_first; t->b = pair_second; return t; }
KEEP void call_pair(struct two *t) { t->a(); t->b(); sink = 20; }
// WANT: call_pair -> pair_first, pair_second

// One pointer all over an array, by vector moves.
KEEP void everywhere(void) { sink = 21; }
KEEP struct many *filled(int n) { struct many *m = malloc(sizeof *m); for (int i = 0; i < n; i++) m->f[i] = everywhere; return m; }
KEEP void call_filled(struct many *m, int n) { for (int i = 0; i < n; i++) m->f[i](); sink = 22; }
// WANT: call_filled -> everywhere

// Copied from heap to heap, moved by realloc, and copied byte by byte.
KEEP void heap_one(void) { sink = 23; }
KEEP void heap_two(void) { sink = 24; }
KEEP void heap_three(void) { sink = 25; }
KEEP struct two *duplicate(const struct two *t) { struct two *d = malloc(sizeof *d); *d = *t; return d; }
KEEP struct two *grown(struct two *t) { t = realloc(t, 2 * sizeof *t); t[1] = t[0]; return t + 1; }
KEEP struct two *by_bytes(const struct two *t)
{
	struct two *d = malloc(sizeof *d);
	const volatile unsigned char *from = (const void *)t;
	for (size_t i = 0; i < sizeof *d; i++)
		((volatile unsigned char *)d)[i] = from[i];
	return d;
}
KEEP struct two *make_two(fn *a, fn *b) { struct two *t = malloc(sizeof *t); t->a = a; t->b = b; return t; }
KEEP void call_duplicate(struct two *t) { t->a(); sink = 26; }
KEEP void call_grown(struct two *t) { t->b(); sink = 27; }
KEEP void call_by_bytes(struct two *t) { t->a(); sink = 28; }
// WANT: call_duplicate -> heap_one
// WANT: call_grown -> heap_two
// WANT: call_by_bytes -> heap_three

// Operations in arrays: of pointers to them, and of themselves inside an object.
KEEP int arr_open(int n) { sink = 29; return n + 29; }
KEEP int arr_close(int n) { sink = 30; return n + 30; }
KEEP int emb_open(int n) { sink = 31; return n + 31; }
KEEP int emb_close(int n) { sink = 32; return n + 32; }
static const struct ops arr_ops = {arr_open, arr_close, 0};
static const struct ops emb_ops = {emb_open, emb_close, 0};
static const struct ops *backends[4];
static int n_backends;
struct server { long n; struct ops ops[3]; };
KEEP int register_backend(const struct ops *o) { backends[n_backends++] = o; return n_backends - 1; }
KEEP int call_backend(int i) { return backends[i]->open(1) + backends[i]->close(2); }
KEEP struct server *new_server(int i) { struct server *s = calloc(1, sizeof *s); s->ops[i] = emb_ops; return s; }
KEEP int call_server(struct server *s, int i) { return s->ops[i].open(1) + s->ops[i].close(2); }
// WANT: call_backend -> arr_open, arr_close
// WANT: call_server -> emb_open, emb_close

// Pointers to the inside of an object, from which the object is found again: on the heap, a variable, and in an array.
struct link { struct link *next; };
struct item { long n; fn *run; struct link link; };
#define ITEM(l) ((struct item *)((char *)(l) - offsetof(struct item, link)))
static struct link *links;
KEEP void in_heap(void) { sink = 33; }
KEEP void in_variable(void) { sink = 34; }
KEEP void in_array(void) { sink = 35; }
static struct item variable = {1, in_variable, {0}};
static struct item array[3] = {{1, 0, {0}}, {2, 0, {0}}, {3, in_array, {0}}};
KEEP void insert(struct link *l) { l->next = links; links = l; }
KEEP void insert_all(void)
{
	struct item *i = malloc(sizeof *i);
	i->run = in_heap;
	insert(&i->link);
	insert(&variable.link);
	insert(&array[2].link);
}
KEEP void run_links(void) { for (struct link *l = links; l; l = l->next) ITEM(l)->run(); sink = 36; }
// WANT: run_links -> in_heap, in_variable, in_array

// A union with an integer and with a struct; a pointer with a bit set; a pointer stored as an integer.
union value { long n; fn *f; struct { int lo, hi; } halves; };
KEEP void in_union(void) { sink = 37; }
KEEP void in_tagged(void) { sink = 38; }
KEEP void in_integer(void) { sink = 39; }
KEEP union value *make_union(void) { union value *u = malloc(sizeof *u); u->f = in_union; return u; }
KEEP union value *copy_union(const union value *u) { union value *c = malloc(sizeof *c); c->n = u->n; return c; }
KEEP void call_union(const union value *u) { u->f(); sink = 40; }
KEEP uintptr_t *make_tagged(void) { uintptr_t *p = malloc(sizeof *p); *p = (uintptr_t)in_tagged | (uintptr_t)1 << 62; return p; }
KEEP void call_tagged(const uintptr_t *p) { if (*p >> 62) ((fn *)(*p & ~((uintptr_t)1 << 62)))(); sink = 41; }
KEEP long *make_integer(void) { long *p = malloc(sizeof *p); *p = (long)in_integer; return p; }
KEEP void call_integer(const long *p) { ((fn *)*p)(); sink = 42; }
// WANT: call_union -> in_union
// WANT: call_tagged -> in_tagged
// WANT: call_integer -> in_integer

// On the stack: an array with an index, of a size that is not known, and a struct handed to others.
KEEP void on_stack_one(void) { sink = 43; }
KEEP void on_stack_two(void) { sink = 44; }
KEEP void in_alloca(void) { sink = 45; }
KEEP void in_variable_array(void) { sink = 46; }
KEEP void set_local(void) { sink = 47; }
KEEP void call_stack(int i) { fn *f[4] = {on_stack_one, on_stack_two, on_stack_one, on_stack_two}; f[zero] = on_stack_two; f[i & 3](); sink = 48; }
KEEP void call_alloca(int n) { fn **f = alloca(n * sizeof *f); for (int i = 0; i < n; i++) f[i] = in_alloca; f[n - 1](); sink = 49; }
KEEP void call_variable_array(int n) { fn *f[n]; for (int i = 0; i < n; i++) f[i] = in_variable_array; f[zero](); sink = 50; }
KEEP void set_field(struct two *t) { t->b = set_local; }
KEEP void call_local(void) { struct two t = {0}; set_field(&t); t.b(); sink = 51; }
// WANT: call_stack -> on_stack_one, on_stack_two
// WANT: call_alloca -> in_alloca
// WANT: call_variable_array -> in_variable_array
// WANT: call_local -> set_local

// Through three objects, and from an object that a function of the object's own returns.
struct outer { struct middle *m; };
struct middle { struct inner *i; };
struct inner { fn *f; struct inner *(*self)(struct inner *); };
KEEP void in_inner(void) { sink = 52; }
KEEP struct inner *self(struct inner *i) { return zero ? 0 : i; }
KEEP struct outer *nest(void)
{
	struct outer *o = malloc(sizeof *o);
	o->m = malloc(sizeof *o->m);
	o->m->i = malloc(sizeof *o->m->i);
	o->m->i->f = in_inner;
	o->m->i->self = self;
	return o;
}
KEEP void call_nested(struct outer *o) { o->m->i->self(o->m->i)->f(); sink = 53; }
// WANT: call_nested -> self, in_inner

int main(int argc, char **argv)
{
	(void)argv;
	struct object *a = make(1), *b = make(zero);
	fire(a);
	fire(b);
	fire_tail(a);
	fire_tail(b);
	change(a, on_three);
	fire(a);
	fire_tail(a);
	int r = do_open(new_file(1)) + do_open(new_file(zero)) + do_close(new_file(1)) + do_close(new_file(zero));
	r += call_assigned(assigned()) + call_assigned(changed()) + call_copied(copied(sizeof(struct ops) + zero));
	call_large(copied_large());
	call_two(copied_two());
	call_pair(made_pair());
	call_filled(filled(argc + 7), argc + 7);
	call_duplicate(duplicate(make_two(heap_one, heap_two)));
	call_grown(grown(make_two(heap_one, heap_two)));
	call_by_bytes(by_bytes(make_two(heap_three, heap_two)));
	r += call_backend(register_backend(&arr_ops)) + call_server(new_server(argc), argc);
	insert_all();
	run_links();
	call_union(copy_union(make_union()));
	call_tagged(make_tagged());
	call_integer(make_integer());
	call_stack(0);
	call_stack(2);
	call_alloca(argc);
	call_variable_array(argc);
	call_local();
	call_nested(nest());
	return r == 0;
}
