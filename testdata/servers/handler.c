// Signal handlers are set before the loop and called by the kernel alone: nothing in the loop refers to them. The second
// is taken from a table of data, as nginx does.
//
// WANT: loop main
// WANT: open.main pause getpriority times rt_sigreturn restart_syscall
// WANT: closed.main personality
#include "fixture.h"

static void on_usr1(int sig) {
	(void)sig;
	CALL2(getpriority, 0, 0);
	CALL3(write, 1, "USR1\n", 5);
}

static void on_hup(int sig) {
	(void)sig;
	CALL1(times, 0);
	CALL3(write, 1, "HUP\n", 4);
}

static const struct {
	int sig;
	void (*handler)(int);
} signals[] = {{SIGUSR1, on_usr1}, {SIGHUP, on_hup}};

NOINLINE __attribute__((used)) static void unused(int sig) {
	(void)sig;
	CALL1(personality, -1);
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
		struct sigaction sa = {.sa_handler = signals[i].handler};
		sigaction(signals[i].sig, &sa, 0);
	}
	ready(fd);
	for (;;)
		CALL0(pause);
}
