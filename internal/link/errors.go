package link

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of this package. All others come from reading files and are passed through with %w (package image names its own).
var (
	// ErrMissing is wrapped by *MissingError: a library that the program needs is nowhere to be found.
	ErrMissing = errors.New("library not found")
	// ErrForeign is wrapped by *MissingError, too, when files of that name exist but are all for another architecture or
	// word size, which the loader passes over.
	ErrForeign = errors.New("library is for another architecture")
	// ErrCache says that ld.so.cache is damaged. Loading goes on without it, as in the loader.
	ErrCache = errors.New("not a valid ld.so.cache")
	// ErrNoVDSO says that the kernel maps no vDSO into this process.
	ErrNoVDSO = errors.New("no vDSO in this process")
	// ErrLimit says that a bound on hostile input was exceeded: modules, symbolic links or nested includes.
	ErrLimit = errors.New("limit exceeded")
)

// MissingError says that a library was not found.
type MissingError struct {
	Library  string   // as DT_NEEDED, dlopen or PT_INTERP names it
	NeededBy string   // path of the module that asks for it
	Searched []string // directories and files tried, in order
	Foreign  []string // files of that name that were passed over because they are for another architecture
}

// Error names the library, who needs it and, if there were any, the files of another architecture.
func (e *MissingError) Error() string {
	if len(e.Foreign) > 0 {
		return fmt.Sprintf("%s, needed by %s: %v (%s)", e.Library, e.NeededBy, ErrForeign, strings.Join(e.Foreign, ", "))
	}
	return fmt.Sprintf("%s, needed by %s: %v", e.Library, e.NeededBy, ErrMissing)
}

// Is ties the error to ErrMissing and, if only foreign files were found, to ErrForeign.
func (e *MissingError) Is(target error) bool {
	return target == ErrMissing || target == ErrForeign && len(e.Foreign) > 0
}
