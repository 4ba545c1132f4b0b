// Command sweep holds syspart against every program of a system.
//
//	sweep recall   no call that "PROGRAM --version" and "PROGRAM --help" make, as strace sees them, is missing from
//	               "syspart analyze -o names --from entry PROGRAM"
//	sweep crash    "syspart analyze -o names --from main PROGRAM" ends with an answer or one clear error, for each program
//	sweep anybin   "syspart analyze -o names --from entry FILE" ends with an answer or one clear error, for each ELF file
//	               below the directories, libraries too; prints a section of docs/anybinary.md
//	sweep rewrite  each program with a stub at its entry that does nothing answers "--version" as before, also after strip;
//	               readelf has no complaints that it did not have before, and ldd says the same
//
// What strace sees is a lower bound: a missing call proves a defect, nothing proves that there is none. Calls of programs
// that a program executes are not its own and do not count.
//
// Programs run in namespaces of their own without network, on a file system that they cannot write, except for an empty
// directory; some are not run at all (skipped.go says which and why).
package main

import (
	"context"
	"debug/elf"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// options are those of all verbs.
type options struct {
	syspart string        // the program under test
	dirs    []string      // where programs are looked for
	jobs    int           // programs at once
	min     int           // fewer programs checked are a failure
	limit   time.Duration // processor time of one analysis
	match   string        // only programs whose path contains this
	out     io.Writer
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	verb := os.Args[1]
	opt := options{out: os.Stdout}
	flags := flag.NewFlagSet("sweep "+verb, flag.ExitOnError)
	flags.StringVar(&opt.syspart, "syspart", "bin/syspart", "the `program` under test")
	dirs := flags.String("dirs", "/usr/bin:/usr/sbin", "`directories` with programs")
	flags.IntVar(&opt.jobs, "j", runtime.NumCPU(), "programs at `once`")
	flags.IntVar(&opt.min, "min", 0, "fail if fewer than `n` programs were checked")
	flags.DurationVar(&opt.limit, "limit", 2*time.Minute, "processor `time` that one analysis may take")
	flags.StringVar(&opt.match, "match", "", "only programs whose path contains `text`")
	flags.Parse(os.Args[2:])
	opt.dirs = filepath.SplitList(*dirs)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var run func(context.Context, options) (bool, error)
	switch verb {
	case "recall":
		run = recall
	case "anybin":
		run = anybin
	case "crash":
		run = crash
	case "rewrite":
		run = rewrite
	default:
		usage()
	}
	ok, err := run(ctx, opt)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sweep:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: sweep anybin|recall|crash|rewrite [flags]; -h after the verb lists them")
	os.Exit(2)
}

// programs returns the x86-64 executables in the directories, each file once under its real path, sorted.
func programs(opt options) ([]string, error) {
	seen := make(map[string]bool)
	var out []string
	for _, dir := range opt.dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			path, err := filepath.EvalSymlinks(filepath.Join(dir, entry.Name()))
			if err != nil || seen[path] || !strings.Contains(path, opt.match) {
				continue
			}
			seen[path] = true
			if executable(path) {
				out = append(out, path)
			}
		}
	}
	sort.Strings(out)
	return out, nil
}

// executable reports whether path is an x86-64 program, and not a library or a script.
func executable(path string) bool {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
		return false
	}
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Class == elf.ELFCLASS64 && f.Machine == elf.EM_X86_64 && (f.Type == elf.ET_EXEC || f.Type == elf.ET_DYN) && f.Entry != 0
}

// each calls do for every path, several at once, and returns the results in the paths' order. When the context ends it
// returns those of the paths that it had come to.
func each[T any](ctx context.Context, jobs int, paths []string, do func(path string) T) []T {
	out := make([]T, len(paths))
	next := make(chan int)
	done := 0
	var wg sync.WaitGroup
	for range max(jobs, 1) {
		wg.Go(func() {
			for i := range next {
				out[i] = do(paths[i])
			}
		})
	}
	for i := range paths {
		if ctx.Err() != nil {
			break
		}
		next <- i
		done++
	}
	close(next)
	wg.Wait()
	return out[:done]
}
