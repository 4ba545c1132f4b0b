// Runs every generated function of table[] on some inputs and writes one struct record per run to standard output.
// Functions run on a stack of their own and end in "jmp capture", which notes all registers. helper is what they call:
// it writes through rdi if that points into the caller's frame, and leaves nothing in caller-saved registers and below
// the stack pointer as it was.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BELOW = 1024, ABOVE = 128, ARGS = 10, RUNS = 6 };

struct record {
	uint64_t fn;        // address of the function
	uint64_t sp;        // stack pointer at entry
	uint64_t in[16];    // registers at entry, in hardware order
	uint64_t args[ARGS]; // stack-passed arguments
	uint64_t ret;       // what helper returns
	uint64_t out[16];   // registers at the end
	uint64_t frame[(BELOW + ABOVE) / 8]; // memory from sp-BELOW on, at the end
};

uint64_t stack[1024] __attribute__((aligned(64)));
uint64_t scratch[64];
uint64_t gptr, fuel, helper_ret, helper_arg;
uint64_t in_regs[16], out_regs[16], saved_sp, entry_sp, target;
extern void (*const table[])(void);
extern const uint64_t table_len;
void run(void);

__asm__(".intel_syntax noprefix\n"
        ".text\n"
        ".globl run, capture, helper\n"
        "run: push rbx; push rbp; push r12; push r13; push r14; push r15\n"
        "  mov saved_sp[rip], rsp\n"
        "  mov rax, in_regs[rip]\n  mov rcx, in_regs[rip+8]\n  mov rdx, in_regs[rip+16]\n  mov rbx, in_regs[rip+24]\n"
        "  mov rsp, entry_sp[rip]\n  mov rbp, in_regs[rip+40]\n  mov rsi, in_regs[rip+48]\n  mov rdi, in_regs[rip+56]\n"
        "  mov r8, in_regs[rip+64]\n  mov r9, in_regs[rip+72]\n  mov r10, in_regs[rip+80]\n  mov r11, in_regs[rip+88]\n"
        "  mov r12, in_regs[rip+96]\n  mov r13, in_regs[rip+104]\n  mov r14, in_regs[rip+112]\n  mov r15, in_regs[rip+120]\n"
        "  jmp qword ptr target[rip]\n"
        ".type capture, @function\n"
        "capture:\n"
        "  mov out_regs[rip], rax\n  mov out_regs[rip+8], rcx\n  mov out_regs[rip+16], rdx\n  mov out_regs[rip+24], rbx\n"
        "  mov out_regs[rip+32], rsp\n  mov out_regs[rip+40], rbp\n  mov out_regs[rip+48], rsi\n  mov out_regs[rip+56], rdi\n"
        "  mov out_regs[rip+64], r8\n  mov out_regs[rip+72], r9\n  mov out_regs[rip+80], r10\n  mov out_regs[rip+88], r11\n"
        "  mov out_regs[rip+96], r12\n  mov out_regs[rip+104], r13\n  mov out_regs[rip+112], r14\n  mov out_regs[rip+120], r15\n"
        "  mov rsp, saved_sp[rip]\n"
        "  pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx\n  cld\n  ret\n"
        ".size capture, .-capture\n"
        ".type helper, @function\n"
        "helper:\n"
        "  lea rax, [rsp+8]\n  cmp rdi, rax\n  jb 1f\n"
        "  mov rax, entry_sp[rip]\n  add rax, 120\n  cmp rdi, rax\n  ja 1f\n"
        "  mov rax, helper_arg[rip]\n  mov [rdi], rax\n"
        "1: mov rcx, 15\n"
        "2: mov rax, rcx\n  neg rax\n  mov qword ptr [rsp+rax*8], 0x5eadbee\n  dec rcx\n  jnz 2b\n"
        "  mov rax, helper_ret[rip]\n"
        "  mov rcx, 0x6c1\n  mov rdx, 0x6c2\n  mov rsi, 0x6c3\n  mov rdi, 0x6c4\n  mov r8, 0x6c5\n  mov r9, 0x6c6\n"
        "  mov r10, 0x6c7\n  mov r11, 0x6c8\n  ret\n"
        ".size helper, .-helper\n"
        ".att_syntax\n");

static uint64_t seed = 88172645463325252ULL;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t pick(void)
{
	static const uint64_t odd[] = {0, 1, 2, ~0ULL, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x8000000000000000};
	uint64_t r = next();
	switch (r % 3) {
	case 0: return odd[(r >> 8) % (sizeof odd / sizeof *odd)];
	case 1: return (r >> 8) & 0xff;
	}
	return next();
}

int main(void)
{
	static struct record r;
	uint64_t *sp = stack + 512;
	for (uint64_t i = 0; i < table_len; i++)
		for (int k = 0; k < RUNS; k++) {
			for (int j = 0; j < 1024; j++)
				stack[j] = next();
			for (int j = 0; j < 16; j++)
				r.in[j] = pick();
			for (int j = 0; j < 64; j++)
				scratch[j] = next();
			for (int j = 0; j < ARGS; j++)
				r.args[j] = sp[1 + j] = pick();
			r.fn = target = (uint64_t)table[i];
			r.sp = entry_sp = (uint64_t)sp;
			gptr = (uint64_t)scratch;
			fuel = 40;
			r.ret = helper_ret = next();
			helper_arg = next();
			memcpy(in_regs, r.in, sizeof in_regs);
			run();
			memcpy(r.out, out_regs, sizeof out_regs);
			memcpy(r.frame, (char *)sp - BELOW, sizeof r.frame);
			fwrite(&r, sizeof r, 1, stdout);
		}
	return 0;
}
