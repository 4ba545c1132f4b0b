// Command precision prints what each level of the call graph leaves open for servers, from their profiles.
//
//	precision [-levels abc] [-names KIND] [-observed DIR] [-o md|json] PROFILE...
//	precision -surplus FILE [-levels abc] [-names KIND] [-o md|json] PROFILE
//
// The first form prints one table a server (the profile's file name), one row a level: address-taken functions, indirect
// call sites of live functions and their average targets, live functions, system calls that can be reached from entry and
// main, then for each thread kind those that it can make while serving (its own set), and the time that the call graph
// takes. All but the time is the same in each run. -names adds the calls of one kind, level by level. -observed adds a row with
// what would be left open if calls through pointers went only where valgrind saw them go: tables NAME.edges.tsv.gz of oracle/edges
// in DIR, without edges of modules that the profile has in another build.
//
// The second form takes system calls that were seen while serving, one a line, and lists at the finest level each call of
// the own set of KIND (default: of every kind) that is not among them: the function that makes it, and the last indirect
// edge on the shortest path to it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"syspart/internal/callgraph"
	"syspart/internal/pipeline"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// options are the flags.
type options struct {
	levels, names, format, surplus, observed string
}

func main() {
	var opt options
	flag.StringVar(&opt.levels, "levels", "abcdefg", "`letters` of the levels; those that there are not are left out")
	flag.StringVar(&opt.names, "names", "", "list the calls of this thread `kind`, by its whole or its short name")
	flag.StringVar(&opt.format, "o", "md", "output `format`: md or json")
	flag.StringVar(&opt.surplus, "surplus", "", "list the calls that are not in this `file`")
	flag.StringVar(&opt.observed, "observed", "", "`directory` with tables of the calls through pointers that were seen")
	flag.Parse()
	if flag.NArg() == 0 || opt.format != "md" && opt.format != "json" || opt.surplus != "" && flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, opt, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "precision:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, opt options, paths []string) error {
	levels := parseLevels(opt.levels)
	if len(levels) == 0 {
		return fmt.Errorf("-levels %s: there are none of these", opt.levels)
	}
	var servers []server
	for _, path := range paths {
		p, err := profile.Load(path)
		if err != nil {
			return err
		}
		if err := p.Verify(pipeline.Identify); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		s := server{Name: strings.TrimSuffix(filepath.Base(path), ".json"), profile: p}
		if opt.surplus != "" {
			return surplus(ctx, w, opt, &s, levels[len(levels)-1])
		}
		for _, l := range levels {
			m, err := pipeline.Precision(ctx, p, l, pipeline.Options{})
			if err != nil {
				return fmt.Errorf("%s: level %v: %w", path, l, err)
			}
			s.Levels = append(s.Levels, rowOf(m))
		}
		if opt.observed != "" {
			if err := s.floors(ctx, filepath.Join(opt.observed, s.Name+".edges.tsv.gz")); err != nil {
				return err
			}
		}
		servers = append(servers, s)
	}
	if opt.names != "" && !slices.ContainsFunc(servers, func(s server) bool { return s.has(opt.names) }) {
		return fmt.Errorf("-names: no thread kind %s", opt.names)
	}
	if opt.format == "json" {
		return writeJSON(w, servers)
	}
	for i := range servers {
		servers[i].write(w, opt.names)
	}
	return nil
}

// parseLevels returns the levels that there are.
func parseLevels(letters string) []callgraph.Level {
	var out []callgraph.Level
	for _, c := range letters {
		if l, err := callgraph.ParseLevel(string(c)); err == nil {
			out = append(out, l)
		}
	}
	return out
}

// surplus lists what a server's kinds can do beyond what was seen.
func surplus(ctx context.Context, w io.Writer, opt options, s *server, level callgraph.Level) error {
	data, err := os.ReadFile(opt.surplus)
	if err != nil {
		return err
	}
	seen, err := syscalls.FromNames(strings.Fields(string(data))...)
	if err != nil {
		return fmt.Errorf("%s: %w", opt.surplus, err)
	}
	var out []excess
	for i := range s.profile.Threads {
		t := &s.profile.Threads[i]
		if opt.names != "" && !matches(t.Kind, opt.names) {
			continue
		}
		list, err := pipeline.Surpluses(ctx, s.profile, t.Kind, seen, pipeline.Options{Level: level})
		if err != nil {
			return err
		}
		out = append(out, excess{Server: s.Name, Kind: t.Kind, Level: level.String(), Seen: seen.Len(), Calls: list})
	}
	if len(out) == 0 {
		return fmt.Errorf("%s: no thread kind %s", s.Name, opt.names)
	}
	if opt.format == "json" {
		return writeJSON(w, out)
	}
	for i := range out {
		out[i].write(w)
	}
	return nil
}
