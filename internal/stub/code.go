package stub

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"syspart/internal/decode"
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
	Program uint64 // address of the struct sock_fprog; 0 if the filter lies behind the stub
	// Filter are the instructions of the filter, to lie behind the stub: struct sock_filter, eight bytes each.
	Filter []byte
	Frames []Frame
}

// sockFilter is the size of a struct sock_filter.
const sockFilter = 8

// saved is how far the stub moves the stack pointer: the red zone, the flags and nine registers.
const saved = 128 + 8 + 9*8

// message is what a thread says that has to end.
const message = "syspart: a thread cannot get its filter; the process ends\n"

// failed is the exit status of such a process.
const failed = 125

// Code returns the stub for a point at run-time address at. Of several installs the first whose stack fits counts.
func (p *Point) Code(bias, at uint64, installs []Install) ([]byte, error) {
	a := &assembler{at: at}
	if err := p.moved(a, bias); err != nil {
		return nil, err
	}
	a.put(0x48, 0x8d, 0x64, 0x24, 0x80)                                                 // lea -0x80(%rsp),%rsp
	a.put(0x9c)                                                                         // pushfq
	a.put(0x50, 0x51, 0x52, 0x56, 0x57, 0x41, 0x50, 0x41, 0x51, 0x41, 0x52, 0x41, 0x53) // rax rcx rdx rsi rdi r8-r11
	var install, restore, installed, filters []int
	for i := range installs {
		var next []int
		in := &installs[i]
		for k := range in.Frames {
			if j := a.frame(&in.Frames[k], k == 0); j >= 0 {
				next = append(next, j)
			}
		}
		if in.Program == 0 {
			// A struct sock_fprog on the stack.
			a.put(0x4c, 0x8d, 0x0d) // lea filter(%rip),%r9
			filters = append(filters, a.hole())
			a.put(0x41, 0x51, 0x68) // push %r9; push $length
			a.u32(uint32(len(in.Filter) / sockFilter))
			a.put(0x49, 0x89, 0xe1) // mov %rsp,%r9
		} else {
			a.put(0x41, 0x51, 0x6a, 0) // push %r9; push $0: as many bytes
			a.put(0x49, 0xb9)          // movabs $program,%r9
			a.u64(in.Program)
		}
		install = append(install, a.jump(0xe9))
		for _, j := range next {
			a.here(j)
		}
	}
	restore = append(restore, a.jump(0xe9))
	for _, j := range install {
		a.here(j)
	}
	a.prctl(unix.PR_SET_NO_NEW_PRIVS, 1, false)
	a.prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, true)
	a.put(0x48, 0x85, 0xc0) // test %rax,%rax
	installed = append(installed, a.jump(0x0f, 0x84))
	// It may have one already, of which the kernel takes no more.
	a.prctl(unix.PR_GET_SECCOMP, 0, false)
	a.put(0x83, 0xf8, unix.SECCOMP_MODE_FILTER) // cmp $2,%eax
	installed = append(installed, a.jump(0x0f, 0x84))
	a.mov32(0xb8, unix.SYS_WRITE)
	a.mov32(0xbf, 2)
	a.put(0x48, 0x8d, 0x35) // lea message(%rip),%rsi
	text := a.hole()
	a.mov32(0xba, uint32(len(message)))
	a.put(0x0f, 0x05)
	a.mov32(0xb8, unix.SYS_EXIT_GROUP)
	a.mov32(0xbf, failed)
	a.put(0x0f, 0x05, 0x0f, 0x0b) // syscall; ud2
	for _, j := range installed {
		a.here(j)
	}
	a.put(0x48, 0x8d, 0x64, 0x24, 0x10) // lea 0x10(%rsp),%rsp
	for _, j := range restore {
		a.here(j)
	}
	a.put(0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58, 0x5f, 0x5e, 0x5a, 0x59, 0x58) // r11-r8 rdi rsi rdx rcx rax
	a.put(0x9d)                                                                         // popfq
	a.put(0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0)                                        // lea 0x80(%rsp),%rsp
	p.goOn(a, bias)
	a.here(text)
	a.b = append(a.b, message...)
	for i, n := 0, 0; i < len(installs); i++ {
		if installs[i].Program == 0 {
			for len(a.b)%sockFilter != 0 {
				a.put(0)
			}
			a.here(filters[n])
			n++
			a.b = append(a.b, installs[i].Filter...)
		}
	}
	if a.far {
		return nil, fmt.Errorf("%s %#x: %w: what it refers to is out of reach of %#x", p.Module, p.Addr, ErrPoint, at)
	}
	return a.b, nil
}

