// What functions consume and call sites prepare. A comment "name: args N" behind a function says that it consumes N register
// arguments in optimised code, and at most N in other; "at most N" that it does so everywhere. "void" says that it certainly
// leaves no value in rax in what gcc optimises (clang pops what it aligns the stack with into rax); functions without it are
// never so. "calls P..." are the function's indirect calls
// in order, with the number of arguments that each prepares in optimised code, and at least in other; an r behind it: its
// result is used, so or so; an r nowhere else.
#include <stdarg.h>
#include <stdlib.h>
#define KEEP __attribute__((noinline, noclone, noipa, used))

volatile int sink;
typedef int F0(void);
typedef int F1(int);
typedef int F2(int, int);
typedef int F4(int, int, int, int);
typedef void V1(int);

KEEP int none(void) { return sink; }                                     // none: args 0
KEEP int add(int a, int b) { return a + b; }                             // add: args 2
KEEP int third(int a, int b, int c) { return c; }                        // third: args 3
KEEP int unused(int a, int b, int c) { return a; }                       // unused: args 1
KEEP int six(int a, int b, int c, int d, int e, int f) { return f + 1; } // six: args 6
KEEP int one_path(int a, int b, int c) { return a ? b : sink ? c : 0; }  // one_path: args 3
KEEP int *walk(int *p) { for (; *p; p++) sink = 1; return p; }           // walk: args 1
KEEP int flags(int a, int b) { return (a == 1) + (b == 2); }             // flags: args 2
KEEP int vector(double x, int a) { return (int)x + a; }                  // vector: args 1

// Handed on: through jumps, calls, chains of them, and to code that is not known.
KEEP int tail(int a, int b, int c) { return third(a, b, c); }            // tail: args 3
KEEP int call(int a, int b) { return add(a, b) + 1; }                    // call: args 2
KEEP int chain(int a, int b) { return call(a, b) + 1; }                  // chain: args 2
KEEP int in_part(int a, int b, int c) { return unused(a, b, c) + 1; }    // in_part: args 1
KEEP int to_libc(unsigned *p) { return rand_r(p) + 1; }                  // to_libc: args 0
int pong(int a, int b, int c);
KEEP int ping(int a, int b, int c) { return a ? pong(a - 1, b, c) : 0; } // ping: args 1
KEEP int pong(int a, int b, int c) { return a ? ping(a - 1, b, c) : 1; } // pong: args 1
KEEP int replaced(int a, int b) { return add(a, 7) + 1; }                // replaced: args 1

// Variadic: one that looks for floating-point arguments, and ones that gcc knows to have none.
KEEP double sum(int n, int m, ...) {                                     // sum: args 0
  va_list l;
  va_start(l, m);
  double s = m;
  while (n--) s += va_arg(l, double);
  va_end(l);
  return s;
}
KEEP long words(long *p, ...) {                                          // words: at most 1
  va_list l;
  va_start(l, p);
  long *a = va_arg(l, long *), *b = va_arg(l, long *);
  va_end(l);
  return *p + *a + *b;
}
KEEP int at(int a, int b, int *c) { return *c; }                         // at: args 3
KEEP int control(int a, int b, ...) {                                    // control: at most 2
  va_list l;
  va_start(l, b);
  int *c = va_arg(l, int *);
  va_end(l);
  return at(a, b, c) + 1;
}

// Without a result.
KEEP void set(int *p) { *p = 1; }                                        // set: args 1 void
KEEP void set_twice(int *p) { set(p); set(p); }                          // set_twice: args 1 void
KEEP double twice(double x) { return x + x; }                            // twice: args 0 void
void odd(int *p, int n);
KEEP void even(int *p, int n) { *p = n; if (n) odd(p, n - 1); }          // even: args 2 void
KEEP void odd(int *p, int n) { *p = n; if (n) even(p, n - 1); }          // odd: args 2 void
KEEP void by_libc(int *p) { srand(1); *p = 1; }                          // by_libc: args 1
KEEP void by_pointer(V1 **f) { (*f)(1); sink = 1; }                      // by_pointer: args 1 calls 6
KEEP void by_value(int *p) { none(); *p = 1; }                           // by_value: args 1
KEEP void halt(void) { __asm__ volatile("ud2"); __builtin_unreachable(); } // halt: args 0
KEEP int never(void) { halt(); return 0; }                               // never: args 0
KEEP void may_halt(int *p) { if (!p) halt(); *p = 1; }                   // may_halt: args 1 void
KEEP void may_abort(int *p) { if (!p) abort(); *p = 1; }                 // may_abort: args 1 void
KEEP void sys(long *p) { __asm__ volatile("syscall" : : : "rax", "rcx", "r11", "memory"); *p = 1; } // sys: args 1

// Sites. rand() leaves nothing in the argument registers but, for all that is known of it, the half of a result in rdx.
KEEP int before(F1 **f) { return (*f)(1) + 1; }                          // before: args 1 calls 6r
KEEP int after0(F0 **f) { rand(); return (*f)() + 1; }                   // after0: args 1 calls 0r
KEEP int after1(F1 **f) { rand(); return (*f)(7) + 1; }                  // after1: args 1 calls 1r
KEEP int after2(F2 **f) { rand(); return (*f)(7, 8) + 1; }               // after2: args 1 calls 3r
KEEP int after4(F4 **f) { rand(); return (*f)(7, 8, 9, 10) + 1; }        // after4: args 1 calls 4r
KEEP int again(F4 **f) { (*f)(1, 2, 3, 4); return (**(F1 **)f)(5) + 1; } // again: args 1 calls 6 1r
KEEP int hand_on(int a, F2 **f) { return (*f)(a, sink) + 1; }            // hand_on: args 2 calls 6r
KEEP int after_own(F4 **f) { none(); return (**(F1 **)f)(5) + 1; }       // after_own: args 1 calls 6r
KEEP void drop(F1 **f) { rand(); (*f)(7); sink = 1; }                    // drop: args 1 calls 1
KEEP int no_result(V1 **f, int x) { rand(); (*f)(7); return x == 3; }    // no_result: args 2 calls 1
KEEP int jump(F1 **f) { rand(); return (*f)(7); }                        // jump: args 1 calls 1
struct pair { long a, b; };
KEEP struct pair make(long x) { return (struct pair){rand(), x}; }       // make: args 1
KEEP long half(long (**f)(long, long, long)) { struct pair p = make(sink); return (*f)(p.a, 5, p.b) + 1; } // half: args 1 calls 3r

int tables[2];
__attribute__((constructor)) static void construct(void) { tables[0] = 1; }
__attribute__((destructor)) static void destruct(void) { tables[1] = 1; }

int main(void) { return 0; }
