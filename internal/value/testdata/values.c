// What rax is at the system call of each function, whatever the optimisation; "?" is unknown.
#define KEEP __attribute__((noinline, noclone, noipa, used))
#define SYSCALL(nr) ({ long r_; __asm__ volatile("syscall" : "=a"(r_) : "a"((long)(nr)) : "rcx", "r11", "memory"); r_; })

KEEP void set(int *p) { *p = 40; }
KEEP long constant(void) { return SYSCALL(39); }
KEEP long argument(long a, long nr) { return SYSCALL(nr) + a; }
KEEP long seventh(long a, long b, long c, long d, long e, long f, long nr) { return SYSCALL(nr); }
KEEP long plus(long nr) { return SYSCALL(nr + 5); }
KEEP long written_by_callee(void) { int nr = 39; set(&nr); return SYSCALL(nr); }
KEEP long alloca_between(unsigned n) { char *p = __builtin_alloca(n); __asm__ volatile("" ::"r"(p) : "memory"); return SYSCALL(41); }
KEEP long read_from_table(const int *t, int i) { return SYSCALL(t[i]); }
int main(void) { return 0; }

// WANT: rax constant=39 argument=param1+0 seventh=param6+0 plus=param0+5 alloca_between=41
// WANT: rax written_by_callee=? read_from_table=?
