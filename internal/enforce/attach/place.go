package attach

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"syspart/internal/enforce"
	"syspart/internal/image"
	"syspart/internal/observe"
	"syspart/internal/proc"
)

// tail is a run of unused executable bytes.
type tail struct{ start, end uint64 }

// findCode finds the code that an earlier attempt left, or room for it, in the executable files of a process. ready says
// that the code is there already. Candidates are tried in the order of their addresses, so that every process and every
// attempt finds the same.
func findCode(pid int, maps []proc.Mapping, files *observe.Files) (addr uint64, ready bool, err error) {
	code := false
	for i := range maps {
		m := &maps[i]
		if !m.Exec || m.Shared || m.Inode == 0 || m.Path == "" {
			continue
		}
		code = true
		segments, err := files.Segments(pid, m)
		if err != nil {
			if errors.Is(err, proc.ErrGone) {
				return 0, false, err
			}
			continue // a file that cannot be read offers no room
		}
		t, ok := tailOf(m, segments)
		if !ok {
			continue
		}
		b := make([]byte, t.end-t.start)
		if _, err := proc.Memory(pid).ReadAt(b, int64(t.start)); err != nil {
			return 0, false, err
		}
		if bytes.Equal(b[:len(stub)], stub) {
			return t.start, true, nil
		}
		// An attempt that was cut short may have left the first part of the code.
		for n := len(stub) - 1; n >= 0; n-- {
			if bytes.Equal(b[:n], stub[:n]) && allZero(b[n:]) {
				return t.start, false, nil
			}
		}
	}
	if !code { // it ends, and its memory goes first
		return 0, false, fmt.Errorf("process %d: %w", pid, proc.ErrGone)
	}
	return 0, false, fmt.Errorf("process %d: %w; harden its files instead", pid, ErrNoRoom)
}

// tailOf returns the bytes of a mapping that lie behind the end of the file's executable segment, on its last page. They
// are mapped because pages are whole, and nothing refers to them.
func tailOf(m *proc.Mapping, segments []image.Segment) (tail, bool) {
	for _, s := range segments {
		end := s.Off + s.FileSize
		if !s.Exec || s.End-s.Start > s.FileSize || end <= m.Off || end-m.Off >= m.End-m.Start {
			continue
		}
		// 16 bytes apart from the last instruction and aligned.
		start := (m.Start + (end - m.Off) + 16 + 15) &^ 15
		if last := m.End; start+uint64(len(stub)) <= last && last-start < 1<<16 {
			return tail{start, last}, true
		}
	}
	return tail{}, false
}

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// putCode makes sure that the code is in the process; thread tid of it is stopped.
func putCode(c *proc.Conn, pid, tid int, maps []proc.Mapping, files *observe.Files) (uint64, error) {
	addr, ready, err := findCode(pid, maps, files)
	if err != nil || ready {
		return addr, err
	}
	return addr, write(c, pid, tid, addr, stub)
}

// write writes memory of a process, read-only private mappings too. Kernels can forbid that to /proc/PID/mem; what the
// tracer pokes is always written.
func write(c *proc.Conn, pid, tid int, addr uint64, b []byte) error {
	if c.WriteMem(pid, addr, b) != nil {
		if _, err := unix.PtracePokeData(tid, uintptr(addr), b); err != nil {
			return fmt.Errorf("thread %d: write memory at %#x: %w", tid, addr, err)
		}
	}
	back := make([]byte, len(b))
	if err := c.ReadMem(pid, addr, back); err != nil {
		return err
	}
	if !bytes.Equal(back, b) {
		return fmt.Errorf("thread %d: memory at %#x does not keep what is written: %w", tid, addr, ErrThread)
	}
	return nil
}

// blobMagic starts the mapping that holds a plan's filters.
const blobMagic = "syspart filters\x00"

const pageSize = 4096

// blob lays out the filters of a plan for a mapping at address base: the magic, a struct sock_fprog for each kind, the
// filters. It returns the addresses of the sock_fprogs too.
func blob(p *enforce.Plan, base uint64) (b []byte, programs []uint64) {
	off := len(blobMagic) + 16*len(p.Kinds)
	head := []byte(blobMagic)
	var body []byte
	for i := range p.Kinds {
		f := p.Kinds[i].Filter
		programs = append(programs, base+uint64(len(head)))
		head = binary.LittleEndian.AppendUint64(head, uint64(len(f))) // unsigned short len, padding
		head = binary.LittleEndian.AppendUint64(head, base+uint64(off+len(body)))
		body = append(body, f.Encode()...)
	}
	b = append(head, body...)
	return append(b, make([]byte, -len(b)&(pageSize-1))...), programs
}

// findBlob finds the mapping that an earlier installation of the same plan made in this process or in one it was forked
// from.
func findBlob(pid int, maps []proc.Mapping, p *enforce.Plan) []uint64 {
	want, _ := blob(p, 0)
	got := make([]byte, len(want))
	for i := range maps {
		m := &maps[i]
		// Neighbouring mappings of the same kind may have been merged by the kernel: look at the start of every page.
		if m.Write || m.Exec || m.Shared || m.Inode != 0 || m.Path != "" || m.End-m.Start > 64*pageSize {
			continue
		}
		for at := m.Start; at+uint64(len(want)) <= m.End; at += pageSize {
			if _, err := proc.Memory(pid).ReadAt(got, int64(at)); err != nil {
				break
			}
			want, programs := blob(p, at)
			if bytes.Equal(got, want) {
				return programs
			}
		}
	}
	return nil
}

// mapBlob is the call that makes the mapping.
func mapBlob(size int) call {
	fd := -1
	return call{unix.SYS_MMAP, [6]uint64{0, uint64(size), unix.PROT_READ, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, uint64(fd), 0}}
}

// putBlob has the thread, which is stopped, map the filters, and writes them.
func (t *target) putBlob(p *enforce.Plan) ([]uint64, error) {
	b, _ := blob(p, 0)
	rets, err := t.perform(mapBlob(len(b)))
	if err != nil {
		return nil, err
	}
	if base := rets[0]; base < 0 && base > -pageSize {
		return nil, fmt.Errorf("thread %d: mmap: %w", t.tid, unix.Errno(-base))
	}
	b, programs := blob(p, uint64(rets[0]))
	return programs, write(t.c, t.pid, t.tid, uint64(rets[0]), b)
}
