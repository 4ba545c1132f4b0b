// The number of a call is the seventh argument, so it lies on the stack: glibc does so from 2.41 on, where every
// cancellable wrapper ends in __syscall_cancel (sysdeps/unix/sysv/linux/x86_64/syscall_cancel.S has the same form).
//
// WANT: loop main
// WANT: open.main accept times getpriority
// WANT: closed.main umask personality
// WANT: init.main umask
#include "fixture.h"

// long cancel(a1, a2, a3, a4, a5, a6, nr): a1..a6 in the registers of a C call, nr at 8(%rsp).
long cancel(long, long, long, long, long, long, long);
__asm__(".text\n"
	".globl cancel\n"
	".type cancel, @function\n"
	"cancel:\n"
	"	.cfi_startproc\n"
	"	movq 8(%rsp), %rax\n"
	"	movq %rcx, %r10\n"
	"	syscall\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size cancel, .-cancel\n");

// One level above it, in C: the number again goes through the stack, behind a frame.
NOINLINE static long wrapped(long a, long b, long c, long d, long e, long f, long nr) {
	volatile char room[40];
	room[0] = 0;
	return cancel(a + room[0], b, c, d, e, f, nr);
}

NOINLINE __attribute__((used)) static void unused(void) {
	wrapped(-1, 0, 0, 0, 0, 0, SYS_personality);
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	wrapped(022, 0, 0, 0, 0, 0, SYS_umask);
	ready(fd);
	for (;;) {
		int c = cancel(fd, 0, 0, 0, 0, 0, SYS_accept);
		cancel(0, 0, 0, 0, 0, 0, SYS_times);
		wrapped(0, 0, 0, 0, 0, 0, SYS_getpriority);
		cancel(c, (long)"ok\n", 3, 0, 0, 0, SYS_write);
		cancel(c, 0, 0, 0, 0, 0, SYS_close);
	}
}
