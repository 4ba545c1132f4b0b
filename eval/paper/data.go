package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	table2    map[string][]string
	columns   []string
}

// need is what an attack calls.
type need struct {
	id    string
	calls []string
}

func readData(dir string) (*data, error) {
	d := &data{dir: dir, groups: map[string][]string{}, table2: map[string][]string{}}
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
				n.calls = append(n.calls, plain(c))
			}
			out = append(out, n)
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
	for i, l := range lines("table2.tsv") {
		f := strings.Split(l, "\t")
		if i == 0 {
			d.columns = f
		} else {
			d.table2[f[0]] = f
		}
	}
	return d, err
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
	case "stat64", "fstat64", "lstat64", "fcntl64", "ftruncate64", "truncate64", "getdents64", "sendfile64":
		if name != "getdents64" {
			return strings.TrimSuffix(name, "64")
		}
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

// stopped reports whether a payload cannot run: a call that it needs is closed, with equivalents in every form.
func (d *data) stopped(n *need, allow map[string]bool, equivalents bool) bool {
	for _, c := range n.calls {
		if strings.HasPrefix(c, "syscall_") { // a number that the data does not resolve: it may be open
			continue
		}
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
