package stub

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"syspart/internal/decode"
	"syspart/internal/filter"
)

// Frame says where the return address of a frame lies and what it has to be.
type Frame struct {
	Return uint64 // address
	// Here: the return address lies in the stub's own module, and is compared by its distance.
	Here bool
	// Any: the return address lies in another module, whose place is not known, and is not compared.
	Any bool
	// The canonical frame address: Off bytes above the stack pointer or, if RBP, the frame pointer.
	RBP bool
	Off int32
	// Saved: the caller's frame pointer lies At bytes from the canonical frame address; else it is in the register.
	Saved bool
	At    int32
}

// Install is a filter and the stack below the loop that a thread must have to get it, innermost frame first.
type Install struct {
	Name    string // of the kind, for the message
	Mark    uint32 // of the filter, see filter.CompileMarked
	Program uint64 // address of the struct sock_fprog; 0 if the filter lies behind the stub
	// Filter are the instructions of the filter, to lie behind the stub: struct sock_filter, eight bytes each.
	Filter []byte
	Frames []Frame
}

// Failure says what a stub does when a filter cannot be installed, after a line on standard error.
type Failure uint8

const (
	Ends   Failure = iota // ends the process with status FailStatus
	Serves                // goes on without
)

// FailStatus is the exit status of a process in which a filter could not be installed.
const FailStatus = 125

const (
	// sockFilter is the size of a struct sock_filter.
	sockFilter = 8
	// redZone is what a function may keep below its stack pointer (AMD64 ABI, section 3.2.2).
	redZone = 128
)

// saved are the registers that a stub uses, in the order in which it pushes them.
var saved = []decode.Reg{decode.RAX, decode.RCX, decode.RDX, decode.RSI, decode.RDI, decode.R8, decode.R10, decode.R11}

// frameSize is how far a stub moves the stack pointer: the red zone, the flags and the registers.
var frameSize = int32(redZone + 8 + 8*len(saved))

// Code returns the stub for a point at run-time address at. Of several installs the first whose stack fits counts.
func (p *Point) Code(bias, at uint64, installs []Install, failure Failure) ([]byte, error) {
	insts, err := p.insts()
	if err != nil {
		return nil, err
	}
	e := emitter{assembler: assembler{base: at}, p: p, bias: bias, installs: installs, failure: failure}
	e.text = e.newLabel()
	for range installs {
		e.filters = append(e.filters, e.newLabel())
	}
	if p.Header {
		e.install()
		err = e.moved(insts, nil)
	} else {
		edges := make([]label, len(p.To))
		for i := range edges {
			edges[i] = e.newLabel()
		}
		err = e.moved(insts, edges)
		for i, l := range edges {
			e.bind(l)
			e.install()
			e.jmp(p.To[i] + bias)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Module, err)
	}
	e.data()
	b, err := e.finish()
	if err != nil {
		return nil, fmt.Errorf("%s %#x: %w", p.Module, p.Addr, err)
	}
	return b, nil
}

// emitter makes one stub.
type emitter struct {
	assembler
	p        *Point
	bias     uint64
	installs []Install
	failure  Failure
	text     label
	filters  []label
}

// moved appends the instructions that the jump has replaced. What leads to p.To[i] leads to edges[i].
func (e *emitter) moved(insts []decode.Inst, edges []label) error {
	p := e.p
	for i := range insts {
		in := &insts[i]
		err := e.move(p.bytes(in), in, e.bias, func(va uint64) (label, bool) {
			if i := slices.Index(p.To, va); i >= 0 && edges != nil {
				return edges[i], true
			}
			return 0, false
		}, p.Range)
		if err != nil {
			return err
		}
	}
	if last := &insts[len(insts)-1]; !ends(last) {
		if i := slices.Index(p.To, last.Next()); i >= 0 && edges != nil {
			e.jmpLabel(edges[i])
		} else {
			e.jmp(last.Next() + e.bias)
		}
	}
	return nil
}

