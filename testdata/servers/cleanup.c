// An epoll loop that returns: SIGTERM sets a flag, the loop ends, and then its function, its caller, an exit handler and
// a destructor make calls that no request ever makes. All of them belong to the serving phase.
//
// WANT: loop cycle
// WANT: open.cycle epoll_wait accept unlink rmdir symlink sync getitimer exit_group
// WANT: closed.cycle personality mknod
// WANT: init.cycle mkdir personality
#include "fixture.h"

static volatile sig_atomic_t over;
static char path[64];

static void on_term(int sig) {
	(void)sig;
	over = 1;
}

// Called through libc's list of exit handlers, whose pointers are mangled.
static void at_end(void) { CALL0(sync); }

__attribute__((destructor)) static void fini(void) {
	long v[4];
	CALL2(getitimer, 0, v);
}

NOINLINE __attribute__((used)) static void unused(void) { CALL3(mknod, "/nonexistent/x", 0, 0); }

NOINLINE static void cycle(int fd) {
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	ready(fd);
	while (!over) {
		if (epoll_wait(ep, &e, 1, -1) < 1)
			continue;
		int c = CALL3(accept, fd, 0, 0);
		CALL3(write, c, "ok\n", 3);
		CALL1(close, c);
	}
	// Behind the loop, in its own function.
	CALL1(unlink, path);
}

int main(int argc, char **argv) {
	struct sigaction sa = {.sa_handler = on_term};
	int fd = listen_on(argc, argv);
	sigaction(SIGTERM, &sa, 0);
	atexit(at_end);
	snprintf(path, sizeof path, "/tmp/syspart-fixture-%d", (int)getpid());
	CALL2(mkdir, path, 0700);
	CALL1(personality, -1);
	cycle(fd);
	// In the caller.
	CALL2(symlink, "", "");
	CALL1(rmdir, path);
	puts("BYE");
	return 0;
}
