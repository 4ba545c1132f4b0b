// What a program loads and executes, named in every way that is followed, and in ways that are not. CASE selects one.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "/usr/bin"
extern char **environ;
static volatile int sink;
static char *const none[] = { "x", NULL };

__attribute__((noinline, noclone)) void *load(const char *name) { sink++; return dlopen(name, RTLD_NOW); }
__attribute__((noinline, noclone)) int run(const char *name) { sink++; return execve(name, none, environ); }

static const char *const libraries[] = { "libz.so.1", "libresolv.so.2" };
static const char *chosen = "/usr/bin/true";

int main(int argc, char **argv)
{
	pid_t pid;
	char buffer[256];
	switch (CASE) {
	case 1: load("libz.so.1"); break;                                      // through a parameter
	case 2: load(libraries[argc & 1]); break;                              // from a table
	case 3: load(argv[1]); break;                                          // not known
	case 4: run("/usr/bin/true"); break;                                   // through a parameter
	case 5: if (argc > 3) chosen = "/usr/bin/false"; run(chosen); break;   // a variable
	case 6: execlp("true", "true", NULL); break;                           // searched for
	case 7: posix_spawnp(&pid, "true", NULL, NULL, none, environ); break;
	case 8: system("X=1 true | /usr/bin/false >/dev/null"); break;         // command lines
	case 9: popen(argv[1], "r"); break;                                    // not known
	case 10: system("exec $SHELL"); break;                                 // not known
	case 11: execve("relative/path", none, environ); break;                // not known
	case 12: run(SCRIPT); break;                                           // a script
	case 13:                                                               // a library to be found by what it exports
		snprintf(buffer, sizeof buffer, "%s/%s.so", PLUGINS, argv[1]);
		((void (*)(void))dlsym(load(buffer), "arrive_plugin_init"))();
		break;
	case 15:                                                               // constant parts
		snprintf(buffer, sizeof buffer, "%s/%s", PREFIX, argc > 1 ? "true" : "false");
		run(buffer);
		break;
	case 16:
		strcpy(buffer, PREFIX);
		strcat(buffer, "/true");
		run(buffer);
		break;
	case 17:                                                               // a part that is not known
		snprintf(buffer, sizeof buffer, "%s/%s", PREFIX, argv[1]);
		run(buffer);
		break;
	case 18:                                                               // somebody else may change it
		snprintf(buffer, sizeof buffer, "%s/true", PREFIX);
		fgets(buffer, sizeof buffer, stdin);
		run(buffer);
		break;
	case 14: run(argv[1]); break;                                          // not known
	}
	return sink;
}
