// Control flow that compilers make. Expectations are the WANT lines; names are symbols of the unstripped build:
//
//	calls F A...     F's blocks call or tail-call every A
//	avoids F A...    ... and none of these
//	noreturn F...    never returns
//	returns F...     may return
//	loops F N        F has N loops, of which the deepest is nested as deeply as the number after the colon says (N:D)
//	irreducible F    F has a loop with several entries
//	switch F N       F has a resolved indirect jump with at least N targets
//	cold F           F has a part in another place
//	tails F A        F leaves by a jump to A
//	indirect F       F leaves by an indirect jump
//
// A condition in brackets limits a line: [O2] to -O2 and -O3, [gcc], [clang], [!O0] and so on. No function may be incomplete.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))
#ifndef __clang__
#define KEEP __attribute__((noinline, noclone, noipa))
#else
#define KEEP __attribute__((noinline))
#endif

volatile int sink;

#define LEAF(n) KEEP void leaf##n(void) { sink += n; __asm__ volatile("" ::: "memory"); }
LEAF(0) LEAF(1) LEAF(2) LEAF(3) LEAF(4) LEAF(5) LEAF(6) LEAF(7) LEAF(8) LEAF(9) LEAF(10) LEAF(11) LEAF(12)

// WANT: calls dense leaf0 leaf1 leaf2 leaf3 leaf4 leaf5 leaf6 leaf7 leaf8
// WANT: avoids dense leaf9
// WANT: switch dense 8
KEEP void dense(int n) {
	switch (n) {
	case 10: leaf0(); sink = 1; break;
	case 11: leaf1(); sink = 2; break;
	case 12: leaf2(); sink = 3; break;
	case 13: leaf3(); sink = 4; break;
	case 14: leaf4(); sink = 5; break;
	case 15: leaf5(); sink = 6; break;
	case 16: leaf6(); sink = 7; break;
	case 17: leaf7(); sink = 8; break;
	default: leaf8(); sink = 9;
	}
}

// The base of the table is loop invariant, and registers are short: it is hoisted or spilled.
//
// WANT: calls machine leaf0 leaf1 leaf2 leaf3 leaf4 leaf5 leaf6 leaf7 leaf8
// WANT: switch machine 6
KEEP long machine(const unsigned char *code, long a, long b, long c, long d, long e) {
	long x = 1, y = 2, z = 3, u = 4, v = 5;
	for (;;) {
		switch (*code++) {
		case 0: leaf0(); x += a * y; break;
		case 1: leaf1(); y += b ^ z; break;
		case 2: leaf2(); z += c - u; break;
		case 3: leaf3(); u += d * v; break;
		case 4: leaf4(); v += e + x; break;
		case 5: leaf5(); a ^= v; b += u; break;
		case 6: leaf6(); c ^= z; d += y; e -= x; break;
		case 7: leaf7(); break;
		case 8: leaf8(); return x + y + z + u + v + a + b + c + d + e;
		}
	}
}

// WANT: calls masked leaf0 leaf1 leaf2 leaf3 leaf4 leaf5 leaf6 leaf7
// WANT: switch masked 7
KEEP void masked(unsigned n) {
	switch (n & 7) {
	case 0: leaf0(); sink = 1; break;
	case 1: leaf1(); sink = 2; break;
	case 2: leaf2(); sink = 3; break;
	case 3: leaf3(); sink = 4; break;
	case 4: leaf4(); sink = 5; break;
	case 5: leaf5(); sink = 6; break;
	case 6: leaf6(); sink = 7; break;
	case 7: leaf7(); sink = 8; break;
	}
}

// One switch inside another, and one behind it whose table follows in memory.
//
// WANT: calls nested leaf0 leaf1 leaf2 leaf3 leaf4 leaf5 leaf6 leaf7 leaf8 leaf9 leaf10 leaf11 leaf12
// WANT: switch nested 5
KEEP void nested(int n, int m, int k) {
	switch (n) {
	case 0: leaf0(); sink = 1; break;
	case 1: leaf1(); sink = 2; break;
	case 2:
		switch (m) {
		case 3: leaf2(); sink = 3; break;
		case 4: leaf3(); sink = 4; break;
		case 5: leaf4(); sink = 5; break;
		case 6: leaf5(); sink = 6; break;
		case 7: leaf6(); sink = 7; break;
		}
		break;
	case 3: leaf7(); sink = 8; break;
	case 4: leaf8(); sink = 9; break;
	}
	switch (k) {
	case -1: leaf9(); sink = 1; break;
	case 0: leaf10(); sink = 2; break;
	case 1: leaf11(); sink = 3; break;
	case 2: leaf12(); sink = 4; break;
	case 3: leaf0(); sink = 5; break;
	}
}

