package filter

import (
	"fmt"

	"syspart/internal/syscalls"
)

// ArchX86_64 is AUDIT_ARCH_X86_64 (uapi/linux/audit.h): the architecture of calls made by the syscall instruction in
// 64-bit mode, those of x32 included. ArchI386 is that of int 0x80 and sysenter.
const (
	ArchX86_64 uint32 = 0xc000003e
	ArchI386   uint32 = 0x40000003
)

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
)

// rule is a run of numbers with the same verdict: from First to the number before the next rule's First.
type rule struct {
	first   uint32
	verdict uint32
}

// Compile returns the filter that allows exactly the members of allow and of syscalls.Always, and applies the action to
// every other call, those of other architectures and of x32 included.
func Compile(allow syscalls.Set, a Action) (Program, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	rules := merge(allow.Union(syscalls.Always()), a)
	foreign := a.Verdict(0, true)
	p := make(Program, 0, 2*len(rules)+8)
	p = append(p,
		Inst{opLoad, 0, 0, offArch},
		Inst{opJeq, 1, 0, ArchX86_64},
		Inst{opRet, 0, 0, foreign},
		Inst{opLoad, 0, 0, offNr})
	p = appendTree(p, rules)
	if err := p.Validate(); err != nil {
		// Limit numbers give at most 2*Limit instructions and some long jumps: far below the kernel's limit.
		panic(fmt.Sprintf("filter: compiled program: %v", err))
	}
	return p, nil
}

// merge returns the rules for all 32-bit numbers, sorted; neighbours have different verdicts.
func merge(allow syscalls.Set, a Action) []rule {
	var rules []rule
	for nr := range uint32(syscalls.Limit) + 1 { // the last one stands for everything from Limit on, x32 included
		v := RetAllow
		if !allow.Has(int(nr)) {
			v = a.Verdict(nr, false)
		}
		if len(rules) == 0 || rules[len(rules)-1].verdict != v {
			rules = append(rules, rule{nr, v})
		}
	}
	return rules
}

// appendTree appends the search over the rules: the number is in the accumulator and not below the first rule.
func appendTree(p Program, rules []rule) Program {
	switch {
	case len(rules) == 1:
		return append(p, Inst{opRet, 0, 0, rules[0].verdict})
	case len(rules) == 3 && rules[0].verdict == rules[2].verdict && rules[1].first+1 == rules[2].first:
		// One number in the midst of another verdict: one comparison instead of two.
		return append(p,
			Inst{opJeq, 1, 0, rules[1].first},
			Inst{opRet, 0, 0, rules[0].verdict},
			Inst{opRet, 0, 0, rules[1].verdict})
	}
	mid := len(rules) / 2
	at := len(p)
	p = append(p, Inst{opJge, 0, 0, rules[mid].first})
	p = appendTree(p, rules[:mid])
	if left := len(p) - at - 1; left <= 255 {
		p[at].Jt = uint8(left)
	} else {
		// Conditional jumps reach 255 instructions: put an unconditional one behind the comparison. The jumps inside the
		// left part are relative and move with it.
		p = append(p, Inst{})
		copy(p[at+2:], p[at+1:])
		p[at].Jf = 1
		p[at+1] = Inst{opJa, 0, 0, uint32(left)}
	}
	return appendTree(p, rules[mid:])
}
