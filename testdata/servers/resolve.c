// A loop that asks the name service for what nobody asked before the transition: its modules are loaded then.
//
// WANT: loop serve
// WANT: open.serve accept openat mmap socket
// WANT: closed.serve mknod personality
#include "fixture.h"
#include <grp.h>
#include <netdb.h>
#include <pwd.h>

NOINLINE static int resolve(void) {
	struct addrinfo *a = 0, hints = {.ai_socktype = SOCK_STREAM};
	int bad = getaddrinfo("localhost", "80", &hints, &a);
	if (!bad)
		freeaddrinfo(a);
	getaddrinfo("no-such-host.invalid", 0, &hints, &a);
	getpwnam("syspart-nobody"); // asks every service of nsswitch.conf
	getgrnam("syspart-nobody");
	return bad;
}

NOINLINE static void serve(int fd) {
	for (;;) {
		char word[8] = "";
		int c = CALL3(accept, fd, 0, 0), bad = 0;
		CALL3(read, c, word, sizeof word - 1);
		if (!strncmp(word, "name", 4))
			bad = resolve();
		CALL3(write, c, bad ? "no\n" : "ok\n", 3);
		CALL1(close, c);
	}
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	ready(fd);
	serve(fd);
	return 0;
}
