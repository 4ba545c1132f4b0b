// The module of reload.c.
#include <unistd.h>

void serve(int in, int out) {
	char c;
	__asm__ volatile("nopl 0(%rax,%rax,1)");
	for (;;) {
		if (read(in, &c, 1) != 1)
			return;
		c = 'y';
		if (write(out, &c, 1) != 1)
			return;
	}
}
