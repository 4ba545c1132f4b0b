package profile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// MaxSize is the size in bytes of the largest document that is read.
const MaxSize = 64 << 20

// Load reads and validates the profile in a file. Errors name the file and wrap ErrSchema, ErrInvalid or those of the
// file system.
func Load(path string) (*Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f, path)
}

// Read reads and validates a profile; errors of its contents name it so.
func Read(r io.Reader, name string) (*Profile, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// Parse reads and validates a profile; names of calls are checked for their form only, see Validate. Lists come back
// sorted as Marshal writes them.
func Parse(data []byte) (*Profile, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: larger than %d MiB", ErrInvalid, MaxSize>>20)
	}
	// The version first: a later schema may have any form, and deserves the clearer message.
	var head struct {
		SchemaVersion *int `json:"schemaVersion"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, describe(err))
	}
	if head.SchemaVersion == nil {
		return nil, fmt.Errorf("%w: no schemaVersion", ErrInvalid)
	}
	if *head.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("%w %d (this syspart reads %d)", ErrSchema, *head.SchemaVersion, SchemaVersion)
	}
	p := new(Profile)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, describe(err))
	}
	if err := p.Validate(nil); err != nil {
		return nil, err
	}
	p.normalize()
	return p, nil
}

// describe puts an error of encoding/json into a user's words.
func describe(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON: byte %d: %v", syntax.Offset, err)
	case errors.As(err, &kind):
		return fmt.Sprintf("byte %d: %s cannot be a %s", kind.Offset, kind.Field, kind.Value)
	}
	return err.Error()
}

// Marshal returns the document: the same profile always gives the same bytes, ending in a newline. The profile itself is
// not changed, nor is it validated.
func (p *Profile) Marshal() ([]byte, error) {
	c := p.clone()
	c.normalize()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(c); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Save validates the profile and writes it to a file of mode 0644. A regular file appears whole or not at all: the
// document goes into a temporary file beside it, which then takes its name. A device or pipe is written to directly.
func (p *Profile) Save(path string) error {
	if err := p.Validate(nil); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	data, err := p.Marshal()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return WriteFile(path, data)
}

// WriteFile replaces the contents of a file in one step: it appears whole or not at all. A device or pipe is written to.
func WriteFile(path string, data []byte) error {
	switch st, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case st.IsDir():
		return fmt.Errorf("%s: is a directory", path)
	case !st.Mode().IsRegular():
		// To rename over /dev/null or a pipe would destroy it.
		return os.WriteFile(path, data, 0o644)
	default:
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// clone copies the profile as deep as normalize changes it.
func (p *Profile) clone() *Profile {
	c := *p
	c.Modules = slices.Clone(p.Modules)
	c.Threads = slices.Clone(p.Threads)
	for i := range c.Threads {
		t := &c.Threads[i]
		t.Init = slices.Clone(t.Init)
		t.Serving.Own = slices.Clone(t.Serving.Own)
		t.Serving.Exec = slices.Clone(t.Serving.Exec)
		t.Serving.Enforcer = slices.Clone(t.Serving.Enforcer)
		t.Transition.Edges = slices.Clone(t.Transition.Edges)
	}
	c.Executes = slices.Clone(p.Executes)
	for i := range c.Executes {
		c.Executes[i].Needs = slices.Clone(c.Executes[i].Needs)
	}
	c.Unresolved = slices.Clone(p.Unresolved)
	c.Assumptions = slices.Clone(p.Assumptions)
	return &c
}

// normalize sorts every list that has no order of its own, drops duplicates of what is a set, and makes absent lists
// empty ones.
func (p *Profile) normalize() {
	slices.SortStableFunc(p.Modules, func(a, b Module) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortStableFunc(p.Threads, func(a, b Thread) int {
		return cmp.Or(cmp.Compare(roleRank(a.Role), roleRank(b.Role)), cmp.Compare(a.Kind, b.Kind))
	})
	for i := range p.Threads {
		t := &p.Threads[i]
		for _, l := range []*[]string{&t.Init, &t.Serving.Own, &t.Serving.Exec, &t.Serving.Enforcer} {
			*l = present(sortNames(*l))
		}
		slices.SortFunc(t.Transition.Edges, func(a, b [2]string) int {
			return cmp.Or(compareHex(a[0], b[0]), compareHex(a[1], b[1]))
		})
		t.Transition.Edges = present(slices.Compact(t.Transition.Edges))
		t.Transition.Stack = present(t.Transition.Stack)
	}
	for i := range p.Executes {
		p.Executes[i].Needs = present(sortNames(p.Executes[i].Needs))
	}
	slices.SortStableFunc(p.Executes, func(a, b Execute) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.SHA256, b.SHA256), cmp.Compare(a.Found, b.Found))
	})
	slices.SortFunc(p.Unresolved, func(a, b Unresolved) int {
		return cmp.Or(cmp.Compare(a.Module, b.Module), compareHex(a.Offset, b.Offset), cmp.Compare(a.What, b.What),
			cmp.Compare(a.Function, b.Function), cmp.Compare(a.Effect, b.Effect))
	})
	p.Unresolved = present(slices.Compact(p.Unresolved))
	p.Assumptions = present(sortNames(p.Assumptions))
	p.Modules = present(p.Modules)
	p.Threads = present(p.Threads)
	p.Executes = present(p.Executes)
}

// present makes an absent list an empty one, which JSON writes as [].
func present[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// roleRank orders the roles as a reader expects them.
func roleRank(role string) int { return slices.Index([]string{RoleMain, RoleChild, RoleThread}, role) }

// compareHex orders addresses by value, then by spelling; what is no address comes first.
func compareHex(a, b string) int {
	return cmp.Or(cmp.Compare(hexValue(a), hexValue(b)), cmp.Compare(a, b))
}

func hexValue(s string) uint64 {
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0
	}
	return v
}
