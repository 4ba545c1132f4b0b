// Functions that libc and the kernel call: handlers, start routines, comparators.
#define _GNU_SOURCE
#define __NO_INLINE__ 1 // bsearch, which stdlib.h may define in place
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <search.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __clang__
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noinline, noclone, noipa, used))
#endif
volatile int sink;
static char stack[65536] __attribute__((aligned(16)));
volatile int zero; // 0 when it runs, which compilers do not know

// Each of these does something of its own that is reached through it alone.
#define THING(name, n) KEEP void name(void) { sink = n; }

// Threads.
THING(started, 1)
THING(started_c11, 2)
THING(started_through, 3)
THING(in_once, 4)
THING(in_call_once, 5)
THING(of_key, 6)
THING(of_cleanup, 7)
THING(before_fork, 8)
THING(in_parent, 9)
THING(in_child, 10)
KEEP void *start(void *p) { started(); return p; }
KEEP int start_c11(void *p) { started_c11(); return p != 0; }
KEEP void *start_through(void *p) { ((void (*)(void))p)(); return p; }
KEEP void once(void) { in_once(); }
KEEP void once_c11(void) { in_call_once(); }
KEEP void key_destructor(void *p) { if (p) of_key(); }
KEEP void cleanup(void *p) { if (p) of_cleanup(); }
KEEP void prepare(void) { before_fork(); }
KEEP void parent(void) { in_parent(); }
KEEP void child(void) { in_child(); }
KEEP void *set_key(void *k) { pthread_setspecific((pthread_key_t)(uintptr_t)k, stack); return k; }
KEEP void threads(void)
{
	pthread_t t;
	thrd_t c;
	static pthread_once_t o = PTHREAD_ONCE_INIT;
	static once_flag f = ONCE_FLAG_INIT;
	pthread_key_t k;
	pthread_create(&t, 0, start, 0);
	pthread_join(t, 0);
	pthread_create(&t, 0, start_through, (void *)started_through);
	pthread_join(t, 0);
	thrd_create(&c, start_c11, 0);
	thrd_join(c, 0);
	pthread_once(&o, once);
	call_once(&f, once_c11);
	pthread_key_create(&k, key_destructor);
	pthread_create(&t, 0, set_key, (void *)(uintptr_t)k);
	pthread_join(t, 0);
	pthread_cleanup_push(cleanup, &t);
	pthread_cleanup_pop(1);
	pthread_atfork(prepare, parent, child);
	sink = 11;
}
// WANT: main => start, started, start_c11, started_c11, start_through, started_through, once, in_once, once_c11, in_call_once
// WANT: main => key_destructor, of_key, cleanup, of_cleanup, prepare, before_fork, parent, in_parent, child, in_child
// WANT: start_through -> started_through
// WANT: libc -> start, start_c11, start_through, key_destructor, prepare, parent, child

// Signal handlers, by all ways to install one.
THING(by_signal, 12)
THING(by_action, 13)
THING(by_action_info, 14)
THING(by_variable, 15)
THING(by_notify, 16)
THING(by_sigset, 17)
KEEP void on_signal(int s) { sink = s; by_signal(); }
KEEP void on_action(int s) { sink = s + 1; by_action(); }
KEEP void on_action_info(int s, siginfo_t *i, void *c) { sink = s + (i != 0) + (c != 0); by_action_info(); }
KEEP void on_variable(int s) { sink = s + 2; by_variable(); }
KEEP void on_notify(union sigval v) { sink = v.sival_int; by_notify(); }
KEEP void on_sigset(int s) { sink = s + 3; by_sigset(); }
struct handler { int sig; void (*handle)(int); };
static const struct handler handlers[] = {{SIGUSR2, on_variable}, {0, 0}};
KEEP void install(int sig, void (*f)(int)) { struct sigaction a; memset(&a, 0, sizeof a); a.sa_handler = f; sigaction(sig, &a, 0); sink = 18; }
KEEP void signals(void)
{
	struct sigaction a = {.sa_sigaction = on_action_info, .sa_flags = SA_SIGINFO};
	signal(SIGUSR1, on_signal);
	install(SIGHUP, on_action);
	sigaction(SIGWINCH, &a, 0);
	for (const struct handler *h = handlers; h->sig; h++)
		install(h->sig, h->handle);
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	sigset(SIGURG, on_sigset);
	struct sigevent e = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_notify};
	timer_t t;
	if (zero && !timer_create(CLOCK_MONOTONIC, &e, &t))
		timer_delete(t);
	raise(SIGUSR1);
	raise(SIGHUP);
	raise(SIGWINCH);
	raise(SIGUSR2);
	raise(SIGURG);
}
// WANT: main => on_signal, by_signal, on_action, by_action, on_action_info, by_action_info, on_variable, by_variable
// WANT: main => on_sigset, by_sigset, on_notify, by_notify