// moved puts the instructions that the jump has replaced, up to where control goes into the loop.
func (p *Point) moved(a *assembler, bias uint64) error {
	insts, err := read(p.Old, p.Addr, p.Addr+uint64(len(p.Old)))
	if err != nil {
		return err
	}
	last := &insts[len(insts)-1]
	w, err := how(last, p.Loop)
	if err != nil {
		return err
	}
	for i := range insts {
		in := &insts[i]
		code := p.Old[in.Addr-p.Addr:][:in.Len]
		if in == last && w != falls {
			break
		}
		if err := movable(in, code); err != nil {
			return err
		}
		n := len(a.b)
		a.b = append(a.b, code...)
		if in.Flags&decode.HasMem != 0 && in.Base == decode.RIP {
			at, _ := displacement(in, code)
			a.rel32(n+at, int64(uint64(in.Disp)+bias)-int64(a.at+uint64(len(a.b))))
		}
	}
	switch {
	case p.Also != 0: // see goOn
		return nil
	case w == taken:
		j := a.jump(0x0f, 0x80|last.Cond)
		a.to(last.Next()+bias, 0xe9)
		a.here(j)
	case w == through:
		a.to(uint64(last.Imm)+bias, 0x0f, 0x80|last.Cond)
	}
	return nil
}

// goOn puts the way into the loop.
func (p *Point) goOn(a *assembler, bias uint64) {
	if p.Also != 0 {
		insts, _ := read(p.Old, p.Addr, p.Addr+uint64(len(p.Old))) // moved has read them
		last := &insts[len(insts)-1]
		a.to(uint64(last.Imm)+bias, 0x0f, 0x80|last.Cond)
		a.to(last.Next()+bias, 0xe9)
		return
	}
	a.to(p.Loop+bias, 0xe9)
}

// frame compares one return address; it returns the jump that is taken if it is another,
// -1 if it is not compared. %rax is the canonical frame
// address, %rcx the frame pointer.
func (a *assembler) frame(f *Frame, first bool) int {
	switch {
	case f.RBP && first:
		a.put(0x48, 0x8d, 0x85) // lea off(%rbp),%rax
		a.u32(uint32(f.Off))
	case f.RBP:
		a.put(0x48, 0x8d, 0x81) // lea off(%rcx),%rax
		a.u32(uint32(f.Off))
	case first:
		a.put(0x48, 0x8d, 0x84, 0x24) // lea off(%rsp),%rax
		a.u32(uint32(f.Off + saved))
	default:
		a.put(0x48, 0x8d, 0x80) // lea off(%rax),%rax
		a.u32(uint32(f.Off))
	}
	switch {
	case f.Saved:
		a.put(0x48, 0x8b, 0x88) // mov at(%rax),%rcx
		a.u32(uint32(f.At))
	case first:
		a.put(0x48, 0x89, 0xe9) // mov %rbp,%rcx
	}
	switch {
	case f.Any:
		return -1
	case f.Here:
		a.to(f.Return, 0x48, 0x8d, 0x15) // lea return(%rip),%rdx
	default:
		a.put(0x48, 0xba) // movabs $return,%rdx
		a.u64(f.Return)
	}
	a.put(0x48, 0x39, 0x50, 0xf8) // cmp %rdx,-8(%rax)
	return a.jump(0x0f, 0x85)
}

// assembler collects code for an address.
type assembler struct {
	at  uint64
	b   []byte
	far bool
}

func (a *assembler) put(b ...byte) { a.b = append(a.b, b...) }
func (a *assembler) u32(v uint32)  { a.b = binary.LittleEndian.AppendUint32(a.b, v) }
func (a *assembler) u64(v uint64)  { a.b = binary.LittleEndian.AppendUint64(a.b, v) }

// mov32 sets a register by the one-byte form of mov.
func (a *assembler) mov32(op byte, v uint32) {
	a.put(op)
	a.u32(v)
}

// hole leaves room for four bytes relative to their end.
func (a *assembler) hole() int {
	a.u32(0)
	return len(a.b)
}

// jump puts a jump to a place that here will tell.
func (a *assembler) jump(op ...byte) int {
	a.put(op...)
	return a.hole()
}

// here lets a jump lead to the place that comes next.
func (a *assembler) here(j int) { a.rel32(j-4, int64(len(a.b)-j)) }

// to puts a jump to an address.
func (a *assembler) to(va uint64, op ...byte) {
	j := a.jump(op...)
	a.rel32(j-4, int64(va)-int64(a.at+uint64(j)))
}

func (a *assembler) rel32(at int, v int64) {
	a.far = a.far || v != int64(int32(v))
	binary.LittleEndian.PutUint32(a.b[at:], uint32(v))
}

// prctl puts a call of prctl(option, arg, 0, 0, 0); program: with the address in %r9 as third argument.
func (a *assembler) prctl(option, arg uint32, program bool) {
	a.mov32(0xb8, unix.SYS_PRCTL)
	a.mov32(0xbf, option)
	a.mov32(0xbe, arg)
	if program {
		a.put(0x4c, 0x89, 0xca) // mov %r9,%rdx
	} else {
		a.put(0x31, 0xd2) // xor %edx,%edx
	}
	a.put(0x45, 0x31, 0xd2, 0x45, 0x31, 0xc0) // xor %r10d,%r10d; xor %r8d,%r8d
	a.put(0x0f, 0x05)
}