// WANT: tails tailswitch leaf3 [O2]
// WANT: calls tailswitch leaf0 leaf1 leaf2 leaf3 leaf4 leaf5
KEEP void tailswitch(struct { int kind; } *p) {
	switch (p->kind) {
	case 0: leaf0(); return;
	case 1: leaf1(); return;
	case 2: leaf2(); return;
	case 3: leaf3(); return;
	case 4: leaf4(); return;
	case 5: leaf5(); return;
	}
}

// WANT: calls threaded leaf0 leaf1 leaf2 leaf3
// WANT: switch threaded 5
KEEP void threaded(const int *code) {
	static const void *const labels[] = {&&a, &&b, &&c, &&d, &&end};
	goto *labels[*code++];
a:
	leaf0();
	goto *labels[*code++];
b:
	leaf1();
	goto *labels[*code++];
c:
	leaf2();
	goto *labels[*code++];
d:
	leaf3();
	goto *labels[*code++];
end:
	return;
}

// WANT: calls relative leaf0 leaf1 leaf2
// WANT: switch relative 3
KEEP void relative(unsigned n) {
	static const int offsets[] = {&&a - &&a, &&b - &&a, &&c - &&a};
	if (n > 2)
		return;
	goto *(&&a + offsets[n]);
a:
	leaf0();
	sink = 4;
b:
	leaf1();
	sink = 5;
c:
	leaf2();
	sink = 6;
}

// WANT: noreturn die1 die2 die3 forever mutual1 mutual2 main
// WANT: returns maybe leaf0 dense
KEEP void die1(int n) { exit(n); }
KEEP void die2(int n) {
	if (n > 3)
		die1(n);
	leaf0();
	abort();
}
KEEP void die3(const char *s) {
	while (*s)
		if (*s++ == 'x')
			die2(sink);
	die1(0);
}
KEEP void forever(void) {
	for (;;)
		leaf1();
}
KEEP void mutual2(int n);
KEEP void mutual1(int n) {
	if (n)
		mutual2(n - 1);
	die1(1);
}
KEEP void mutual2(int n) {
	if (n)
		die1(n - 1);
	die3("abc");
}
// WANT: calls maybe die3 leaf2
// WANT: avoids maybe leaf3
KEEP void maybe(int n) {
	if (n) {
		die3("x");
		leaf3();
	}
	leaf2();
}

// WANT: cold splits [gcc O2]
// WANT: calls splits leaf0 leaf5 leaf6
__attribute__((cold)) KEEP void complain(const char *s) { fputs(s, stderr); }
KEEP int splits(int *p, int n) {
	int sum = 0;
	for (int i = 0; i < n; i++) {
		if (__builtin_expect(p[i] < 0, 0)) {
			complain("negative");
			leaf5();
			sum -= p[i];
			if (sum > 100) {
				complain("large");
				leaf6();
			}
		}
		leaf0();
		sum += p[i];
	}
	return sum;
}

// WANT: indirect through [O2]
// WANT: tails direct leaf4 [O2]
KEEP void through(void (**f)(void)) { f[3](); }
KEEP void direct(int n) {
	if (n)
		sink = n;
	leaf4();
}

// WANT: loops matrix 3:3 [!O3]
KEEP int matrix(int *restrict p, int n) {
	int sum = 0;
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			for (int k = 0; k < n; k++) {
				leaf0();
				sum += p[i * n + k] * p[k * n + j];
			}
	return sum;
}

// WANT: irreducible tangle
KEEP int tangle(int n, int m) {
	if (m)
		goto second;
first:
	leaf0();
	if (sink == n)
		return 1;
second:
	leaf1();
	if (sink != m)
		goto first;
	return 2;
}

void (*volatile table[4])(void) = {leaf0, leaf1, leaf2, leaf3};

int main(int argc, char **argv) {
	struct { int kind; } k = {argc};
	dense(argc);
	machine((unsigned char *)argv[0], argc, argc, argc, argc, argc);
	masked(argc);
	nested(argc, argc, argc);
	tailswitch((void *)&k);
	threaded(&argc);
	relative(argc);
	splits(&argc, argc);
	through((void (**)(void))table);
	direct(argc);
	matrix(&argc, argc);
	tangle(argc, argc);
	maybe(argc);
	mutual1(argc);
	mutual2(argc);
	forever();
	return 0;
}
