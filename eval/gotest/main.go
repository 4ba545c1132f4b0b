// Command gotest runs "go test" and ends with the list of skipped tests, so that nobody takes a skip for a pass.
//
// It prints the closing line of each package as go test does, and the output of failing tests alone. The exit status is
// that of go test; in addition it is 1 when tests were skipped where nothing may be (testbin.Strict: SYSPART_NO_SKIP=1, as
// root on Debian).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"strings"

	"syspart/internal/testbin"
)

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
	skips, readErr := digest(out, os.Stdout)
	err = cmd.Wait()
	fmt.Printf("skipped: %d\n", len(skips))
	for _, s := range skips {
		fmt.Println("  " + s)
	}
	switch {
	case readErr != nil:
		fmt.Fprintln(os.Stderr, "gotest:", readErr)
		os.Exit(1)
	case err != nil:
		fmt.Println("FAIL")
		os.Exit(1)
	case len(skips) > 0 && testbin.Strict():
		fmt.Println("FAIL: root on Debian can install all that tests need, so none may be skipped")
		os.Exit(1)
	}
}

// event is one line of "go test -json" (cmd/test2json; build-output since Go 1.24).
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// digest copies what a reader wants to see and returns the skipped tests, sorted, each with its reason.
func digest(in io.Reader, out io.Writer) ([]string, error) {
	var skips []string
	output := make(map[[2]string][]string) // of a test that still runs
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			// Not every failure to build comes as an event.
			fmt.Fprintln(out, lines.Text())
			continue
		}
		key := [2]string{e.Package, e.Test}
		switch {
		case e.Action == "build-output":
			fmt.Fprint(out, e.Output)
		case e.Action == "output" && e.Test == "":
			if e.Output != "PASS\n" {
				fmt.Fprint(out, e.Output)
			}
		case e.Action == "output":
			output[key] = append(output[key], e.Output)
		case e.Test == "":
		case e.Action == "fail":
			fmt.Fprint(out, strings.Join(output[key], ""))
			delete(output, key)
		case e.Action == "skip":
			skips = append(skips, e.Package+" "+e.Test+": "+reason(output[key]))
			delete(output, key)
		case e.Action == "pass":
			delete(output, key)
		}
	}
	// A test that was cut off (a panic, the time limit) has no end of its own.
	var cut [][2]string
	for key := range output {
		cut = append(cut, key)
	}
	sort.Slice(cut, func(i, j int) bool { return cut[i][0]+" "+cut[i][1] < cut[j][0]+" "+cut[j][1] })
	for _, key := range cut {
		fmt.Fprint(out, strings.Join(output[key], ""))
	}
	sort.Strings(skips)
	return skips, lines.Err()
}

// reason finds the message of a skipped test: the lines that are not go test's own.
func reason(lines []string) string {
	var text []string
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		text = append(text, line)
	}
	if len(text) == 0 {
		return "no reason given"
	}
	return strings.Join(text, " ")
}
