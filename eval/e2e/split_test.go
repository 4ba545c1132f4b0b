package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"syspart/internal/testbin"
)

// split builds the server of testdata/split in a directory, which is returned with the program.
func split(t *testing.T, flags ...string) (dir, prog string) {
	t.Helper()
	dir = t.TempDir()
	build := func(out string, args ...string) string {
		t.Helper()
		path := filepath.Join(dir, out)
		args = append([]string{"-O2", "-fcf-protection", "-Wl,-z,ibt", "-pthread", "-o", path}, args...)
		if msg, err := exec.Command(testbin.Need(t, "gcc", "gcc"), args...).CombinedOutput(); err != nil {
			t.Fatalf("gcc %v: %v\n%s", args, err, msg)
		}
		return path
	}
	src := func(name string) string { return filepath.Join(testbin.Root(t), "testdata/split", name) }
	pool := build("libpool.so.1", append(flags, "-shared", "-fPIC", "-Wl,-soname,libpool.so.1", src("pool.c"))...)
	plug := build("plug.so", "-shared", "-fPIC", "-Wl,-soname,plug.so", src("plug.c"))
	extra := build("libextra.so", "-shared", "-fPIC", "-Wl,-soname,libextra.so", src("extra.c"))
	prog = build("split", append(flags, fmt.Sprintf("-DPLUG=%q", plug), "-Wl,-rpath,"+dir, src("main.c"), pool, extra)...)
	return dir, prog
}

// TestHardenLibraries: threads whose loops are in libraries filter themselves in copies of these, or behind the call that
// leads to them; the copies are what is loaded; a module that is not the one of the profile is noticed.
func TestHardenLibraries(t *testing.T) {
	testbin.NeedRoot(t)
	dir, prog := split(t)
	if err := os.Symlink("split", filepath.Join(dir, "alias")); err != nil {
		t.Fatal(err)
	}
	p, path := fixtureProfile(t, "split", prog)
	if len(p.Threads) != 4 {
		t.Fatalf("%d kinds of threads, want 4", len(p.Threads))
	}
	out := filepath.Join(dir, "hardened")
	said := must(t, "harden", "-p", path, "-o", out, "--print")
	for _, want := range []string{out + "/split\n", " -> e8 ", out + "/libpool.so.1  loaded for libpool.so.1\n", out + "/plug.so  loaded for " + dir + "/plug.so\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not print %q:\n%s", want, said)
		}
	}
	if to, err := os.Readlink(filepath.Join(out, "alias")); err != nil || to != "split" {
		t.Errorf("the link beside the program: %q, %v", to, err)
	}
	serves := func(file string) {
		t.Helper()
		srv, addr := testbin.StartServer(t, file)
		leader := server(t, srv.PID, file)
		testbin.Until(t, "every thread has a filter", func() bool { return allFiltered(family(leader)) })
		readBack(t, p, family(leader))
		for range 3 {
			if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
				t.Fatalf("answer %q, %v\n%s", got, err, srv.Output())
			}
		}
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", leader))
		if err != nil {
			t.Fatal(err)
		}
		for _, lib := range []string{"libpool.so.1", "plug.so"} {
			if strings.Contains(string(maps), dir+"/"+lib+"\n") || !strings.Contains(string(maps), out+"/"+lib+"\n") {
				t.Errorf("%s: not the copy alone is loaded:\n%s", lib, maps)
			}
		}
		srv.End()
	}
	hard := filepath.Join(out, "split")
	serves(hard)
	must(t, "harden", "--verify", hard, "-p", path)
	for _, name := range []string{"split", "libpool.so.1", "plug.so"} {
		file := filepath.Join(out, name)
		if msg, err := exec.Command(testbin.Need(t, "strip", "binutils"), file).CombinedOutput(); err != nil || len(msg) > 0 {
			t.Fatalf("strip %s: %v, %s", name, err, msg)
		}
	}
	serves(hard)
	must(t, "harden", "--verify", hard, "-p", path)

	// Another library in the place of one that was profiled.
	warning := filepath.Join(dir, "warning")
	must(t, "harden", "-p", path, "-o", warning, "--on-mismatch", "warn")
	other := filepath.Join(dir, "libextra.so")
	if msg, err := exec.Command("gcc", "-DOTHER", "-shared", "-fPIC", "-Wl,-soname,libextra.so", "-o", other, filepath.Join(testbin.Root(t), "testdata/split/extra.c")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	msg, err := exec.Command(hard, fmt.Sprint(testbin.Port(t))).CombinedOutput()
	if code := exitCode(err); code != 125 || string(msg) != "syspart: "+other+": not a file that this program was hardened for; profile and harden it again\n" {
		t.Errorf("with another library: status %d, %s", code, msg)
	}
	srv, addr := testbin.StartServer(t, filepath.Join(warning, "split"))
	if got, err := testbin.Ask(addr, "x"); err != nil || got != "ok" {
		t.Errorf("with another library, warning: %q, %v", got, err)
	}
	testbin.Until(t, "the program warns", func() bool { return strings.Contains(srv.Output(), other+": not a file") })
}

