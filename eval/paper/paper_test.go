package main

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/attacks"
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
	// The paper passes over recv, too, which is recvfrom to us.
	text, err := os.ReadFile("../../internal/attacks/data/payloads.tsv")
	if err != nil {
		t.Fatal(err)
	}
	payloads := slices.Clone(attacks.Shellcode())
	for i, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		p := &payloads[i]
		calls := p.Calls
		p.Calls = nil
		_, names, _ := strings.Cut(l, "\t")
		for _, c := range strings.Split(names, ",") {
			switch c = strings.TrimSpace(c); {
			case slices.Contains(p.Unknown, c):
				continue
			case c != "recv":
				p.Calls = append(p.Calls, calls[0])
			}
			calls = calls[1:]
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
			for _, p := range payloads {
				if p.Stopped(s.open, false) {
					n++
				}
			}
			if got := 100 * float64(n) / float64(len(payloads)); math.Abs(got-want) > 0.011 {
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
			for _, c := range attacks.CVEs() {
				if s.name == "SysPart" && c.Shut(s.open) {
					n++
				}
			}
		}
		if n != want {
			t.Errorf("%s: %d of 36, want %d", name, n, want)
		}
	}
}
