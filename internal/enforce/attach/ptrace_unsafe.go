package attach

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// signalCode returns si_code of the signal that a thread, stopped for it, is about to get: positive if the kernel raised
// it for a fault.
func signalCode(tid int) (int32, error) {
	var info [128]byte // siginfo_t: si_signo, si_errno, si_code, ...
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETSIGINFO, uintptr(tid), 0, uintptr(unsafe.Pointer(&info[0])), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int32(binary.LittleEndian.Uint32(info[8:])), nil
}

// rseqArea returns the address of a stopped thread's struct rseq, 0 if it has registered none.
func rseqArea(tid int) (uint64, error) {
	var conf [24]byte // struct ptrace_rseq_configuration: pointer, size, signature, flags, pad
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_RSEQ_CONFIGURATION, uintptr(tid), uintptr(len(conf)),
		uintptr(unsafe.Pointer(&conf[0])), 0, 0)
	if e != 0 {
		return 0, e
	}
	return binary.LittleEndian.Uint64(conf[:]), nil
}
