// A master that forks two workers and waits for them; it starts a new one when one ends. So the master's filter has to
// fit a worker's whole life, from the fork on. The workers' loop is nested in nothing of their own, but on their stack lies
// the master's loop that forked them.
//
// WANT: loop main worker
// WANT: role.main main
// WANT: role.worker child
// WANT: instances.main 1
// WANT: instances.worker 2
// WANT: open.main wait4 getpgrp clone accept times umask
// WANT: closed.main personality
// WANT: open.worker accept times
// WANT: closed.worker getpgrp umask personality
// WANT: init.worker umask
#include "fixture.h"

NOINLINE static void worker(int fd) {
	CALL1(umask, 022); // before its loop
	for (;;) {
		int c = CALL3(accept, fd, 0, 0);
		CALL1(times, 0);
		CALL3(write, c, "ok\n", 3);
		CALL1(close, c);
	}
}

static volatile sig_atomic_t over;

static void on_term(int sig) {
	(void)sig;
	over = 1;
}

static pid_t start(int fd) {
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGTERM, SIG_DFL);
		worker(fd);
		_exit(0);
	}
	return pid;
}

int main(int argc, char **argv) {
	struct sigaction sa = {.sa_handler = on_term};
	int fd = listen_on(argc, argv);
	pid_t pids[2];
	sigaction(SIGTERM, &sa, 0);
	CALL1(personality, -1);
	for (int i = 0; i < 2; i++)
		pids[i] = start(fd);
	ready(fd);
	while (!over) {
		pid_t gone = CALL3(wait4, -1, 0, 0);
		CALL0(getpgrp);
		for (int i = 0; gone > 0 && i < 2; i++)
			if (pids[i] == gone)
				pids[i] = start(fd);
	}
	for (int i = 0; i < 2; i++)
		kill(pids[i], SIGTERM);
	return 0;
}
