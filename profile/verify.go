package profile

import (
	"errors"
	"fmt"
	"io/fs"
)

// Open returns the SHA-256 and the build-id ("" if none), both in hex, of the file that a path of the profile means now;
// for "[vdso]" those of the vDSO image. Its error matches fs.ErrNotExist if there is none.
type Open func(path string) (sha256, buildID string, err error)

// Verify reports whether the profile fits the files that are there now: the program, every module that was not removed and
// every executed program must have the contents that were analysed. The error is the first of Mismatches, nil if there is none.
func (p *Profile) Verify(open Open) error {
	if all := p.mismatches(open, 1); len(all) > 0 {
		return all[0]
	}
	return nil
}

// Mismatches returns what does not fit, a *ModuleChangedError, a *MissingModule or the error of open for each file:
// the program first, then modules, then executed programs, in the order of the document.
func (p *Profile) Mismatches(open Open) []error { return p.mismatches(open, -1) }

// mismatches stops after limit errors; never if limit is negative.
func (p *Profile) mismatches(open Open, limit int) []error {
	var all []error
	seen := make(map[string]bool)
	check := func(path, sha256, buildID string) bool {
		if seen[path] || sha256 == "" {
			return true
		}
		seen[path] = true
		if err := verifyFile(path, sha256, buildID, open); err != nil {
			all = append(all, err)
		}
		return len(all) != limit
	}
	if !check(p.Program.Path, p.Program.SHA256, p.Program.BuildID) {
		return all
	}
	for i := range p.Modules {
		m := &p.Modules[i]
		if !m.Removed && !check(m.Path, m.SHA256, m.BuildID) {
			return all
		}
	}
	for i := range p.Executes {
		if !check(p.Executes[i].Path, p.Executes[i].SHA256, "") {
			return all
		}
	}
	return all
}

// verifyFile compares contents. The build-id alone does not decide (rewriting a file keeps it); it is named when it
// differs, because packages are known by it.
func verifyFile(path, sha256, buildID string, open Open) error {
	gotSHA, gotID, err := open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &MissingModule{Path: path, Err: err}
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case gotSHA == sha256:
		return nil
	case buildID != "" && gotID != buildID:
		return &ModuleChangedError{Path: path, Want: idOf("build-id ", buildID), Got: idOf("build-id ", gotID)}
	}
	return &ModuleChangedError{Path: path, Want: idOf("sha256 ", sha256), Got: idOf("sha256 ", gotSHA)}
}

// idOf prefixes a hash with its kind.
func idOf(kind, hash string) string {
	if hash == "" {
		return kind + "none"
	}
	return kind + hash
}
