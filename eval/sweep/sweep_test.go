package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"syspart/internal/testbin"
)

func TestOwn(t *testing.T) {
	for _, c := range []struct {
		name, trace string
		want        []string
	}{
		{"the launcher's execve does not count", `7 execve("/usr/bin/x", ["x"], 0x7 /* 3 vars */) = 0
7 brk(NULL)                         = 0x555898669000
7 access("/etc/ld.so.preload", R_OK) = -1 ENOENT (No such file or directory)
7 exit_group(0)                     = ?
7 +++ exited with 0 +++`, []string{"access", "brk", "exit_group"}},
		{"a child counts until it executes", `7 execve("/usr/bin/x", ["x"], 0x7 /* 3 vars */) = 0
7 vfork( <unfinished ...>
8 dup2(3, 1)                        = 1
8 execve("/usr/bin/y", ["y"], 0x7 /* 3 vars */ <unfinished ...>
7 <... vfork resumed>)              = 8
8 <... execve resumed>)             = 0
8 mount("a", "b", "c", 0, NULL)     = -1 EPERM (Operation not permitted)
8 fork()                            = 9
9 umask(022)                        = 022
7 wait4(-1,  <unfinished ...>
8 +++ exited with 0 +++
7 <... wait4 resumed>NULL, 0, NULL) = 8
7 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---
7 +++ exited with 0 +++`, []string{"dup2", "execve", "vfork", "wait4"}},
		{"a failed execve changes nothing", `7 execve("/usr/bin/x", ["x"], 0x7 /* 3 vars */) = 0
7 execve("/nowhere", ["y"], 0x7 /* 3 vars */) = -1 ENOENT (No such file or directory)
7 sync()                            = 0`, []string{"execve", "sync"}},
		{"threads count", `7 execve("/usr/bin/x", ["x"], 0x7 /* 3 vars */) = 0
7 clone3({flags=CLONE_VM|CLONE_THREAD} => {parent_tid=[8]}, 88) = 8
8 set_robust_list(0x7, 24)          = 0`, []string{"clone3", "set_robust_list"}},
		{"its own execve ends it", `7 execve("/usr/bin/x", ["x"], 0x7 /* 3 vars */) = 0
7 execve("/usr/bin/y", ["y"], 0x7 /* 3 vars */) = 0
7 mount("a", "b", "c", 0, NULL)     = 0`, []string{"execve"}},
		{"a call that strace does not know", `7 execve("/usr/bin/x", ["x"], 0x7 /* 3 vars */) = 0
7 syscall_0x1b7(0x1, 0x2)           = -1 ENOSYS (Function not implemented)`, []string{"faccessat2"}},
		{"a result in a string", `7 execve("/usr/bin/x", ["x"], 0x7 /* 3 vars */) = 0
7 write(1, " = 9", 4 <unfinished ...>
7 <... write resumed>)              = 4`, []string{"write"}},
		{"nothing started", `7 execve("/usr/bin/x", ["x"], 0x7 /* 3 vars */) = -1 EACCES (Permission denied)
7 exit_group(1)                     = ?`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := own(strings.NewReader(c.trace))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Names(), c.want) {
				t.Errorf("got %v, want %v", got.Names(), c.want)
			}
		})
	}
	if _, err := own(strings.NewReader("7 execve(\"x\") = 0\n7 nonsense(1) = 0\n")); err == nil {
		t.Errorf("an unknown call passes")
	}
}

// TestSweep runs both verbs on programs of our own with shell scripts in syspart's place.
func TestSweep(t *testing.T) {
	testbin.Need(t, "strace", "strace")
	dir := t.TempDir()
	bin := testbin.BuildText(t, "caller.c", "#include <unistd.h>\n#include <sys/syscall.h>\n"+
		"int main(void) { syscall(SYS_sync); if (vfork() == 0) execl(\"/bin/true\", \"true\", (char *)0); return 0; }\n")
	if err := os.Link(bin, filepath.Join(dir, "caller")); err != nil {
		data, err := os.ReadFile(bin)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "caller"), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\n"), 0o755)
	os.WriteFile(filepath.Join(dir, "text"), []byte("no program"), 0o644)
	// What any small glibc program does.
	usual := "access arch_prctl brk close execve exit_group fstat getrandom mmap mprotect munmap newfstatat openat " +
		"pread64 prlimit64 read rseq set_robust_list set_tid_address vfork"

	for _, c := range []struct {
		name, script  string
		recall, crash bool
		text          string // in one of the outputs
	}{
		{"all there", "printf '%s\\n' " + usual[:strings.Index(usual, " vfork")] + " sync vfork", true, true, "checked: 1"},
		{"one missing", "printf '%s\\n' " + usual, false, true, "missing sync: caller"},
		{"unsorted", "echo sync; echo access", false, false, "behind"},
		{"no call", "echo access; echo hello", false, false, "no system call"},
		{"silent", "true", false, false, "no call at all"},
		{"clear error", "echo 'syspart: x: no such thing' >&2; exit 1", false, true, "clear errors: 1"},
		{"long error", "echo a >&2; echo b >&2; exit 1", false, false, "2 lines"},
		{"panic", "echo 'panic: oh' >&2; exit 2", false, false, "panic: oh"},
		{"killed", "kill -SEGV $$", false, false, "segmentation fault"},
		{"endless", "while :; do :; done", false, false, "not done within 1s of processor time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := filepath.Join(t.TempDir(), "syspart")
			if err := os.WriteFile(fake, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			opt := options{syspart: fake, dirs: []string{dir}, jobs: 1, min: 1, limit: time.Second, out: &out}
			if ok, err := recall(context.Background(), opt); err != nil || ok != c.recall {
				t.Errorf("recall: %v, %v, want %v\n%s", ok, err, c.recall, out.String())
			}
			if ok, err := crash(context.Background(), opt); err != nil || ok != c.crash {
				t.Errorf("crash: %v, %v, want %v\n%s", ok, err, c.crash, out.String())
			}
			if !strings.Contains(out.String(), c.text) {
				t.Errorf("no %q in:\n%s", c.text, out.String())
			}
		})
	}
}

func TestSkipped(t *testing.T) {
	for path, want := range map[string]bool{"/usr/sbin/reboot": true, "/sbin/mkfs.ext4": true, "/usr/bin/ls": false} {
		if got := whySkipped(path) != ""; got != want {
			t.Errorf("%s: skipped %v, want %v", path, got, want)
		}
	}
}

// TestRewrite sends programs through the verb, and a table with a fault.
func TestRewrite(t *testing.T) {
	testbin.Need(t, "strip", "binutils")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good": "#include <stdio.h>\nint main(void) { puts(\"1.0\"); return 4; }\n",
		// Each run gives another answer.
		"fickle": "#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf(\"%d %p\\n\", getpid(), (void *)&dir); return 0; }\n",
	} {
		if name == "fickle" {
			text = strings.Replace(text, "int main", "static int dir; int main", 1)
		}
		data, err := os.ReadFile(testbin.BuildText(t, name+".c", text))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	ok, err := rewrite(context.Background(), options{dirs: []string{dir}, jobs: 1, min: 1, out: &out})
	if err != nil || !ok {
		t.Errorf("%v %v\n%s", ok, err, out.String())
	}
	for _, want := range []string{"good", "answers differently each time", "rewritten: 1 ", "skipped: 1 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	out.Reset()
	if judgeRewrite(options{out: &out}, []rewritten{{path: "x", faults: []string{"answers otherwise"}}}) || !strings.Contains(out.String(), "FAULT answers otherwise") {
		t.Errorf("a fault passes:\n%s", out.String())
	}
}
