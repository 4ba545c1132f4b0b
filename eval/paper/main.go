// Command paper rebuilds tables of SysPart's evaluation (CCS 2023) for profiles of ours, with the published lists of the
// peers and the paper's own figures beside: all counts come from this one program.
//
//	paper -data DIR [-tables LIST] NAME=PROFILE[:KIND]...
//
// NAME is an application of the paper (bind, httpd, lighttpd, memcached, nginx, redis), or any other word, then without
// peers. KIND is the role of the thread kind that serves requests (main, child, thread): the one with most instances. DIR
// has the paper's data (data/paper). LIST names tables, in the order in which they are to be printed: phases (1 and 11),
// allowed (2), differences, cves (3), payloads (4 and 5), sensitive (6). What is printed depends on the profiles, the
// modules that they name and DIR alone.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"syspart/internal/pipeline"
	"syspart/profile"
)

func main() {
	data := flag.String("data", "data/paper", "`directory` of the paper's data")
	list := flag.String("tables", "phases,allowed,differences,cves,payloads,sensitive", "comma-separated `names` of tables")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := bufio.NewWriter(os.Stdout)
	err := run(ctx, out, *data, strings.Split(*list, ","), flag.Args())
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "paper:", err)
		os.Exit(1)
	}
}

// app is an application with what each system leaves open while it serves requests.
type app struct {
	name    string
	profile *profile.Profile
	thread  *profile.Thread // the kind that serves requests
	systems []system
}

// ours is the name of our system.
const ours = "syspart"

// system is an allow-list.
type system struct {
	name  string
	allow map[string]bool
}

func (s *system) open(call string) bool { return s.allow[call] }

// table prints one of the paper's tables.
type table func(ctx context.Context, w io.Writer, d *data, apps []app) error

var tables = map[string]table{
	"phases": phases, "allowed": allowed, "differences": differences, "cves": cves, "payloads": payloads, "sensitive": sensitive,
}

func run(ctx context.Context, w io.Writer, dir string, names, args []string) error {
	for _, n := range names {
		if tables[n] == nil {
			return fmt.Errorf("-tables %s: there is no such table", n)
		}
	}
	d, err := readData(dir)
	if err != nil {
		return err
	}
	var apps []app
	for _, arg := range args {
		name, rest, ok := strings.Cut(arg, "=")
		path, role, _ := strings.Cut(rest, ":")
		if !ok {
			return fmt.Errorf("%s: want NAME=PROFILE[:KIND]", arg)
		}
		p, err := profile.Load(path)
		if err != nil {
			return err
		}
		if err := p.Verify(pipeline.Identify); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		a := app{name: name, profile: p}
		for i := range p.Threads {
			if t := &p.Threads[i]; (role == "" || t.Role == role) && (a.thread == nil || t.Instances > a.thread.Instances) {
				a.thread = t
			}
		}
		if a.thread == nil {
			return fmt.Errorf("%s: no thread kind with the role %s", path, role)
		}
		a.systems = append(d.peers(name), system{ours, set(a.thread.Serving.Union(profile.SetAll))})
		apps = append(apps, a)
	}
	for _, n := range names {
		if err := tables[n](ctx, w, d, apps); err != nil {
			return err
		}
	}
	return nil
}

// system returns an application's allow-list by the system's name; nil if there is none.
func (a *app) system(name string) *system {
	for i := range a.systems {
		if a.systems[i].name == name {
			return &a.systems[i]
		}
	}
	return nil
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
