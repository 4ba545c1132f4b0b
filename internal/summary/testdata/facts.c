// What one file says by itself; TestFacts names what it looks for.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#define KEEP __attribute__((noinline, noclone, noipa, used))

volatile int sink;
int global;
KEEP int callee(int a, int b, int c, int d, int e, int f, int g, int h) { return a + b + c + d + e + f + g + h + sink; }
KEEP void target(void) { sink++; }
KEEP void other(void) { sink += 2; }
static void (*const constant)(void) = target;
void (*variable)(void) = other;

KEEP int caller(void) { return callee(11, 12, 13, 14, 15, 16, 17, 18) + 1; }
KEEP void by_symbol(void) { puts("text"); sink++; }
KEEP void through_constant(void) { (*(void (*const volatile *)(void))&constant)(); sink++; }
KEEP void through_variable(void) { variable(); sink++; }
KEEP void *taker(void) { return (void *)target; }
KEEP void store(int v) { global = v; }
KEEP int load(void) { return global; }
KEEP int seven(void) { return 7; }
KEEP long number(void) { long r; __asm__ volatile("syscall" : "=a"(r) : "a"(39L), "D"(1L) : "rcx", "r11"); return r; }
KEEP long wrapper(long nr) { long r; __asm__ volatile("syscall" : "=a"(r) : "a"(nr) : "rcx", "r11"); return r; }
struct cmd { long x; char gap[40]; long nr; };
KEEP long pass(struct cmd *c) { return c->nr + sink; }
KEEP long frame(void) { struct cmd c; c.x = 5; c.nr = 42; return pass(&c) + 1; }
KEEP void *look(void) { return dlsym(RTLD_DEFAULT, "some_name"); }
KEEP _Noreturn void gone(void) { abort(); }

int main(int argc, char **argv) { return caller() + argc; }
