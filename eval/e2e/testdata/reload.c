// A server whose worker's loop is in a module. For "again" it ends the worker, unloads the module, loads it again, and makes
// another worker, as httpd does on a graceful restart. The answer is "ok" if the worker has done something, and "kept" behind
// it if the module is where it was although it was unloaded; where a module goes that is loaded anew is made to differ.
#include "../../../testdata/servers/fixture.h"
#include <dlfcn.h>
#include <sys/mman.h>

static int to[2], from[2];
static pid_t worker;
static void *module, *before;

static void start(void) {
	if (!(module = dlopen(MODULE, RTLD_NOW))) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	void (*serve)(int, int) = dlsym(module, "serve");
	if (pipe(to) || pipe(from) || (worker = fork()) < 0)
		exit(1);
	if (!worker) {
		serve(to[0], from[1]);
		_exit(0);
	}
}

static void end(void) {
	kill(worker, SIGKILL);
	waitpid(worker, 0, 0);
	close(to[0]), close(to[1]), close(from[0]), close(from[1]);
	before = dlsym(module, "serve");
	if (dlclose(module))
		exit(1);
	// Where the module was, if it is gone.
	mmap((void *)((uintptr_t)before & -4096), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

NOINLINE static void accepts(int fd) {
	ROOM;
	for (;;) {
		char text[16] = {0}, c = 'x';
		int s = accept(fd, 0, 0), kept = 0;
		if (read(s, text, sizeof text - 1) > 0 && !strncmp(text, "again", 5)) {
			end();
			start();
			kept = dlsym(module, "serve") == before;
		}
		int ok = write(to[1], &c, 1) == 1 && read(from[0], &c, 1) == 1 && c == 'y';
		dprintf(s, "%s%s\n", ok ? "ok" : "no", kept ? " kept" : "");
		close(s);
	}
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	start();
	ready(fd);
	accepts(fd);
}
