// Calls a chain of functions of different shapes and, at its end, prints what an unwinder needs: registers, mappings and the
// stack. Which functions are active is stated by the test.
#define _GNU_SOURCE
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int sink;

static void dump(const char *what, const char *from, size_t size)
{
	printf("%s %lx ", what, (unsigned long)from);
	for (size_t i = 0; i < size; i++)
		printf("%02x", (unsigned char)from[i]);
	putchar('\n');
}

static char *altstack;
static size_t altsize = 64 << 10;

KEEP void capture(void)
{
	static unsigned long r[9];
	char line[512];
	FILE *maps;
	__asm__ volatile("movq %%rbx, 0(%0)\n movq %%rbp, 8(%0)\n movq %%rsp, 16(%0)\n movq %%r12, 24(%0)\n"
			 "movq %%r13, 32(%0)\n movq %%r14, 40(%0)\n movq %%r15, 48(%0)\n"
			 "1: leaq 1b(%%rip), %%rax\n movq %%rax, 56(%0)"
			 : : "D"(r) : "rax", "memory");
	// In DWARF order, from rbx and rbp on.
	printf("regs 0 0 0 %lx 0 0 %lx %lx 0 0 0 0 %lx %lx %lx %lx %lx\n", r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]);
	maps = fopen("/proc/self/maps", "r");
	unsigned long sp = r[2], lo, hi;
	while (fgets(line, sizeof line, maps)) {
		printf("map %s", line);
		sscanf(line, "%lx-%lx", &lo, &hi);
		if (lo <= sp && sp < hi) {
			unsigned long n = hi - sp;
			dump("mem", (char *)sp, n < 65536 ? n : 65536);
		} else if (strstr(line, "[stack]")) {
			unsigned long from = hi - 65536 > lo ? hi - 65536 : lo;
			dump("mem", (char *)from, hi - from);
		}
	}
	fclose(maps);
	puts("end");
	fflush(stdout);
	_exit(0);
}

KEEP void plain(void (*next)(void))
{
	next();
	sink++;
}

// A frame of a size known only at run time: the frame address hangs on rbp.
KEEP void with_alloca(void (*next)(void))
{
	char *p = alloca(100 + sink % 7);
	p[sink % 7] = 1;
	next();
	sink += p[0];
}

// A frame aligned beyond what the ABI gives.
KEEP void aligned(void (*next)(void))
{
	_Alignas(64) volatile char buf[128];
	buf[sink % 7] = 1;
	next();
	sink += buf[0];
}

// Saves every register that there is to save.
KEEP void many(void (*next)(void), long a, long b, long c, long d, long e)
{
	long x = a * sink, y = b * sink, z = c * sink, u = d * sink, v = e * sink;
	next();
	sink += x + y + z + u + v;
	next = 0;
	sink += a + b + c + d + e;
}

KEEP int compare(const void *a, const void *b)
{
	(void)a;
	(void)b;
	capture();
	return 0;
}

KEEP void sorting(void)
{
	int v[2] = { 2, 1 };
	qsort(v, 2, sizeof v[0], compare);
	sink += v[0];
}

KEEP void handler(int s)
{
	(void)s;
	capture();
	sink++;
}

KEEP void faulting(void)
{
	*(volatile int *)8 = 1;
	sink++;
}

KEEP void raising(void)
{
	raise(SIGUSR1);
	sink++;
}

KEEP void in_many(void) { many(capture, 1, 2, 3, 4, 5); sink++; }
KEEP void in_aligned(void) { aligned(in_many); sink++; }
KEEP void chain(void) { with_alloca(in_aligned); sink++; }

KEEP void *routine(void *arg)
{
	plain((void (*)(void))arg);
	sink++;
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	altstack = malloc(altsize);
	stack_t ss = { .ss_sp = altstack, .ss_size = altsize };
	struct sigaction sa = { .sa_handler = handler };
	pthread_t t;
	if (!strcmp(mode, "chain"))
		plain(chain);
	else if (!strcmp(mode, "sort"))
		plain(sorting);
	else if (!strcmp(mode, "signal")) {
		sigaction(SIGUSR1, &sa, 0);
		plain(raising);
	} else if (!strcmp(mode, "fault")) {
		sigaction(SIGSEGV, &sa, 0);
		plain(faulting);
	} else if (!strcmp(mode, "altstack")) {
		sigaltstack(&ss, 0);
		sa.sa_flags = SA_ONSTACK;
		sigaction(SIGSEGV, &sa, 0);
		plain(faulting);
	} else if (!strcmp(mode, "thread")) {
		pthread_create(&t, 0, routine, (void *)chain);
		pthread_join(t, 0);
	}
	return sink;
}
