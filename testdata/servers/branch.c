// One loop, one thread. What a request asks for decides whether a branch is taken; the test never takes it, yet its call
// must stay open. Its twin differs only in that nothing refers to it.
//
// WANT: loop main
// WANT: open.main accept read times umask
// WANT: closed.main personality getpriority
// WANT: init.main getpriority
#include "fixture.h"

// Reachable, never executed by the tests.
NOINLINE static void rare(void) { CALL1(umask, 022); }

// The twin: in the file, but out of reach.
NOINLINE __attribute__((used)) static void rare_twin(void) { CALL1(personality, -1); }

NOINLINE static void serve(int fd) {
	char c = 0;
	CALL3(read, fd, &c, 1);
	CALL1(times, 0);
	if (c == '!')
		rare();
	CALL3(write, fd, "ok\n", 3);
	CALL1(close, fd);
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	CALL2(getpriority, 0, 0);
	ready(fd);
	for (;;) {
		int c = CALL3(accept, fd, 0, 0);
		if (c >= 0)
			serve(c);
	}
}
