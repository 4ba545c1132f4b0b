// Makes threads and processes, several at a time, and ends with 9 when it has made some hundred since it said "ready".
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *arg)
{
	if (fork() == 0)
		_exit(0);
	wait(0);
	return arg;
}

int main(void)
{
	for (int i = 0; i < 60; i++) {
		pthread_t t[3];
		if (i == 5) {
			puts("ready");
			fflush(stdout);
		}
		for (int k = 0; k < 3; k++)
			pthread_create(&t[k], 0, nothing, 0);
		for (int k = 0; k < 3; k++)
			pthread_join(t[k], 0);
	}
	exit(9);
}
