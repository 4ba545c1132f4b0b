// Makes threads and processes, several at a time, until SIGTERM; then ends with 9. Says "ready" in its sixth round.
// With an argument the first thread takes no SIGCHLD: a tracer sees it stop at what it makes, and at nothing else.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t enough;

static void stop(int sig)
{
	enough = sig;
}

static void *nothing(void *arg)
{
	if (fork() == 0)
		_exit(0);
	wait(0);
	return arg;
}

int main(int argc, char **argv)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (argc > 1)
		sigprocmask(SIG_BLOCK, &set, 0);
	signal(SIGTERM, stop);
	for (int i = 0; !enough; i++) {
		pthread_t t[3];
		if (i == 5) {
			puts("ready");
			fflush(stdout);
		}
		for (int k = 0; k < 3; k++)
			pthread_create(&t[k], 0, nothing, 0);
		for (int k = 0; k < 3; k++)
			pthread_join(t[k], 0);
	}
	exit(9);
}
