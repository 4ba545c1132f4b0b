// A server that takes its time: argv[2] names a FIFO, and a byte from it is awaited before the loop begins. argv[3] names a
// library, which is loaded then, and a second byte awaited.
//
// WANT: loop serve
// WANT: open.serve epoll_wait accept exit_group
// WANT: closed.serve personality mknod
// WANT: init.serve personality
#include "fixture.h"
#include <dlfcn.h>
#include <fcntl.h>

NOINLINE __attribute__((used)) static void unused(void) { CALL3(mknod, "/nonexistent/x", 0, 0); }

NOINLINE static void serve(int fd) {
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	ROOM;
	for (;;) {
		if (epoll_wait(ep, &e, 1, -1) < 1)
			continue;
		int c = CALL3(accept, fd, 0, 0);
		CALL3(write, c, "ok\n", 3);
		CALL1(close, c);
	}
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv), fifo;
	char b;
	CALL1(personality, -1);
	ready(fd);
	if (argc > 2) {
		if ((fifo = open(argv[2], O_RDONLY)) < 0 || read(fifo, &b, 1) != 1)
			return 1;
		if (argc > 3 && (!dlopen(argv[3], RTLD_NOW) || read(fifo, &b, 1) != 1)) {
			fprintf(stderr, "%s\n", dlerror());
			return 1;
		}
	}
	serve(fd);
}
