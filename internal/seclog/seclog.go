// Package seclog reads logs of system calls: what strace writes, records of the kernel's audit system, and the JSON of
// oci-seccomp-bpf-hook. It takes names of x86-64 calls from them, and marks of calls by other tables, and nothing else; lines that are
// none of these are passed over, and a log without any call is an error.
package seclog

import (
	"bufio"
	"bytes"
	"encoding/hex"
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
	Name  string // "i386:N" and "x32:N": number N of another table
	Count int
}

// MaxLine bounds the lines that are read.
const MaxLine = 1 << 20

// Read returns the calls of a log, sorted by name. Of audit records those count that are of the program exe, a path; all for "".
func Read(r io.Reader, exe string) ([]Call, error) {
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
		if name, n := line(s.Text(), exe); name != "" {
			counts[name] += n
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

// line returns the call that a line tells of, and how often it was made; "" if none.
func line(s, exe string) (name string, n int) {
	if nr, ok := field(s, "syscall="); ok {
		if by, ok := field(s, "exe="); ok && exe != "" && path(by) != exe {
			return "", 0
		}
		arch, _ := field(s, "arch=")
		return recorded(arch, nr), 1
	}
	s = strings.TrimSpace(s)
	// In front of a call may stand its process (-f), a time (-t, -r), its number (-n) and its address (-i), in brackets or not.
	for {
		if strings.HasPrefix(s, "[") {
			_, rest, ok := strings.Cut(s, "]")
			if !ok {
				return "", 0
			}
			s = strings.TrimSpace(rest)
			continue
		}
		word, rest, ok := strings.Cut(s, " ")
		if !ok || word == "" || strings.Trim(word, "0123456789.:+") != "" || columns(s) {
			break
		}
		s = strings.TrimSpace(rest)
	}
	if columns(s) { // of the table of -c: percent, seconds, microseconds, calls, perhaps errors, name
		f := strings.Fields(s)
		n, _ = strconv.Atoi(f[3])
		return known(f[len(f)-1]), n
	}
	if strings.HasPrefix(s, "<... ") { // counted where it began
		return "", 0
	}
	name, _, ok := strings.Cut(s, "(")
	if !ok {
		return "", 0
	}
	if digits, ok := strings.CutPrefix(name, "syscall_0x"); ok { // one that strace does not know
		nr, err := strconv.ParseUint(digits, 16, 31)
		if err != nil || nr >= syscalls.Limit {
			return "", 0
		}
		name = syscalls.Name(int(nr))
	}
	return known(name), 1
}

// columns reports whether a line is a row of a table.
func columns(s string) bool {
	f := strings.Fields(s)
	if len(f) != 5 && len(f) != 6 {
		return false
	}
	for _, x := range f[:len(f)-1] {
		if strings.Trim(x, "0123456789.") != "" {
			return false
		}
	}
	return true
}

// field returns the value behind a key of an audit record.
func field(s, key string) (string, bool) {
	i := strings.Index(s, key)
	if i < 0 || i > 0 && s[i-1] != ' ' {
		return "", false
	}
	value := s[i+len(key):]
	if j := strings.IndexAny(value, " \t\x1d"); j >= 0 {
		value = value[:j]
	}
	return value, true
}

// path reads a path of an audit record: in quotes, in hexadecimal if it has characters that need them, or interpreted.
func path(value string) string {
	if text, ok := strings.CutPrefix(value, `"`); ok {
		return strings.TrimSuffix(text, `"`)
	}
	if text, err := hex.DecodeString(value); err == nil {
		return string(text)
	}
	return value
}

// x32 marks numbers of that table.
const x32 = 1 << 30

// recorded returns the name of a call of an audit record, of which ausearch -i has interpreted the numbers. Calls by other
// tables, which filters deny as a whole, have the table's name in front: "i386:5", "x32:1".
func recorded(arch, nr string) string {
	n, err := strconv.Atoi(nr)
	switch arch {
	case "c000003e", "x86_64":
		if err == nil && n >= x32 {
			return "x32:" + strconv.Itoa(n-x32)
		}
		if err == nil && n >= 0 && n < syscalls.Limit {
			return known(syscalls.Name(n))
		}
		return known(nr)
	case "40000003", "i386":
		return "i386:" + nr
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
