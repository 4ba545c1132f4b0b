package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

const manDir = "../../docs/man"

// TestManUpToDate: the pages of docs/man are what the texts of the verbs make.
func TestManUpToDate(t *testing.T) {
	pages := Man()
	files, err := filepath.Glob(filepath.Join(manDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if pages[filepath.Base(path)] == nil {
			t.Errorf("%s: of no verb; run go generate ./internal/cli", path)
		}
	}
	for name, want := range pages {
		if got, err := os.ReadFile(filepath.Join(manDir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: not up to date (%v); run go generate ./internal/cli", name, err)
		}
	}
}

// TestManReadable: the pages are without fault to groff, and say what they must.
func TestManReadable(t *testing.T) {
	groff := testbin.Need(t, "groff", "groff-base")
	for name, page := range Man() {
		cmd := exec.Command(groff, "-man", "-Tascii", "-wall", "-rLL=100n", "-P-cbou")
		cmd.Stdin = bytes.NewReader(page)
		var faults bytes.Buffer
		cmd.Stderr = &faults
		out, err := cmd.Output()
		if err != nil || faults.Len() > 0 {
			t.Errorf("%s: %v: %s", name, err, faults.Bytes())
		}
		text := string(out)
		for _, want := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "--color", "--verbose"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %s:\n%s", name, want, text)
			}
		}
		if name == "syspart-verify.1" && !regexp.MustCompile(`(?m)^ +2 +the log has calls that the profile does not allow$`).MatchString(text) {
			t.Errorf("%s: the exit status of a log that does not fit is not there:\n%s", name, text)
		}
		if name == "syspart-explain.1" && (!strings.Contains(text, "syspart why-not") || !strings.Contains(text, "--all N")) {
			t.Errorf("%s: a name or a flag is not there:\n%s", name, text)
		}
		if name == "syspart.1" && !strings.Contains(text, "syspart profile -o nginx.json -- nginx -c /tmp/x/nginx.conf") {
			t.Errorf("%s: an example is not as it was written:\n%s", name, text)
		}
	}
}

// TestExitCodesDocumented: README, manual and the package's documentation have every code.
func TestExitCodesDocumented(t *testing.T) {
	for _, file := range []string{"../../README.md", "doc.go", filepath.Join(manDir, "syspart.1")} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range exitMeanings {
			if !regexp.MustCompile(`(?m)^\W*(?:fB)?` + m.code + `\b`).Match(text) {
				t.Errorf("%s: exit code %s is not there", file, m.code)
			}
		}
	}
	verbs := map[string]bool{}
	for _, cmd := range (&app{}).root().Commands() {
		verbs[cmd.Name()] = true
	}
	for _, m := range exitMeanings {
		for _, v := range m.verbs {
			if !verbs[v] {
				t.Errorf("exit code %s is of %s, which is no verb", m.code, v)
			}
		}
	}
}

// TestReadmeLinks: what README names of docs is there, and all of docs that a user reads is named.
func TestReadmeLinks(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllSubmatch(text, -1) {
		path := string(m[1])
		named[path] = true
		if _, err := os.Stat(filepath.Join("../..", path)); err != nil {
			t.Errorf("README: %v", err)
		}
	}
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatal(docs, err)
	}
	for _, path := range docs {
		if name := "docs/" + filepath.Base(path); !named[name] {
			t.Errorf("README does not name %s", name)
		}
	}
}

// TestInstall: the manual and the scripts of shells go where make install says.
func TestInstall(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.Command(testbin.Need(t, "make", "make"), "-s", "-C", "../..", "install", "DESTDIR="+dir, "PREFIX=/usr", "BIN="+filepath.Join(dir, "built")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"bin/syspart", "share/man/man1/syspart.1", "share/man/man1/syspart-explain.1",
		"share/bash-completion/completions/syspart", "share/zsh/site-functions/_syspart", "share/fish/vendor_completions.d/syspart.fish"} {
		if st, err := os.Stat(filepath.Join(dir, "usr", want)); err != nil || st.Size() == 0 {
			t.Errorf("%s: not installed, or empty: %v", want, err)
		}
	}
	pages, _ := filepath.Glob(filepath.Join(dir, "usr/share/man/man1/*"))
	if len(pages) != len(Man()) {
		t.Errorf("%d pages are installed, there are %d", len(pages), len(Man()))
	}
}
