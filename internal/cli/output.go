package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/spf13/cobra"

	"syspart/internal/report"
)

// format is the value of an -o flag: one of a fixed list of words.
type format struct {
	value   string
	allowed []string
}

func (f *format) String() string { return f.value }
func (f *format) Type() string   { return strings.Join(f.allowed, "|") }

// Set is called by the flag parser.
func (f *format) Set(s string) error {
	if !slices.Contains(f.allowed, s) {
		return fmt.Errorf("want %s", strings.Join(f.allowed, ", "))
	}
	f.value = s
	return nil
}

// formatFlag adds -o to a verb; the first of the allowed words is the default.
func formatFlag(cmd *cobra.Command, allowed ...string) *format {
	f := &format{allowed[0], allowed}
	cmd.Flags().VarP(f, "output", "o", "form of the output")
	return f
}

// print runs f on a buffered stdout, so that an error of writing is not lost.
func (a *app) print(f func(w io.Writer) error) error {
	w := bufio.NewWriterSize(a.stdout, 64<<10)
	err := f(w)
	if flush := w.Flush(); flush != nil && err == nil {
		err = fmt.Errorf("standard output: %w", flush)
	}
	return err
}

// style dresses text for stdout: in colour as --color says, as wide as the terminal.
func (a *app) style() report.Style {
	s := report.Style{Color: a.color.value == "always"}
	f, ok := a.stdout.(*os.File)
	if !ok || !terminal(f) {
		return s
	}
	s.Color = s.Color || a.color.value == "auto" && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 40 {
		s.Width = int(size.Col)
	}
	return s
}

// terminal reports whether a file is a terminal.
func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// progress is one line on a terminal that is overwritten as work goes on. A nil *progress shows nothing. It may be used
// from several goroutines.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	last  time.Time
	shown bool
}

// progressInterval limits how often the line is rewritten.
const progressInterval = 100 * time.Millisecond

// newProgress returns nil if f is no terminal.
func newProgress(f *os.File) *progress {
	if !terminal(f) {
		return nil
	}
	return &progress{w: f}
}

// show rewrites the line. total is 0 if it is not known.
func (p *progress) show(stage string, done, total int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.last) < progressInterval {
		return
	} else {
		p.last = now
	}
	line := stage
	switch {
	case total > 0:
		line = fmt.Sprintf("%s %d/%d", stage, done, total)
	case done > 0:
		line = fmt.Sprintf("%s %d", stage, done)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	p.shown = true
}

// clear removes the line.
func (p *progress) clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
