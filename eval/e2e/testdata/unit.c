// unit NUMBER... -- CMD: executes a command as a service manager does under SystemCallFilter= and MemoryDenyWriteExecute=: the
// system calls with these numbers fail with EPERM, and no memory becomes executable that was not.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv) {
	struct sock_filter f[256] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)}};
	int n = 1, i = 1;
	for (; i < argc && strcmp(argv[i], "--") && n < 250; i++) {
		f[n++] = (struct sock_filter){BPF_JMP | BPF_JEQ | BPF_K, 0, 1, atoi(argv[i])};
		f[n++] = (struct sock_filter){BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM};
	}
	f[n++] = (struct sock_filter){BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
	struct sock_fprog p = {n, f};
	if (i + 1 >= argc || prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0) && errno != EINVAL || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p)) {
		perror("unit");
		return 1;
	}
	execvp(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return 1;
}
