package syscalls

import (
	"slices"
	"strconv"
	"strings"
)

// byName are the numbers of the table, sorted by name.
var byName = func() []int {
	list := make([]int, 0, len(names))
	for nr, name := range names {
		if name != "" {
			list = append(list, nr)
		}
	}
	slices.SortFunc(list, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	return list
}()

// unnamed is the prefix of the names of numbers that the table lacks.
const unnamed = "syscall_"

// Known reports whether the table has the number.
func Known(nr int) bool { return nr >= 0 && nr < len(names) && names[nr] != "" }

// Name returns the name of a system call, "syscall_N" for a number that the table lacks.
func Name(nr int) string {
	if Known(nr) {
		return names[nr]
	}
	return unnamed + strconv.Itoa(nr)
}

// Number returns the number of a system call. It accepts what Name returns, thus also "syscall_N" with N from 0 to
// Limit-1, provided that the table has no name for N.
func Number(name string) (int, bool) {
	i, ok := slices.BinarySearchFunc(byName, name, func(nr int, name string) int { return strings.Compare(names[nr], name) })
	if ok {
		return byName[i], true
	}
	if digits, ok := strings.CutPrefix(name, unnamed); ok {
		nr, err := strconv.Atoi(digits)
		if err == nil && nr >= 0 && nr < Limit && Name(nr) == name {
			return nr, true
		}
	}
	return 0, false
}
