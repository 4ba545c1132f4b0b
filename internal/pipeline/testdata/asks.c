// A server that looks up one of its own functions, loads a library and runs a command, all by names that it is given.
#include <dlfcn.h>
#include "../../../testdata/servers/fixture.h"

void hidden_from_analysis(void) { CALL1(umask, 022); }
void never_asked_for(void) { CALL1(personality, -1); }

int main(int argc, char **argv) {
	void *lib = dlopen(argv[2], RTLD_NOW);
	void (*f)(void) = (void (*)(void))dlsym(dlopen(0, RTLD_NOW), argv[1]);
	if (!f || !lib || system(argv[3]) != 0)
		return 1;
	int fd = listen_on(1, argv);
	ready(fd);
	for (;;) {
		int c = accept(fd, 0, 0);
		char b;
		if (c >= 0 && read(c, &b, 1) >= 0) {
			f();
			write(c, "ok\n", 3);
			close(c);
		}
	}
}
