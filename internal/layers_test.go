package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// layers gives every package its place in the order of docs/design.md, section "Packages". A package may import packages
// of lower layers and its own parents, nothing beside or above it. A package below one that is listed has its parent's
// layer, so only noun packages are named here.
var layers = map[string]int{
	"bench":              15,
	"eval":               15,
	"cmd":                14,
	"internal/cli":       13,
	"internal/report":    12,
	"internal/pipeline":  11,
	"internal/enforce":   10,
	"internal/export":    9,
	"internal/phase":     8,
	"internal/callgraph": 7,
	"internal/link":      6,
	"internal/summary":   5,
	"internal/observe":   5,
	"internal/filter":    5,
	"internal/value":     4,
	"internal/callframe": 4,
	"internal/modcheck":  1,
	"internal/stub":      6,
	"internal/elfwrite":  2,
	"internal/cfg":       3,
	"internal/unwind":    3,
	"internal/proc":      3,
	"internal/decode":    2,
	"internal/image":     1,
	"internal/store":     1,
	"internal/view":      1,
	"internal/seclog":    1,
	"internal/attacks":   1,
	"profile":            1,
	"internal/syscalls":  0,
	"internal/testbin":   0,
}

// testOnly are packages that only tests, and the programs that run or judge them, may import.
var testOnly = map[string]bool{"internal/testbin": true}

// soleImporter names the one package that may import a module or package from outside, besides the programs that judge us.
var soleImporter = map[string]string{
	"golang.org/x/arch":                  "internal/decode",
	"github.com/spf13/cobra":             "internal/cli",
	"github.com/ianlancetaylor/demangle": "internal/report",
}

// pkg is what we read of "go list -json".
type pkg struct {
	ImportPath                         string
	Module                             *struct{ Path string }
	Imports, TestImports, XTestImports []string
}

func TestLayers(t *testing.T) {
	pkgs, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 5 {
		t.Fatalf("only %d packages listed", len(pkgs))
	}
	for _, fault := range faults(pkgs) {
		t.Error(fault)
	}
}

// TestLayerFaults checks the checker: each of these packages breaks one rule.
func TestLayerFaults(t *testing.T) {
	mod := &struct{ Path string }{"syspart"}
	for _, c := range []struct {
		name string
		pkg  pkg
		want string // part of the one fault, empty for none
	}{
		{"downward", pkg{ImportPath: "syspart/internal/cfg", Imports: []string{"syspart/internal/image"}}, ""},
		{"parent", pkg{ImportPath: "syspart/internal/enforce/attach", Imports: []string{"syspart/internal/enforce"}}, ""},
		{"upward", pkg{ImportPath: "syspart/internal/image", Imports: []string{"syspart/internal/cfg"}}, "imports internal/cfg (3)"},
		{"beside", pkg{ImportPath: "syspart/internal/unwind", Imports: []string{"syspart/internal/cfg"}}, "imports internal/cfg (3)"},
		{"child", pkg{ImportPath: "syspart/internal/enforce", Imports: []string{"syspart/internal/enforce/attach"}}, "imports internal/enforce/attach (10)"},
		{"upward in a test", pkg{ImportPath: "syspart/internal/image", TestImports: []string{"syspart/internal/cfg"}}, "imports internal/cfg (3)"},
		{"upward in an external test", pkg{ImportPath: "syspart/internal/image", XTestImports: []string{"syspart/internal/cli"}}, "imports internal/cli (13)"},
		{"itself in an external test", pkg{ImportPath: "syspart/internal/image", XTestImports: []string{"syspart/internal/image"}}, ""},
		{"testbin in a test", pkg{ImportPath: "syspart/internal/syscalls", TestImports: []string{"syspart/internal/testbin"}}, ""},
		{"testbin outside tests", pkg{ImportPath: "syspart/internal/cfg", Imports: []string{"syspart/internal/testbin"}}, "outside its tests"},
		{"no layer", pkg{ImportPath: "syspart/internal/util"}, "has no layer"},
		{"decoder elsewhere", pkg{ImportPath: "syspart/internal/cfg", Imports: []string{"golang.org/x/arch/x86/x86asm"}}, "only internal/decode may"},
		{"decoder in its place", pkg{ImportPath: "syspart/internal/decode", TestImports: []string{"golang.org/x/arch/x86/x86asm"}}, ""},
		{"cgo", pkg{ImportPath: "syspart/internal/cfg", Imports: []string{"C"}}, "cgo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.pkg.Module = mod
			got := faults([]pkg{c.pkg})
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("unexpected: %v", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("got %q, want one fault with %q", got, c.want)
			}
		})
	}
}

// TestDesignTable checks that the table of docs/design.md and ours say the same about every package there is.
func TestDesignTable(t *testing.T) {
	doc, err := os.ReadFile("../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]int)
	for _, row := range regexp.MustCompile("(?m)^\\| (\\d+) +\\| `([a-z/]+)` +\\|").FindAllStringSubmatch(string(doc), -1) {
		documented[row[2]], _ = strconv.Atoi(row[1])
	}
	pkgs, err := list()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		row := name(p)
		_, ok := documented[row]
		for !ok && strings.Contains(row, "/") {
			row = row[:strings.LastIndexByte(row, '/')]
			_, ok = documented[row]
		}
		if layer, _ := layerOf(name(p)); name(p) != "internal" && (!ok || documented[row] != layer) {
			t.Errorf("%s: layer %d here; in docs/design.md %v, %d", name(p), layer, ok, documented[row])
		}
	}
}

func faults(pkgs []pkg) []string {
	var out []string
	for _, p := range pkgs {
		from := name(p)
		layer, ok := layerOf(from)
		if !ok {
			if from != "internal" { // holds this test alone
				out = append(out, from+": has no layer; give it one in internal/layers_test.go and docs/design.md")
			}
			continue
		}
		check := func(imports []string, test bool) {
			for _, path := range imports {
				if path == "C" {
					out = append(out, from+": uses cgo")
				}
				for module, sole := range soleImporter {
					if strings.HasPrefix(path, module) && from != sole && layer < layers["eval"] {
						out = append(out, from+": imports "+path+"; only "+sole+" may")
					}
				}
				to, ours := strings.CutPrefix(path, p.Module.Path+"/")
				if !ours || to == from {
					continue
				}
				if testOnly[to] {
					if !test && layer < layers["eval"] {
						out = append(out, from+": imports "+to+" outside its tests")
					}
					continue
				}
				below, ok := layerOf(to)
				if ok && (below < layer || strings.HasPrefix(from, to+"/")) {
					continue
				}
				out = append(out, from+" ("+strconv.Itoa(layer)+"): imports "+to+" ("+strconv.Itoa(below)+"), which is not below it")
			}
		}
		check(p.Imports, false)
		check(p.TestImports, true)
		check(p.XTestImports, true)
	}
	sort.Strings(out)
	return out
}

func name(p pkg) string {
	if p.ImportPath == p.Module.Path {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, p.Module.Path+"/")
}

// layerOf finds the layer of a package or of its nearest listed parent.
func layerOf(name string) (int, bool) {
	for {
		if layer, ok := layers[name]; ok {
			return layer, true
		}
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			return 0, false
		}
		name = name[:cut]
	}
}

func list() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-pgo=off", "-e", "-json=ImportPath,Module,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = ".."
	var text bytes.Buffer
	cmd.Stderr = &text
	data, err := cmd.Output()
	if err != nil {
		return nil, errors.New(err.Error() + ": " + text.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(data)); ; {
		var p pkg
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
}