// At the end.
THING(by_atexit, 19)
THING(by_on_exit, 20)
THING(by_quick, 21)
THING(by_destructor, 22)
KEEP void at_end(void) { by_atexit(); }
KEEP void at_end_too(int n, void *p) { sink = n + (p != 0); by_on_exit(); }
KEEP void at_quick_end(void) { by_quick(); }
__attribute__((destructor)) KEEP void destroy(void) { by_destructor(); }
KEEP void ends(void) { atexit(at_end); on_exit(at_end_too, 0); at_quick_exit(at_quick_end); if (zero) quick_exit(0); }
// WANT: main => at_end, by_atexit, at_end_too, by_on_exit, at_quick_end, by_quick, destroy, by_destructor
// WANT: libc -> at_end, at_end_too, at_quick_end

// Comparators and visitors.
KEEP int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
KEEP int compare_down(const void *a, const void *b, void *p) { return *(const int *)b - *(const int *)a + (p == 0); }
KEEP int compare_search(const void *a, const void *b) { return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b); }
KEEP int compare_linear(const void *a, const void *b) { return *(const int *)a != *(const int *)b; }
KEEP int compare_tree(const void *a, const void *b) { return *(const int *)a - *(const int *)b + zero; }
KEEP void walk_tree(const void *n, VISIT v, int depth) { sink = (n != 0) + v + depth; }
KEEP void free_tree(void *p) { sink = p != 0; }
KEEP int filter(const struct dirent *d) { return d->d_name[0] != '.'; }
KEEP int order(const struct dirent **a, const struct dirent **b) { return strcmp((*b)->d_name, (*a)->d_name); }
KEEP int visit_file(const char *path, const struct stat *s, int flag, struct FTW *f) { sink = path[0] + (s != 0) + flag + f->level; return 1; }
KEEP int visit_object(struct dl_phdr_info *i, size_t n, void *p) { sink = (int)n + i->dlpi_phnum + (p != 0); return 0; }
KEEP int sort_ints(void)
{
	static int v[] = {3, 1, 2, 5, 4};
	static void *tree;
	int key = 3;
	size_t n = 5;
	struct dirent **names;
	qsort(v, 5, sizeof *v, compare);
	qsort_r(v, 5, sizeof *v, compare_down, &key);
	qsort(v, 5, sizeof *v, compare);
	int found = bsearch(&key, v, 5, sizeof *v, compare_search) != 0;
	found += lfind(&key, v, &n, sizeof *v, compare_linear) != 0;
	tsearch(&v[0], &tree, compare_tree);
	tsearch(&v[1], &tree, compare_tree);
	twalk(tree, walk_tree);
	tdestroy(tree, free_tree);
	int got = scandir("/proc/self", &names, filter, order);
	for (int i = 0; i < got; i++)
		free(names[i]);
	nftw("/proc/self/task", visit_file, 4, FTW_PHYS);
	dl_iterate_phdr(visit_object, 0);
	return found;
}
// WANT: main => compare, compare_down, compare_search, compare_linear, compare_tree, walk_tree, free_tree, filter, order, visit_file, visit_object
// WANT: libc -> compare, compare_down, compare_search, compare_linear, compare_tree, walk_tree, free_tree, filter, order, visit_file, visit_object

// Streams with functions of the program's, contexts, and a process with a function of its own.
KEEP ssize_t cookie_read(void *c, char *b, size_t n) { sink = c != 0; b[0] = 'x'; return n > 0; }
KEEP ssize_t cookie_write(void *c, const char *b, size_t n) { sink = (c != 0) + b[0]; return (ssize_t)n; }
KEEP int cookie_close(void *c) { sink = c == 0; return 0; }
KEEP void stream(void)
{
	FILE *f = fopencookie(stack, "w+", (cookie_io_functions_t){cookie_read, cookie_write, 0, cookie_close});
	fputs("hello", f);
	fflush(f);
	sink = fgetc(f);
	fclose(f);
}
// WANT: main => cookie_read, cookie_write, cookie_close
// WANT: libc -> cookie_read, cookie_write, cookie_close

static ucontext_t here, there;
KEEP void context(int a, int b) { sink = a + b; }
KEEP int process(void *p) { sink = p != 0; return 0; }
KEEP void contexts(void)
{
	getcontext(&there);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = sizeof stack;
	there.uc_link = &here;
	makecontext(&there, (void (*)(void))context, 2, 1, 2);
	swapcontext(&here, &there);
	int pid = clone(process, stack + sizeof stack, SIGCHLD, 0);
	waitpid(pid, 0, 0);
	if ((pid = fork()) == 0)
		_exit(0);
	waitpid(pid, 0, 0);
}
// WANT: main => context, process
// WANT: libc -> process

int main(int argc, char **argv)
{
	(void)argv;
	threads();
	signals();
	ends();
	stream();
	contexts();
	return sort_ints() == 0 && argc;
}
