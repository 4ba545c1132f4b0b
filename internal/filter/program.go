package filter

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"syspart/internal/syscalls"
)

// MaxLen is the number of instructions that the kernel accepts in one filter (BPF_MAXINSNS). All filters of a thread
// together may have 32,768, each counting four more than it has.
const MaxLen = 4096

// Inst is one instruction of classic BPF: struct sock_filter.
type Inst struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

// Program is a filter.
type Program []Inst

// The operation codes that Compile uses (uapi/linux/bpf_common.h).
const (
	opLoad uint16 = 0x20 // ld [k]: 32-bit word of seccomp_data
	opJa   uint16 = 0x05 // ja k
	opJeq  uint16 = 0x15 // jeq #k
	opJge  uint16 = 0x35 // jge #k
	opRet  uint16 = 0x06 // ret #k
)

// Those that only filters of other makers have.
const (
	opLen   uint16 = 0x80 // ld len
	opLenX  uint16 = 0x81 // ldx len
	opImm   uint16 = 0x00
	opImmX  uint16 = 0x01
	opMem   uint16 = 0x60
	opMemX  uint16 = 0x61
	opSt    uint16 = 0x02
	opStx   uint16 = 0x03
	opTax   uint16 = 0x07
	opTxa   uint16 = 0x87
	opRetA  uint16 = 0x16
	opNeg   uint16 = 0x84
	classOp uint16 = 0x07
	opAlu   uint16 = 0x04
	opJmp   uint16 = 0x05
	srcX    uint16 = 0x08
)

const (
	dataSize = 64 // sizeof(struct seccomp_data)
	memWords = 16 // BPF_MEMWORDS
)

// Encode returns the program as the array of struct sock_filter that the kernel takes.
func (p Program) Encode() []byte {
	b := make([]byte, 0, 8*len(p))
	for _, in := range p {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.Jt, in.Jf)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	return b
}

