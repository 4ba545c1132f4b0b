package observe

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"syspart/internal/image"
	"syspart/internal/proc"
	"syspart/internal/unwind"
)

// maxFrames bounds the depth of a stack. Servers' stacks have some tens of frames; recursive parsers hundreds.
const maxFrames = 512

// Process reads the stacks of one process's threads. It is not safe for concurrent use.
type Process struct {
	PID   int
	files *Files
	text  []byte // of /proc/PID/maps when last read
	space unwind.Space
	buf   []byte           // for the beginning of a stack
	codes map[string]*code // executable files ever seen mapped, by path
}

// OpenProcess reads the mappings of a process. files may be nil, or shared between processes.
func OpenProcess(pid int, files *Files) (*Process, error) {
	if files == nil {
		files = NewFiles()
	}
	p := newProcess(pid, files)
	if err := p.Refresh(); err != nil {
		return nil, err
	}
	return p, nil
}

func newProcess(pid int, files *Files) *Process {
	return &Process{PID: pid, files: files, codes: make(map[string]*code)}
}

// Refresh reads the mappings again.
func (p *Process) Refresh() error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.PID))
	if err != nil || len(text) == 0 { // empty: it has given up its memory
		return fmt.Errorf("process %d: maps: %w", p.PID, proc.ErrGone)
	}
	return p.setMaps(text)
}

// setMaps takes over the text of /proc/PID/maps.
func (p *Process) setMaps(text []byte) error {
	if bytes.Equal(text, p.text) {
		return nil
	}
	maps, err := proc.ParseMaps(text)
	if err != nil {
		return fmt.Errorf("process %d: maps: %w", p.PID, err)
	}
	p.text, p.space = text, p.space[:0:0]
	for i := range maps {
		m := &maps[i]
		if !m.Exec || m.Path != vdsoPath && m.Inode == 0 {
			continue
		}
		c := p.files.open(p.PID, m)
		if c.module == nil {
			continue
		}
		p.codes[m.Path] = c
		if va, ok := elfAddress(c.segments, m); ok {
			p.space = append(p.space, unwind.Mapping{Start: m.Start, End: m.End, VA: va, Module: c.module})
		}
	}
	return nil
}

// elfAddress returns the ELF virtual address of a mapping's first byte, by the segment that holds it in the file.
func elfAddress(segments []image.Segment, m *proc.Mapping) (uint64, bool) {
	for i := range segments {
		s := &segments[i]
		// A segment is mapped from the page on in which it begins, so its first byte may lie behind the mapping's.
		if s.Exec && m.Off < s.Off+s.FileSize && s.Off < m.Off+(m.End-m.Start) {
			return s.Start + m.Off - s.Off, true
		}
	}
	return 0, false
}

// Space returns the executable mappings.
func (p *Process) Space() unwind.Space { return p.space }

// Modules returns the files that were mapped executable whenever Refresh looked, sorted by path.
func (p *Process) Modules() []Module {
	var ms []Module
	for path, c := range p.codes {
		ms = append(ms, c.as(path))
	}
	slices.SortFunc(ms, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	return ms
}

// Bias returns the difference between addresses in the process and in a module's file; false if it is not mapped.
func (p *Process) Bias(module string) (uint64, bool) {
	for i := range p.space {
		if m := &p.space[i]; m.Module.Path == module {
			return m.Start - m.VA, true
		}
	}
	return 0, false
}

// Locate turns an address of the process into the module that is mapped there and the ELF virtual address in it.
func (p *Process) Locate(addr uint64) (module string, va uint64, ok bool) {
	m := p.space.Lookup(addr)
	if m == nil {
		return "", 0, false
	}
	return m.Module.Path, addr - m.Start + m.VA, true
}

// Stopped returns the stack of a thread that is stopped with these registers, read from memory now. The mappings are read
// again if the stack leads somewhere unknown.
func (p *Process) Stopped(regs *unix.PtraceRegs) Stack {
	r := unwind.Stopped(regs)
	res := p.walk(r, p.stackAt(r.Val[unwind.RSP]))
	st := toStack(&res)
	st.Running = int64(regs.Orig_rax) < 0
	return st
}

// walk unwinds, and does so again with fresh mappings if the stack leads to code that is not known.
func (p *Process) walk(regs unwind.Regs, mem io.ReaderAt) unwind.Result {
	res := p.space.Unwind(regs, mem, maxFrames)
	if !res.Complete && res.Need == 0 {
		before := p.text
		if p.Refresh() == nil && !bytes.Equal(before, p.text) {
			res = p.space.Unwind(regs, mem, maxFrames)
		}
	}
	return res
}

// firstRead is how much of a sleeping thread's stack is read at once; most stacks are shallower.
const firstRead = 8 << 10

// stackAt returns a view of the process's memory that reads ahead at the stack pointer. It is valid until the next call.
func (p *Process) stackAt(sp uint64) io.ReaderAt {
	if p.buf == nil {
		p.buf = make([]byte, firstRead)
	}
	n, _ := proc.Memory(p.PID).ReadAt(p.buf, int64(sp)) // short at the end of the stack
	return &stackCopy{base: sp, data: p.buf[:n], rest: proc.Memory(p.PID)}
}

// stackCopy is a copy of a piece of memory. What lies outside is asked of rest, if there is one.
type stackCopy struct {
	base uint64
	data []byte
	rest io.ReaderAt
}

// ReadAt implements io.ReaderAt; offsets are addresses.
func (s *stackCopy) ReadAt(b []byte, off int64) (int, error) {
	if at := uint64(off) - s.base; at <= uint64(len(s.data)) && uint64(len(b)) <= uint64(len(s.data))-at {
		return copy(b, s.data[at:]), nil
	}
	if s.rest == nil {
		return 0, io.ErrUnexpectedEOF
	}
	return s.rest.ReadAt(b, off)
}

// toStack turns a result of unwinding into ours.
func toStack(res *unwind.Result) Stack {
	st := Stack{Complete: res.Complete, Frames: make([]Frame, len(res.Frames))}
	for i := range res.Frames {
		f := &res.Frames[i]
		st.Frames[i] = Frame{Module: f.Module.Path, PC: f.PC, CFA: f.CFA, Func: f.Func, Signal: f.Signal}
	}
	return st
}
