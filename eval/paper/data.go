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
	names     []string // the 347 calls that SysPart's filters know
	sensitive []string
	loops     figures // table 1
	counts    figures // table 2
	// Table 5: percentages of payloads, without equivalents and with.
	stops [2]figures
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
	d := &data{dir: dir}
	var err error
	lines := func(file string) []string {
		text, e := os.ReadFile(filepath.Join(dir, file))
		if e != nil && err == nil {
			err = e
		}
		return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
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
	d.sensitive = lines("sensitive_syscalls.txt")
	d.loops, d.counts = published("table1_main_loops.tsv"), published("table2.tsv")
	d.stops = [2]figures{published("table5_without_equivalents.tsv"), published("table5_with_equivalents.tsv")}
	return d, err
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

func percent(n, of int) string { return fmt.Sprintf("%.2f", 100*float64(n)/float64(of)) }