// Decode reads an array of struct sock_filter and checks it as the kernel would.
func Decode(b []byte) (Program, error) {
	if len(b)%8 != 0 || len(b) > 8*MaxLen {
		return nil, fmt.Errorf("%d bytes are no array of instructions: %w", len(b), ErrInvalid)
	}
	p := make(Program, len(b)/8)
	for i := range p {
		e := b[8*i : 8*i+8]
		p[i] = Inst{binary.LittleEndian.Uint16(e), e[2], e[3], binary.LittleEndian.Uint32(e[4:])}
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return p, nil
}

// Equal reports whether the programs have the same instructions.
func (p Program) Equal(o Program) bool { return slices.Equal(p, o) }

// Validate applies the kernel's checks (net/core/filter.c bpf_check_classic, kernel/seccomp.c seccomp_check_filter): the
// length, known instructions, aligned loads inside seccomp_data, jumps that stay inside, a return at the end. What it
// accepts terminates, since jumps only go forward. Scratch words read before they are written count as zero here, where
// the kernel refuses the program.
func (p Program) Validate() error {
	if len(p) == 0 || len(p) > MaxLen {
		return fmt.Errorf("%d instructions: %w", len(p), ErrInvalid)
	}
	for i, in := range p {
		if err := in.check(i, len(p)); err != nil {
			return fmt.Errorf("instruction %d: %w", i, err)
		}
	}
	if last := p[len(p)-1].Code; last != opRet && last != opRetA {
		return fmt.Errorf("instruction %d: no return at the end: %w", len(p)-1, ErrInvalid)
	}
	return nil
}

func (in Inst) check(i, n int) error {
	rest := uint64(n - i - 1)
	switch in.Code {
	case opLoad:
		if in.K >= dataSize || in.K&3 != 0 {
			return fmt.Errorf("load at offset %d: %w", in.K, ErrInvalid)
		}
		return nil
	case opSt, opStx, opMem, opMemX:
		if in.K >= memWords {
			return fmt.Errorf("scratch word %d: %w", in.K, ErrInvalid)
		}
		return nil
	case opJa:
		if uint64(in.K) >= rest {
			return fmt.Errorf("jump out of the program: %w", ErrInvalid)
		}
		return nil
	case opLen, opLenX, opImm, opImmX, opTax, opTxa, opRet, opRetA, opNeg:
		return nil
	}
	op, ok := "", false
	switch in.Code & classOp {
	case opAlu:
		op, ok = aluOp(in.Code)
		switch {
		case op == "div" && in.Code&srcX == 0 && in.K == 0:
			return fmt.Errorf("division by zero: %w", ErrInvalid)
		case (op == "lsh" || op == "rsh") && in.Code&srcX == 0 && in.K >= 32:
			return fmt.Errorf("shift by %d: %w", in.K, ErrInvalid)
		}
	case opJmp:
		op, ok = jumpOp(in.Code)
		if ok && (uint64(in.Jt) >= rest || uint64(in.Jf) >= rest) {
			return fmt.Errorf("jump out of the program: %w", ErrInvalid)
		}
	}
	if !ok {
		return fmt.Errorf("code %#x: %w", in.Code, ErrInvalid)
	}
	return nil
}

// aluOp returns the name of a two-operand arithmetic instruction that seccomp accepts.
func aluOp(code uint16) (string, bool) {
	switch code &^ srcX {
	case 0x04:
		return "add", true
	case 0x14:
		return "sub", true
	case 0x24:
		return "mul", true
	case 0x34:
		return "div", true
	case 0x44:
		return "or", true
	case 0x54:
		return "and", true
	case 0x64:
		return "lsh", true
	case 0x74:
		return "rsh", true
	case 0xa4:
		return "xor", true
	}
	return "", false
}

// jumpOp returns the name of a conditional jump.
func jumpOp(code uint16) (string, bool) {
	switch code &^ srcX {
	case 0x15:
		return "jeq", true
	case 0x25:
		return "jgt", true
	case 0x35:
		return "jge", true
	case 0x45:
		return "jset", true
	}
	return "", false
}

// fields names the words of struct seccomp_data.
var fields = [dataSize / 4]string{"nr", "arch", "ip.lo", "ip.hi", "arg0.lo", "arg0.hi", "arg1.lo", "arg1.hi",
	"arg2.lo", "arg2.hi", "arg3.lo", "arg3.hi", "arg4.lo", "arg4.hi", "arg5.lo", "arg5.hi"}

// Disassemble returns the program as text, an instruction a line: index, operation, and for comparisons of numbers and
// for verdicts what they stand for. Invalid instructions are shown as such.
func (p Program) Disassemble() string {
	var b strings.Builder
	loaded := ""
	for i, in := range p {
		fmt.Fprintf(&b, "%4d  ", i)
		src := fmt.Sprintf("#%#x", in.K)
		if in.Code&srcX != 0 {
			src = "x"
		}
		if err := in.check(i, len(p)); err != nil {
			fmt.Fprintf(&b, ".inst %#04x, %d, %d, %#x   ; %v\n", in.Code, in.Jt, in.Jf, in.K, err)
			continue
		}
		switch in.Code {
		case opLoad:
			loaded = fields[in.K/4]
			fmt.Fprintf(&b, "ld %s", loaded)
		case opJa:
			fmt.Fprintf(&b, "ja %d", i+1+int(in.K))
		case opRet:
			fmt.Fprintf(&b, "ret %s", VerdictName(in.K))
		case opRetA:
			b.WriteString("ret a")
		case opImm:
			fmt.Fprintf(&b, "ld #%#x", in.K)
		case opImmX:
			fmt.Fprintf(&b, "ldx #%#x", in.K)
		case opLen:
			b.WriteString("ld len")
		case opLenX:
			b.WriteString("ldx len")
		case opMem:
			fmt.Fprintf(&b, "ld m[%d]", in.K)
		case opMemX:
			fmt.Fprintf(&b, "ldx m[%d]", in.K)
		case opSt:
			fmt.Fprintf(&b, "st m[%d]", in.K)
		case opStx:
			fmt.Fprintf(&b, "stx m[%d]", in.K)
		case opTax:
			b.WriteString("tax")
		case opTxa:
			b.WriteString("txa")
		case opNeg:
			b.WriteString("neg")
		default:
			if op, ok := aluOp(in.Code); ok {
				fmt.Fprintf(&b, "%s %s", op, src)
				break
			}
			op, _ := jumpOp(in.Code)
			fmt.Fprintf(&b, "%s %s, %d, %d", op, src, i+1+int(in.Jt), i+1+int(in.Jf))
			switch {
			case loaded == "nr" && in.Code&srcX == 0 && in.K < syscalls.Limit:
				fmt.Fprintf(&b, "   ; %s", syscalls.Name(int(in.K)))
			case loaded == "arch" && in.K == ArchX86_64:
				b.WriteString("   ; x86-64")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// VerdictName returns a verdict in words.
func VerdictName(v uint32) string {
	switch v & RetAction {
	case RetKillProcess:
		return "kill-process"
	case RetKillThread:
		return "kill-thread"
	case RetTrap:
		return "trap"
	case RetErrno:
		return Action{errnoFixed, uint16(v)}.String()
	case RetUserNotif:
		return "user-notif"
	case RetTrace:
		return fmt.Sprintf("trace:%d", v&RetData)
	case RetLog:
		return "log"
	case RetAllow:
		return "allow"
	}
	return fmt.Sprintf("%#x", v)
}