// install appends the code that recognises the thread and has its filter installed if it does not carry it. Behind it
// everything is as before it.
func (e *emitter) install() {
	done, failed := e.newLabel(), e.newLabel()
	e.lea(decode.RSP, decode.RSP, -redZone)
	e.emit(0x9c) // pushfq
	for _, r := range saved {
		e.push(r)
	}
	for i := range e.installs {
		in := &e.installs[i]
		other := e.newLabel()
		for k := range in.Frames {
			e.frame(&in.Frames[k], k == 0, other)
		}
		e.prctl(filter.MarkOption, in.Mark)
		e.syscall()
		there := filter.MarkErrno
		e.emit(0x48, 0x3d) // cmp $-there,%rax
		e.imm32(uint32(-there))
		e.jccLabel(condE, done)
		e.prctl(unix.PR_SET_NO_NEW_PRIVS, 1)
		e.syscall()
		e.emit(0x48, 0x85, 0xc0) // test %rax,%rax
		e.jccLabel(condNE, failed)
		e.prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER)
		if in.Program != 0 {
			e.movImm64(decode.RDX, in.Program)
			e.syscall()
		} else { // a struct sock_fprog on the stack
			e.emit(0x48, 0x8d, 0x15) // lea filter(%rip),%rdx
			e.relLabel(e.filters[i])
			e.push(decode.RDX)
			e.emit(0x68) // push $length
			e.imm32(uint32(len(in.Filter) / sockFilter))
			e.mov(decode.RDX, decode.RSP)
			e.syscall()
			e.lea(decode.RSP, decode.RSP, 16)
		}
		e.emit(0x48, 0x85, 0xc0)
		e.jccLabel(condE, done)
		e.bind(failed)
		e.fail(done)
		failed = e.newLabel()
		e.bind(other)
	}
	e.bind(done)
	for _, r := range slices.Backward(saved) {
		e.pop(r)
	}
	e.emit(0x9d) // popfq
	e.lea(decode.RSP, decode.RSP, redZone)
}

// fail appends what happens if the kernel refuses.
func (e *emitter) fail(done label) {
	e.movImm(decode.RAX, unix.SYS_WRITE)
	e.movImm(decode.RDI, 2)
	e.emit(0x48, 0x8d, 0x35) // lea message(%rip),%rsi
	e.relLabel(e.text)
	e.movImm(decode.RDX, uint32(len(e.message())))
	e.syscall()
	if e.failure == Serves {
		e.jmpLabel(done)
		return
	}
	e.movImm(decode.RAX, unix.SYS_EXIT_GROUP)
	e.movImm(decode.RDI, FailStatus)
	e.syscall()
	e.emit(0x0f, 0x0b) // ud2
}

// message is what a thread says that cannot get its filter.
func (e *emitter) message() string {
	var names []string
	for i := range e.installs {
		names = append(names, e.installs[i].Name)
	}
	then := "the process ends"
	if e.failure == Serves {
		then = "it serves without"
	}
	return fmt.Sprintf("syspart: a thread (%s) cannot get its filter; %s\n", strings.Join(names, " or "), then)
}

// data appends what the code refers to.
func (e *emitter) data() {
	e.bind(e.text)
	e.emit([]byte(e.message())...)
	for i := range e.installs {
		if e.installs[i].Program == 0 {
			for len(e.b)%sockFilter != 0 {
				e.emit(0)
			}
		}
		e.bind(e.filters[i])
		e.emit(e.installs[i].Filter...)
	}
}

// frame compares one return address; if it is another, control goes to other. %rax is the canonical frame address, %rcx the
// frame pointer.
func (e *emitter) frame(f *Frame, first bool, other label) {
	switch {
	case f.RBP && first:
		e.lea(decode.RAX, decode.RBP, f.Off)
	case f.RBP:
		e.lea(decode.RAX, decode.RCX, f.Off)
	case first:
		e.lea(decode.RAX, decode.RSP, f.Off+frameSize)
	default:
		e.lea(decode.RAX, decode.RAX, f.Off)
	}
	switch {
	case f.Saved:
		e.load(decode.RCX, decode.RAX, f.At)
	case first:
		e.mov(decode.RCX, decode.RBP)
	}
	switch {
	case f.Any:
		return
	case f.Here:
		e.emit(0x48, 0x8d, 0x15) // lea return(%rip),%rdx
		e.rel32(f.Return)
	default:
		e.movImm64(decode.RDX, f.Return)
	}
	e.cmpMem(decode.RDX, decode.RAX, -8)
	e.jccLabel(condNE, other)
}

// prctl prepares a call with two arguments; the others are zero.
func (a *assembler) prctl(option, arg uint32) {
	a.movImm(decode.RAX, unix.SYS_PRCTL)
	a.movImm(decode.RDI, option)
	a.movImm(decode.RSI, arg)
	a.zero(decode.RDX)
	a.zero(decode.R10)
	a.zero(decode.R8)
}
