package syscalls

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
)

// Limit is the number of system-call numbers that a Set has room for: members lie in 0..Limit-1. The kernel's table ends
// far below it, and a call with a number from there on fails with ENOSYS whatever a filter says.
const Limit = 640

// Set is a set of system-call numbers. It is a value: assignment copies it, == compares it, the zero value is empty.
type Set struct{ bits [Limit / 64]uint64 }

// Of returns the set of the given numbers.
func Of(numbers ...int) Set {
	var s Set
	for _, nr := range numbers {
		s.Add(nr)
	}
	return s
}

// FromNames returns the set of the named calls. The error names the first name that is no system call.
func FromNames(names ...string) (Set, error) {
	var s Set
	for _, name := range names {
		nr, ok := Number(name)
		if !ok {
			return Set{}, fmt.Errorf("%q: %w", name, ErrUnknown)
		}
		s.Add(nr)
	}
	return s, nil
}

// All returns the set of every call in the table: what a site with an unknown number opens.
func All() Set {
	var s Set
	for _, nr := range byName {
		s.Add(nr)
	}
	return s
}

// Add adds a number. A number outside 0..Limit-1 is not added, and Add reports false: the kernel has no such call in its
// 64-bit table, so allowing it would open nothing.
func (s *Set) Add(nr int) bool {
	if uint(nr) >= Limit {
		return false
	}
	s.bits[nr>>6] |= 1 << (nr & 63)
	return true
}

// Remove removes a number.
func (s *Set) Remove(nr int) {
	if uint(nr) < Limit {
		s.bits[nr>>6] &^= 1 << (nr & 63)
	}
}

// Merge adds the members of o and reports whether s grew.
func (s *Set) Merge(o *Set) bool {
	grew := false
	for i, w := range o.bits {
		grew = grew || w&^s.bits[i] != 0
		s.bits[i] |= w
	}
	return grew
}

// Has reports whether the number is a member.
func (s Set) Has(nr int) bool { return uint(nr) < Limit && s.bits[nr>>6]>>(nr&63)&1 != 0 }

// Union returns the members of s or o.
func (s Set) Union(o Set) Set {
	for i := range s.bits {
		s.bits[i] |= o.bits[i]
	}
	return s
}

// Minus returns the members of s that are not in o.
func (s Set) Minus(o Set) Set {
	for i := range s.bits {
		s.bits[i] &^= o.bits[i]
	}
	return s
}

// Intersect returns the members of both s and o.
func (s Set) Intersect(o Set) Set {
	for i := range s.bits {
		s.bits[i] &= o.bits[i]
	}
	return s
}

// Len returns the number of members.
func (s Set) Len() int {
	n := 0
	for _, w := range s.bits {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty reports whether there is no member.
func (s Set) Empty() bool { return s == Set{} }

// Equal reports whether s and o have the same members.
func (s Set) Equal(o Set) bool { return s == o }

// All iterates over the members, lowest first.
func (s Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range s.bits {
			for ; w != 0; w &= w - 1 {
				if !yield(i<<6 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// Numbers returns the members, sorted.
func (s Set) Numbers() []int { return slices.AppendSeq(make([]int, 0, s.Len()), s.All()) }

// Names returns the members' names, sorted; numbers without one as Name writes them.
func (s Set) Names() []string {
	list := make([]string, 0, s.Len())
	for nr := range s.All() {
		list = append(list, Name(nr))
	}
	slices.Sort(list)
	return list
}
