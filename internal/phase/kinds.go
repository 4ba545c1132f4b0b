package phase

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"syspart/internal/cfg"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/summary"
	"syspart/profile"
)

// ErrNoLoop: no thread of the server was seen in a loop.
var ErrNoLoop = errors.New("no thread was seen in a serving loop")

// ErrBlind: stacks could not be read. What wraps it wraps ErrNoLoop, too.
var ErrBlind = errors.New("stacks cannot be read")

// Kind is a thread kind: its main loop and the stack below it.
type Kind struct {
	Name      string
	Role      string // profile.RoleMain, RoleChild, RoleThread
	Samples   int
	Instances int

	Module int
	Func   int32 // global number of the function that holds the loop
	Loop   cfg.Loop
	// Below are the frames below the loop's function, innermost caller first, down to the first function that does not
	// return from where it goes on or, if Bottom, to the bottom of the thread.
	Below  []observe.Frame
	Bottom bool
	// Rest are the frames below a function that does not return: dead code, kept to name the kind and to find its start.
	Rest []observe.Frame
	// ForkPC is, in a forked child, the address in its frame Inherited of Below+Rest at which it was forked; 0 if unknown.
	Inherited int
	ForkPC    uint64
}

// key identifies a kind.
type key struct {
	role   string
	fn     int32
	header int32
	below  string
}

// seen is what the samples of one thread in one loop add up to.
type seen struct {
	kind    Kind
	key     key
	samples int
	// When the first and the last one were taken, in seconds.
	first, last float64
}

// sighting is a thread that was seen in a loop.
type sighting struct {
	seen
	lasting bool
}

// Kinds groups the observed threads of the server's program. Threads that lived only for a short part of the observation
// (a child that writes a snapshot, a thread for one request) make no kind of their own: the partition of who creates them
// includes them. The error wraps ErrNoLoop if no thread was in a loop.
func (f *Finder) Kinds(obs *observe.Observation) ([]Kind, error) {
	var all []sighting
	sampled, lasting := 0, false
	var dark blind
	for i := range obs.Threads {
		t := &obs.Threads[i]
		if t.Program != "" && t.Program != obs.Program {
			continue
		}
		sampled += t.Samples
		if best := f.mainLoop(t); best != nil {
			all = append(all, sighting{seen: *best})
		} else {
			dark.add(t, min(1, 0.2*obs.Seconds))
		}
	}
	f.Dark = dark.threads()
	lasts(all, obs.Seconds)
	for i := range all {
		lasting = lasting || all[i].lasting
	}
	if !lasting && 2*dark.samples > sampled { // threads that came by do not tell how it serves
		return nil, fmt.Errorf("%w: %w: %d of %d samples of %s end in code without call-frame information, or are called by such, as at %s", ErrNoLoop, ErrBlind, dark.samples, sampled, obs.Program, dark.where())
	}
	kinds := map[key]*Kind{}
	for _, makes := range []bool{true, false} { // first those that make kinds, then those that only count
		for i := range all {
			s := &all[i]
			if (s.lasting || !lasting) != makes {
				continue
			}
			k := kinds[s.key]
			if k == nil {
				if !makes {
					continue
				}
				k = &s.kind
				kinds[s.key] = k
			}
			k.Samples += s.samples
			k.Instances++
		}
	}
	if len(kinds) == 0 {
		if sampled == 0 {
			return nil, fmt.Errorf("%w: no sample of %s; let it run longer", ErrNoLoop, obs.Program)
		}
		return nil, fmt.Errorf("%w: %d samples of %s lie outside of all loops; is it a server, and did it start?", ErrNoLoop, sampled, obs.Program)
	}
	out := make([]Kind, 0, len(kinds))
	for _, k := range kinds {
		out = append(out, *k)
	}
	slices.SortFunc(out, func(a, b Kind) int {
		return cmp.Or(cmp.Compare(roleRank(a.Role), roleRank(b.Role)), cmp.Compare(a.Func, b.Func), cmp.Compare(a.Loop.Header, b.Loop.Header),
			strings.Compare(stackKey(a.Below), stackKey(b.Below)))
	})
	f.name(out)
	return out, nil
}

func roleRank(role string) int {
	return slices.Index([]string{profile.RoleMain, profile.RoleChild, profile.RoleThread}, role)
}

