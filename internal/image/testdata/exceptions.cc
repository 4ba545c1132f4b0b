// Throws and catches in several shapes. Every landing pad that the unwinder enters is printed as a line "pad ADDRESS":
// _Unwind_SetIP, through which personality routines choose a pad, is interposed. Build at a fixed address, with -rdynamic
// and -ldl.
#include <cstdio>
#include <dlfcn.h>
#include <stdexcept>
#include <string>
#include <unwind.h>

extern "C" void _Unwind_SetIP(struct _Unwind_Context *context, _Unwind_Ptr ip) {
	typedef void set_ip(struct _Unwind_Context *, _Unwind_Ptr);
	static set_ip *next = (set_ip *)dlsym(RTLD_NEXT, "_Unwind_SetIP");
	printf("pad %lx\n", (unsigned long)ip);
	next(context, ip);
}

struct Guard { // its destructor runs in a cleanup pad
	std::string name;
	~Guard() { printf("cleanup %s\n", name.c_str()); }
};

extern "C" __attribute__((noinline)) void thrower(int n) {
	if (n == 0)
		throw std::runtime_error("zero");
	if (n < 0)
		throw n;
}

extern "C" __attribute__((noinline)) void cleaner(int n) {
	Guard g{"cleaner"};
	thrower(n);
}

extern "C" __attribute__((noinline)) int catcher(int n) {
	try {
		cleaner(n);
	} catch (const std::exception &e) {
		return 1;
	} catch (int) {
		return 2;
	}
	return 0;
}

extern "C" __attribute__((noinline)) int rethrower(int n) {
	try {
		try {
			cleaner(n);
		} catch (...) {
			throw;
		}
	} catch (const std::runtime_error &) {
		return 3;
	}
	return 0;
}

extern "C" __attribute__((noinline)) int plain(int n) { return n + 1; } // has no pad

int main() {
	printf("%d %d %d %d %d\n", catcher(0), catcher(-1), catcher(1), rethrower(0), plain(1));
}
