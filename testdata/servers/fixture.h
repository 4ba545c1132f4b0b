// Shared by the server fixtures: system calls made in place, and a listening socket on loopback.
//
// CALLn puts the system-call instruction with a constant number into the function that uses it, so that a WANT line can
// say exactly which function makes which call; through libc's wrappers it would be libc's word.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static inline __attribute__((always_inline)) long call3(long nr, long a, long b, long c) {
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}
#define CALL0(name) call3(SYS_##name, 0, 0, 0)
#define CALL1(name, a) call3(SYS_##name, (long)(a), 0, 0)
#define CALL2(name, a, b) call3(SYS_##name, (long)(a), (long)(b), 0)
#define CALL3(name, a, b, c) call3(SYS_##name, (long)(a), (long)(b), (long)(c))

// ROOM before a loop is an instruction long enough for a jump to be put in its place.
#define ROOM __asm__ volatile("nopl 0(%rax,%rax,1)")

// NOINLINE keeps a function whole and apart: no inlining, no clones for constant arguments.
#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noipa))
#endif

// listen_on opens a listening socket on 127.0.0.1:argv[1], on a free port if there is none.
static int listen_on(int argc, char **argv) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	a.sin_port = htons(argc > 1 ? atoi(argv[1]) : 0);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 || bind(fd, (void *)&a, sizeof a) < 0 ||
	    listen(fd, 64) < 0) {
		perror("listen");
		exit(1);
	}
	return fd;
}

// ready tells the port, which ends the preparations.
static void ready(int fd) {
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	if (getsockname(fd, (void *)&a, &n) < 0) {
		perror("getsockname");
		exit(1);
	}
	printf("READY %d\n", ntohs(a.sin_port));
	fflush(stdout);
}
