// Shapes of servers, one function tree each, without any library: whatever a partition holds is here. Built freestanding
// (-nostdlib -static -fexceptions), never executed: the tests make the stacks. Every function that a test asks for by name
// is kept whole and apart.
#define KEEP __attribute__((noinline, noipa, used))

volatile int go;

KEEP static long sys(long nr) {
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr) : "rcx", "r11", "memory");
	return ret;
}

KEEP static void wait_event(void) { sys(34); } // pause
KEEP static void work(void) { sys(100); }      // times
KEEP static void prepare(void) { sys(83); }    // mkdir
KEEP static void configure(void) { sys(95); }  // umask
KEEP static void tidy(void) { sys(87); }       // unlink
KEEP static void farewell(void) { sys(162); }  // sync
KEEP static void never(void) { sys(133); }     // mknod
KEEP __attribute__((noreturn)) static void quit(void) {
	for (;;)
		sys(231); // exit_group
}
// What the compiler calls for cleanups of exceptions; nothing is ever thrown.
KEEP __attribute__((noreturn)) void _Unwind_Resume(void *e) {
	(void)e;
	quit();
}
KEEP int __gcc_personality_v0(void) { return 0; }

// One loop that ends; code before it, behind it, and in the caller.
KEEP static void flat(void) {
	prepare();
	while (go) {
		wait_event();
		work();
	}
	tidy();
}
KEEP static void run_flat(void) {
	configure();
	flat();
	farewell();
}

// Two loops in one function, the inner one waits.
KEEP static void nested(void) {
	prepare();
	while (go) {
		work();
		while (go)
			wait_event();
	}
	tidy();
}

// The inner loop is a function's own; the outer one, in the caller, starts it again.
KEEP static void cycle(void) {
	while (go)
		wait_event();
	tidy();
}
KEEP static void restarts(void) {
	prepare();
	do {
		configure();
		cycle();
	} while (go);
	farewell();
}

// The same loop from two places.
KEEP static void pool_a(void) {
	cycle();
	work();
}
KEEP static void pool_b(void) {
	cycle();
	configure();
}

// A function that never returns: what its callers do behind it is dead.
KEEP __attribute__((noreturn)) static void forever(void) {
	prepare();
	for (;;)
		wait_event();
}
KEEP static void run_forever(void) {
	forever();
}
KEEP static void above_forever(void) {
	run_forever();
	never();
}
// Never returns either, but by calling what ends the process; its loop ends.
KEEP static void ends(void) {
	cycle();
	quit();
}
KEEP static void above_ends(void) {
	ends();
	never();
}

// A caller that can be entered behind the call all the same: by a second return of setjmp, or by an exception.
KEEP __attribute__((returns_twice)) int setjmp(void *env) {
	(void)env;
	return go;
}
void *env[8];
KEEP static void jumps(void) {
	if (setjmp(env)) {
		farewell();
		return;
	}
	ends();
}
// What comes between the first return of setjmp and the loop is over.
KEEP static void jumps_over(void) {
	if (setjmp(env) == 0) {
		configure();
		ends();
	}
	farewell();
}
KEEP static void released(int *p) {
	*p = 0;
	farewell();
}
KEEP static void catches(void) {
	__attribute__((cleanup(released))) int x = go;
	ends();
	x = 1;
}

// A master that forks its workers inside its loop; the child comes back out of spawn and has a loop in its own function.
KEEP int fork(void) { return (int)sys(57); }
KEEP static void child(void) {
	configure();
	while (go)
		wait_event();
	tidy();
}
KEEP static void spawn(void) {
	if (fork() == 0) {
		child();
		quit();
	}
}
KEEP static void master(void) {
	prepare();
	while (go) {
		work();
		spawn();
	}
	farewell();
}
// The same, but a child that has served goes on as another master.
KEEP static void spawn_more(void) {
	if (fork() == 0)
		child();
}
KEEP static void master_more(void) {
	prepare();
	while (go) {
		work();
		spawn_more();
	}
	farewell();
}
// The fork is in the very loop that the child's frame lies in, for a child that has served goes round in it.
KEEP static void respawn(void) {
	prepare();
	while (go) {
		work();
		if (fork() == 0)
			child();
	}
	farewell();
}
// A child whose loop is in the function that forked it, beside the loop that forked it.
KEEP static void both(void) {
	for (int i = 0; i < 3; i++) {
		configure();
		if (fork() == 0) {
			while (go)
				wait_event();
			tidy();
			quit();
		}
	}
	while (go)
		work();
	farewell();
}

// The bottom of a thread: what the kernel starts calls the start routine by pointer, and ends the thread when it returns.
void (*start_routine)(void);
KEEP __attribute__((noreturn)) static void start_thread(void) {
	start_routine();
	work();
	for (;;)
		sys(60); // exit
}
__asm__(".text\n"
	".type clone3, @function\n"
	".globl clone3\n"
	"clone3:\n"
	"	.cfi_startproc\n"
	"	movl $435, %eax\n"
	"	syscall\n"
	"	testq %rax, %rax\n"
	"	je 1f\n"
	"	ret\n"
	"1:	.cfi_undefined rip\n"
	"	call start_thread_of_clone\n"
	"	hlt\n"
	"	.cfi_endproc\n"
	".size clone3, .-clone3\n");
KEEP void start_thread_of_clone(void) { start_thread(); }
long clone3(void);

// Two threads in one loop function, by two start routines.
KEEP static void routine_a(void) { pool_a(); }
KEEP static void routine_b(void) { pool_b(); }

// Calls itself out of its loop, and its caller again.
void mutual(int n);
KEEP void recursive(int n) {
	prepare();
	while (go) {
		wait_event();
		if (n)
			recursive(n - 1);
		else
			mutual(n);
	}
}
KEEP void mutual(int n) {
	recursive(n);
	tidy();
}

// No loop.
KEEP static void waits_once(void) {
	wait_event();
	tidy();
}

KEEP void _start(void) {
	switch (go) {
	case 1: run_flat(); break;
	case 2: nested(); break;
	case 3: restarts(); break;
	case 4: pool_a(); break;
	case 5: pool_b(); break;
	case 6: above_forever(); break;
	case 7: above_ends(); break;
	case 8: jumps(); break;
	case 9: catches(); break;
	case 10: master(); break;
	case 15: master_more(); break;
	case 16: jumps_over(); break;
	case 17: mutual(3); break;
	case 18: respawn(); break;
	case 11: both(); break;
	case 12: waits_once(); break;
	case 13: start_routine = routine_a; clone3(); break;
	case 14: start_routine = routine_b; clone3(); break;
	}
	quit();
}
