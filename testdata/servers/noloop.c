// Never enters a loop: prepares, waits once, and ends. There is no serving phase, and the tools must say so.
//
// WANT: noloop
#include "fixture.h"

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	ready(fd);
	CALL0(pause);
	return 0;
}
