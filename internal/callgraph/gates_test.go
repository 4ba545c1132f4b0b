package callgraph

import (
	"context"
	"crypto/sha256"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/internal/testbin"
)

const gatesSource = `
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *work(void *arg) { pthread_mutex_lock(&lock); pthread_mutex_unlock(&lock); return arg; }

typedef int setter(pthread_mutexattr_t *, int);
__attribute__((noipa)) int with_setter(setter *set, pthread_mutexattr_t *m) { return set(m, PTHREAD_PRIO_PROTECT); }
__attribute__((noipa)) int use_box(setter **box, pthread_mutexattr_t *m) { return (*box)(m, PTHREAD_PRIO_PROTECT); }

int main(void)
{
	pthread_t t;
	pthread_attr_t attr, *with = NULL;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 1 << 20);
#ifdef ATTRIBUTES
	with = &attr;
#endif
#if defined AFFINITY || defined DEFAULT
	cpu_set_t set;
	sched_getaffinity(0, sizeof set, &set);
	pthread_attr_setaffinity_np(&attr, sizeof set, &set);
#endif
#ifdef AFFINITY
	with = &attr;
#endif
#ifdef DEFAULT
	pthread_setattr_default_np(&attr);
#endif
#ifdef OWN
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_setstack(&attr, aligned_alloc(4096, 1 << 20), 1 << 20);
	with = &attr;
#endif
#ifdef SCHEDULE
	struct sched_param param = { 0 };
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedparam(&attr, &param);
	with = &attr;
#endif
#ifdef INHERIT_SCHED
	pthread_attr_setinheritsched(&attr, PTHREAD_INHERIT_SCHED);
	with = &attr;
#endif
#if defined INHERIT || defined GIVEN || defined POINTER || defined BOX
	pthread_mutexattr_t m;
	pthread_mutexattr_init(&m);
#ifdef INHERIT
	pthread_mutexattr_setprotocol(&m, PTHREAD_PRIO_INHERIT);
#endif
#ifdef GIVEN
	volatile int protocol = PTHREAD_PRIO_PROTECT;
	pthread_mutexattr_setprotocol(&m, protocol);
#endif
#ifdef POINTER
	with_setter(pthread_mutexattr_setprotocol, &m);
#endif
#ifdef BOX
	setter **box = malloc(sizeof *box);
	*box = pthread_mutexattr_setprotocol;
	use_box(box, &m);
#endif
	pthread_mutex_init(&lock, &m);
#endif
#ifdef CEILING
	pthread_mutexattr_t m;
	pthread_mutexattr_init(&m);
	pthread_mutexattr_setprotocol(&m, PTHREAD_PRIO_PROTECT);
	pthread_mutexattr_setprioceiling(&m, 1);
	pthread_mutex_init(&lock, &m);
#endif
	if (pthread_create(&t, with, work, NULL) == 0)
		pthread_join(t, NULL);
	return 0;
}
`

// TestGates: what libc does for attributes of threads and ceilings of mutexes counts where a program asks for them, and
// only there. What such programs call when they run is in the set.
func TestGates(t *testing.T) {
	strace := testbin.Need(t, "strace", "strace")
	names := func(s ...string) syscalls.Set { return calls(s...) }
	affinity, schedule := names("sched_setaffinity"), names("sched_setscheduler", "sched_getscheduler", "sched_getparam")
	ceiling := names("sched_get_priority_min", "sched_get_priority_max").Union(schedule)
	watched := affinity.Union(schedule).Union(ceiling)
	for _, c := range []struct {
		define string
		open   syscalls.Set
		libc   syscalls.Set // others that the functions make that the program calls
	}{
		{"PLAIN", syscalls.Set{}, syscalls.Set{}},
		{"ATTRIBUTES", syscalls.Set{}, syscalls.Set{}},
		{"AFFINITY", affinity.Union(schedule), syscalls.Set{}},
		{"DEFAULT", affinity.Union(schedule), names("sched_get_priority_min", "sched_get_priority_max")},
		{"OWN", affinity.Union(schedule), syscalls.Set{}},
		{"SCHEDULE", affinity.Union(schedule), names("sched_get_priority_min", "sched_get_priority_max")},
		{"CEILING", ceiling, syscalls.Set{}},
		{"INHERIT_SCHED", syscalls.Set{}, syscalls.Set{}},
		{"INHERIT", syscalls.Set{}, syscalls.Set{}},
		{"GIVEN", ceiling, syscalls.Set{}},
		{"POINTER", ceiling, syscalls.Set{}},
		{"POINTER -fno-pie -no-pie", ceiling, syscalls.Set{}},
		{"BOX", ceiling, syscalls.Set{}},
		{"BOX -fno-pie -no-pie", ceiling, syscalls.Set{}},
	} {
		t.Run(c.define, func(t *testing.T) {
			bin := testbin.BuildText(t, "gates.c", gatesSource, append([]string{"-O2", "-pthread"}, strings.Fields("-D"+c.define)...)...)
			g := New(load(t, bin), Best)
			if !g.Gated() && c.define == "PLAIN" {
				t.Error("nothing is behind a gate")
			}
			got := g.WalkSignals(append(g.Started(), whole(g, named(t, g, "main"))...)).Calls.Intersect(watched)
			if want := c.open.Union(c.libc); got != want {
				t.Errorf("open %v, want %v", got.Names(), want.Names())
			}
			out, err := exec.Command(strace, "-f", "-qq", "-e", "trace=/^sched_", bin).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, m := range regexp.MustCompile(`(?m)^(?:\[pid +\d+\] )?(sched_\w+)\(`).FindAllSubmatch(out, -1) {
				if s := names(string(m[1])); s.Intersect(watched) == s && s.Minus(got) == s {
					t.Errorf("it calls %s:\n%s", m[1], out)
				}
			}
		})
	}
}

