// One thread for each way of waiting, each in a loop of its own, and one that computes. Every loop counts what it must
// never see: calls that fail with EINTR though nobody sent a signal, waits that end too early, registers that change.
//
// Commands on standard input, each answered by one line:
//   status   counters
//   fork     makes a child that after a while waits in loop_child; answers its process id
//   call NR  the main thread makes system call NR without arguments; answers its result
//   rounds   how often each loop went round
//   tids     thread ids
//   pid      process id
//   spawn P  makes a child that executes program P with argument 60; answers its process id
//   exit N   ends with status N
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS 15000000L

enum { EPOLL, EPOLLT, SLEEP, FUTEX, FUTEXT, READ, POLL, SELECT, SUSPEND, PPOLL, SPIN, KINDS };
static const char *names[KINDS] = {"epoll", "epollt", "sleep", "futex", "futext", "read",
	"poll", "select", "suspend", "ppoll", "spin"};
static atomic_long rounds[KINDS], eintr[KINDS], early[KINDS], wrong[KINDS];
static atomic_long handled;                   // signals that the handler saw
static atomic_long handledby[2], seenby[2];   // of loop_suspend and loop_ppoll: handled, and seen by the loop
static __thread int me = -1;
static int tids[KINDS];
static atomic_int inside[KINDS]; // the loop's function was entered

static void handler(int sig)
{
	(void)sig;
	atomic_fetch_add(&handled, 1);
	if (me == SUSPEND || me == PPOLL)
		atomic_fetch_add(&handledby[me == PPOLL], 1);
}

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

// judge counts the outcome of a wait that began at start and must not end before least nanoseconds.
static void judge(int kind, long r, long start, long least)
{
	atomic_fetch_add(&rounds[kind], 1);
	if (r < 0 && errno == EINTR)
		atomic_fetch_add(&eintr[kind], 1);
	else if (r < 0 && errno != ETIMEDOUT)
		atomic_fetch_add(&wrong[kind], 1);
	else if (now() - start < least)
		atomic_fetch_add(&early[kind], 1);
}

#define LOOP __attribute__((noinline)) void

LOOP loop_epoll(void)
{
	atomic_store(&inside[EPOLL], 1);
	struct epoll_event ev;
	int fd = epoll_create1(0);
	for (;;) {
		long r = epoll_wait(fd, &ev, 1, -1);
		judge(EPOLL, r, now(), 0);
	}
}

LOOP loop_epollt(void)
{
	atomic_store(&inside[EPOLLT], 1);
	struct epoll_event ev;
	int fd = epoll_create1(0);
	for (;;) {
		long t = now(), r = epoll_wait(fd, &ev, 1, WAIT_NS / 1000000);
		judge(EPOLLT, r, t, WAIT_NS - 1000000);
	}
}

LOOP loop_sleep(void)
{
	atomic_store(&inside[SLEEP], 1);
	for (;;) {
		struct timespec d = {0, WAIT_NS};
		long t = now(), r = nanosleep(&d, 0);
		judge(SLEEP, r, t, WAIT_NS);
	}
}

LOOP loop_futex(void)
{
	atomic_store(&inside[FUTEX], 1);
	static int word;
	for (;;) {
		long r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
		judge(FUTEX, r, now(), 0);
	}
}

LOOP loop_futext(void)
{
	atomic_store(&inside[FUTEXT], 1);
	static int word;
	for (;;) {
		struct timespec d = {0, WAIT_NS};
		long t = now(), r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &d, 0, 0);
		judge(FUTEXT, r, t, WAIT_NS);
	}
}

LOOP loop_read(void)
{
	atomic_store(&inside[READ], 1);
	int p[2];
	char c;
	if (pipe(p))
		abort();
	for (;;) {
		long r = read(p[0], &c, 1);
		judge(READ, r, now(), 0);
	}
}

LOOP loop_poll(void)
{
	atomic_store(&inside[POLL], 1);
	for (;;) {
		long t = now(), r = poll(0, 0, WAIT_NS / 1000000);
		judge(POLL, r, t, WAIT_NS - 1000000);
	}
}

LOOP loop_select(void)
{
	atomic_store(&inside[SELECT], 1);
	for (;;) {
		struct timeval d = {0, WAIT_NS / 1000};
		long t = now(), r = select(0, 0, 0, 0, &d);
		judge(SELECT, r, t, WAIT_NS);
	}
}

LOOP loop_suspend(void)
{
	atomic_store(&inside[SUSPEND], 1);
	sigset_t none, rt;
	sigemptyset(&none);
	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &rt, 0);
	for (;;) {
		atomic_store(&seenby[0], atomic_load(&handledby[0]));
		sigsuspend(&none);
		atomic_fetch_add(&rounds[SUSPEND], 1);
	}
}

