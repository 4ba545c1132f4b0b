// A child that enters its loop with a known value in every register, the flags and the red zone, and looks whether they
// are there inside: whatever is on the edge into the loop must leave them alone. The master forks a new child for the word
// new, and answers what that one has found. WAY is how the edge leads into the loop: 0 falls, 1 jumps, 2 by a conditional
// jump that is taken, 3 by one that is not.
//
// WANT: loop serve enter_loop
// WANT: role.enter_loop child
// WANT: open.enter_loop write exit_group
// WANT: closed.enter_loop accept mknod
#include "fixture.h"
#ifndef WAY
#define WAY 0
#endif

struct state {
	uint64_t reg[16]; // rax rcx rdx rbx rsp rbp rsi rdi r8-r15
	uint64_t zone[16], flags, vector;
} seen;
uint64_t stack_before;
static int result_fd;

#define STR_(x) #x
#define STR(x) STR_(x)
__asm__(".text\n.globl enter_loop\n.type enter_loop, @function\nenter_loop:\n.cfi_startproc\n"
	"push %rbp\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbp, 0\n"
	"push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbx, 0\n"
	"push %r12\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r12, 0\n"
	"push %r13\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r13, 0\n"
	"push %r14\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r14, 0\n"
	"push %r15\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r15, 0\n"
	"sub $8, %rsp\n.cfi_adjust_cfa_offset 8\n"
	"mov %rsp, stack_before(%rip)\n"
	"mov $0x5a5a5a5a5a5a5a5a, %rax\nmovq %rax, %xmm0\n"
	"pushq $0x8d5\n.cfi_adjust_cfa_offset 8\npopfq\n.cfi_adjust_cfa_offset -8\n" // OF SF ZF AF PF CF
	".set i, 1\n.rept 16\nmov $0x4000+i, %rax\nmov %rax, -8*i(%rsp)\n.set i, i+1\n.endr\n"
	"movabs $0x1001001001001001, %rcx\nmovabs $0x1002002002002002, %rdx\nmovabs $0x1003003003003003, %rbx\n"
	"movabs $0x1005005005005005, %rbp\nmovabs $0x1006006006006006, %rsi\nmovabs $0x1007007007007007, %rdi\n"
	"movabs $0x1008008008008008, %r8\nmovabs $0x1009009009009009, %r9\nmovabs $0x100a00a00a00a00a, %r10\n"
	"movabs $0x100b00b00b00b00b, %r11\nmovabs $0x100c00c00c00c00c, %r12\nmovabs $0x100d00d00d00d00d, %r13\n"
	"movabs $0x100e00e00e00e00e, %r14\nmovabs $0x100f00f00f00f00f, %r15\n"
	"movabs $0x1000000000000000, %rax\n"
#if WAY == 1
	"jmp 1f\nud2\n"
#elif WAY == 2
	"jc 1f\nud2\n"
#elif WAY == 3
	"jnc 2f\n"
#endif
	"1:\n"
	"mov %rax, seen(%rip)\nmov %rcx, seen+8(%rip)\nmov %rdx, seen+16(%rip)\nmov %rbx, seen+24(%rip)\nmov %rsp, seen+32(%rip)\n"
	"mov %rbp, seen+40(%rip)\nmov %rsi, seen+48(%rip)\nmov %rdi, seen+56(%rip)\nmov %r8, seen+64(%rip)\nmov %r9, seen+72(%rip)\n"
	"mov %r10, seen+80(%rip)\nmov %r11, seen+88(%rip)\nmov %r12, seen+96(%rip)\nmov %r13, seen+104(%rip)\nmov %r14, seen+112(%rip)\n"
	"mov %r15, seen+120(%rip)\n"
	".set i, 1\n.rept 16\nmov -8*i(%rsp), %rax\nmov %rax, seen+120+8*i(%rip)\n.set i, i+1\n.endr\n"
	"movq %xmm0, seen+264(%rip)\n"
	"pushfq\n.cfi_adjust_cfa_offset 8\npopq seen+256(%rip)\n.cfi_adjust_cfa_offset -8\n"
	"call look\ntest %eax, %eax\nje 1b\n"
	"add $8, %rsp\n.cfi_adjust_cfa_offset -8\n"
	"pop %r15\n.cfi_adjust_cfa_offset -8\npop %r14\n.cfi_adjust_cfa_offset -8\npop %r13\n.cfi_adjust_cfa_offset -8\n"
	"pop %r12\n.cfi_adjust_cfa_offset -8\npop %rbx\n.cfi_adjust_cfa_offset -8\npop %rbp\n.cfi_adjust_cfa_offset -8\nret\n"
#if WAY == 3
	"2: ud2\n"
#endif
	".cfi_endproc\n.size enter_loop, .-enter_loop\n");
void enter_loop(void);

static const char *compare(void) {
	static const uint64_t want[16] = {0x1000000000000000, 0x1001001001001001, 0x1002002002002002, 0x1003003003003003, 0,
		0x1005005005005005, 0x1006006006006006, 0x1007007007007007, 0x1008008008008008, 0x1009009009009009, 0x100a00a00a00a00a,
		0x100b00b00b00b00b, 0x100c00c00c00c00c, 0x100d00d00d00d00d, 0x100e00e00e00e00e, 0x100f00f00f00f00f};
	for (int i = 0; i < 16; i++)
		if (seen.reg[i] != (i == 4 ? stack_before : want[i]))
			return "register\n";
	for (int i = 0; i < 16; i++)
		if (seen.zone[i] != 0x4001u + i)
			return "redzone\n";
	if ((seen.flags & 0x8d5) != 0x8d5)
		return "flags\n";
	return seen.vector == 0x5a5a5a5a5a5a5a5a ? "ok\n" : "vector\n";
}

// look tells what it has found once, then waits.
__attribute__((used)) int look(void) {
	static int told;
	if (!told++) {
		const char *word = compare();
		CALL3(write, result_fd, word, strlen(word));
	}
	CALL0(pause);
	return 0;
}

NOINLINE static pid_t child(int fd[2]) {
	if (pipe(fd) < 0)
		exit(1);
	pid_t pid = fork();
	if (pid == 0) {
		result_fd = fd[1];
		enter_loop();
		_exit(0);
	}
	close(fd[1]);
	return pid;
}

NOINLINE static void serve(int fd) {
	int result[2];
	pid_t pid = child(result);
	ROOM;
	for (;;) {
		char word[8] = "", answer[16] = "";
		int c = CALL3(accept, fd, 0, 0);
		CALL3(read, c, word, sizeof word - 1);
		if (!strncmp(word, "new", 3)) {
			kill(pid, SIGKILL);
			waitpid(pid, 0, 0);
			close(result[0]);
			pid = child(result);
			if (CALL3(read, result[0], answer, sizeof answer - 1) < 1)
				strcpy(answer, "ended\n");
		} else
			strcpy(answer, "ok\n");
		CALL3(write, c, answer, strlen(answer));
		CALL1(close, c);
	}
}

int main(int argc, char **argv) {
	int fd = listen_on(argc, argv);
	ready(fd);
	serve(fd);
	return 0;
}
