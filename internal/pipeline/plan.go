package pipeline

import (
	"context"
	"encoding/hex"
	"slices"

	"syspart/internal/enforce"
	"syspart/internal/filter"
	"syspart/internal/image"
	"syspart/internal/link"
	"syspart/internal/phase"
	"syspart/profile"
)

// Plan checks that a profile fits the binaries as they are now (the error is a *profile.ModuleChangedError if one
// changed) and returns what enforcement needs: per kind the loop, the stack below it, and the filter.
func Plan(ctx context.Context, p *profile.Profile, action filter.Action, opt Options) (*enforce.Plan, error) {
	l := newLoader(&opt)
	defer l.close()
	// Loops and stacks need the modules alone; the sets are the profile's. What has been read for them is not read once more to be
	// compared with the profile; that it has changed is said first.
	prog, linkErr := link.Load(ctx, p.Program.Path, link.Options{Root: l.opt.Root, Modules: l.extras(p), Summarize: l.summarize})
	if err := p.Verify(identified(prog)); err != nil {
		return nil, err
	}
	if linkErr != nil {
		return nil, linkErr
	}
	f := phase.NewLocator(prog)
	plan := &enforce.Plan{Program: p.Program.Path, BuildID: p.Program.BuildID, Action: action,
		Modules: []enforce.PlanModule{{Path: p.Program.Path, BuildID: p.Program.BuildID, SHA256: p.Program.SHA256}}}
	for _, m := range p.Modules {
		pm := enforce.PlanModule{Path: m.Path, BuildID: m.BuildID, SHA256: m.SHA256, Removed: m.Removed}
		if m.Found == profile.FoundVDSO {
			pm.SHA256 = ""
		}
		plan.Modules = append(plan.Modules, pm)
	}
	for i := range p.Threads {
		t := &p.Threads[i]
		k, err := kindOf(f, t)
		if err != nil {
			return nil, err
		}
		ek := enforce.Kind{Name: t.Kind, Role: t.Role, Module: t.Transition.Module, Loop: f.Ranges(k), Bottom: t.Transition.Bottom, Allow: allowed(t), Instances: t.Instances}
		for _, fr := range k.Below {
			ek.Stack = append(ek.Stack, enforce.Frame{Module: fr.Module, PC: fr.PC})
		}
		if err := points(f, prog, k, &ek); err != nil {
			ek.Points, ek.Rows, ek.NoPoint = nil, nil, err.Error()
		}
		plan.Kinds = append(plan.Kinds, ek)
	}
	apart(plan.Kinds)
	if slices.ContainsFunc(plan.Kinds, func(k enforce.Kind) bool { return !k.Stays && len(k.Points) > 0 }) {
		var err error
		if plan.Pins, err = pins(prog); err != nil {
			plan.NoPin = err.Error()
		}
	}
	if err := plan.Compile(); err != nil {
		return nil, err
	}
	return plan, nil
}

func (l *loader) linked(ctx context.Context, p *profile.Profile) (*link.Program, error) {
	return l.load(ctx, p.Program.Path, l.extras(p))
}

// identified is Identify, which reads only what a program, nil if there is none, does not hold.
func identified(prog *link.Program) func(path string) (sha256, buildID string, err error) {
	return func(path string) (string, string, error) {
		if prog != nil {
			if mi := moduleOf(prog, path); mi >= 0 {
				m := prog.Modules[mi]
				return hex.EncodeToString(m.SHA256[:]), m.BuildID, nil
			}
		}
		return Identify(path)
	}
}

// Identify returns SHA-256 and build-id of the file that a path of a profile means now.
func Identify(path string) (sha256, buildID string, err error) {
	var f *image.File
	if path == "[vdso]" {
		data, err := link.ReadVDSO()
		if err != nil {
			return "", "", err
		}
		if f, err = image.Parse(path, data); err != nil {
			return "", "", err
		}
	} else if f, err = image.Open(path); err != nil {
		return "", "", err
	}
	return hex.EncodeToString(f.SHA256[:]), f.BuildID, nil
}
