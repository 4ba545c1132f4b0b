// A server of several threads and children that asks for names which it is given: argv[1] a library, argv[2] a symbol, argv[3] a
// program. Each asking is counted; the sum is its last word.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char **names;
static int good;
enum { THREADS = 4, ROUNDS = 200 };

__attribute__((noinline)) void *open_it(const char *name) {
	void *h = dlopen(name, RTLD_NOW);
	__asm__ volatile("" ::: "memory");
	return h;
}
__attribute__((noinline)) void *look_up(void *lib, const char *name) {
	void *p = dlsym(lib, name);
	__asm__ volatile("" ::: "memory");
	return p;
}
__attribute__((noinline)) int spawn_it(char *name) {
	char *argv[] = {name, 0};
	pid_t child;
	int status = -1;
	if (posix_spawn(&child, name, 0, 0, argv, environ) == 0)
		waitpid(child, &status, 0);
	return status == 0;
}
__attribute__((noinline)) int fork_it(char *name) {
	char *argv[] = {name, "forked", 0};
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		execv(name, argv);
		_exit(1);
	}
	waitpid(child, &status, 0);
	return status == 0;
}
static void *work(void *unused) {
	for (int i = 0; i < ROUNDS; i++) {
		void *lib = open_it(names[1]);
		if (lib && look_up(lib, names[2]) && dlclose(lib) == 0)
			__atomic_fetch_add(&good, 1, __ATOMIC_SEQ_CST);
		if (i % 50 == 0)
			__atomic_fetch_add(&good, spawn_it(names[3]) + fork_it(names[3]), __ATOMIC_SEQ_CST);
	}
	return unused;
}
int main(int argc, char **argv) {
	pthread_t t[THREADS];
	names = argv;
	signal(SIGTRAP, SIG_IGN); // the breakpoints are nobody's business
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], 0, work, 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], 0);
	printf("good %d of %d\n", good, THREADS * (ROUNDS + 2 * (ROUNDS / 50)));
	fflush(stdout);
	for (;;)
		pause();
}
