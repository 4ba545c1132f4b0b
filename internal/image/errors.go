package image

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Errors of Open and Parse, and of the methods that read tables later. Each is wrapped with the file's name and with what
// was found where.
var (
	ErrNotELF    = errors.New("not an ELF file")                   // neither ELF nor a script
	ErrScript    = errors.New("script")                            // starts with "#!"; see ScriptError
	ErrArch      = errors.New("unsupported architecture")          // ELF, but not for x86-64 in 64-bit mode (so x32 and i386 too)
	ErrTruncated = errors.New("truncated ELF file")                // a header or table points behind the end of the file
	ErrFormat    = errors.New("malformed ELF file")                // anything else that contradicts the format, or no program or library
	ErrPacked    = errors.New("packed by UPX")                     // the program is not in the file as it runs
	ErrTooLarge  = errors.New("file is larger than syspart reads") // above MaxSize
)

// ScriptError says that a file is a script, and for whom. It matches ErrScript.
type ScriptError struct {
	Name   string
	Interp string // path of the interpreter, as the kernel takes it from the first line
	Arg    string // its one optional argument
}

func (e *ScriptError) Error() string {
	return fmt.Sprintf("%s: %v with interpreter %s", e.Name, ErrScript, e.Interp)
}

// Is makes errors.Is(err, ErrScript) true.
func (e *ScriptError) Is(target error) bool { return target == ErrScript }

// scriptError reads the "#!" line as fs/binfmt_script.c does: up to 256 bytes, blanks around the path, the rest of the
// line is one argument.
func scriptError(name string, data []byte) error {
	line := data[2:min(len(data), 256)]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	text := strings.Trim(string(line), " \t")
	interp, arg := text, ""
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		interp, arg = text[:i], strings.TrimLeft(text[i:], " \t")
	}
	if interp == "" {
		return fmt.Errorf("%s: %w: script without an interpreter", name, ErrNotELF)
	}
	return &ScriptError{Name: name, Interp: interp, Arg: arg}
}

func truncated(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTruncated, fmt.Sprintf(format, args...))
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}