// TestGatesNamed: a debug file that names what libc does not export opens no gate, and no other call.
func TestGatesNamed(t *testing.T) {
	bin := testbin.BuildText(t, "gates.c", gatesSource, "-O2", "-pthread", "-DPLAIN")
	found := 0
	g := New(load(t, bin), Best)
	p, err := link.Load(context.Background(), bin, link.Options{Summarize: func(path string, data []byte) (*summary.Module, error) {
		if data == nil {
			var err error
			if data, err = os.ReadFile(path); err != nil {
				return nil, err
			}
		}
		debug, err := os.ReadFile(image.DebugFile(image.BuildID(data)))
		if err != nil {
			return summarize(path, data)
		}
		found++
		f, err := image.ParseDebug(path, data, sha256.Sum256(data), debug)
		if err != nil {
			return nil, err
		}
		return summary.Build(f)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		testbin.Skip(t, "no debug file for libc is installed (Debian package libc6-dbg)")
	}
	calls := func(g *Graph) syscalls.Set {
		return g.WalkSignals(append(g.Started(), whole(g, named(t, g, "main"))...)).Calls
	}
	if more := calls(New(p, Best)).Minus(calls(g)); !more.Empty() {
		t.Errorf("open with the debug file only: %v", more.Names())
	}
}

// TestGatesOfCalls: what libc does for users in patterns counts where glob may be given a flag for it; what the end of a thread
// does for services, where there may be any.
func TestGatesOfCalls(t *testing.T) {
	const source = `
#define _GNU_SOURCE
#include <glob.h>
#include <pthread.h>
#include <stddef.h>

static void *work(void *arg) { return arg; }

#ifdef SERVICE
_Bool svc_register(void *, unsigned long, unsigned long, void (*)(void), unsigned long);
__asm__(".symver svc_register,svc_register@GLIBC_2.2.5");
#endif

int main(int argc, char **argv)
{
	pthread_t t;
	glob_t g;
	glob(argv[0], FLAGS, NULL, &g);
#ifdef OLD
	int old(const char *, int, int (*)(const char *, int), glob_t *);
	__asm__(".symver old,glob@GLIBC_2.2.5");
	old(argv[0], argc, NULL, &g);
#endif
#ifdef SERVICE
	svc_register(NULL, 1, 1, NULL, 0);
#endif
	if (pthread_create(&t, NULL, work, NULL) == 0)
		pthread_join(t, NULL);
	return 0;
}
`
	users, services := calls("alarm"), calls("dup", "bind") // of getlogin_r; of pmap_unset
	for _, c := range []struct {
		flags string
		open  syscalls.Set
	}{
		{"-DFLAGS=0", syscalls.Set{}},
		{"-DFLAGS=GLOB_ERR|GLOB_BRACE", syscalls.Set{}},
		{"-DFLAGS=GLOB_TILDE", users},
		{"-DFLAGS=GLOB_TILDE_CHECK|GLOB_ERR", users},
		{"-DFLAGS=argc", users},
		{"-DFLAGS=0 -DOLD", users},
		{"-DFLAGS=0 -DSERVICE", services},
	} {
		t.Run(c.flags, func(t *testing.T) {
			bin := testbin.BuildText(t, "calls.c", source, append([]string{"-O2", "-pthread"}, strings.Fields(c.flags)...)...)
			g := New(load(t, bin), Best)
			got := g.WalkSignals(append(g.Started(), whole(g, named(t, g, "main"))...)).Calls.Intersect(users.Union(services))
			if got != c.open {
				t.Errorf("open %v, want %v", got.Names(), c.open.Names())
			}
		})
	}
}
