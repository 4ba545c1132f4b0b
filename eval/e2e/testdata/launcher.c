// launcher PROGRAM [ARGS...]: executes a program from its second thread, long after its first one has ended. To the kernel
// the process is a zombie until then.
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static void *later(void *argv) {
	usleep(700000);
	execv(((char **)argv)[1], (char **)argv + 1);
	perror("launcher");
	_exit(1);
}

int main(int argc, char **argv) {
	pthread_t t;
	if (argc < 2 || pthread_create(&t, 0, later, argv))
		return 1;
	pthread_exit(0);
}
