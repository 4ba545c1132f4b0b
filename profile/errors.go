package profile

import (
	"errors"
	"fmt"
)

// Sentinels for errors.Is.
var (
	// ErrSchema is wrapped when a document has another schema version than SchemaVersion.
	ErrSchema = errors.New("unsupported schema version")
	// ErrInvalid is wrapped when a document is not a profile or contradicts itself.
	ErrInvalid = errors.New("invalid profile")
	// ErrChanged is matched by ModuleChangedError and MissingModule: the profile does not fit the files.
	ErrChanged = errors.New("profile does not fit the files")
)

// ModuleChangedError says that a file is not the one that was profiled.
type ModuleChangedError struct {
	Path string
	Want string // build-id or SHA-256 in the profile
	Got  string // the same of the file as it is now
}

func (e *ModuleChangedError) Error() string {
	return fmt.Sprintf("%s: changed since it was profiled (want %s, is %s); profile the server again", e.Path, short(e.Want), short(e.Got))
}

// Is reports whether target is ErrChanged.
func (e *ModuleChangedError) Is(target error) bool { return target == ErrChanged }

// MissingModule says that a file that was profiled is gone.
type MissingModule struct {
	Path string
	Err  error // why it could not be opened
}

func (e *MissingModule) Error() string {
	return fmt.Sprintf("%s: was there when the server was profiled and is missing now; install it or profile the server again", e.Path)
}

// Is reports whether target is ErrChanged.
func (e *MissingModule) Is(target error) bool { return target == ErrChanged }

// Unwrap returns the error of opening the file.
func (e *MissingModule) Unwrap() error { return e.Err }

// short cuts a hash to what a reader compares, keeping its prefix.
func short(hash string) string {
	const n = 23
	if hash == "" {
		return "none"
	}
	if len(hash) > n {
		return hash[:n]
	}
	return hash
}