func exitCode(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return -1
}

// TestHardenEarly: the call of main that leads to its loop in a library goes through a stub, but not if the library needs before
// the loop what the filter closes.
func TestHardenEarly(t *testing.T) {
	for _, early := range []bool{false, true} {
		flags := []string{"-DSERVE"}
		if early {
			flags = append(flags, "-DEARLY")
		}
		_, prog := split(t, flags...)
		_, path := fixtureProfile(t, "split", prog)
		out, msg, code := call(t, "harden", "-p", path, "-o", filepath.Join(t.TempDir(), "out"), "--print")
		if early && (code != 1 || !strings.Contains(msg, "needs personality before the loop begins")) {
			t.Errorf("early: status %d, %s", code, msg)
		}
		if !early && (code != 0 || strings.Count(out, " -> e8 ") != 2) {
			t.Errorf("not early: status %d, %s%s", code, out, msg)
		}
	}
}

// TestHardenBacktrace has gdb stop behind a stub's first instructions and in the check of modules, and print the callers.
func TestHardenBacktrace(t *testing.T) {
	gdb := testbin.Need(t, "gdb", "gdb")
	bin, _ := testbin.Server(t, "registers", "-O2", "-no-pie", "-fno-pie")
	_, path := fixtureProfile(t, "registers", bin)
	out := t.TempDir()
	said := must(t, "harden", "-p", path, "-o", out, "--print")
	var at uint64
	var jump [5]byte
	for line := range strings.Lines(said) {
		if _, after, ok := strings.Cut(line, " -> "); ok {
			fmt.Sscanf(strings.TrimSpace(line), "0x%x", &at)
			fmt.Sscanf(after, "%x %x %x %x %x", &jump[0], &jump[1], &jump[2], &jump[3], &jump[4])
			break
		}
	}
	rel := int32(uint32(jump[1]) | uint32(jump[2])<<8 | uint32(jump[3])<<16 | uint32(jump[4])<<24)
	stub := at + 5 + uint64(int64(rel))
	args := []string{"-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", fmt.Sprintf("break *%#x", stub), "-ex", "run", "-ex", "info inferiors"}
	// Then into the function that checks the modules.
	args = append(args, "-ex", "bt", "-ex", "stepi 4", "-ex", "bt", "-ex", "kill", filepath.Join(out, filepath.Base(bin)))
	cmd := exec.Command(gdb, args...)
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // a child of the program may hold the streams
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	// gdb gives the program a process group of its own, in which its child is left.
	if m := regexp.MustCompile(`\* 1 +process (\d+)`).FindStringSubmatch(text.String()); m != nil {
		if pid, err := strconv.Atoi(m[1]); err == nil && pid > 1 {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	}
	switch said := text.String(); {
	case !strings.Contains(said, "Breakpoint 1, "):
		testbin.Skip(t, "gdb cannot run programs here: %s", said)
	case strings.Count(said, " in main (") != 2 || strings.Contains(said, "corrupt") || !strings.Contains(said, "#2 "):
		t.Errorf("no callers:\n%s", said)
	}
}
