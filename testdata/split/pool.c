// The library with main loops; EARLY: with a call before that of the main thread which the loop does not need.
#include "../servers/fixture.h"

static void turn(void) {
	struct timespec ts = {0, 20000000};
	CALL2(nanosleep, &ts, 0);
}

NOINLINE void *pool_worker(void *arg) {
	ROOM;
	for (;;) {
		turn();
		CALL1(times, 0);
	}
	return arg;
}

NOINLINE void pool_run(long rounds) {
	ROOM;
	for (; rounds; rounds -= rounds > 0) {
		turn();
		CALL2(getpriority, 0, 0);
	}
}

NOINLINE void pool_serve(int fd) {
#ifdef EARLY
	CALL1(personality, -1);
#endif
	ROOM;
	for (;;) {
		int c = CALL3(accept, fd, 0, 0);
		if (c < 0)
			return;
		CALL3(write, c, "ok\n", 3);
		CALL1(close, c);
	}
}
