// A loop that executes a program which no request of a profiling run asks for, and, if it was given one, another whose
// name only the command line says. After the second word of the request, programs are: true (a constant), own (argv[2]).
//
// WANT: loop serve
// WANT: open.serve accept execve wait4
// WANT: closed.serve mknod personality
#include "fixture.h"

static char *program;

NOINLINE static void execute(const char *path) {
	char *const argv[] = {(char *)path, 0}, *const env[] = {0};
	pid_t pid = fork();
	if (pid == 0) {
		execve(path, argv, env);
		_exit(127);
	}
	int status = -1;
	waitpid(pid, &status, 0);
}

NOINLINE static void serve(int fd) {
	for (;;) {
		char word[8] = "";
		int c = CALL3(accept, fd, 0, 0);
		CALL3(read, c, word, sizeof word - 1);
		if (!strncmp(word, "true", 4))
			execute("/usr/bin/true");
		else if (!strncmp(word, "own", 3) && program)
			execute(program);
		CALL3(write, c, "ok\n", 3);
		CALL1(close, c);
	}
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	program = argc > 2 ? argv[2] : 0;
	ready(fd);
	serve(fd);
	return 0;
}
