package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"syspart/internal/syscalls"
)

// own reads the output of "strace -f -o FILE PROGRAM" and returns the calls that PROGRAM made: from its start to its end
// or to its replacement by execve, in all its threads, and in forked children until they execute something else. The
// execve that starts PROGRAM is the launcher's and not counted.
//
// A line is "PID name(args) = result", "PID name(args <unfinished ...>", "PID <... name resumed>rest", or a note on a
// signal or an exit ("---", "+++"). Children whose creator is not seen are left out.
func own(in io.Reader) (syscalls.Set, error) {
	var set syscalls.Set
	var trace []line
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 16<<20)
	parent := make(map[int]int) // child to creator
	for scan.Scan() {
		l, ok := parseLine(scan.Text())
		if !ok {
			continue
		}
		if creates(l.call) && l.ended && l.result > 0 {
			parent[l.result] = l.pid
		}
		trace = append(trace, l)
	}
	if err := scan.Err(); err != nil {
		return set, err
	}

	const (
		unknown = iota
		before  // the launcher, until its execve succeeds
		self
		other
	)
	image := make(map[int]int)
	for i, l := range trace {
		if image[l.pid] == unknown {
			switch from, ok := parent[l.pid]; {
			case i == 0:
				image[l.pid] = before
			case ok && image[from] == self:
				image[l.pid] = self
			default:
				image[l.pid] = other
			}
		}
		if image[l.pid] == self && l.call != "" && !l.resumed {
			nr, ok := number(l.call)
			if !ok {
				return set, fmt.Errorf("strace names an unknown call %q", l.call)
			}
			set.Add(nr)
		}
		if (l.call == "execve" || l.call == "execveat") && l.ended && l.result == 0 {
			if image[l.pid] == before {
				image[l.pid] = self
			} else {
				image[l.pid] = other
			}
		}
	}
	return set, nil
}

// line is one line of a trace.
type line struct {
	pid     int
	call    string // empty for notes
	resumed bool   // the call's entry was printed on an earlier line
	ended   bool   // its result is known
	result  int    // -1 for an error or if there is none
}

func parseLine(text string) (line, bool) {
	l := line{result: -1}
	head, rest, ok := strings.Cut(text, " ")
	pid, err := strconv.Atoi(head)
	if !ok || err != nil {
		return l, false
	}
	l.pid = pid
	rest = strings.TrimLeft(rest, " ")
	switch {
	case strings.HasPrefix(rest, "---"), strings.HasPrefix(rest, "+++"), strings.HasPrefix(rest, "[ "):
		return l, true
	case strings.HasPrefix(rest, "<... "):
		name, tail, ok := strings.Cut(rest[len("<... "):], " resumed>")
		if !ok {
			return l, false
		}
		l.call, l.resumed, rest = name, true, tail
	default:
		name, _, ok := strings.Cut(rest, "(")
		if !ok || name == "" || strings.ContainsAny(name, " ?\"") {
			return l, true
		}
		l.call = name
	}
	if strings.HasSuffix(rest, "<unfinished ...>") {
		return l, true
	}
	if at := strings.LastIndex(rest, " = "); at >= 0 {
		l.ended = true
		word, _, _ := strings.Cut(rest[at+len(" = "):], " ")
		if n, err := strconv.ParseInt(word, 0, 64); err == nil {
			l.result = int(n)
		}
	}
	return l, true
}

// creates reports whether a call makes a process or thread and returns its id.
func creates(call string) bool {
	switch call {
	case "clone", "clone3", "fork", "vfork":
		return true
	}
	return false
}

// number finds the number of a call that strace names; one that strace does not know it prints as syscall_0x1ce.
func number(name string) (int, bool) {
	if hex, ok := strings.CutPrefix(name, "syscall_"); ok {
		n, err := strconv.ParseInt(hex, 0, 32)
		return int(n), err == nil
	}
	return syscalls.Number(name)
}
