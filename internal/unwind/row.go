package unwind

import (
	"slices"

	"syspart/internal/image"
)

// Call-frame instructions (DWARF 5, section 7.24; GNU ones: LSB, "DWARF Extensions").
const (
	cfaNop              = 0x00
	cfaSetLoc           = 0x01
	cfaAdvance1         = 0x02
	cfaAdvance2         = 0x03
	cfaAdvance4         = 0x04
	cfaOffsetExt        = 0x05
	cfaRestoreExt       = 0x06
	cfaUndefined        = 0x07
	cfaSameValue        = 0x08
	cfaRegister         = 0x09
	cfaRememberState    = 0x0a
	cfaRestoreState     = 0x0b
	cfaDefCFA           = 0x0c
	cfaDefCFARegister   = 0x0d
	cfaDefCFAOffset     = 0x0e
	cfaDefCFAExpr       = 0x0f
	cfaExpr             = 0x10
	cfaOffsetExtSF      = 0x11
	cfaDefCFASF         = 0x12
	cfaDefCFAOffsetSF   = 0x13
	cfaValOffset        = 0x14
	cfaValOffsetSF      = 0x15
	cfaValExpr          = 0x16
	cfaMIPSAdvance8     = 0x1d
	cfaGNUArgsSize      = 0x2e
	cfaGNUNegOffsetExt  = 0x2f
	cfaAdvance          = 0x40 // high two bits; the low six are the operand
	cfaOffset           = 0x80
	cfaRestore          = 0xc0
	maxRemembered       = 64
	maxCFI              = 1 << 16 // instructions of one entry
	maxFDEScan          = 16      // entries looked at for overlapping ranges
	maxRows             = 1 << 16 // rows kept in a cache
	defaultRuleCapacity = 8
)

// ruleKind is how the caller's value of a register is found (DWARF 5, section 6.4.1).
type ruleKind uint8

const (
	ruleUndefined ruleKind = iota
	ruleSame
	ruleOffset    // at CFA + off
	ruleValOffset // CFA + off
	ruleRegister  // in register src
	ruleExpr      // at the address that expr yields
	ruleValExpr   // what expr yields
)

type rule struct {
	reg, src uint8
	kind     ruleKind
	off      int64
	expr     []byte
}

// row is the rules for one address. Registers without a rule keep their value if calls preserve them, and are unknown
// otherwise.
type row struct {
	cfaExpr []byte
	cfaReg  uint8
	cfaOff  int64
	rules   []rule // at most one for a register
	ret     uint8  // return address column
	signal  bool
	start   uint64 // of the entry's range
}

// find returns the rule for a register, nil if there is none.
func (r *row) find(reg uint8) *rule {
	for i := range r.rules {
		if r.rules[i].reg == reg {
			return &r.rules[i]
		}
	}
	return nil
}

// put sets or replaces a rule. Rules for registers that we do not track (vector registers, flags) are dropped.
func (r *row) put(n rule) {
	if n.reg >= numRegs {
		return
	}
	if old := r.find(n.reg); old != nil {
		*old = n
		return
	}
	r.rules = append(r.rules, n)
}

// drop removes the rule for a register.
func (r *row) drop(reg uint8) {
	r.rules = slices.DeleteFunc(r.rules, func(x rule) bool { return x.reg == reg })
}

// compile runs the instructions of an entry up to address va.
func compile(cie *image.CIE, fde *image.FDE, va uint64) (*row, error) {
	r := &row{cfaReg: numRegs, ret: cie.RetReg, signal: cie.Signal, start: fde.Start, rules: make([]rule, 0, defaultRuleCapacity)}
	if cie.RetReg != RA {
		return nil, malformed("return address in column %d", cie.RetReg)
	}
	x := runner{row: r, cie: cie, loc: fde.Start, va: va}
	if err := x.run(cie.Insts); err != nil {
		return nil, err
	}
	// Rules that the CIE sets are what restore goes back to.
	x.initial = slices.Clone(r.rules)
	x.loc = fde.Start
	if err := x.run(fde.Insts); err != nil {
		return nil, err
	}
	return r, nil
}

// runner is the state of running call-frame instructions.
type runner struct {
	row        *row
	cie        *image.CIE
	loc, va    uint64
	initial    []rule
	remembered []row
}

// reg reads a register number; those that we do not track are folded into one.
func reg(c *cursor) uint8 { return uint8(min(c.uleb(), 0xff)) }

