// Exceptions; WANT lines as in flow.c, and "pads F": F has landing pads.
#include <cstdio>
#include <stdexcept>

volatile int sink;
#define KEEP __attribute__((noinline))

KEEP void caught() { sink = 1; }
KEEP void cleaned() { sink = 2; }
KEEP void work() { sink = 3; if (sink == 4) throw std::runtime_error("work"); }
KEEP void after() { sink = 5; }

struct Guard {
	~Guard() { cleaned(); }
};

// WANT: pads guarded
// WANT: calls guarded work cleaned [!O0]
KEEP void guarded() {
	Guard g;
	work();
	sink = 9;
}

// WANT: pads catching
// WANT: calls catching guarded caught after
// WANT: returns catching guarded work
KEEP void catching() {
	try {
		guarded();
	} catch (const std::exception &e) {
		caught();
	}
	after();
}

// WANT: noreturn thrower
KEEP void thrower(int n) {
	if (n)
		throw n;
	throw std::logic_error("none");
}

// WANT: returns survivor
// WANT: calls survivor thrower caught
KEEP int survivor(int n) {
	try {
		thrower(n);
	} catch (int m) {
		caught();
		return m;
	}
	return 0;
}

int main(int argc, char **argv) {
	catching();
	return survivor(argc);
}
