// Makes a thread, a forked child that exits with 3, a vforked child that executes /bin/true, and ends with 5.
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *thread(void *arg) { return arg; }

int main(void)
{
	pthread_t t;
	pid_t p;
	pthread_create(&t, 0, thread, 0);
	pthread_join(t, 0);
	if ((p = fork()) == 0)
		_exit(3);
	waitpid(p, 0, 0);
	if ((p = vfork()) == 0) {
		execl("/bin/true", "true", (char *)0);
		_exit(1);
	}
	waitpid(p, 0, 0);
	return 5;
}
