package main

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const dir = "../data/paper"

func published(t *testing.T) *data {
	t.Helper()
	d, err := readData(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPublished: the peers' lists and our counting give the paper's own percentages, without equivalents.
func TestPublished(t *testing.T) {
	d := published(t)
	// The paper passes over recv, too.
	text, err := os.ReadFile(dir + "/payloads.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		n := &d.shellcode[i]
		n.calls = nil
		_, calls, _ := strings.Cut(l, "\t")
		for _, c := range strings.Split(calls, ",") {
			if c != "recv" && known(plain(c)) {
				n.calls = append(n.calls, plain(c))
			}
		}
	}
	checked := 0
	for name, figures := range d.stops[0] {
		for _, s := range d.peers(name) {
			if name == "lighttpd" && s.name == "SysPart" {
				continue // of another loop
			}
			want, err := strconv.ParseFloat(figures[strings.ToLower(s.name)], 64)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, s.name, err)
			}
			n := 0
			for i := range d.shellcode {
				if d.stopped(&d.shellcode[i], s.allow, false) {
					n++
				}
			}
			if got := 100 * float64(n) / float64(len(d.shellcode)); math.Abs(got-want) > 0.011 {
				t.Errorf("%s, %s: %.3f, the paper has %v", name, s.name, got, want)
			}
			checked++
		}
	}
	if checked != 23 {
		t.Errorf("%d figures, want 23", checked)
	}
}

// TestCVEs: two of the paper's figures that its text names.
func TestCVEs(t *testing.T) {
	d := published(t)
	for name, want := range map[string]int{"redis": 12, "memcached": 27} {
		n := 0
		for _, s := range d.peers(name) {
			for i := range d.cves {
				if s.name == "SysPart" && closes(&d.cves[i], s.allow) {
					n++
				}
			}
		}
		if n != want {
			t.Errorf("%s: %d of 36, want %d", name, n, want)
		}
	}
}

// TestData: names of the lists that are no call of x86-64 are kept apart, and the CVEs' have none.
func TestData(t *testing.T) {
	d := published(t)
	with, numbers := 0, 0
	for i := range d.shellcode {
		named := false
		for _, u := range d.shellcode[i].unknown {
			if strings.HasPrefix(u, "syscall_") {
				numbers++
			} else {
				named = true
			}
		}
		if named {
			with++
		}
	}
	if len(d.shellcode) != 535 || with != 17 || numbers != 35 {
		t.Errorf("%d payloads, %d with names that are no calls, %d numbers; want 535, 17, 35", len(d.shellcode), with, numbers)
	}
	for _, n := range append(slices.Clone(d.cves), d.rop...) {
		if len(n.unknown) > 0 || len(n.calls) == 0 {
			t.Errorf("%s: %v, %v", n.id, n.calls, n.unknown)
		}
	}
}

// TestStopped: what stops a payload.
func TestStopped(t *testing.T) {
	d := &data{groups: map[string][]string{"open": {"open", "openat"}, "openat": {"open", "openat"}}}
	for _, c := range []struct {
		calls, open string
		alone, both bool // stopped without equivalents, and with
	}{
		{"read", "read", false, false},
		{"read", "write", true, true},
		{"read write", "read", true, true},
		{"open", "openat", true, false},
		{"open execve", "openat", true, true},
		{"", "read", false, false},
	} {
		n := need{calls: strings.Fields(c.calls)}
		open := set(strings.Fields(c.open))
		if alone, both := d.stopped(&n, open, false), d.stopped(&n, open, true); alone != c.alone || both != c.both {
			t.Errorf("%q with %q open: %v and %v, want %v and %v", c.calls, c.open, alone, both, c.alone, c.both)
		}
	}
}
