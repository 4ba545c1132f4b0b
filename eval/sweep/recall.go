package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"syspart/internal/syscalls"
)

// traceLimit is how long a program may run. What it did until then counts; one that has not come to anything, on a machine
// with much else to do, may take startLimit.
const (
	traceLimit = 5 * time.Second
	startLimit = time.Minute
)

// cage runs a program where it can do no harm: no network, nobody else's processes, and nothing writable but $1, which is
// its working and home directory. All of it ends with its first process.
var cage = []string{"unshare", "--net", "--ipc", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
	`mount --bind "$1" "$1" && mount -o remount,ro,bind / && cd "$1" && shift && exec "$@"`, "cage"}

// recalled is what came out for one program.
type recalled struct {
	path     string
	skipped  string // why it was not checked
	observed syscalls.Set
	allowed  syscalls.Set
	err      error
}

func (r *recalled) missing() syscalls.Set { return r.observed.Minus(r.allowed) }

// recall checks that the analysis misses no call that strace sees.
func recall(ctx context.Context, opt options) (bool, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return false, errors.New("strace is not installed (Debian package strace)")
	}
	paths, err := programs(opt)
	if err != nil {
		return false, err
	}
	work, err := os.MkdirTemp("", "syspart-recall-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(work)
	caged := exec.Command(cage[0], append(append([]string{}, cage[1:]...), work, "true")...).Run() == nil
	if !caged {
		fmt.Fprintln(opt.out, "no namespaces here: programs run without a cage")
	}

	results := each(ctx, opt.jobs, paths, func(path string) recalled {
		r := recalled{path: path, skipped: whySkipped(path)}
		if r.skipped != "" {
			return r
		}
		for _, arg := range []string{"--version", "--help"} {
			set, err := observe(ctx, work, caged, path, arg, traceLimit)
			if errors.Is(err, errNoTrace) {
				set, err = observe(ctx, work, caged, path, arg, startLimit)
			}
			if err != nil {
				r.err = fmt.Errorf("strace %s: %w", arg, err)
				return r
			}
			r.observed = r.observed.Union(set)
		}
		if r.observed.Empty() {
			r.skipped = "does not start here"
			return r
		}
		a := analyze(ctx, opt, "entry", path)
		r.allowed, r.err = a.calls, a.err
		return r
	})
	// What was judged until then is worth knowing even if it was interrupted.
	return judgeRecall(opt, results), ctx.Err()
}

var errNoTrace = errors.New("no trace was written")

// observe returns the calls that one run of a program makes.
func observe(ctx context.Context, work string, caged bool, path, arg string, limit time.Duration) (syscalls.Set, error) {
	dir, err := os.MkdirTemp(work, "run")
	if err != nil {
		return syscalls.Set{}, err
	}
	defer os.RemoveAll(dir)
	trace := filepath.Join(dir, ".trace")
	argv := []string{"strace", "-f", "-qq", "-s", "0", "-o", trace, path, arg}
	if caged {
		argv = append(append(append([]string{}, cage...), dir), argv...)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "LC_ALL=C", "TERM=dumb"}
	// What a program answers, and that it was ended, is of no interest.
	cmd.Run()
	f, err := os.Open(trace)
	if errors.Is(err, os.ErrNotExist) {
		return syscalls.Set{}, errNoTrace
	} else if err != nil {
		return syscalls.Set{}, err
	}
	defer f.Close()
	return own(f)
}

// judgeRecall prints the table and returns whether all is well.
func judgeRecall(opt options, results []recalled) bool {
	var checked, skipped, failed, lacking int
	where := make(map[string][]string) // missing call to the programs
	fmt.Fprintf(opt.out, "%-44s %8s %8s  %s\n", "program", "observed", "allowed", "missing")
	for _, r := range results {
		switch {
		case r.skipped != "":
			skipped++
			fmt.Fprintf(opt.out, "%-44s skipped: %s\n", r.path, r.skipped)
			continue
		case r.err != nil:
			failed++
			fmt.Fprintf(opt.out, "%-44s error: %v\n", r.path, r.err)
			continue
		}
		checked++
		names := r.missing().Names()
		fmt.Fprintf(opt.out, "%-44s %8d %8d  %s\n", r.path, r.observed.Len(), r.allowed.Len(), strings.Join(names, " "))
		if len(names) > 0 {
			lacking++
		}
		for _, name := range names {
			where[name] = append(where[name], filepath.Base(r.path))
		}
	}
	fmt.Fprintf(opt.out, "\nchecked: %d  skipped: %d  errors: %d  programs with a missing call: %d\n", checked, skipped, failed, lacking)
	for _, name := range sortedKeys(where) {
		fmt.Fprintf(opt.out, "missing %s: %s\n", name, strings.Join(where[name], " "))
	}
	if checked < opt.min {
		fmt.Fprintf(opt.out, "fewer than %d checked\n", opt.min)
	}
	return lacking == 0 && failed == 0 && checked >= opt.min
}
