package observe

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"syspart/internal/image"
	"syspart/internal/proc"
)

// What a server asks the loader for, and what it executes, is seen at breakpoints on the entries of dlopen, dlsym, execve and
// their like, in the memory of its processes. They are set when the loader says that it has mapped something
// (_dl_debug_state, which it calls for debuggers) and are never lifted to step over them, which other threads would race:
// the instruction that a breakpoint hides is carried out on the registers of the stopped thread (step). A function that
// begins with another instruction than those gets none.
//
// A process with breakpoints must not live on without us. So they are set in servers only that we have started and end
// (Options.Kill), and which the kernel ends with us (proc.KillOnExit).

// Bounds of what is seen.
const (
	maxHits      = 20000 // calls seen of one function; behind that its breakpoints are removed
	maxArguments = 4096  // distinct arguments kept
)

// asked are the functions of libc, and of musl's loader, that get a breakpoint, with the register that holds the name.
var asked = map[string]func(r *unix.PtraceRegs) uint64{
	"dlopen":  func(r *unix.PtraceRegs) uint64 { return r.Rdi },
	"dlmopen": func(r *unix.PtraceRegs) uint64 { return r.Rsi },
	"dlsym":   func(r *unix.PtraceRegs) uint64 { return r.Rsi },
	"dlvsym":  func(r *unix.PtraceRegs) uint64 { return r.Rsi },
	"execve":  func(r *unix.PtraceRegs) uint64 { return r.Rdi },
}

// loaderHook is what loaders call when they have mapped or unmapped something (glibc elf/dl-debug.c, musl ldso/dynlink.c).
const loaderHook = "_dl_debug_state"

// spot is a place with a breakpoint.
type spot struct {
	name string // of the function
	addr uint64
	code [maxStep]byte // what stands there
	hits int
}

// breaks are the breakpoints of a process tree. It is used on the tracer's thread alone.
type breaks struct {
	spots map[uint64]*spot // by address, of all processes: forks share the addresses of their maker
	exes  map[int]string   // executables of processes that have them
	root  int
	files map[fileKey]map[string]uint64 // the functions that a file defines
}

func newBreaks() *breaks {
	return &breaks{spots: map[uint64]*spot{}, exes: map[int]string{}, files: map[fileKey]map[string]uint64{}}
}

// begin sets the first breakpoint in a process that has just executed the server's program, and whose loader has not run.
func (b *breaks) begin(c *proc.Conn, pid int) {
	if exe, _, err := proc.Exe(pid); err == nil {
		b.exes[pid] = exe
		b.arm(c, pid)
	}
}

// event follows the processes that have breakpoints: children have their maker's, and lose them when they execute another
// program than that.
func (b *breaks) event(c *proc.Conn, ev *proc.Event) {
	switch ev.Kind {
	case proc.EventFork, proc.EventVfork, proc.EventClone:
		if exe, ok := b.exes[ev.PID]; ok && ev.Child != 0 {
			b.exes[ev.Child] = exe
		}
	case proc.EventExec:
		was, ok := b.exes[ev.PID]
		delete(b.exes, ev.PID)
		if exe, _, err := proc.Exe(ev.PID); err == nil && (ev.PID == b.root || ok && exe == was) {
			b.begin(c, ev.PID)
		}
	}
}

// arm sets the breakpoints that a process lacks. One that cannot be set shows nothing.
func (b *breaks) arm(c *proc.Conn, pid int) {
	maps, err := proc.ReadMaps(pid)
	if err != nil {
		return
	}
	for i := range maps {
		m := &maps[i]
		name := filepath.Base(m.Path)
		if !m.Exec || m.Inode == 0 || !strings.HasPrefix(name, "ld-") && !strings.HasPrefix(name, "libc.") &&
			!strings.HasPrefix(name, "libc-") && !strings.HasPrefix(name, "libdl") {
			continue
		}
		for name, va := range b.functions(pid, m) {
			b.set(c, pid, name, m.Start+va)
		}
	}
}

