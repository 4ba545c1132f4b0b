package cli

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"syspart/internal/testbin"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"syspart": func() { os.Exit(Main(os.Args)) },
		"fake":    mainFake,
	})
}

// TestScripts runs the command as a user does. Besides testscript's own commands, scripts have
//
//	status N CMD ARGS...   run CMD; its exit status must be N
//	complaint              stderr of the last command is one line that starts with "syspart: "
//	files DIR NAME...      a directory has these entries and no others
//
// the condition [root], and the variables BAD (a directory of files that are no server's program), PROGRAM (an ELF program of
// this machine) and, for the fixtures of testdata/servers, BRANCH, NOLOOP and ANYNUMBER, and BRANCHNAME and so on, their names
// alone.
func TestScripts(t *testing.T) {
	program, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		t.Fatal(err)
	}
	servers := map[string]string{}
	for _, name := range []string{"branch", "noloop", "anynumber"} {
		servers[strings.ToUpper(name)], _ = testbin.Server(t, name)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			bad := filepath.Join(env.WorkDir, "bad")
			env.Setenv("BAD", bad)
			env.Setenv("PROGRAM", program)
			for name, path := range servers {
				env.Setenv(name, path)
				env.Setenv(name+"NAME", filepath.Base(path))
			}
			env.Setenv("NO_COLOR", "1")
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			return errors.Join(writeBad(bad, program), writeProfiles(env.WorkDir, program))
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status":    cmdStatus,
			"complaint": cmdComplaint,
			"files":     cmdFiles,
		},
	})
}

// cmdStatus runs a command whose exit status must be the given one.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N CMD ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("status %s: %v", args[0], err)
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// cmdComplaint checks the form of an error.
func cmdComplaint(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stderr")
	line, rest, ended := strings.Cut(text, "\n")
	if neg || len(args) > 0 || !strings.HasPrefix(line, "syspart: ") || rest != "" || !ended {
		ts.Fatalf("stderr is not one line that starts with syspart: %q", text)
	}
}

// cmdFiles compares what is in a directory with a list: nothing half-written is left behind.
func cmdFiles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: files DIR NAME...")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := slices.Sorted(slices.Values(args[1:])); !slices.Equal(got, want) {
		ts.Fatalf("%s has %q, want %q", args[0], got, want)
	}
}

// TestEveryVerbHasScript: for each verb there is a script of that name, in which it does its work and fails.
func TestEveryVerbHasScript(t *testing.T) {
	for _, cmd := range (&app{}).root().Commands() {
		name := cmd.Name()
		text, err := os.ReadFile("testdata/script/" + name + ".txt")
		if err != nil {
			t.Error(err)
			continue
		}
		if !regexp.MustCompile(`(?m)^(\[root\] )?exec (syspart|fake) ` + name + `\b`).Match(text) {
			t.Errorf("%s.txt: nothing that succeeds", name)
		}
		if !regexp.MustCompile(`(?m)^status [1-9]\d* (syspart|fake) ` + name + `\b.*\ncomplaint$`).Match(text) {
			t.Errorf("%s.txt: nothing that fails with one line", name)
		}
	}
}

// writeBad makes files that are not the program of an x86-64 server.
func writeBad(dir, program string) error {
	whole, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	random := make([]byte, 4096)
	rand.New(rand.NewSource(1)).Read(random)
	// header returns the program with a few bytes of its ELF header changed.
	header := func(edit func(h []byte)) []byte {
		b := append([]byte(nil), whole...)
		edit(b)
		return b
	}
	files := map[string][]byte{
		"empty":     {},
		"text":      []byte("daemon off;\n"),
		"script":    []byte("#!/bin/sh\nexec sleep 1\n"),
		"truncated": whole[:len(whole)/3],
		"head":      whole[:40],
		"random":    append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"), random...),
		"arm64":     header(func(h []byte) { binary.LittleEndian.PutUint16(h[18:], 183) }),
		"elf32":     header(func(h []byte) { h[4] = 1; binary.LittleEndian.PutUint16(h[18:], 3) }),
		"needs":     bytes.ReplaceAll(whole, []byte("\x00libc.so.6\x00"), []byte("\x00libq.so.6\x00")),
		"bigendian": header(func(h []byte) { h[5] = 2 }),
	}
	if err := os.MkdirAll(filepath.Join(dir, "dir"), 0o755); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "noexec"), whole, 0o644)
}

// writeProfiles makes fits.json, a profile of the program, and changed.json, one of another build of it.
func writeProfiles(dir, program string) error {
	p, err := profileOf(program)
	if err != nil {
		return fmt.Errorf("profile for scripts: %w", err)
	}
	if err := p.Save(filepath.Join(dir, "fits.json")); err != nil {
		return err
	}
	p.Program.SHA256 = strings.Repeat("0", 64)
	return p.Save(filepath.Join(dir, "changed.json"))
}
