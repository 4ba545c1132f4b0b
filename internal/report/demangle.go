package report

import (
	"regexp"
	"strings"

	"github.com/ianlancetaylor/demangle"
)

// maxName bounds names of functions as they are shown, in powers of two of bytes: templates can make them as long as one wants.
const maxName = 8

// demangled gives a function of C++ or Rust the name that its source has, without parameters; other names are as they were. What
// stands behind a name (+0x10, @plt) stays there.
func demangled(name string) string {
	if !strings.HasPrefix(name, "_") {
		return name
	}
	symbol, rest := name, ""
	if i := strings.Index(name, "@"); i > 0 {
		symbol, rest = name[:i], name[i:]
	} else if i := strings.LastIndex(name, "+0x"); i > 0 {
		symbol, rest = name[:i], name[i:]
	}
	return demangle.Filter(symbol, demangle.NoParams, demangle.MaxLength(maxName)) + rest
}

// mangled finds names of C++ and Rust in text.
var mangled = regexp.MustCompile(`\b_[ZR][A-Za-z0-9_.$]+`)

// inWords demangles the names in a sentence.
func inWords(text string) string { return mangled.ReplaceAllStringFunc(text, demangled) }
