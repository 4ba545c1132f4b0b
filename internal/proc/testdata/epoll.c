// A server that waits: one thread in epoll_wait without a time limit, one in it with a short one, one spinning. It counts
// the EINTRs and the signals that it sees, and prints both when it gets SIGTERM.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static volatile int eintrs, sigs, rounds, stop;

static void on_usr1(int s) { (void)s; __atomic_add_fetch(&sigs, 1, __ATOMIC_SEQ_CST); }
static void on_term(int s) { (void)s; stop = 1; }

static void *waiter(void *arg)
{
	int limit = (int)(long)arg, ep = epoll_create1(0);
	struct epoll_event ev;
	for (;;) {
		if (epoll_wait(ep, &ev, 1, limit) < 0 && errno == EINTR)
			__atomic_add_fetch(&eintrs, 1, __ATOMIC_SEQ_CST);
		rounds++;
	}
	return 0;
}

static void *spinner(void *arg)
{
	volatile unsigned long *n = arg;
	while (!stop)
		(*n)++;
	return 0;
}

int main(void)
{
	static unsigned long n;
	pthread_t t[3];
	sigset_t all, wait;
	signal(SIGUSR1, on_usr1);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, 0);
	pthread_create(&t[0], 0, waiter, (void *)-1L);
	pthread_create(&t[1], 0, waiter, (void *)20L);
	pthread_create(&t[2], 0, spinner, &n);
	puts("ready");
	fflush(stdout);
	signal(SIGTERM, on_term);
	sigemptyset(&wait);
	while (!stop)
		sigsuspend(&wait);
	while (rounds == 0) // time limits still end
		usleep(1000);
	printf("eintr %d signals %d rounds %d spins %d\n", eintrs, sigs, rounds > 0, n > 0);
	fflush(stdout);
	_exit(7);
}
