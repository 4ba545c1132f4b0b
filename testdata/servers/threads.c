// A main thread and two kinds of pthreads, each with a loop and calls of its own. The second kind's pointer goes through
// a table, as in servers with pools.
//
// WANT: loop main worker ticker
// WANT: open.main accept getpgrp
// WANT: closed.main personality
// WANT: init.main personality clone3
// WANT: open.worker futex times munmap exit
// WANT: closed.worker getpgrp personality
// WANT: tight.worker getpriority
// WANT: open.ticker nanosleep getpriority
// WANT: closed.ticker getpgrp personality
// WANT: tight.ticker times
// WANT: instances.main 1
// WANT: instances.worker 3
// WANT: instances.ticker 1
#include "fixture.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int queue[64], head, tail;

static void *worker(void *arg) {
	for (;;) {
		pthread_mutex_lock(&lock);
		while (head == tail)
			pthread_cond_wait(&more, &lock);
		int c = queue[head++ % 64];
		pthread_mutex_unlock(&lock);
		if (c < 0)
			return arg;
		CALL1(times, 0);
		CALL3(write, c, "ok\n", 3);
		CALL1(close, c);
	}
}

static void *ticker(void *arg) {
	for (;;) {
		struct timespec ts = {0, 20000000};
		CALL2(nanosleep, &ts, 0);
		CALL2(getpriority, 0, 0);
	}
	return arg;
}

static void *(*const kinds[])(void *) = {worker, worker, worker, ticker};

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	CALL1(personality, -1);
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		pthread_t t;
		if (pthread_create(&t, 0, kinds[i], 0))
			return 1;
	}
	ready(fd);
	for (;;) {
		int c = CALL3(accept, fd, 0, 0);
		CALL0(getpgrp);
		pthread_mutex_lock(&lock);
		queue[tail++ % 64] = c;
		pthread_cond_signal(&more);
		pthread_mutex_unlock(&lock);
	}
}
