package stub

import (
	"fmt"

	"syspart/internal/decode"
)

// Answer returns a stub for a point at the entry of a function, at run-time address at: if the function's first argument is
// one of args, it returns 0 and does nothing else. Any other call goes on as before; of the registers only RAX has changed
// then, which no function that takes a fixed number of arguments reads, and the flags.
func (p *Point) Answer(bias, at uint64, args []uint64) ([]byte, error) {
	insts, err := p.insts()
	if err != nil {
		return nil, err
	}
	e := emitter{assembler: assembler{base: at}, p: p, bias: bias}
	zero := e.newLabel()
	for _, v := range args {
		e.movImm64(decode.RAX, v)
		e.emit(0x48, 0x39, 0xc7) // cmp %rax,%rdi
		e.jccLabel(condE, zero)
	}
	if err := e.moved(insts, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Module, err)
	}
	e.bind(zero)
	e.zero(decode.RAX)
	e.emit(0xc3) // ret
	b, err := e.finish()
	if err != nil {
		return nil, fmt.Errorf("%s %#x: %w", p.Module, p.Addr, err)
	}
	return b, nil
}