// functions returns the functions in a mapping that are to get a breakpoint, as offsets from its beginning.
func (b *breaks) functions(pid int, m *proc.Mapping) map[string]uint64 {
	key := fileKey{m.Path, m.Dev, m.Inode}
	if l, ok := b.files[key]; ok {
		return l
	}
	l := map[string]uint64{}
	b.files[key] = l
	f, err := readMapped(pid, m)
	if err != nil {
		return l
	}
	start, ok := elfAddress(f.Segments, m)
	if !ok {
		return l
	}
	for i := range f.Dyn.Symbols {
		s := &f.Dyn.Symbols[i]
		if (asked[s.Name] != nil || s.Name == loaderHook) && isFunction(s) && s.Value >= start && s.Value-start < m.End-m.Start {
			l[s.Name] = s.Value - start
		}
	}
	return l
}

func isFunction(s *image.Symbol) bool { return !s.Undefined && s.Type == 2 }

// set sets one breakpoint, unless it is there.
func (b *breaks) set(c *proc.Conn, pid int, name string, addr uint64) {
	sp := &spot{name: name, addr: addr}
	if c.ReadMem(pid, addr, sp.code[:]) != nil || sp.code[0] == breakpoint {
		return
	}
	if old := b.spots[addr]; old != nil && old.name == name && old.code == sp.code {
		sp = old
	}
	var r unix.PtraceRegs
	if _, ok := step(&r, sp.code[:]); !ok || sp.hits >= maxHits {
		return
	}
	if c.WriteMem(pid, addr, []byte{breakpoint}) == nil {
		b.spots[addr] = sp
	}
}

// end takes all breakpoints away.
func (b *breaks) end(c *proc.Conn) {
	for pid := range b.exes {
		for addr, sp := range b.spots {
			var got [1]byte
			if c.ReadMem(pid, addr, got[:]) == nil && got[0] == breakpoint {
				_ = c.WriteMem(pid, addr, sp.code[:1]) // it has ended meanwhile
			}
		}
	}
}

// hit looks at a thread that a SIGTRAP has stopped. If one of our breakpoints is the cause, the thread is set behind it and
// ok is true; ch, if its kind is not 0, is what is to be noted.
func (b *breaks) hit(c *proc.Conn, ev *proc.Event) (ch change, ok bool) {
	regs, err := c.GetRegs(ev.TID)
	if err != nil {
		return ch, false
	}
	sp := b.spots[regs.Rip-1]
	if sp == nil {
		return ch, false
	}
	regs.Rip = sp.addr
	ch = b.look(c, ev, sp, regs)
	next := *regs
	mem, _ := step(&next, sp.code[:]) // it was looked at when it was set
	if mem.size < 0 {
		var top [8]byte
		if err = c.ReadMem(ev.PID, regs.Rsp, top[:]); err == nil {
			next.Rip = binary.LittleEndian.Uint64(top[:])
		}
	} else if mem.size > 0 {
		err = c.WriteMem(ev.PID, next.Rsp, binary.LittleEndian.AppendUint64(nil, mem.value))
	}
	if err == nil {
		err = c.SetRegs(ev.TID, &next)
	}
	return ch, err == nil
}

// look notes what a thread at the entry of a function is about to do.
func (b *breaks) look(c *proc.Conn, ev *proc.Event, sp *spot, regs *unix.PtraceRegs) (ch change) {
	if sp.name == loaderHook {
		b.arm(c, ev.PID)
		if text, err := os.ReadFile(procFile(ev.PID, "maps")); err == nil {
			ch = change{kind: mapped, pid: ev.PID, tid: ev.TID, maps: text}
		}
		return ch
	}
	if sp.hits++; sp.hits >= maxHits {
		_ = c.WriteMem(ev.PID, sp.addr, sp.code[:1]) // it is seen again, in vain, if it fails
		return ch
	}
	name := text(ev.PID, asked[sp.name](regs))
	if name == "" {
		return ch
	}
	ch = change{kind: named, pid: ev.PID, tid: ev.TID, what: sp.name, name: name}
	if sp.name == "execve" {
		ch.name += command(ev.PID, regs.Rsi)
		ch.maps, _ = os.ReadFile(procFile(ev.PID, "maps"))
		ch.fork = new(stopped)
		if ch.fork.copy(c, ev.PID, ev.TID) != nil {
			ch.kind = 0
		}
		ch.fork.regs.Rip = sp.addr
		return ch
	}
	var ret [8]byte
	if c.ReadMem(ev.PID, regs.Rsp, ret[:]) != nil {
		ch.kind = 0
	}
	ch.ret = binary.LittleEndian.Uint64(ret[:])
	return ch
}

