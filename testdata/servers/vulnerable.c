// A server with a hole: a request longer than its buffer overwrites the return address. The build makes the hole easy
// (fixed addresses, no canaries, an executable stack), so that a test can use it both with code of its own on the stack and
// with returns into code that is there. What it needs while it serves is accept, read, write, close.
//
// WANT: loop serve
// WANT: open.serve accept read write close
// WANT: closed.serve execve mkdir socket
#include "fixture.h"
#include <sys/stat.h>

// Code that is there: pop rdi; ret and its like, as any larger program has them.
__asm__(".text\n.globl gadgets\ngadgets:\n"
	"pop %rdi\nret\n" // +0
	"pop %rsi\nret\n" // +2
	"pop %rdx\nret\n" // +4
	"pop %rax\nret\n" // +6
	"syscall\nret\n"  // +8
);
extern char gadgets[];
static char *request; // where the last request lies, which never moves

NOINLINE static int answer(int c) {
	char buffer[64];
	long n = CALL3(read, c, request, 4096);
	__builtin_memcpy(buffer, request, n > 0 ? n : 0);
	__asm__ volatile("" : : "r"(buffer) : "memory");
	return n;
}

NOINLINE static void serve(int fd) {
	ROOM;
	for (;;) {
		int c = CALL3(accept, fd, 0, 0);
		answer(c);
		CALL3(write, c, "ok\n", 3);
		CALL1(close, c);
	}
}

int main(int argc, char **argv) {
	static char area[4096] __attribute__((aligned(4096)));
	int fd = listen_on(argc, argv);
	request = area;
	// What an attacker would find by reading the program.
	printf("AT %lx %lx\n", (long)gadgets, (long)area);
	fflush(stdout);
	CALL3(mprotect, area, 4096, 7);
	ready(fd);
	serve(fd);
	return 0;
}
