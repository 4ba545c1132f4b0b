// An interpreter with 600 operations, each of which goes on to the next by a computed goto through the heap.
#include <stdio.h>
#include <stdlib.h>

struct op { void *handler; long arg; };

#define TENS(M, a, b) M(a, b, 0) M(a, b, 1) M(a, b, 2) M(a, b, 3) M(a, b, 4) M(a, b, 5) M(a, b, 6) M(a, b, 7) M(a, b, 8) M(a, b, 9)
#define HUNDREDS(M, a) TENS(M, a, 0) TENS(M, a, 1) TENS(M, a, 2) TENS(M, a, 3) TENS(M, a, 4) TENS(M, a, 5) TENS(M, a, 6) TENS(M, a, 7) TENS(M, a, 8) TENS(M, a, 9)
#ifdef SMALL
#define ALL(M) HUNDREDS(M, 0)
#else
#define ALL(M) HUNDREDS(M, 0) HUNDREDS(M, 1) HUNDREDS(M, 2) HUNDREDS(M, 3) HUNDREDS(M, 4) HUNDREDS(M, 5)
#endif
#define ADDRESS(a, b, c) &&L##a##b##c,
#define OPERATION(a, b, c) L##a##b##c: x = (x ^ pc->arg) * 1##a##b##c + (x >> (1##a##b##c % 61)); pc++; goto *pc->handler;

__attribute__((noinline)) long interpret(struct op *pc, void ***labels, long x)
{
	static void *all[] = { ALL(ADDRESS) &&end };
	if (labels) {
		*labels = all;
		return sizeof all / sizeof *all;
	}
	goto *pc->handler;
	ALL(OPERATION)
end:
	return x;
}

int main(int argc, char **argv)
{
	void **labels;
	long n = interpret(0, &labels, 0);
	struct op *code = calloc(n, sizeof *code);
	for (long i = 0; i < n; i++)
		code[i] = (struct op){ labels[i], argc };
	printf("%ld\n", interpret(code, 0, 1));
}
