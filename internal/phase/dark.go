package phase

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"syspart/internal/observe"
)

// Dark are threads that were seen in no loop, for their stacks could not be read: below the place where they end is code without
// call-frame information. They get no filter.
type Dark struct {
	Module string
	PC     uint64
	Count  int
	Names  []string // of the threads, sorted, each once
}

// ending is the place where reading of a stack ended.
type ending struct {
	module string
	pc     uint64
}

func (p ending) compare(q ending) int {
	return cmp.Or(strings.Compare(p.module, q.module), cmp.Compare(p.pc, q.pc))
}

// blind counts the samples of threads that were seen in no loop, of which the stack was not read to its bottom.
type blind struct {
	samples int
	ends    map[ending]int
	dark    map[ending]*Dark
}

// add counts a thread's samples. It is dark if most of them are such, over at least a while in seconds.
func (b *blind) add(t *observe.Thread, while float64) {
	if b.ends == nil {
		b.ends, b.dark = map[ending]int{}, map[ending]*Dark{}
	}
	ends := map[ending]int{}
	samples, first, last := 0, 0.0, 0.0
	for i := range t.Stacks {
		s := &t.Stacks[i]
		if s.Complete || len(s.Frames) == 0 {
			continue
		}
		if samples == 0 {
			first = s.FirstSeen
		}
		first, last = min(first, s.FirstSeen), max(last, s.LastSeen)
		end := &s.Frames[len(s.Frames)-1]
		samples += s.Count
		ends[ending{end.Module, end.PC}] += s.Count
	}
	b.samples += samples
	for p, n := range ends {
		b.ends[p] += n
	}
	if 2*samples <= t.Samples || last-first < while {
		return
	}
	p := most(ends)
	d := b.dark[p]
	if d == nil {
		d = &Dark{Module: p.module, PC: p.pc}
		b.dark[p] = d
	}
	d.Count++
	d.Names = append(d.Names, t.Comm)
}

// most returns the place with the highest count.
func most(ends map[ending]int) (best ending) {
	for _, p := range slices.SortedFunc(maps.Keys(ends), ending.compare) {
		if ends[p] > ends[best] {
			best = p
		}
	}
	return best
}

// where says in words where reading ended most often.
func (b *blind) where() string {
	p := most(b.ends)
	return fmt.Sprintf("%s+%#x", filepath.Base(p.module), p.pc)
}

// threads returns the dark ones by where they end.
func (b *blind) threads() (list []Dark) {
	for _, p := range slices.SortedFunc(maps.Keys(b.dark), ending.compare) {
		d := b.dark[p]
		slices.Sort(d.Names)
		d.Names = slices.Compact(d.Names)
		list = append(list, *d)
	}
	return list
}
