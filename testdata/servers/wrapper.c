// A hand-written system-call function that gets the number as its first argument, called through a second level that
// passes it on, and a third that stores it in a structure on the stack first. libc's own syscall() is used once.
//
// WANT: loop main
// WANT: open.main accept times getpriority getsid
// WANT: closed.main umask personality
// WANT: init.main umask
#include "fixture.h"

struct request {
	long nr, arg[3];
};

NOINLINE static long my_syscall(long nr, long a, long b, long c) { return call3(nr, a, b, c); }

NOINLINE static long outer(const char *why, long nr, long a) {
	if (!why)
		return -1;
	return my_syscall(nr, a, 0, 0);
}

NOINLINE static long stored(long nr, long a, long b) {
	volatile struct request r;
	r.nr = nr;
	r.arg[0] = a;
	r.arg[1] = b;
	return my_syscall(r.nr, r.arg[0], r.arg[1], 0);
}

NOINLINE __attribute__((used)) static void unused(void) { my_syscall(SYS_personality, -1, 0, 0); }

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	outer("before", SYS_umask, 022);
	ready(fd);
	for (;;) {
		int c = my_syscall(SYS_accept, fd, 0, 0);
		outer("request", SYS_times, 0);
		stored(SYS_getpriority, 0, 0);
		syscall(SYS_getsid, 0);
		my_syscall(SYS_write, c, (long)"ok\n", 3);
		my_syscall(SYS_close, c, 0, 0);
	}
}
