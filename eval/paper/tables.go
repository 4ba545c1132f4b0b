package main

import (
	"fmt"
	"slices"
	"strings"

	"syspart/profile"
)

func title(text string) { fmt.Printf("\n## %s\n\n", text) }

// row prints a row of a table.
func row(cells ...string) { fmt.Printf("| %s |\n", strings.Join(cells, " | ")) }

func head(cells ...string) {
	row(cells...)
	fmt.Println("|" + strings.Repeat("---|", len(cells)))
}

// phases is tables 1 and 11: main loops per thread kind.
func phases(apps []app) {
	title("Serving phases (the paper's tables 1 and 11)")
	head("application", "thread kind", "role", "main loop", "instances", "samples")
	for _, a := range apps {
		for i := range a.profile.Threads {
			t := &a.profile.Threads[i]
			mark := ""
			if t == a.thread {
				mark = " (serves requests)"
			}
			row(a.name, t.Kind+mark, t.Role, t.Transition.Function+" "+t.Transition.Offset, fmt.Sprint(t.Instances), fmt.Sprint(t.Samples))
		}
	}
}

// allowed is table 2.
func allowed(d *data, apps []app) {
	title("Allowed calls while serving (the paper's table 2)")
	fmt.Print("Ours: `own` is what the partition of the kind that serves requests needs, filter what its filter allows (with executed\nprograms and what installs later filters), union that over all kinds, life what the program can ever make.\n\n")
	head("application", "life", "own", "filter", "union", "sysfilter", "TSP", "TSPfixed", "SysPart, main loop")
	for _, a := range apps {
		life := set(a.profile.Union(profile.SetAll, ""))
		for i := range a.profile.Threads {
			for _, n := range a.profile.Threads[i].Init {
				life[n] = true
			}
		}
		c := map[string]string{}
		for i, col := range d.columns {
			if f := d.table2[a.name]; f != nil {
				c[col] = f[i]
			}
		}
		or := func(s string) string {
			if s == "" {
				return "-"
			}
			return s
		}
		row(a.name, fmt.Sprint(len(life)), fmt.Sprint(len(a.thread.Serving.Own)), fmt.Sprint(len(a.thread.Serving.Union(profile.SetAll))),
			fmt.Sprint(len(a.profile.Union(profile.SetAll, ""))), or(c["sysfilter_all"]), or(c["tsp_serving"]), or(c["tspfixed_serving"]), or(c["syspart_mainloop"]))
	}
}

// differences lists what is open with us and closed with a peer.
func differences(apps []app) {
	title("Open with us, closed with TSPfixed or SysPart")
	fmt.Print("The peers' lists are for other versions of the servers and of libc, without name-service modules, vDSO and signal\nhandlers of libraries. `docs/surplus.md` names the site that brings each call in, `syspart explain` the whole way.\n\n")
	for _, a := range apps {
		for _, s := range a.systems {
			if s.name != "tspfixed" && s.name != "SysPart" {
				continue
			}
			var more, fewer []string
			for _, n := range a.thread.Serving.Union(profile.SetAll) {
				if !s.allow[n] {
					more = append(more, n)
				}
			}
			ours := set(a.thread.Serving.Union(profile.SetAll))
			for n := range s.allow {
				if !ours[n] {
					fewer = append(fewer, n)
				}
			}
			slices.Sort(fewer)
			fmt.Printf("- %s, %s: %d more (%s); %d fewer (%s)\n", a.name, s.name, len(more), strings.Join(more, " "), len(fewer), strings.Join(fewer, " "))
		}
	}
}

// each prints one row an application, one column a system.
func each(apps []app, value func(s *system) string) {
	names := []string{"sysfilter", "tsp", "tspfixed", "SysPart", "syspart"}
	head(append([]string{"application"}, "sysfilter", "TSP", "TSPfixed", "SysPart", "ours")...)
	for _, a := range apps {
		cells := []string{a.name}
		for _, n := range names {
			i := slices.IndexFunc(a.systems, func(s system) bool { return s.name == n })
			if i < 0 {
				cells = append(cells, "-")
			} else {
				cells = append(cells, value(&a.systems[i]))
			}
		}
		row(cells...)
	}
}

// cves is table 3.
func cves(d *data, apps []app) {
	title("Kernel CVEs closed (the paper's table 3)")
	fmt.Printf("Of %d; one is closed if all calls that its exploit needs are.\n\n", len(d.cves))
	each(apps, func(s *system) string {
		n := 0
		for i := range d.cves {
			if closes(&d.cves[i], s.allow) {
				n++
			}
		}
		return fmt.Sprintf("%d (%s%%)", n, percent(n, len(d.cves)))
	})
}

// payloads is tables 4 and 5.
func payloads(d *data, apps []app) {
	title("Payloads stopped (the paper's tables 4 and 5)")
	for _, what := range []struct {
		name string
		list []need
	}{{"shellcode", d.shellcode}, {"return-oriented payloads", d.rop}} {
		for _, equivalents := range []bool{false, true} {
			with := "without"
			if equivalents {
				with = "with"
			}
			fmt.Printf("\n%s (%d), %s equivalents, in percent:\n\n", strings.ToUpper(what.name[:1])+what.name[1:], len(what.list), with)
			each(apps, func(s *system) string {
				n := 0
				for i := range what.list {
					if d.stopped(&what.list[i], s.allow, equivalents) {
						n++
					}
				}
				return percent(n, len(what.list))
			})
		}
	}
}

// sensitive is table 6.
func sensitive(d *data, apps []app) {
	title("Sensitive calls (the paper's table 6)")
	fmt.Print("Applications for which a call is closed.\n\n")
	head("call", "sysfilter", "TSP", "TSPfixed", "SysPart", "ours")
	for _, c := range d.sensitive {
		cells := []string{c}
		for _, n := range []string{"sysfilter", "tsp", "tspfixed", "SysPart", "syspart"} {
			closed, of := 0, 0
			for _, a := range apps {
				if len(a.systems) == 1 {
					continue // none of the paper's
				}
				for i := range a.systems {
					if a.systems[i].name == n {
						of++
						if !a.systems[i].allow[c] {
							closed++
						}
					}
				}
			}
			cells = append(cells, fmt.Sprintf("%d of %d", closed, of))
		}
		row(cells...)
	}
}