// lasts marks the threads that were in their loop for a good part of the observation, or came and stayed, and those that were so
// together: workers that relieve each other, as when a server is told to read its configuration again.
func lasts(all []sighting, total float64) {
	const part = 0.4
	while := min(1, 0.2*total) // more than one request takes
	byKind := map[key][]*sighting{}
	for i := range all {
		s := &all[i]
		s.lasting = s.last-s.first >= part*total || s.last >= total-1.5 && s.last-s.first >= while
		if s.last-s.first >= while {
			byKind[s.key] = append(byKind[s.key], s)
		}
	}
	for _, l := range byKind {
		slices.SortFunc(l, func(a, b *sighting) int { return cmp.Compare(a.first, b.first) })
		covered, until := 0.0, 0.0
		for _, s := range l {
			covered += max(0, s.last-max(s.first, until))
			until = max(until, s.last)
		}
		if covered >= part*total {
			for _, s := range l {
				s.lasting = true
			}
		}
	}
}

// mainLoop returns the loop in which a thread was seen most, nil if none.
func (f *Finder) mainLoop(t *observe.Thread) *seen {
	var all []seen
	for i := range t.Stacks {
		s := &t.Stacks[i]
		if !s.Complete && t.Leader {
			continue
		}
		k, ok := f.topLoop(t, s)
		if !ok || !s.Complete && k.Bottom { // frames that may be returned to are not known
			continue
		}
		id := key{k.Role, k.Func, k.Loop.Header, stackKey(k.Below)}
		j := slices.IndexFunc(all, func(x seen) bool { return x.key == id })
		if j < 0 {
			j = len(all)
			all = append(all, seen{kind: k, key: id, first: s.FirstSeen})
		}
		all[j].samples += s.Count
		all[j].first = min(all[j].first, s.FirstSeen)
		all[j].last = max(all[j].last, s.LastSeen)
	}
	var best *seen
	for i := range all {
		if !all[i].left(t) && (best == nil || all[i].samples > best.samples) {
			best = &all[i]
		}
	}
	return best
}

// left reports whether a thread had its life still before it when it was last seen in a loop: so it is with a loop that
// prepares, which a sample happens to find.
func (s *seen) left(t *observe.Thread) bool {
	const few = 10
	after := 0
	for i := range t.Stacks {
		if st := &t.Stacks[i]; st.FirstSeen > s.last {
			after += st.Count
		}
	}
	return after >= few && after >= 9*s.samples
}

func stackKey(frames []observe.Frame) string {
	var b strings.Builder
	for _, fr := range frames {
		fmt.Fprintf(&b, "%s+%x;", fr.Module, fr.PC)
	}
	return b.String()
}

// topLoop finds the outermost loop of a stack that is the thread's own.
func (f *Finder) topLoop(t *observe.Thread, s *observe.Stack) (Kind, bool) {
	role := profile.RoleThread
	switch {
	case t.Leader && t.First:
		role = profile.RoleMain
	case t.Leader:
		role = profile.RoleChild
	}
	n := len(s.Frames)
	from, inherited := n-1, []uint32(nil) // outermost frame that counts, blocks of it whose loops are inherited
	var forkPC uint64
	kept := 0
	if t.Leader && !t.First {
		switch {
		case s.Inherited > 0 && s.Inherited <= n:
			from, kept, forkPC = n-s.Inherited, s.Inherited, s.ForkPC
			if p := f.locate(s.Frames[from].Module, s.ForkPC-1); p.fn >= 0 && s.ForkPC != 0 {
				inherited = append(inherited, p.block)
			}
		default: // forked before we looked: the innermost frame that forks is where the child began
			for i := 0; i < n; i++ {
				p := f.at(&s.Frames[i], i == 0)
				if p.fn < 0 {
					continue
				}
				if sites := f.forkSites(p.fn); len(sites) > 0 {
					from, inherited, kept = i, sites, n-i
					break
				}
			}
		}
	}
	for i := from; i >= 0; i-- {
		p := f.at(&s.Frames[i], i == 0)
		if p.fn < 0 {
			continue
		}
		var without []uint32
		if i == from {
			_, fn := f.fn(p.fn)
			for _, b := range inherited {
				if b >= fn.Blocks[0] && b < fn.Blocks[1] {
					without = append(without, b)
				}
			}
		}
		l := f.outermost(p, without...)
		if l < 0 {
			continue
		}
		mi, _ := f.p.Where(int(p.fn))
		k := Kind{Role: role, Module: mi, Func: p.fn, Loop: f.Loops(p.fn)[l], ForkPC: forkPC, Inherited: kept}
		k.Below, k.Rest, k.Bottom = f.cut(&k, s.Frames[i+1:])
		return k, true
	}
	return Kind{}, false
}

