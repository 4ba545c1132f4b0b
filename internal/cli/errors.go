package cli

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"syspart/internal/enforce/attach"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/phase"
	"syspart/internal/pipeline"
	"syspart/internal/proc"
	"syspart/profile"
)

// Exit codes; see the package's documentation.
const (
	exitError      = 1
	exitGate       = 2
	exitIncomplete = 3
	exitLaunch     = 125
	exitCannotExec = 126
	exitNotFound   = 127
)

// exitStatus is an error that only says what to exit with. err is nil if nothing is to be printed.
type exitStatus struct {
	code int
	err  error
}

func (e *exitStatus) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitStatus) Unwrap() error { return e.err }

// status ends the command with a code and no message.
func status(code int) error {
	if code == 0 {
		return nil
	}
	return &exitStatus{code: code}
}

// launching marks an error as one that kept us from starting the server.
func launching(err error) error {
	var has *exitStatus
	if err == nil || errors.As(err, &has) {
		return err
	}
	return &exitStatus{code: exitLaunch, err: err}
}

// outcome turns the error of a verb into an exit code and a line for the user, empty if there is nothing to say.
func outcome(err error) (code int, message string) {
	if err == nil {
		return 0, ""
	}
	code = exitError
	if e := (*exitStatus)(nil); errors.As(err, &e) {
		code = e.code
		if e.err == nil {
			return code, ""
		}
	}
	message = describe(err)
	if hint := remedy(err); hint != "" && !strings.Contains(message, "; ") {
		message += "; " + hint
	}
	return code, message
}

// describe writes an error in one line. The operations of the file system ("open", "stat") are left out: the thing comes
// first.
func describe(err error) string {
	text := err.Error()
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		text = strings.Replace(text, pe.Error(), pe.Path+": "+pe.Err.Error(), 1)
	}
	if le := (*os.LinkError)(nil); errors.As(err, &le) {
		text = strings.Replace(text, le.Error(), le.New+": "+le.Err.Error(), 1)
	}
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	// Every layer names its thing; where two name the same it is said once.
	parts := slices.Compact(strings.Split(strings.Join(lines, ", "), ": "))
	return printable(strings.Join(parts, ": "))
}

// printable removes control characters, which could steer a terminal: messages hold bytes of hostile files.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// remedies are what a user can do about errors that callers may see, most specific first.
var remedies = []struct {
	is   error
	hint string
}{
	{link.ErrForeign, "install the x86-64 library, or name the image that holds it with --root"},
	{link.ErrMissing, "install the library's package, or name the image that holds it with --root"},
	{image.ErrScript, "name the program that the script starts"},
	{image.ErrArch, "syspart analyses 64-bit x86-64 programs"},
	{image.ErrNotELF, "name the server's program file"},
	{image.ErrPacked, "unpack it first: upx -d FILE"},
	{image.ErrTruncated, "the file is damaged: install it again"},
	{image.ErrFormat, "the file is damaged: install it again"},
	{profile.ErrSchema, "make the profile again with this version"},
	{profile.ErrInvalid, "make the profile again"},
	{pipeline.ErrStart, "use entry, main, a function that its symbols name, or 0xADDR"},
	{attach.ErrNeverInside, "if it served at all it did so without filters: profile it again as it is run here"},
	{proc.ErrGone, "it has ended, or the number is wrong"},
	{phase.ErrBlind, "a build of it with .eh_frame is needed"},
	{phase.ErrNoLoop, "let it serve longer, or give it work with --workload"},
}

// remedy returns what can be done about an error, "" if nothing is known.
func remedy(err error) string {
	if traced := (*proc.TracedError)(nil); errors.As(err, &traced) {
		return "end that tracer first"
	}
	for _, r := range remedies {
		if errors.Is(err, r.is) {
			return r.hint
		}
	}
	switch {
	case errors.Is(err, proc.ErrPermission):
		return "run syspart as root or as the server's user, and see /proc/sys/kernel/yama/ptrace_scope; where a unit or a container forbids ptrace, run a copy that syspart harden makes"
	case errors.Is(err, fs.ErrPermission):
		return "run syspart as a user who may read it"
	}
	return ""
}
