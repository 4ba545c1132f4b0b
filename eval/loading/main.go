// Command loading prints how the code that servers load at run time was found, from their profiles: a table like SysPart's
// table 7 (CCS 2023), with its figures beside ours.
//
//	loading [-paper FILE] PROFILE...
//
// A profile's file name is the server's configuration. Sites are calls of dlopen, dlsym and of what executes programs in
// code that can run at all, outside libc and the loader: resolved fully (all names that come there are known), partially,
// or not. FILE has the paper's figures (data/paper/table7_dynamic_loading.tsv).
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"syspart/internal/pipeline"
	"syspart/profile"
)

func main() {
	paper := flag.String("paper", "", "the paper's table, a `file`")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *paper, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "loading:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, paper string, paths []string) error {
	fmt.Fprintln(w, "| configuration | dlopen: full/partial/not | dlsym | execve and its like | modules | programs | extra calls |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	for _, path := range paths {
		p, err := profile.Load(path)
		if err != nil {
			return err
		}
		l, err := pipeline.Load(ctx, p, pipeline.Options{})
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %d: %s |\n", strings.TrimSuffix(filepath.Base(path), ".json"), counts(l.Dlopen), counts(l.Dlsym),
			counts(l.Exec), founds(l.Found), founds(l.Programs), l.Extra.Len(), strings.Join(l.Extra.Names(), " "))
	}
	if paper == "" {
		return nil
	}
	return published(w, paper)
}

func counts(r pipeline.Resolved) string { return fmt.Sprintf("%d/%d/%d", r.Full, r.Partial, r.None) }

func founds(m map[string]int) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%d %s", m[k], k))
	}
	if len(out) == 0 {
		return "-"
	}
	return strings.Join(out, ", ")
}

// published prints the paper's table.
func published(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprint(w, "\nThe paper's figures:\n\n| configuration | dlopen: full/partial/not | dlsym | extra calls |\n|---|---|---|---|\n")
	s := bufio.NewScanner(f)
	for first := true; s.Scan(); first = false {
		c := strings.Split(s.Text(), "\t")
		if first || len(c) != 9 {
			continue
		}
		fmt.Fprintf(w, "| %s, %s | %s/%s/%s | %s/%s/%s | %s |\n", c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8])
	}
	return s.Err()
}
