// A small program with what fixtures look for: constructors, relocated pointers, a copy relocation, bss.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void first(void) { puts("first"); }
static void second(void) { puts("second"); }
static void third(void) { puts("third"); }
static void (*table[])(void) = {first, second, third, first, second, third, first, second};
static char big[100000];

__attribute__((constructor)) static void before(void) { big[0] = 1; }
__attribute__((destructor)) static void after(void) { big[1] = 1; }

int main(int argc, char **argv) {
	memset(big, argc, sizeof big);
	table[argc % 8]();
	fprintf(stdout, "%s %zu\n", argv[0], strlen(argv[0]));
	return 0;
}
