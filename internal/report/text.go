package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Style is how text is dressed.
type Style struct {
	Color bool // use ANSI escape sequences
	Width int  // columns to wrap lists at; 0 is 100
}

// Escape sequences by meaning.
const (
	plain = ""
	head  = "\x1b[1m"    // headings
	alarm = "\x1b[1;31m" // what a reader must not miss
	good  = "\x1b[32m"
	faint = "\x1b[2m"
	reset = "\x1b[0m"
)

// printer collects text and keeps the first error of writing it.
type printer struct {
	w     io.Writer
	style Style
	err   error
}

func newPrinter(w io.Writer, style Style) *printer {
	if style.Width <= 0 {
		style.Width = 100
	}
	return &printer{w: w, style: style}
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// dress puts text between an escape sequence and its end.
func (p *printer) dress(dress, text string) string {
	if !p.style.Color || dress == plain || text == "" {
		return text
	}
	return dress + text + reset
}

// title prints a heading after an empty line.
func (p *printer) title(format string, args ...any) {
	p.printf("\n%s\n", p.dress(head, fmt.Sprintf(format, args...)))
}

// words prints a labelled list of words, wrapped and indented behind the label. dress may be nil.
func (p *printer) words(label string, indent int, words []string, dress func(word string) string) {
	line := label + strings.Repeat(" ", max(indent-width(label), 1))
	col := width(line)
	for i, w := range words {
		if i > 0 {
			if col+1+width(w) > p.style.Width && col > indent {
				line += "\n" + strings.Repeat(" ", indent)
				col = indent
			} else {
				line += " "
				col++
			}
		}
		col += width(w)
		if dress != nil {
			w = p.dress(dress(w), w)
		}
		line += w
	}
	p.printf("%s\n", strings.TrimRight(line, " "))
}

// cell is an entry of a table.
type cell struct {
	text  string
	right bool
	dress string
}

func text(s string) cell { return cell{text: s} }

func number(n int) cell { return cell{text: group(n), right: true} }

// table prints rows in columns that are as wide as they must be, two spaces apart. The first row is the heading. The last
// column is wrapped where there is room for it.
func (p *printer) table(indent int, rows [][]cell) {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(c.text))
		}
	}
	for r, row := range rows {
		var line strings.Builder
		line.WriteString(strings.Repeat(" ", indent))
		var more []string
		at := indent
		for _, w := range widths[:len(widths)-1] {
			at += w + 2
		}
		if last := &row[len(row)-1]; r > 0 && len(row) == len(widths) && !last.right && p.style.Width-at >= narrow {
			last.text, more = fold(last.text, p.style.Width-at)
		}
		for i, c := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-width(c.text))
			if r == 0 {
				c.dress = faint
			}
			shown := p.dress(c.dress, c.text)
			switch {
			case c.right:
				line.WriteString(pad + shown)
			case i == len(row)-1:
				line.WriteString(shown)
			default:
				line.WriteString(shown + pad)
			}
		}
		p.printf("%s\n", strings.TrimRight(line.String(), " "))
		for _, text := range more {
			p.printf("%s%s\n", strings.Repeat(" ", at), p.dress(row[len(row)-1].dress, text))
		}
	}
}

// narrow is the least width in which a column is wrapped.
const narrow = 24

// fold breaks text at spaces into a first line and further ones.
func fold(text string, columns int) (first string, more []string) {
	line := ""
	var lines []string
	for i, w := range strings.Split(text, " ") {
		if i > 0 && width(line)+1+width(w) > columns {
			lines = append(lines, line)
			line = w
			continue
		}
		if i > 0 {
			line += " "
		}
		line += w
	}
	lines = append(lines, line)
	return lines[0], lines[1:]
}

// heading makes the first row of a table; columns that start with > are aligned right.
func heading(columns ...string) []cell {
	row := make([]cell, len(columns))
	for i, c := range columns {
		name, right := strings.CutPrefix(c, ">")
		row[i] = cell{text: name, right: right}
	}
	return row
}

func width(s string) int { return utf8.RuneCountInString(s) }

// group writes a number with commas between thousands.
func group(n int) string {
	s := strconv.Itoa(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural writes a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return group(n) + " " + noun + "s"
}

// clean makes text from a file safe to print: control characters, which could steer a terminal, become escapes.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) && utf8.ValidString(s) {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// Names prints one name a line, sorted, nothing else.
func Names(w io.Writer, names []string) error {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) == 0 {
		return nil
	}
	_, err := io.WriteString(w, strings.Join(names, "\n")+"\n")
	return err
}
