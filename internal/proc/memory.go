package proc

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Memory is the memory of the process (or thread) with that id. It holds no descriptor. Reading is one process_vm_readv;
// where that is not available, /proc/PID/mem.
type Memory int

// ReadAt reads len(b) bytes at address off. Short reads, at the end of what is mapped, return io.ErrUnexpectedEOF.
func (m Memory) ReadAt(b []byte, off int64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	remote := []unix.RemoteIovec{{Base: uintptr(off), Len: len(b)}}
	n, err := unix.ProcessVMReadv(int(m), local, remote, 0)
	switch err {
	case nil:
		if n < len(b) {
			return n, fmt.Errorf("process %d: memory at %#x: %w", int(m), uint64(off)+uint64(n), io.ErrUnexpectedEOF)
		}
		return n, nil
	case unix.ENOSYS, unix.EPERM: // closed by a seccomp filter around us: the file may still be open to us
		return m.readFile(b, off)
	}
	return max(n, 0), wrap(int(m), fmt.Sprintf("memory at %#x", uint64(off)), err)
}

func (m Memory) readFile(b []byte, off int64) (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", int(m)))
	if err != nil {
		return 0, wrap(int(m), "memory", err)
	}
	defer f.Close()
	n, err := unix.Pread(int(f.Fd()), b, off)
	if err != nil {
		return 0, wrap(int(m), fmt.Sprintf("memory at %#x", uint64(off)), err)
	}
	if n < len(b) {
		return n, fmt.Errorf("process %d: memory at %#x: %w", int(m), uint64(off)+uint64(n), io.ErrUnexpectedEOF)
	}
	return n, nil
}

// WriteAt writes b at address off through /proc/PID/mem, into read-only private mappings too. Kernels may allow that to
// the tracer's thread only (Documentation/admin-guide/kernel-parameters.txt, proc_mem.force_override).
func (m Memory) WriteAt(b []byte, off int64) (int, error) {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", int(m)), os.O_RDWR, 0)
	if err != nil {
		return 0, wrap(int(m), "memory", err)
	}
	defer f.Close()
	for n := 0; n < len(b); {
		k, err := unix.Pwrite(int(f.Fd()), b[n:], off+int64(n))
		if err != nil {
			return n, wrap(int(m), fmt.Sprintf("write memory at %#x", uint64(off)+uint64(n)), err)
		}
		if k == 0 {
			return n, fmt.Errorf("process %d: write memory at %#x: %w", int(m), uint64(off)+uint64(n), io.ErrShortWrite)
		}
		n += k
	}
	return len(b), nil
}