// command returns what a shell is told to run, behind " -c ", if an argument vector is one of system or popen.
func command(pid int, argv uint64) string {
	var args [4 * 8]byte
	if _, err := proc.Memory(pid).ReadAt(args[:], int64(argv)); err != nil {
		return ""
	}
	arg := func(i int) string { return text(pid, binary.LittleEndian.Uint64(args[8*i:])) }
	if arg(1) != "-c" {
		return ""
	}
	line := arg(2)
	if line == "--" { // glibc from 2.38 on
		line = arg(3)
	}
	return " -c " + line
}

// text reads a string of at most PATH_MAX bytes; "" if there is none.
func text(pid int, addr uint64) string {
	var b []byte
	for len(b) < unix.PathMax {
		at := addr + uint64(len(b))
		part := make([]byte, 4096-at%4096)
		if n, err := proc.Memory(pid).ReadAt(part, int64(at)); n < len(part) && err != nil {
			return ""
		}
		if end := bytes.IndexByte(part, 0); end >= 0 {
			return string(append(b, part[:end]...))
		}
		b = append(b, part...)
	}
	return ""
}

// breakpoint is the instruction int3.
const breakpoint = 0xcc

// maxStep is the length of the longest instruction that step knows.
const maxStep = 6

// access is what a stepped instruction does to the top of the stack: nothing (size 0), it puts value there (8), or it takes
// the address to go on at from there (-8).
type access struct {
	size  int
	value uint64
}

// step carries out the instruction at the beginning of code on registers, if it is one of those that functions begin with:
// push, sub from rsp, moves between registers and of constants, endbr64, ret. Flags, which nobody reads there, stay as they
// are. The caller does what it says of memory.
func step(r *unix.PtraceRegs, code []byte) (mem access, ok bool) {
	regs := [16]*uint64{&r.Rax, &r.Rcx, &r.Rdx, &r.Rbx, &r.Rsp, &r.Rbp, &r.Rsi, &r.Rdi, &r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15}
	if bytes.HasPrefix(code, []byte{0xf3, 0x0f, 0x1e, 0xfa}) { // endbr64
		r.Rip += 4
		return mem, true
	}
	rex, n := byte(0), 0
	if code[0]&0xf0 == 0x40 {
		rex, n = code[0], 1
	}
	op, modrm := code[n], code[n+1]
	low := rex & 1 << 3
	switch {
	case op&0xf8 == 0x50 && rex&^1 == rex&0x40: // push
		mem = access{8, *regs[op&7|low]}
		r.Rsp -= 8
		n++
	case op&0xf8 == 0xb8 && rex&8 == 0 && len(code) >= n+5: // mov of a constant of 32 bits
		*regs[op&7|low] = uint64(binary.LittleEndian.Uint32(code[n+1:]))
		n += 5
	case op == 0x83 && modrm == 0xec && rex == 0x48: // sub rsp
		r.Rsp -= uint64(int64(int8(code[n+2])))
		n += 3
	case op == 0x89 && modrm >= 0xc0 && rex&8 != 0: // mov between registers
		*regs[modrm&7|low] = *regs[modrm>>3&7|rex&4<<1]
		n += 2
	case op == 0xc3 && rex == 0: // ret
		mem.size = -8
		r.Rsp += 8
		n++
	default:
		return mem, false
	}
	r.Rip += uint64(n)
	return mem, true
}