func (x *runner) run(insts []byte) error {
	c := &cursor{b: insts}
	for n := 0; c.left() > 0; n++ {
		if n == maxCFI {
			return malformed("more than %d instructions", maxCFI)
		}
		done, err := x.step(c)
		if err != nil {
			return err
		}
		if c.bad {
			return malformed("truncated instructions")
		}
		if done {
			return nil
		}
	}
	return nil
}

// advance moves the location and reports whether the row for the address sought is complete.
func (x *runner) advance(delta uint64) bool {
	to := x.loc + delta*x.cie.CodeAlign
	if to > x.va || to < x.loc {
		return true
	}
	x.loc = to
	return false
}

func (x *runner) step(c *cursor) (done bool, err error) {
	r, da := x.row, x.cie.DataAlign
	op := c.u8()
	low := op & 0x3f
	switch op & 0xc0 {
	case cfaAdvance:
		return x.advance(uint64(low)), nil
	case cfaOffset:
		r.put(rule{reg: low, kind: ruleOffset, off: int64(c.uleb()) * da})
		return false, nil
	case cfaRestore:
		x.restore(low)
		return false, nil
	}
	switch op {
	case cfaNop:
	case cfaAdvance1:
		return x.advance(uint64(c.u8())), nil
	case cfaAdvance2:
		return x.advance(uint64(c.u16())), nil
	case cfaAdvance4:
		return x.advance(uint64(c.u32())), nil
	case cfaMIPSAdvance8:
		return x.advance(c.u64()), nil
	case cfaOffsetExt:
		n := reg(c)
		r.put(rule{reg: n, kind: ruleOffset, off: int64(c.uleb()) * da})
	case cfaOffsetExtSF:
		n := reg(c)
		r.put(rule{reg: n, kind: ruleOffset, off: c.sleb() * da})
	case cfaGNUNegOffsetExt:
		n := reg(c)
		r.put(rule{reg: n, kind: ruleOffset, off: -int64(c.uleb()) * da})
	case cfaValOffset:
		n := reg(c)
		r.put(rule{reg: n, kind: ruleValOffset, off: int64(c.uleb()) * da})
	case cfaValOffsetSF:
		n := reg(c)
		r.put(rule{reg: n, kind: ruleValOffset, off: c.sleb() * da})
	case cfaRestoreExt:
		x.restore(reg(c))
	case cfaUndefined:
		r.put(rule{reg: reg(c), kind: ruleUndefined})
	case cfaSameValue:
		r.put(rule{reg: reg(c), kind: ruleSame})
	case cfaRegister:
		n := reg(c)
		r.put(rule{reg: n, kind: ruleRegister, src: reg(c)})
	case cfaExpr:
		n := reg(c)
		r.put(rule{reg: n, kind: ruleExpr, expr: c.take(c.uleb())})
	case cfaValExpr:
		n := reg(c)
		r.put(rule{reg: n, kind: ruleValExpr, expr: c.take(c.uleb())})
	case cfaRememberState:
		if len(x.remembered) == maxRemembered {
			return false, malformed("more than %d states remembered", maxRemembered)
		}
		saved := *r
		saved.rules = slices.Clone(r.rules)
		x.remembered = append(x.remembered, saved)
	case cfaRestoreState:
		n := len(x.remembered)
		if n == 0 {
			return false, malformed("no state to restore")
		}
		*r = x.remembered[n-1] // the CFA too, as GCC means it
		x.remembered = x.remembered[:n-1]
	case cfaDefCFA:
		r.cfaExpr, r.cfaReg = nil, reg(c)
		r.cfaOff = int64(c.uleb())
	case cfaDefCFASF:
		r.cfaExpr, r.cfaReg = nil, reg(c)
		r.cfaOff = c.sleb() * da
	case cfaDefCFARegister:
		r.cfaExpr, r.cfaReg = nil, reg(c)
	case cfaDefCFAOffset:
		r.cfaOff = int64(c.uleb())
	case cfaDefCFAOffsetSF:
		r.cfaOff = c.sleb() * da
	case cfaDefCFAExpr:
		r.cfaReg = numRegs
		if r.cfaExpr = c.take(c.uleb()); len(r.cfaExpr) == 0 {
			return false, malformed("empty expression")
		}
	case cfaGNUArgsSize:
		c.uleb() // concerns landing pads only
	case cfaSetLoc:
		return false, malformed("DW_CFA_set_loc")
	default:
		return false, malformed("instruction %#x", op)
	}
	return false, nil
}

// restore gives a register the rule that it had after the CIE's instructions.
func (x *runner) restore(n uint8) {
	for _, i := range x.initial {
		if i.reg == n {
			x.row.put(i)
			return
		}
	}
	x.row.drop(n)
}