// cut splits the frames below the kind's loop where they can no longer be returned to: behind the first function that
// does not return from where it goes on.
func (f *Finder) cut(k *Kind, frames []observe.Frame) (below, rest []observe.Frame, bottom bool) {
	// resumable: the last frame that can be entered other than by a return. libc's start functions, which call setjmp for
	// the sake of pthread_exit and never return from there, do not count: Serving includes them.
	resumable := -1
	for i := range frames {
		p := f.at(&frames[i], false)
		if p.fn < 0 {
			resumable = i
			continue
		}
		_, x := f.fn(p.fn)
		if x.Flags&(summary.HasPads|summary.Incomplete) != 0 && !f.ends(p.fn) || len(f.setjmpSites(p.fn)) > 0 && !f.ends(p.fn) || frames[i].Signal {
			resumable = i
		}
	}
	if resumable < 0 && len(frames) > 0 && !f.returns(k.Func, f.loop(k)) {
		return nil, frames, false
	}
	for i := max(resumable, 0); i+1 < len(frames); i++ {
		s, ok := f.after(&frames[i], "")
		if ok && !f.returns(s.Func, s.Blocks) {
			return frames[:i+1], frames[i+1:], false
		}
	}
	return frames, nil, true
}

// Unknown returns the frames of Below whose code is in no analysed module, or in no function of one: what runs when they
// are returned to is not known, so anything may.
func (f *Finder) Unknown(k *Kind) []observe.Frame {
	var out []observe.Frame
	for i := range k.Below {
		if p := f.at(&k.Below[i], false); p.fn < 0 {
			out = append(out, k.Below[i])
		}
	}
	return out
}

// name gives the kinds unique names: the function with the loop, and where that is not enough its caller or its number.
func (f *Finder) name(kinds []Kind) {
	count := map[string]int{}
	for i := range kinds {
		k := &kinds[i]
		k.Name = f.base(k.Module) + ":" + f.g.Name(k.Func)
		count[k.Name]++
	}
	used := map[string]int{}
	for i := range kinds {
		k := &kinds[i]
		if count[k.Name] > 1 {
			frames := append(slices.Clone(k.Below), k.Rest...)
			if k.Role == profile.RoleThread {
				// the start routine is the frame above libc's own
				for j := len(frames) - 1; j >= 0; j-- {
					if mi, ok := f.byPath[frames[j].Module]; ok && mi == k.Module {
						if p := f.at(&frames[j], false); p.fn >= 0 {
							k.Name += "<" + f.g.Name(p.fn)
						}
						break
					}
				}
			} else {
				k.Name += "(" + k.Role + ")"
			}
		}
		used[k.Name]++
		if n := used[k.Name]; n > 1 {
			k.Name += fmt.Sprintf("#%d", n)
		}
	}
}

func (f *Finder) base(mi int) string {
	path := f.p.Modules[mi].Path
	return path[strings.LastIndexByte(path, '/')+1:]
}

// SetLoop sets the kind's loop to the outermost one with the given header in the function at entry.
func (f *Finder) SetLoop(k *Kind, module string, entry, header uint64) bool {
	mi, ok := f.byPath[module]
	if !ok {
		return false
	}
	fn := f.p.Func(mi, entry)
	if fn < 0 {
		return false
	}
	m, x := f.fn(int32(fn))
	for _, l := range f.Loops(int32(fn)) {
		if m.Blocks[x.Blocks[0]+uint32(l.Header)].Start == header {
			k.Module, k.Func, k.Loop = mi, int32(fn), l
			return true
		}
	}
	return false
}

// Ranges returns the addresses of the kind's loop.
func (f *Finder) Ranges(k *Kind) []image.Range {
	m, fn := f.fn(k.Func)
	var out []image.Range
	for _, b := range k.Loop.Blocks {
		x := &m.Blocks[fn.Blocks[0]+uint32(b)]
		if n := len(out); n > 0 && out[n-1].End == x.Start {
			out[n-1].End = x.End
			continue
		}
		out = append(out, image.Range{Start: x.Start, End: x.End})
	}
	return out
}
