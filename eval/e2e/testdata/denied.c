// A server that makes a call for "deny" which no analysis finds: at its start it changes its own code, in which the call is
// getppid.
#include "../../../testdata/servers/fixture.h"
#include <sys/mman.h>

extern char site[]; // mov $SYS_getppid,%eax

NOINLINE static long deny(void) {
	long ret;
	__asm__ volatile(".globl site\nsite: mov $110,%%eax\nsyscall" : "=a"(ret) : "D"(1l), "S"(2l), "d"(3l) : "rcx", "r11", "memory");
	return ret;
}

NOINLINE static void serve(int fd) {
	ROOM;
	for (;;) {
		char text[8] = {0};
		int c = CALL3(accept, fd, 0, 0);
		CALL3(read, c, text, sizeof text - 1);
		long ret = text[0] == 'd' ? deny() : 0;
		CALL3(write, c, ret == 0 ? "ok\n" : "no\n", 3);
		CALL1(close, c);
	}
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	char *page = (char *)((uintptr_t)site & -4096);
	if (mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC))
		return 1;
	*(int *)(site + 1) = SYS_mount;
	mprotect(page, 8192, PROT_READ | PROT_EXEC);
	ready(fd);
	serve(fd);
	return 0;
}
