// Command bars draws columns of a Markdown table as an SVG image: for each row a group of bars.
//
//	bars -title TEXT -unit TEXT [-log] [-rows NAME,...] COLUMN[=LABEL]... <FILE >IMAGE
//
// The table is the first in the input whose head has all COLUMNs; rows are named by its first column. Numbers may be followed
// by others in parentheses; a cell without a number has no bar. The same input gives the same bytes.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	var c chart
	var rows string
	flag.StringVar(&c.title, "title", "", "`text` above the chart")
	flag.StringVar(&c.unit, "unit", "", "`text` for the values")
	flag.BoolVar(&c.log, "log", false, "logarithmic scale")
	flag.StringVar(&rows, "rows", "", "comma-separated `names` of rows (default: all)")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	out := bufio.NewWriter(os.Stdout)
	err := c.read(os.Stdin, flag.Args(), rows)
	if err == nil {
		c.draw(out)
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bars:", err)
		os.Exit(1)
	}
}

// chart is what is drawn.
type chart struct {
	title, unit string
	log         bool
	series      []string
	groups      []group
}

// group is a row's bars; an absent one is negative.
type group struct {
	name   string
	values []float64
}

// read takes a table's columns from Markdown.
func (c *chart) read(r io.Reader, columns []string, rows string) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var names []string
	for _, col := range columns {
		name, label, ok := strings.Cut(col, "=")
		if !ok {
			label = name
		}
		names, c.series = append(names, name), append(c.series, label)
	}
	var at []int // of the columns in the table
	for _, l := range strings.Split(string(text), "\n") {
		cells, ok := cellsOf(l)
		switch {
		case !ok && len(c.groups) > 0:
			return nil
		case !ok:
			at = nil
		case at == nil:
			for _, n := range names {
				at = append(at, slices.Index(cells, n))
			}
			if slices.Contains(at, -1) {
				at = []int{}
			}
		case len(at) == 0 || strings.HasPrefix(cells[0], "---"):
		case rows == "" || slices.Contains(strings.Split(rows, ","), cells[0]):
			g := group{name: cells[0]}
			for _, k := range at {
				v := -1.0
				if k < len(cells) {
					if n, err := strconv.ParseFloat(strings.Fields(cells[k] + " -")[0], 64); err == nil {
						v = n
					}
				}
				g.values = append(g.values, v)
			}
			c.groups = append(c.groups, g)
		}
	}
	if len(c.groups) == 0 {
		return fmt.Errorf("no table with the columns %s", strings.Join(names, ", "))
	}
	return nil
}

// cellsOf splits a row of a table.
func cellsOf(line string) ([]string, bool) {
	line = strings.TrimSpace(line)
	if len(line) < 2 || line[0] != '|' || line[len(line)-1] != '|' {
		return nil, false
	}
	cells := strings.Split(line[1:len(line)-1], "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells, true
}
