package summary

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestVersion fails when a source that decides what a summary holds has changed and the version has not: caches would
// then give out summaries of older code. The hash is written down here a second time, for gen is no part of the package.
func TestVersion(t *testing.T) {
	h := sha256.New()
	files := 0
	for _, dir := range []string{"../decode", "../image", "../cfg", "../value", "."} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") || name == "zversion.go" {
				continue
			}
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files++
			fmt.Fprintf(h, "%s %d\n", name, len(data))
			h.Write(data)
		}
	}
	if files < 30 {
		t.Fatalf("only %d source files found", files)
	}
	if want := hex.EncodeToString(h.Sum(nil))[:16]; Version != want {
		t.Errorf("Version is %q, the sources hash to %q: run `go generate ./internal/summary` and commit zversion.go", Version, want)
	}
}
