package filter

import (
	"fmt"

	"syspart/internal/syscalls"
)

// Data is what a filter sees of a call: struct seccomp_data.
type Data struct {
	Nr   int32 // with bit 30 set for x32
	Arch uint32
	IP   uint64 // address behind the system-call instruction
	Args [6]uint64
}

// word returns the 32-bit word at byte offset off, which is below dataSize and aligned.
func (d *Data) word(off uint32) uint32 {
	var v uint64
	switch {
	case off == offNr:
		return uint32(d.Nr)
	case off == offArch:
		return d.Arch
	case off < 16:
		v = d.IP
	default:
		v = d.Args[(off-16)/8]
	}
	if off&4 != 0 {
		v >>= 32
	}
	return uint32(v)
}

// Simulate runs a filter as the kernel would and returns its verdict and the number of instructions executed. The error is
// that of Validate.
func Simulate(p Program, d Data) (verdict uint32, steps int, err error) {
	if err := p.Validate(); err != nil {
		return 0, 0, err
	}
	verdict, steps = p.run(&d, nil)
	return verdict, steps, nil
}

// run executes a valid program. If hit is not nil, hit[i] is set for each instruction i that is executed.
func (p Program) run(d *Data, hit []bool) (verdict uint32, steps int) {
	var a, x uint32
	var mem [memWords]uint32
	for pc := 0; ; pc++ {
		steps++
		if hit != nil {
			hit[pc] = true
		}
		in := &p[pc]
		switch in.Code {
		case opLoad:
			a = d.word(in.K)
		case opLen:
			a = dataSize
		case opLenX:
			x = dataSize
		case opImm:
			a = in.K
		case opImmX:
			x = in.K
		case opMem:
			a = mem[in.K]
		case opMemX:
			x = mem[in.K]
		case opSt:
			mem[in.K] = a
		case opStx:
			mem[in.K] = x
		case opTax:
			x = a
		case opTxa:
			a = x
		case opNeg:
			a = -a
		case opRet:
			return in.K, steps
		case opRetA:
			return a, steps
		case opJa:
			pc += int(in.K)
		default:
			k := in.K
			if in.Code&srcX != 0 {
				k = x
			}
			if in.Code&classOp == opAlu {
				if in.Code&0xf0 == 0x30 && k == 0 {
					return 0, steps // division by a zero X ends the program with 0, which kills the thread
				}
				a = alu(in.Code, a, k)
				continue
			}
			taken := false
			switch in.Code & 0xf0 {
			case 0x10:
				taken = a == k
			case 0x20:
				taken = a > k
			case 0x30:
				taken = a >= k
			case 0x40:
				taken = a&k != 0
			}
			if taken {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
	}
}

// alu computes a two-operand arithmetic instruction; a divisor is not zero. Shift counts are taken modulo 32, as
// the kernel's 32-bit shifts are.
func alu(code uint16, a, k uint32) uint32 {
	switch code & 0xf0 {
	case 0x00:
		return a + k
	case 0x10:
		return a - k
	case 0x20:
		return a * k
	case 0x30:
		return a / k
	case 0x40:
		return a | k
	case 0x50:
		return a & k
	case 0x60:
		return a << (k & 31)
	case 0x70:
		return a >> (k & 31)
	}
	return a ^ k
}

// Effective returns the verdict of all filters of a thread together, newest first as the kernel keeps them: the most
// restrictive action wins, and among equal ones the newest filter's. Without filters that is RetAllow.
func Effective(filters []Program, d Data) (uint32, error) {
	result := RetAllow
	for i, p := range filters {
		v, _, err := Simulate(p, d)
		if err != nil {
			return 0, fmt.Errorf("filter %d: %w", i, err)
		}
		if int32(v&RetAction) < int32(result&RetAction) {
			result = v
		}
	}
	return result, nil
}

// Allowed returns the numbers below syscalls.Limit that all filters together allow for x86-64 with zero arguments: for
// filters that do not look at arguments, the allow-list.
func Allowed(filters ...Program) (syscalls.Set, error) {
	var s syscalls.Set
	for nr := range syscalls.Limit {
		v, err := Effective(filters, Data{Nr: int32(nr), Arch: ArchX86_64})
		if err != nil {
			return syscalls.Set{}, err
		}
		if v&RetAction == RetAllow {
			s.Add(nr)
		}
	}
	return s, nil
}
