package profile

import (
	"fmt"
	"slices"
	"strings"
)

// Validate reports the first thing that makes p no profile; the error wraps ErrSchema or ErrInvalid and names the place.
// known says which names of system calls exist; nil accepts every name of the right form, since the table of calls grows
// with the kernel.
func (p *Profile) Validate(known func(name string) bool) error {
	if p.SchemaVersion != SchemaVersion {
		return fmt.Errorf("%w %d (this syspart reads %d)", ErrSchema, p.SchemaVersion, SchemaVersion)
	}
	v := validator{paths: make(map[string]bool, len(p.Modules)+1), known: known}
	if err := v.profile(p); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

type validator struct {
	paths map[string]bool // program and modules
	known func(name string) bool
}

func (v *validator) profile(p *Profile) error {
	if err := file(p.Program.Path, p.Program.SHA256, p.Program.BuildID); err != nil {
		return fmt.Errorf("program: %w", err)
	}
	for i, m := range p.Modules {
		if err := v.module(m); err != nil {
			return fmt.Errorf("modules[%d]: %w", i, err)
		}
	}
	v.paths[p.Program.Path] = true
	if len(p.Threads) == 0 {
		return fmt.Errorf("threads: no thread kind")
	}
	kinds := make(map[string]bool, len(p.Threads))
	for i := range p.Threads {
		t := &p.Threads[i]
		if kinds[t.Kind] {
			return fmt.Errorf("threads[%d]: kind %q occurs twice", i, t.Kind)
		}
		kinds[t.Kind] = true
		if err := v.thread(t); err != nil {
			return fmt.Errorf("threads[%d] (%s): %w", i, t.Kind, err)
		}
	}
	for i := range p.Executes {
		e := &p.Executes[i]
		if err := v.execute(e); err != nil {
			return fmt.Errorf("executes[%d]: %w", i, err)
		}
	}
	for i, u := range p.Unresolved {
		switch {
		case u.What == "":
			return fmt.Errorf("unresolved[%d]: what: empty", i)
		case u.Effect == "":
			return fmt.Errorf("unresolved[%d]: effect: empty", i)
		case u.Offset != "" && !isHex(u.Offset):
			return fmt.Errorf("unresolved[%d]: offset: %q is not a hex address", i, u.Offset)
		}
	}
	return nil
}

func (v *validator) module(m Module) error {
	if err := file(m.Path, m.SHA256, m.BuildID); err != nil {
		return err
	}
	if v.paths[m.Path] {
		return fmt.Errorf("path: %s occurs twice", m.Path)
	}
	v.paths[m.Path] = true
	return found(m.Found)
}

func (v *validator) thread(t *Thread) error {
	if t.Kind == "" {
		return fmt.Errorf("kind: empty")
	}
	if roleRank(t.Role) < 0 {
		return fmt.Errorf("role: %q is not one of main, child, thread", t.Role)
	}
	if t.Samples < 0 || t.Instances < 0 {
		return fmt.Errorf("samples, instances: negative")
	}
	if len(t.Serving.Own) == 0 {
		return fmt.Errorf("serving.own: empty, a thread cannot even exit")
	}
	for _, l := range []struct {
		what  string
		names []string
	}{{"init", t.Init}, {"serving.own", t.Serving.Own}, {"serving.exec", t.Serving.Exec}, {"serving.enforcer", t.Serving.Enforcer}} {
		if err := v.calls(l.what, l.names); err != nil {
			return err
		}
	}
	return v.transition(&t.Transition)
}

func (v *validator) transition(t *Transition) error {
	if !v.paths[t.Module] {
		return fmt.Errorf("transition.module: %q is neither the program nor one of the modules", t.Module)
	}
	if !isHex(t.Offset) {
		return fmt.Errorf("transition.offset: %q is not a hex address", t.Offset)
	}
	if !isHex(t.Entry) {
		return fmt.Errorf("transition.entry: %q is not a hex address", t.Entry)
	}
	for i, e := range t.Edges {
		if !isHex(e[0]) || !isHex(e[1]) {
			return fmt.Errorf("transition.edges[%d]: %q to %q are not hex addresses", i, e[0], e[1])
		}
	}
	for i, f := range t.Stack {
		if !v.paths[f.Module] {
			return fmt.Errorf("transition.stack[%d]: module %q is neither the program nor one of the modules", i, f.Module)
		}
		if !isHex(f.Offset) {
			return fmt.Errorf("transition.stack[%d]: offset: %q is not a hex address", i, f.Offset)
		}
	}
	return nil
}

func (v *validator) execute(e *Execute) error {
	if e.Path == "" {
		return fmt.Errorf("path: empty")
	}
	if e.SHA256 != "" && !isSHA256(e.SHA256) {
		return fmt.Errorf("sha256: %q is not 64 hex digits", e.SHA256)
	}
	if err := found(e.Found); err != nil {
		return err
	}
	return v.calls("needs", e.Needs)
}

// calls checks a list of names of system calls.
func (v *validator) calls(what string, names []string) error {
	for _, n := range names {
		if !isCall(n) || v.known != nil && !v.known(n) {
			return fmt.Errorf("%s: %q is no system call", what, n)
		}
	}
	return nil
}

func file(path, sha256, buildID string) error {
	switch {
	case path == "":
		return fmt.Errorf("path: empty")
	case !isSHA256(sha256):
		return fmt.Errorf("sha256: %q is not 64 hex digits", sha256)
	case strings.Trim(buildID, "0123456789abcdef") != "":
		return fmt.Errorf("buildID: %q is not lower-case hex", buildID)
	}
	return nil
}

func found(how string) error {
	if !slices.Contains([]string{FoundNeeded, FoundLoader, FoundVDSO, FoundStatic, FoundHeuristic, FoundObserved, FoundGiven}, how) {
		return fmt.Errorf("found: %q is not a way that a module can be found", how)
	}
	return nil
}

func isSHA256(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// isHex reports whether s is 0x and 1 to 16 lower-case hex digits.
func isHex(s string) bool {
	digits, ok := strings.CutPrefix(s, "0x")
	return ok && digits != "" && len(digits) <= 16 && strings.Trim(digits, "0123456789abcdef") == ""
}

// isCall reports whether s has the form of a system call's name: lower-case letters, digits and underscores; the kernel's
// longest has 23 bytes.
func isCall(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}
