// The number of one system call in the loop comes from the command line (argv[2]), so every call must stay open.
//
// WANT: loop main
// WANT: all.main
// WANT: unknown raw
#include "fixture.h"

NOINLINE static long raw(long nr) { return call3(nr, 0, 0, 0); }

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	long nr = argc > 2 ? atol(argv[2]) : SYS_getppid;
	ready(fd);
	for (;;) {
		int c = CALL3(accept, fd, 0, 0);
		if (c < 0)
			continue;
		raw(nr);
		CALL3(write, c, "ok\n", 3);
		CALL1(close, c);
	}
}