LOOP loop_ppoll(void)
{
	atomic_store(&inside[PPOLL], 1);
	sigset_t none, rt;
	sigemptyset(&none);
	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &rt, 0);
	for (;;) {
		atomic_store(&seenby[1], atomic_load(&handledby[1]));
		ppoll(0, 0, 0, &none);
		atomic_fetch_add(&rounds[PPOLL], 1);
	}
}

// check_registers fills every register, some flags and the red zone, waits a little and returns how many had changed.
long check_registers(void);
__asm__(
	".text\n"
	".type check_registers, @function\n"
	"check_registers:\n"
	".cfi_startproc\n"
	"	push %rbx\n .cfi_adjust_cfa_offset 8\n"
	"	push %rbp\n .cfi_adjust_cfa_offset 8\n"
	"	push %r12\n .cfi_adjust_cfa_offset 8\n"
	"	push %r13\n .cfi_adjust_cfa_offset 8\n"
	"	push %r14\n .cfi_adjust_cfa_offset 8\n"
	"	push %r15\n .cfi_adjust_cfa_offset 8\n"
	"	mov $0x1111111111111111, %rax\n"
	"	mov $0x2222222222222222, %rbx\n"
	"	mov $0x3333333333333333, %rcx\n"
	"	mov $0x4444444444444444, %rdx\n"
	"	mov $0x5555555555555555, %rsi\n"
	"	mov $0x6666666666666666, %rdi\n"
	"	mov $0x7777777777777777, %rbp\n"
	"	mov $0x1888888888888888, %r8\n"
	"	mov $0x1999999999999999, %r9\n"
	"	mov $0x1aaaaaaaaaaaaaaa, %r10\n"
	"	mov $0x1bbbbbbbbbbbbbbb, %r11\n"
	"	mov $0x1ccccccccccccccc, %r12\n"
	"	mov $0x1ddddddddddddddd, %r13\n"
	"	mov $0x1eeeeeeeeeeeeeee, %r14\n"
	"	movq %rax, %xmm0\n"
	"	movq %rbx, %xmm15\n"
	"	mov $0x1fffffffffffffff, %r15\n"
	"	mov %rax, -8(%rsp)\n"
	"	mov %rbx, -64(%rsp)\n"
	"	mov %rcx, -128(%rsp)\n"
	"	stc\n"
	".rept 400\n nop\n .endr\n"
	"	jnc 9f\n"
	"	std\n"
	".rept 100\n nop\n .endr\n"
	"	pushfq\n .cfi_adjust_cfa_offset 8\n"
	"	cld\n"
	"	btq $10, (%rsp)\n"
	"	lea 8(%rsp), %rsp\n .cfi_adjust_cfa_offset -8\n"
	"	jnc 9f\n"
	"	movq %rax, -8(%rsp)\n" // pushfq has overwritten it
	"	cmp %rcx, -128(%rsp)\n jne 9f\n"
	"	cmp %rbx, -64(%rsp)\n jne 9f\n"
	"	cmp %rax, -8(%rsp)\n jne 9f\n"
	"	movq %xmm15, -8(%rsp)\n cmp %rbx, -8(%rsp)\n jne 9f\n"
	"	movq %xmm0, -8(%rsp)\n cmp %rax, -8(%rsp)\n jne 9f\n"
	"	push %r15\n .cfi_adjust_cfa_offset 8\n"
	"	mov $0x1fffffffffffffff, %r15\n cmp %r15, (%rsp)\n jne 8f\n"
	"	mov $0x1111111111111111, %r15\n cmp %r15, %rax\n jne 8f\n"
	"	mov $0x2222222222222222, %r15\n cmp %r15, %rbx\n jne 8f\n"
	"	mov $0x3333333333333333, %r15\n cmp %r15, %rcx\n jne 8f\n"
	"	mov $0x4444444444444444, %r15\n cmp %r15, %rdx\n jne 8f\n"
	"	mov $0x5555555555555555, %r15\n cmp %r15, %rsi\n jne 8f\n"
	"	mov $0x6666666666666666, %r15\n cmp %r15, %rdi\n jne 8f\n"
	"	mov $0x7777777777777777, %r15\n cmp %r15, %rbp\n jne 8f\n"
	"	mov $0x1888888888888888, %r15\n cmp %r15, %r8\n jne 8f\n"
	"	mov $0x1999999999999999, %r15\n cmp %r15, %r9\n jne 8f\n"
	"	mov $0x1aaaaaaaaaaaaaaa, %r15\n cmp %r15, %r10\n jne 8f\n"
	"	mov $0x1bbbbbbbbbbbbbbb, %r15\n cmp %r15, %r11\n jne 8f\n"
	"	mov $0x1ccccccccccccccc, %r15\n cmp %r15, %r12\n jne 8f\n"
	"	mov $0x1ddddddddddddddd, %r15\n cmp %r15, %r13\n jne 8f\n"
	"	mov $0x1eeeeeeeeeeeeeee, %r15\n cmp %r15, %r14\n jne 8f\n"
	"	pop %r15\n .cfi_adjust_cfa_offset -8\n"
	"	xor %eax, %eax\n"
	"	jmp 7f\n"
	"8:	.cfi_adjust_cfa_offset 8\n"
	"	pop %r15\n .cfi_adjust_cfa_offset -8\n"
	"9:	mov $1, %eax\n"
	"7:	pop %r15\n .cfi_adjust_cfa_offset -8\n"
	"	pop %r14\n .cfi_adjust_cfa_offset -8\n"
	"	pop %r13\n .cfi_adjust_cfa_offset -8\n"
	"	pop %r12\n .cfi_adjust_cfa_offset -8\n"
	"	pop %rbp\n .cfi_adjust_cfa_offset -8\n"
	"	pop %rbx\n .cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	".cfi_endproc\n"
	".size check_registers, .-check_registers\n");

