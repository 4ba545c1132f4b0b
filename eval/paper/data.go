package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"syspart/internal/syscalls"
)

// data is what the paper and its artifacts publish.
type data struct {
	dir       string
	names     []string            // the 347 calls that SysPart's filters know
	cves      []need              // calls that an exploit needs
	shellcode []need              // payloads
	rop       []need              // return-oriented ones
	groups    map[string][]string // interchangeable calls, by each of them
	sensitive []string
	loops     figures // table 1
	counts    figures // table 2
	// Table 5: percentages of payloads, without equivalents and with.
	stops [2]figures
}

// need is what an attack calls. Calls that x86-64 does not have are not among them: see plain.
type need struct {
	id      string
	calls   []string
	unknown []string // names of other calls, and numbers that the data do not resolve
}

// figures is a published table: by application and column.
type figures map[string]map[string]string

// cell returns a figure, "-" if it is not published.
func (f figures) cell(application, column string) string {
	if s := f[application][column]; s != "" {
		return s
	}
	return "-"
}

func readData(dir string) (*data, error) {
	d := &data{dir: dir, groups: map[string][]string{}}
	var err error
	lines := func(file string) []string {
		text, e := os.ReadFile(filepath.Join(dir, file))
		if e != nil && err == nil {
			err = e
		}
		return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	}
	needs := func(file string) (out []need) {
		for _, l := range lines(file) {
			id, calls, _ := strings.Cut(l, "\t")
			n := need{id: id}
			for _, c := range strings.Split(calls, ",") {
				if c = plain(c); known(c) {
					n.calls = append(n.calls, c)
				} else {
					n.unknown = append(n.unknown, c)
				}
			}
			out = append(out, n)
		}
		return out
	}
	published := func(file string) figures {
		out := figures{}
		var head []string
		for i, l := range lines(file) {
			f := strings.Split(l, "\t")
			if i == 0 {
				head = f
				continue
			}
			out[f[0]] = map[string]string{}
			for k := range min(len(f), len(head)) {
				out[f[0]][head[k]] = f[k]
			}
		}
		return out
	}
	d.names = lines("syscall_names_347.txt")
	d.cves, d.shellcode, d.rop = needs("kernel_cves.tsv"), needs("payloads.tsv"), needs("rop_payloads.tsv")
	for _, l := range lines("equivalents.txt") {
		var group []string
		for _, c := range strings.Split(l, ",") {
			group = append(group, plain(c))
		}
		for _, c := range group {
			d.groups[c] = group
		}
	}
	d.sensitive = lines("sensitive_syscalls.txt")
	d.loops, d.counts = published("table1_main_loops.tsv"), published("table2.tsv")
	d.stops = [2]figures{published("table5_without_equivalents.tsv"), published("table5_with_equivalents.tsv")}
	return d, err
}

// known reports whether x86-64 has a call of this name. The payloads' lists also have calls of other architectures
// (socketcall, waitpid), functions of libraries (signal, pwrite), and slips of the pen (sup2).
func known(name string) bool {
	_, ok := syscalls.Number(name)
	return ok
}

// plain gives a call of the payloads, which are for several architectures, its name on x86-64.
func plain(name string) string {
	switch name = strings.TrimSpace(name); name {
	case "recv":
		return "recvfrom"
	case "send":
		return "sendto"
	case "mmap2":
		return "mmap"
	case "_newselect":
		return "select"
	case "_llseek":
		return "lseek"
	case "stat64", "fstat64", "lstat64", "fcntl64", "ftruncate64", "truncate64", "sendfile64":
		return strings.TrimSuffix(name, "64")
	}
	return name
}

// peers returns the published allow-lists of an application; none if it is not one of the paper's.
func (d *data) peers(name string) []system {
	var out []system
	read := func(dir, file string) map[string]bool {
		text, err := os.ReadFile(filepath.Join(d.dir, dir, file))
		if err != nil {
			return nil
		}
		return set(strings.Fields(string(text)))
	}
	for _, dir := range []string{"sysfilter", "tsp", "tspfixed"} {
		if m := read(dir, name+".txt"); m != nil {
			out = append(out, system{dir, m})
		}
	}
	closed := read("syspart_filtered", name+"_mainloop.txt") // at its own loop, where there are two
	if closed == nil {
		closed = read("syspart_filtered", name+".txt")
	}
	if closed != nil {
		open := map[string]bool{}
		for _, n := range d.names {
			if !closed[n] {
				open[n] = true
			}
		}
		out = append(out, system{"SysPart", open})
	}
	return out
}

// stopped reports whether a payload cannot run: a call that it needs is closed, with equivalents in every form. Names that
// are none of a call stop nothing, for nobody: as in the paper, whose figures for lists of which all is published come out.
func (d *data) stopped(n *need, allow map[string]bool, equivalents bool) bool {
	for _, c := range n.calls {
		open := allow[c]
		if equivalents {
			for _, e := range d.groups[c] {
				open = open || allow[e]
			}
		}
		if !open {
			return true
		}
	}
	return false
}

// closes reports whether all calls of a CVE's exploit are closed.
func closes(n *need, allow map[string]bool) bool {
	for _, c := range n.calls {
		if allow[c] {
			return false
		}
	}
	return true
}

func percent(n, of int) string { return fmt.Sprintf("%.2f", 100*float64(n)/float64(of)) }
