package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sort"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"syspart/internal/syscalls"
)

// analysis is one run of "syspart analyze".
type analysis struct {
	path  string
	calls syscalls.Set
	err   error // what is wrong with how it ended; nil also for a clear error of the tool's
	clear string
	took  time.Duration // of processors, which does not depend on what else they do
	rss   int64         // largest resident set, KiB
}

// patience is how many times as long as its limit of processor time an analysis may take on a clock.
const patience = 30

// analyze runs the program under test on one file. Exit status 0 must come with a list of calls, 1 with one line on
// standard error; for from=entry an error of the tool's is an error here too, since there is nothing to compare.
func analyze(ctx context.Context, opt options, from, path string) analysis {
	a := analysis{path: path}
	limited, cancel := context.WithTimeout(ctx, patience*opt.limit)
	defer cancel()
	cmd := exec.CommandContext(limited, opt.syspart, "analyze", "-o", "names", "--from", from, path)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	err := cmd.Start()
	if err == nil {
		most := uint64(opt.limit/time.Second) + 1
		if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			a.err = err
		}
		err = cmd.Wait()
	}
	if cmd.ProcessState != nil {
		a.took = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			a.rss = usage.Maxrss
		}
	}
	var exit *exec.ExitError
	switch {
	case a.err != nil:
	case ctx.Err() != nil:
		a.err = ctx.Err()
	case limited.Err() != nil:
		a.err = fmt.Errorf("not done within %v", patience*opt.limit)
	case err != nil && a.took >= opt.limit: // the kernel has ended it
		a.err = fmt.Errorf("not done within %v of processor time", opt.limit)
	case err == nil:
		a.calls, a.err = parseNames(out.String())
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		a.clear, a.err = clearError(msg.String())
		if a.err == nil && from == "entry" {
			a.err = errors.New(a.clear)
		}
	default:
		a.err = fmt.Errorf("%w: %s", err, firstLine(msg.String()))
	}
	return a
}

// parseNames reads what "-o names" prints: names, one a line, sorted, nothing else.
func parseNames(text string) (syscalls.Set, error) {
	var set syscalls.Set
	last := ""
	for name := range strings.Lines(text) {
		name = strings.TrimSuffix(name, "\n")
		nr, ok := syscalls.Number(name)
		if !ok {
			return set, fmt.Errorf("prints %q, which is no system call", name)
		}
		if name <= last {
			return set, fmt.Errorf("prints %q behind %q", name, last)
		}
		last = name
		set.Add(nr)
	}
	if set.Empty() {
		return set, errors.New("prints no call at all")
	}
	return set, nil
}

// clearError checks that an error is one line that is no accident of ours.
func clearError(text string) (string, error) {
	text = strings.TrimSuffix(text, "\n")
	if text == "" || strings.Contains(text, "\n") {
		return "", fmt.Errorf("fails with %d lines: %s", strings.Count(text, "\n")+1, firstLine(text))
	}
	for _, bad := range []string{"panic", "goroutine", "runtime error"} {
		if strings.Contains(text, bad) {
			return "", errors.New(text)
		}
	}
	return text, nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// crash checks that each analysis ends well.
func crash(ctx context.Context, opt options) (bool, error) {
	paths, err := programs(opt)
	if err != nil {
		return false, err
	}
	results := each(ctx, opt.jobs, paths, func(path string) analysis { return analyze(ctx, opt, "main", path) })
	// What was judged until then is worth knowing even if it was interrupted.
	return judgeCrash(opt, results), ctx.Err()
}

func judgeCrash(opt options, results []analysis) bool {
	var answers, bad int
	errs := make(map[string][]string) // error without the program's path, to the programs
	for _, a := range results {
		switch {
		case a.err != nil:
			bad++
			fmt.Fprintf(opt.out, "BAD %s: %v\n", a.path, a.err)
		case a.clear != "":
			text := strings.ReplaceAll(a.clear, a.path, "PROGRAM")
			errs[text] = append(errs[text], a.path)
		default:
			answers++
		}
	}
	for _, text := range sortedKeys(errs) {
		fmt.Fprintf(opt.out, "error %d x: %s (%s)\n", len(errs[text]), text, strings.Join(errs[text], " "))
	}
	fmt.Fprintf(opt.out, "programs: %d  answers: %d  clear errors: %d  bad: %d\n", len(results), answers, len(results)-answers-bad, bad)
	if len(results) > 0 {
		byTime := append([]analysis{}, results...)
		sort.Slice(byTime, func(i, j int) bool { return byTime[i].took < byTime[j].took })
		var total time.Duration
		rss := results[0]
		for _, a := range results {
			total += a.took
			if a.rss > rss.rss {
				rss = a
			}
		}
		slow := byTime[len(byTime)-1]
		fmt.Fprintf(opt.out, "processor time: median %v, longest %v (%s), sum %v; memory: at most %d MiB (%s)\n",
			byTime[len(byTime)/2].took.Round(time.Millisecond), slow.took.Round(time.Millisecond), slow.path,
			total.Round(time.Second), rss.rss>>10, rss.path)
	}
	if len(results) < opt.min {
		fmt.Fprintf(opt.out, "fewer than %d programs\n", opt.min)
	}
	return bad == 0 && len(results) >= opt.min
}

func sortedKeys(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