LOOP loop_spin(void)
{
	atomic_store(&inside[SPIN], 1);
	for (;;) {
		if (check_registers())
			atomic_fetch_add(&wrong[SPIN], 1);
		atomic_fetch_add(&rounds[SPIN], 1);
	}
}

LOOP loop_child(void)
{
	for (;;)
		pause();
}

static void (*const loops[KINDS])(void) = {loop_epoll, loop_epollt, loop_sleep, loop_futex, loop_futext,
	loop_read, loop_poll, loop_select, loop_suspend, loop_ppoll, loop_spin};

static void *run(void *arg)
{
	me = (int)(long)arg;
	tids[me] = (int)syscall(SYS_gettid);
	loops[me]();
	return 0;
}

static void print(const char *what, atomic_long *v)
{
	for (int i = 0; i < KINDS; i++)
		printf("%s.%s=%ld ", what, names[i], atomic_load(&v[i]));
}

LOOP loop_main(void)
{
	char line[64];
	while (fgets(line, sizeof line, stdin)) {
		if (!strncmp(line, "status", 6)) {
			print("eintr", eintr);
			print("early", early);
			print("wrong", wrong);
			printf("handled=%ld seen.suspend=%ld handled.suspend=%ld seen.ppoll=%ld handled.ppoll=%ld\n", atomic_load(&handled),
				atomic_load(&seenby[0]), atomic_load(&handledby[0]), atomic_load(&seenby[1]), atomic_load(&handledby[1]));
		} else if (!strncmp(line, "rounds", 6)) {
			print("rounds", rounds);
			printf("\n");
		} else if (!strncmp(line, "tids", 4)) {
			for (int i = 0; i < KINDS; i++)
				printf("%s=%d ", names[i], tids[i]);
			printf("\n");
		} else if (!strncmp(line, "fork", 4)) {
			int pid = fork();
			if (!pid) {
				usleep(150000); // the maker's loop is the only one on the stack meanwhile
				loop_child();
			}
			printf("%d\n", pid);
		} else if (!strncmp(line, "call ", 5)) {
			long r = syscall(atol(line + 5));
			printf("%ld\n", r < 0 ? -(long)errno : r);
		} else if (!strncmp(line, "pid", 3)) {
			printf("%d\n", getpid());
		} else if (!strncmp(line, "spawn ", 6)) {
			line[strcspn(line, "\n")] = 0;
			int pid = fork();
			if (!pid) {
				execl(line + 6, line + 6, "60", (char *)0);
				_exit(127);
			}
			printf("%d\n", pid);
		} else {
			exit(atoi(line + 5));
		}
		fflush(stdout);
	}
}

int main(void)
{
	struct sigaction sa = {.sa_handler = handler};
	sigaction(SIGRTMIN, &sa, 0);
	sigaction(SIGUSR1, &sa, 0);
	for (long i = 0; i < KINDS; i++) {
		pthread_t t;
		if (pthread_create(&t, 0, run, (void *)i))
			return 1;
	}
	for (int i = 0; i < KINDS; i++)
		while (!atomic_load(&inside[i]))
			usleep(100);
	// Signals go to the other threads: fgets takes EINTR for the end.
	sigset_t mine;
	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR1);
	sigaddset(&mine, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &mine, 0);
	printf("ready\n");
	fflush(stdout);
	loop_main();
	return 0;
}
