package attach

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// stubText is the code's source; a test assembles it and compares.
const stubText = `
next:	pop rax			# number of the next call, -1 behind the last one
	test rax, rax
	js done
	pop rdi
	pop rsi
	pop rdx
	pop r10
	pop r8
	pop r9
	syscall
	jmp next
done:	pop rdi			# the thread's own registers
	pop rsi
	pop rdx
	pop r10
	pop r8
	pop r9
	pop rcx
	pop r11
	pop rax
	popfq
	ret 128			# to the thread's own place, skipping its red zone
`

// stub is the machine code. It is position-independent, uses no memory but what it pops, and touches neither vector
// registers nor rbx, rbp and r12 to r15. rsp never lies above what is still to be popped, so signal handlers may run on
// the thread's stack at any point of it.
var stub = []byte{
	0x58,             // pop rax
	0x48, 0x85, 0xc0, // test rax, rax
	0x78, 0x0d, // js done
	0x5f, 0x5e, 0x5a, // pop rdi, rsi, rdx
	0x41, 0x5a, 0x41, 0x58, 0x41, 0x59, // pop r10, r8, r9
	0x0f, 0x05, // syscall
	0xeb, 0xed, // jmp next
	0x5f, 0x5e, 0x5a, // done: pop rdi, rsi, rdx
	0x41, 0x5a, 0x41, 0x58, 0x41, 0x59, // pop r10, r8, r9
	0x59,       // pop rcx
	0x41, 0x5b, // pop r11
	0x58,             // pop rax
	0x9d,             // popfq
	0xc2, 0x80, 0x00, // ret 128
}

const (
	stubSyscallEnd = 17 // offset behind the syscall instruction
	redZone        = 128
	maxCalls       = 3
)

// call is a system call to be made.
type call struct {
	nr   int
	args [6]uint64
}

// Results of interrupted calls (include/linux/errno.h): the kernel's own, never seen by programs.
const (
	errRestartSys     = -512
	errRestartNoIntr  = -513
	errRestartNoHand  = -514
	errRestartBlock   = -516
	nrRestartSyscall  = 219
	nrRestartSyscall3 = 0 // of i386
)

// selfResume returns where and with what result the thread goes on if it has to restart an interrupted call by itself,
// without the kernel's help. entry are the two bytes before its instruction pointer.
func selfResume(r *unix.PtraceRegs, entry [2]byte) (rip, rax uint64, err error) {
	if int64(r.Orig_rax) < 0 {
		return r.Rip, r.Rax, nil
	}
	nr := r.Orig_rax
	switch int64(r.Rax) {
	case errRestartSys, errRestartNoIntr, errRestartNoHand:
	case errRestartBlock:
		nr = nrRestartSyscall
		if entry == [2]byte{0xcd, 0x80} {
			nr = nrRestartSyscall3
		}
	default:
		return r.Rip, r.Rax, nil
	}
	if entry != [2]byte{0x0f, 0x05} && entry != [2]byte{0xcd, 0x80} {
		return 0, 0, fmt.Errorf("interrupted call was not made by syscall or int 0x80 (bytes % x): %w", entry, ErrThread)
	}
	return r.Rip - 2, nr, nil
}

// frame returns what the code pops: the calls, then the registers of r with which the thread goes on at rip with result
// rax. It ends where the red zone of r begins.
func frame(r *unix.PtraceRegs, rip, rax uint64, calls []call) []byte {
	b := make([]byte, 0, 8*(7*maxCalls+12))
	put := func(vs ...uint64) {
		for _, v := range vs {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	for _, c := range calls {
		put(uint64(c.nr))
		put(c.args[:]...)
	}
	put(^uint64(0))
	put(r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9, r.Rcx, r.R11, rax, r.Eflags, rip)
	return b
}

// enter returns the registers with which the thread runs the code: those of r, with the stack pointer at base.
func enter(r *unix.PtraceRegs, code, base uint64) unix.PtraceRegs {
	const trapDirectionAlign = 0x100 | 0x400 | 0x40000
	in := *r
	in.Rip, in.Rsp = code, base
	in.Orig_rax = ^uint64(0) // nothing for the kernel to restart
	in.Rax = 0
	in.Eflags &^= trapDirectionAlign
	return in
}
