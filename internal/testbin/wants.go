package testbin

import (
	"os"
	"strings"
	"testing"
)

// Wants reads the expectations of a fixture: lines of the form
//
//	// WANT: key value...
//
// (or with # in assembly). Values of the same key add up. A source without any expectation fails the test, for it would
// check nothing. Keys are the business of the packages that read them; testdata/servers/README.md lists those in use.
func Wants(t testing.TB, src string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	wants := parseWants(string(data))
	if len(wants) == 0 {
		t.Fatalf("%s: no WANT lines", src)
	}
	return wants
}

func parseWants(text string) map[string][]string {
	wants := make(map[string][]string)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		comment := strings.TrimLeft(line, "/#*;")
		if comment == line {
			continue
		}
		rest, ok := strings.CutPrefix(strings.TrimSpace(comment), "WANT:")
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		wants[fields[0]] = append(wants[fields[0]], fields[1:]...)
	}
	return wants
}
