// host FILE ADDRESS FUNCTION [jump]: maps FILE at ADDRESS and calls FUNCTION in it with all registers known; or only goes there.
// Prints which registers are others afterwards.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

unsigned long function, after[16], stack;
__asm__(".text\n.globl probe\nprobe:\n"
	"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsp, stack(%rip)\n"
	"mov $1, %eax\nmov $2, %ebx\nmov $3, %ecx\nmov $4, %edx\nmov $5, %esi\nmov $6, %edi\nmov $7, %ebp\nmov $8, %r8d\n"
	"mov $9, %r9d\nmov $10, %r10d\nmov $11, %r11d\nmov $12, %r12d\nmov $13, %r13d\nmov $14, %r14d\nmov $15, %r15d\n"
	"push $0xcd7\npopfq\n" // CF PF AF ZF SF DF OF
	"call *function(%rip)\n"
	"mov %rax, after(%rip)\nmov %rbx, after+8(%rip)\nmov %rcx, after+16(%rip)\nmov %rdx, after+24(%rip)\nmov %rsi, after+32(%rip)\n"
	"mov %rdi, after+40(%rip)\nmov %rbp, after+48(%rip)\nmov %r8, after+56(%rip)\nmov %r9, after+64(%rip)\nmov %r10, after+72(%rip)\n"
	"mov %r11, after+80(%rip)\nmov %r12, after+88(%rip)\nmov %r13, after+96(%rip)\nmov %r14, after+104(%rip)\nmov %r15, after+112(%rip)\n"
	"pushfq\npop after+120(%rip)\ncld\n"
	"sub %rsp, stack(%rip)\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");
void probe(void);

int main(int argc, char **argv)
{
	int fd = argc < 4 ? -1 : open(argv[1], O_RDONLY);
	struct stat s;
	if (fd < 0 || fstat(fd, &s))
		return 2;
	void *at = (void *)strtoul(argv[2], 0, 0);
	if (mmap(at, s.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0) != at)
		return 3;
	function = strtoul(argv[3], 0, 0);
	if (argc > 4) {
		((void (*)(void))function)();
		return 4;
	}
	probe();
	for (unsigned long i = 0; i < 15; i++)
		if (after[i] != i + 1)
			printf("register %lu: %#lx\n", i, after[i]);
	if ((after[15] & 0xcd5) != 0xcd5)
		printf("flags: %#lx\n", after[15]);
	if (stack)
		printf("stack: off by %ld\n", (long)stack);
	puts("back");
	return 0;
}
