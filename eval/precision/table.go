package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"syspart/internal/pipeline"
	"syspart/profile"
)

// server is what was measured for a profile.
type server struct {
	Name    string `json:"name"`
	Levels  []row  `json:"levels"`
	Floors  []int  `json:"floors,omitempty"` // by kind
	profile *profile.Profile
}

// row is one level.
type row struct {
	Level        string  `json:"level"`
	AddressTaken int     `json:"addressTaken"`
	Sites        int     `json:"sites"`
	Targets      float64 `json:"targets"` // of a site, on average
	Functions    int     `json:"functions"`
	Entry        int     `json:"entry"` // calls that can be reached from there
	Main         int     `json:"main"`
	Kinds        []kind  `json:"kinds"`
	Milliseconds float64 `json:"milliseconds"`
}

type kind struct {
	Kind      string   `json:"kind"`
	Role      string   `json:"role"`
	Functions int      `json:"functions"`
	Own       []string `json:"own"`
}

func rowOf(m *pipeline.Measure) row {
	r := row{Level: m.Level.String(), AddressTaken: m.AddressTaken, Sites: m.Sites, Targets: m.Targets, Functions: m.Functions,
		Entry: m.Sets[0].Calls.Len(), Main: m.Sets[1].Calls.Len(), Milliseconds: float64(m.Build.Microseconds()) / float64(time.Millisecond/time.Microsecond)}
	for _, k := range m.Kinds {
		r.Kinds = append(r.Kinds, kind{k.Kind, k.Role, k.Functions, k.Own.Names()})
	}
	return r
}

// write prints the server's table and, if a kind is named, its calls at each level.
func (s *server) write(w io.Writer, names string) {
	fmt.Fprintf(w, "### %s\n\n", s.Name)
	head := []string{"level", "address-taken", "sites", "targets/site", "functions", "entry", "main"}
	for _, k := range s.Levels[0].Kinds {
		head = append(head, short(k.Kind)+" "+k.Role)
	}
	head = append(head, "ms")
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, r := range s.Levels {
		fmt.Fprintf(w, "| %s | %d | %d | %.0f | %d | %d | %d |", r.Level, r.AddressTaken, r.Sites, r.Targets, r.Functions, r.Entry, r.Main)
		for _, k := range r.Kinds {
			fmt.Fprintf(w, " %d |", len(k.Own))
		}
		fmt.Fprintf(w, " %.0f |\n", r.Milliseconds)
	}
	if len(s.Floors) > 0 {
		fmt.Fprint(w, "| seen | | | | | | |")
		for _, n := range s.Floors {
			fmt.Fprintf(w, " %d |", n)
		}
		fmt.Fprintln(w, " |")
	}
	fmt.Fprintln(w)
	if names == "" {
		return
	}
	for _, r := range s.Levels {
		for _, k := range r.Kinds {
			if matches(k.Kind, names) {
				fmt.Fprintf(w, "%s, level %s: %s\n\n", short(k.Kind), r.Level, strings.Join(k.Own, " "))
			}
		}
	}
}

// has reports whether the server has a thread kind of that name.
func (s *server) has(name string) bool {
	return slices.ContainsFunc(s.profile.Threads, func(t profile.Thread) bool { return matches(t.Kind, name) })
}

// excess is what a kind can do beyond what was seen.
type excess struct {
	Server string             `json:"server"`
	Kind   string             `json:"kind"`
	Level  string             `json:"level"`
	Seen   int                `json:"seen"` // calls in the list of those that were
	Calls  []pipeline.Surplus `json:"calls"`
}

func (e *excess) write(w io.Writer) {
	fmt.Fprintf(w, "### %s, %s, level %s: %d beyond the %d calls seen\n\n", e.Server, short(e.Kind), e.Level, len(e.Calls), e.Seen)
	fmt.Fprintf(w, "| call | made in | last indirect edge | from | to | why | every way leads through |\n|---|---|---|---|---|---|---|\n")
	for _, c := range e.Calls {
		var through []string
		for _, f := range c.Through {
			through = append(through, function(f))
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", c.Syscall, function(c.Site), c.Edge, place(c.From), function(c.Target), c.Why, strings.Join(through, ", "))
	}
	fmt.Fprintln(w)
}

func place(p pipeline.Place) string {
	if p.Module == "" {
		return ""
	}
	return library(p.Module) + "+" + p.Offset
}

func function(p pipeline.Place) string {
	if p.Module == "" {
		return ""
	}
	return library(p.Module) + ":" + p.Function
}

// short is a kind's name without versions of libraries.
func short(kind string) string {
	module, rest, ok := strings.Cut(kind, ":")
	if !ok {
		return kind
	}
	return library(module) + ":" + rest
}

var version = regexp.MustCompile(`(-[0-9]+\.[^/]*)?\.so(\.[0-9.]+)?$`)

// library is a file name without what changes from build to build.
func library(module string) string { return version.ReplaceAllString(module, "") }

// matches reports whether a user means this kind.
func matches(kind, name string) bool { return name == kind || name == short(kind) }

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
