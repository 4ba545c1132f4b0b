package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"syspart/internal/link"
	"syspart/internal/store"
	"syspart/internal/summary"
	"syspart/internal/syscalls"
	"syspart/profile"
)

// extras returns the modules of a profile that are loaded later. Of those that have been removed since only the summary is
// left, if it still is in the cache; the others are left out (gone).
func (l *loader) extras(p *profile.Profile) []link.Extra {
	var extra []link.Extra
	opens := seenOpens(p)
	for i := range p.Modules {
		m := &p.Modules[i]
		switch m.Found {
		case profile.FoundObserved, profile.FoundGiven, profile.FoundStatic, profile.FoundHeuristic:
		default:
			continue
		}
		e := link.Extra{Path: m.Path, Found: m.Found, Opened: m.Found == profile.FoundGiven || means(opens, m.Path)}
		if m.Removed {
			if e.Summary = l.removed(m); e.Summary == nil {
				continue
			}
		}
		extra = append(extra, e)
	}
	return extra
}

// removed returns the summary of a file that is gone, nil if there is none.
func (l *loader) removed(m *profile.Module) *summary.Module {
	sum := l.cached(store.Key("summary", summary.Version, m.SHA256))
	if sum == nil || hex.EncodeToString(sum.SHA256[:]) != m.SHA256 {
		return nil
	}
	return sum
}

// gone returns the modules of a profile that a program lacks because they were removed and are not in the cache.
func gone(p *link.Program, old *profile.Profile) []profile.Module {
	return slices.DeleteFunc(slices.Clone(old.Modules), func(m profile.Module) bool { return !m.Removed || moduleOf(p, m.Path) >= 0 })
}

// keep has a profile's successor, which was computed without some modules that are gone, allow what the profile did.
func keep(old, now *profile.Profile, gone []profile.Module) {
	if len(gone) == 0 {
		return
	}
	for i := range now.Threads {
		t, was := &now.Threads[i], &old.Threads[i]
		for _, s := range [][2]*[]string{{&t.Init, &was.Init}, {&t.Serving.Own, &was.Serving.Own}, {&t.Serving.Exec, &was.Serving.Exec},
			{&t.Serving.Enforcer, &was.Serving.Enforcer}} {
			*s[0] = set(*s[0]).Union(set(*s[1])).Names()
		}
	}
	for _, m := range gone {
		now.Modules = append(now.Modules, m)
		now.Unresolved = append(now.Unresolved, profile.Unresolved{What: "module", Module: m.Path,
			Effect: "it was removed, and what it can call is not known any more: what the profile allowed before stays allowed"})
	}
}

// Newcomers judges modules that a server has loaded and that its profile does not know: those that are made anew at every
// start, or that have another name each time.
type Newcomers struct {
	Profile *profile.Profile
	Options Options

	admitted []link.Extra
}

// Admit returns nil if a file, with those that were admitted before, needs nothing that the profile's filters do not allow to
// each kind, though it may call whatever it imports: as if the profile had been made with it. Its modules that are gone do not
// count. Not for several goroutines at once.
func (n *Newcomers) Admit(ctx context.Context, path string, data []byte) error {
	l := newLoader(&n.Options)
	defer l.close()
	sum, err := l.analyse(path, data, sha256.Sum256(data))
	if err != nil {
		return err
	}
	p := *n.Profile
	p.Modules = slices.DeleteFunc(slices.Clone(p.Modules), func(m profile.Module) bool { return m.Removed })
	all := append(slices.Clone(n.admitted), link.Extra{Path: path, Found: profile.FoundObserved, Summary: sum})
	now, err := l.renew(ctx, &p, append(l.extras(&p), all...))
	if err != nil {
		return err
	}
	for i := range now.Threads {
		need, have := allowed(&now.Threads[i]), allowed(&p.Threads[i])
		if more := need.Minus(have); !more.Empty() {
			return fmt.Errorf("thread kind %s needs %s for it", p.Threads[i].Kind, strings.Join(more.Names(), ", "))
		}
	}
	n.admitted = all
	return nil
}

// allowed is what the filter of a kind allows.
func allowed(t *profile.Thread) syscalls.Set {
	return set(t.Serving.Own).Union(set(t.Serving.Exec)).Union(set(t.Serving.Enforcer))
}
