// A server that loads a library, removes its file, as one that has it made anew at every start does, and serves.
#include <dlfcn.h>
#include "../../../testdata/servers/fixture.h"

int main(int argc, char **argv) {
	void *lib = dlopen(argv[1], RTLD_NOW);
	void (*made)(void) = lib ? (void (*)(void))dlsym(lib, "made") : 0;
	if (!made) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	unlink(argv[1]);
	int fd = listen_on(1, argv);
	ready(fd);
	for (;;) {
		int c = accept(fd, 0, 0);
		char b;
		if (c >= 0 && read(c, &b, 1) >= 0) {
			made();
			write(c, "ok\n", 3);
			close(c);
		}
	}
}
