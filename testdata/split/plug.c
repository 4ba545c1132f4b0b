// The module that is loaded by its path.
#include "../servers/fixture.h"

NOINLINE void *plug_worker(void *arg) {
	ROOM;
	for (;;) {
		struct timespec ts = {0, 20000000};
		CALL2(nanosleep, &ts, 0);
		CALL0(getpgrp);
	}
	return arg;
}
