// Command paper rebuilds tables of SysPart's evaluation (CCS 2023) for profiles of ours, with the published lists of the
// peers beside: all columns come from this one program.
//
//	paper -data DIR NAME=PROFILE[:KIND]...
//
// NAME is an application of the paper (bind, httpd, lighttpd, memcached, nginx, redis), or any other word, then without
// peers. KIND is the role of the thread kind that serves requests (main, child, thread): the one with most instances. DIR
// has the paper's data (data/paper).
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"syspart/profile"
)

func main() {
	data := flag.String("data", "data/paper", "`directory` of the paper's data")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*data, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "paper:", err)
		os.Exit(1)
	}
}

// app is an application with what each system leaves open while it serves requests.
type app struct {
	name    string
	profile *profile.Profile
	thread  *profile.Thread
	systems []system
}

// system is an allow-list.
type system struct {
	name  string
	allow map[string]bool
}

func run(data string, args []string) error {
	d, err := readData(data)
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
		a := app{name: name, profile: p}
		for i := range p.Threads {
			if t := &p.Threads[i]; (role == "" || t.Role == role) && (a.thread == nil || t.Instances > a.thread.Instances) {
				a.thread = t
			}
		}
		if a.thread == nil {
			return fmt.Errorf("%s: no thread kind with the role %s", path, role)
		}
		a.systems = append(d.peers(name), system{"syspart", set(a.thread.Serving.Union(profile.SetAll))})
		apps = append(apps, a)
	}
	phases(apps)
	allowed(d, apps)
	differences(apps)
	cves(d, apps)
	payloads(d, apps)
	sensitive(d, apps)
	return nil
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
