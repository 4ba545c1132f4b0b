// A server whose threads have their main loops in three modules: main here; the pool's workers in a library that the program
// needs, two of them, one entered from libc, one by a call of this program; the plug's in a module that is loaded by its path
// (PLUG). The library's function is called from another place, too, before anything is closed. With SERVE the main thread's loop
// is in the library as well.
#include <dlfcn.h>

#include "../servers/fixture.h"

void *pool_worker(void *arg);
void pool_run(long rounds);
void pool_serve(int fd);
int extra(void);

NOINLINE static void *relay(void *arg) {
	pool_run(-1);
	return arg;
}

static void start(void *(*f)(void *)) {
	pthread_t t;
	if (!f || pthread_create(&t, 0, f, 0))
		exit(1);
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	pool_run(2);
	CALL1(personality, -1); // closed in every loop
	start(pool_worker);
	start(relay);
	void *h = dlopen(PLUG, RTLD_NOW);
	start(h ? (void *(*)(void *))dlsym(h, "plug_worker") : 0);
	if (extra() != 1)
		return 1;
	ready(fd);
#ifdef SERVE
	pool_serve(fd);
#endif
	ROOM;
	for (;;) {
		int c = CALL3(accept, fd, 0, 0);
		CALL3(write, c, "ok\n", 3);
		CALL1(close, c);
	}
}
