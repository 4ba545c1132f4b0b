package unwind

import "fmt"

// Insts returns the rules for the instruction at va as call-frame instructions for an entry whose factors are 1 and -8, and
// that begins with the frame address 8 bytes above the stack pointer and the return address 8 bytes below it. Only what
// Simple takes, with other registers saved at multiples of 8 bytes below the frame address, can be said so; errors are those
// of Simple.
func (t *Table) Insts(va uint64) ([]byte, error) {
	s, err := t.Simple(va)
	if err != nil {
		return nil, err
	}
	r, err := t.row(va)
	if err != nil {
		return nil, err
	}
	if s.Off < 0 {
		return nil, fmt.Errorf("%#x: frame address below the register: %w", va, ErrFormat)
	}
	out := append([]byte{cfaDefCFA, r.cfaReg}, uleb(uint64(s.Off))...)
	for i := range r.rules {
		switch x := &r.rules[i]; {
		case x.reg == r.ret || x.kind == ruleSame:
		case x.kind == ruleUndefined:
			out = append(out, cfaUndefined, x.reg)
		case x.kind == ruleOffset && x.off < 0 && x.off%8 == 0:
			out = append(append(out, cfaOffset|x.reg), uleb(uint64(-x.off/8))...)
		default:
			return nil, fmt.Errorf("%#x: register %d in another place: %w", va, x.reg, ErrFormat)
		}
	}
	return out, nil
}

func uleb(v uint64) (b []byte) {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}
