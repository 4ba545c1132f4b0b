// A server without a purpose, in one of several modes. It prints "ready" when it is up; SIGTERM makes it print what it has
// counted and end with status 3.
#define _GNU_SOURCE
#include <alloca.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int eintrs, usr1, stop, sink;

static void ready(void) { puts("ready"); fflush(stdout); }
static void on_usr1(int s) { (void)s; usr1++; }

static void on_term(int s)
{
	char line[64];
	int n = snprintf(line, sizeof line, "eintr %d usr1 %d\n", eintrs, usr1);
	(void)s;
	if (write(1, line, n) == n)
		_exit(3);
	_exit(4);
}

// Blocks in a call, in a frame whose address only rbp tells.
KEEP void epoll_loop(int limit)
{
	char *p = alloca(64 + sink % 3);
	int ep = epoll_create1(0);
	struct epoll_event ev;
	p[0] = 0;
	for (;;) {
		if (epoll_wait(ep, &ev, 1, limit) < 0 && errno == EINTR)
			eintrs++;
		sink += p[0];
	}
}

KEEP void poll_loop(void)
{
	for (;;) {
		if (poll(0, 0, -1) < 0 && errno == EINTR)
			eintrs++;
		sink++;
	}
}

KEEP void read_loop(void)
{
	int p[2];
	char c;
	if (pipe(p))
		exit(1);
	for (;;) {
		if (read(p[0], &c, 1) < 0 && errno == EINTR)
			eintrs++;
		sink++;
	}
}

KEEP void cond_loop(void)
{
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
	pthread_mutex_lock(&m);
	for (;;) {
		pthread_cond_wait(&c, &m);
		sink++;
	}
}

KEEP void spin_loop(void)
{
	for (;;)
		sink++;
}

// A loop in hand-written code without call-frame information.
void bare_spin(void);
__asm__(".text\n.globl bare_spin\n.type bare_spin,@function\nbare_spin: incl sink(%rip)\n jmp bare_spin\n.size bare_spin,.-bare_spin\n");

KEEP void bare_loop(void) { bare_spin(); sink++; }

KEEP void nap(void) { struct timespec t = { 0, 20000 }; nanosleep(&t, 0); sink++; }
KEEP void left(void) { nap(); sink++; }
KEEP void deep(int n) { volatile char pad[200]; pad[n] = n; if (n) deep(n - 1); else nap(); sink += pad[n]; }
KEEP void right(void) { deep(3); sink++; }
KEEP void restless_loop(void) { for (;;) { left(); right(); } }

static void *run(void *arg) { ((void (*)(void))arg)(); return 0; }
static void *run_epoll(void *arg) { epoll_loop((long)arg); return 0; }

static void start(void (*loop)(void))
{
	pthread_t t;
	pthread_create(&t, 0, run, (void *)loop);
}

static void wait_here(void)
{
	sigset_t none;
	sigemptyset(&none);
	ready();
	for (;;)
		sigsuspend(&none);
}

static void threads(void)
{
	pthread_t t;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pthread_create(&t, 0, run_epoll, (void *)-1L);
	pthread_create(&t, 0, run_epoll, (void *)30L);
	start(poll_loop);
	start(read_loop);
	start(cond_loop);
	start(spin_loop);
	pthread_sigmask(SIG_SETMASK, &old, 0);
	wait_here();
}

// Children: one serves inside the function that forked it, one returns from it and serves further out.
KEEP void child_loop(void) { for (;;) { pause(); sink++; } }

KEEP int spawn(int stay)
{
	int p = fork();
	if (p == 0 && stay)
		child_loop();
	sink++;
	return p;
}

KEEP void master(void)
{
	spawn(1);
	if (spawn(0) == 0)
		child_loop();
	wait_here();
}

static void forks(void) { master(); sink++; }

// Executes /bin/true by vfork, and a script by fork.
static void execs(const char *script)
{
	int p = vfork();
	if (p == 0) {
		execl("/bin/true", "true", (char *)0);
		_exit(1);
	}
	waitpid(p, 0, 0);
	if ((p = fork()) == 0) {
		execl(script, script, (char *)0);
		_exit(1);
	}
	waitpid(p, 0, 0);
	wait_here();
}

// Threads and children come and go.
static void *nothing(void *arg) { return arg; }

static void churn(void)
{
	pthread_t t[4];
	for (int i = 0; i < 60; i++) {
		for (int k = 0; k < 4; k++)
			pthread_create(&t[k], 0, nothing, 0);
		if (fork() == 0)
			_exit(0);
		for (int k = 0; k < 4; k++)
			pthread_join(t[k], 0);
		wait(0);
	}
	ready();
	exit(9);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	signal(SIGUSR1, on_usr1);
	signal(SIGTERM, on_term);
	if (!strcmp(mode, "threads"))
		threads();
	else if (!strcmp(mode, "forks"))
		forks();
	else if (!strcmp(mode, "execs"))
		execs(argv[2]);
	else if (!strcmp(mode, "churn"))
		churn();
	else if (!strcmp(mode, "restless"))
		start(restless_loop), wait_here();
	else if (!strcmp(mode, "bare"))
		start(bare_loop), wait_here();
	else if (!strcmp(mode, "crash"))
		ready(), abort();
	else if (!strcmp(mode, "daemon")) {
		if (fork())
			exit(0);
		setsid();
		master();
	} else
		wait_here();
	return 0;
}
