// Package seclog reads logs of system calls: what strace writes, records of the kernel's audit system, and the JSON of
// oci-seccomp-bpf-hook. It takes names of x86-64 calls from them and nothing else; lines that are none of these are passed
// over, and a log without any call is an error.
package seclog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"syspart/internal/syscalls"
)

// ErrFormat: no call was found.
var ErrFormat = errors.New("no system call in it; want output of strace, audit records, or JSON of oci-seccomp-bpf-hook")

// Call is a system call and how often the log has it.
type Call struct {
	Name  string
	Count int
}

// MaxLine bounds the lines that are read.
const MaxLine = 1 << 20

// Read returns the calls of a log, sorted by name.
func Read(r io.Reader) ([]Call, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	counts := map[string]int{}
	if head, _ := in.Peek(512); bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")) {
		if err := hook(in, counts); err != nil {
			return nil, err
		}
		return sorted(counts)
	}
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, 64<<10), MaxLine)
	for s.Scan() {
		if name := line(s.Text()); name != "" {
			counts[name]++
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	return sorted(counts)
}

func sorted(counts map[string]int) ([]Call, error) {
	if len(counts) == 0 {
		return nil, ErrFormat
	}
	out := make([]Call, 0, len(counts))
	for name, n := range counts {
		out = append(out, Call{name, n})
	}
	slices.SortFunc(out, func(a, b Call) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// hook reads the allow-list that oci-seccomp-bpf-hook has recorded.
func hook(r io.Reader, counts map[string]int) error {
	var doc struct {
		Syscalls []struct {
			Names  []string `json:"names"`
			Name   string   `json:"name"`
			Action string   `json:"action"`
		} `json:"syscalls"`
	}
	if err := json.NewDecoder(io.LimitReader(r, 64<<20)).Decode(&doc); err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	for _, g := range doc.Syscalls {
		if g.Action != "SCMP_ACT_ALLOW" && g.Action != "SCMP_ACT_LOG" {
			continue
		}
		for _, n := range append(g.Names, g.Name) {
			if _, ok := syscalls.Number(n); ok {
				counts[n]++
			}
		}
	}
	return nil
}

// line returns the call that a line tells of, "" if none.
func line(s string) string {
	if i := strings.Index(s, "syscall="); i >= 0 && strings.Contains(s, "arch=c000003e") {
		text := s[i+len("syscall="):]
		if j := strings.IndexAny(text, " \t"); j >= 0 {
			text = text[:j]
		}
		if nr, err := strconv.Atoi(text); err == nil && nr >= 0 && nr < syscalls.Limit {
			return known(syscalls.Name(nr))
		}
		return known(text)
	}
	s = strings.TrimSpace(s)
	if rest, ok := strings.CutPrefix(s, "[pid "); ok {
		_, s, _ = strings.Cut(rest, "]")
		s = strings.TrimSpace(s)
	}
	// -f -o FILE puts the process id, -t, -r and their like a time in front.
	for {
		word, rest, ok := strings.Cut(s, " ")
		if !ok || word == "" || strings.Trim(word, "0123456789.:") != "" {
			break
		}
		s = strings.TrimSpace(rest)
	}
	if strings.HasPrefix(s, "<... ") { // counted where it began
		return ""
	}
	if name, _, ok := strings.Cut(s, "("); ok {
		return known(name)
	}
	// A line of the table of -c: the name is its last word, behind numbers.
	if f := strings.Fields(s); len(f) > 0 {
		return known(f[len(f)-1])
	}
	return ""
}

// known returns the name if it is one of a call.
func known(name string) string {
	if _, ok := syscalls.Number(name); ok {
		return name
	}
	return ""
}
