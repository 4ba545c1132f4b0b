// calls N [FILTER]: makes ROUNDS times N system calls, behind a filter that is in a file as the kernel takes it, and prints how
// many nanoseconds of the processor one takes in the best round: getppid, then prctl, of which a filter looks at the arguments.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 100

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv) {
	long n = argc > 1 ? atol(argv[1]) : 0;
	if (argc > 2) {
		static struct sock_filter f[4096];
		FILE *in = fopen(argv[2], "r");
		struct sock_fprog p = {in ? fread(f, sizeof *f, 4096, in) : 0, f};
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p)) {
			perror(argv[2]);
			return 1;
		}
	}
	double best[2] = {1e18, 1e18};
	for (int round = 0; round < ROUNDS; round++) {
		double a = now();
		for (long i = 0; i < n; i++)
			syscall(SYS_getppid);
		double b = now();
		for (long i = 0; i < n; i++)
			syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
		double c = now();
		best[0] = b - a < best[0] ? b - a : best[0];
		best[1] = c - b < best[1] ? c - b : best[1];
	}
	printf("%.1f %.1f\n", best[0] / n, best[1] / n);
	return 0;
}
