package proc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// file names a file of a process. Threads have directories of their own under /proc, though it does not list them.
func file(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// read reads a whole file of a process.
func read(pid int, name string) ([]byte, error) {
	b, err := os.ReadFile(file(pid, name))
	if err != nil {
		return nil, wrap(pid, name, err)
	}
	return b, nil
}

// numbers lists the entries of a directory that are decimal numbers, sorted.
func numbers(dir string) ([]int, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	ids := make([]int, 0, len(names))
	for _, n := range names {
		if id, err := strconv.Atoi(n); err == nil && id > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Tasks returns the thread ids of a process, sorted.
func Tasks(pid int) ([]int, error) {
	ids, err := numbers(file(pid, "task"))
	if err != nil {
		return nil, wrap(pid, "task", err)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("process %d: task: %w", pid, ErrGone)
	}
	return ids, nil
}

// Processes returns the ids of all processes, sorted.
func Processes() ([]int, error) { return numbers("/proc") }

// Children returns pid and all its living descendants, parents before their children, else sorted by id.
func Children(pid int) ([]int, error) {
	if _, err := ReadStat(pid); err != nil {
		return nil, err
	}
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	kids := make(map[int][]int)
	for _, p := range all {
		if st, err := ReadStat(p); err == nil { // others vanish all the time
			kids[st.PPID] = append(kids[st.PPID], p)
		}
	}
	tree := []int{pid}
	for i := 0; i < len(tree); i++ {
		for _, k := range kids[tree[i]] {
			if !slices.Contains(tree, k) { // ids may have been reused while we looked
				tree = append(tree, k)
			}
		}
	}
	return tree, nil
}

// Status is what we use of /proc/PID/status.
type Status struct {
	Name      string
	State     byte // R, S, D, T, t, Z, X, I...
	TGID      int  // id of the process
	PPID      int
	TracerPID int
	UID       int // real user id
	EUID      int // effective user id
	Threads   int
	// Signal sets, bit n-1 for signal n: pending for the thread, for the process, blocked, ignored, caught.
	SigPending, SharedPending, SigBlocked, SigIgnored, SigCaught uint64
	NoNewPrivs                                                   bool
	Seccomp                                                      int // mode: 0 none, 1 strict, 2 filter
	SeccompFilters                                               int // number of filters, -1 if the kernel does not say
}

// ReadStatus reads /proc/PID/status; id may be a thread's.
func ReadStatus(id int) (*Status, error) {
	b, err := read(id, "status")
	if err != nil {
		return nil, err
	}
	st, err := ParseStatus(b)
	if err != nil {
		return nil, fmt.Errorf("process %d: status: %w", id, err)
	}
	return st, nil
}

// ParseStatus parses the contents of /proc/PID/status.
func ParseStatus(b []byte) (*Status, error) {
	st := &Status{SeccompFilters: -1}
	for line := range bytes.Lines(b) {
		key, val, ok := strings.Cut(strings.TrimRight(string(line), "\n"), ":")
		if !ok {
			return nil, fmt.Errorf("line %q: %w", line, ErrFormat)
		}
		val = strings.TrimSpace(val)
		var err error
		num := func(p *int) { *p, err = strconv.Atoi(val) }
		set := func(p *uint64) { *p, err = strconv.ParseUint(val, 16, 64) }
		switch key {
		case "Name":
			st.Name = val
		case "State":
			if val != "" {
				st.State = val[0]
			}
		case "Tgid":
			num(&st.TGID)
		case "PPid":
			num(&st.PPID)
		case "TracerPid":
			num(&st.TracerPID)
		case "Uid":
			_, err = fmt.Sscan(val, &st.UID, &st.EUID)
		case "Threads":
			num(&st.Threads)
		case "SigPnd":
			set(&st.SigPending)
		case "ShdPnd":
			set(&st.SharedPending)
		case "SigBlk":
			set(&st.SigBlocked)
		case "SigIgn":
			set(&st.SigIgnored)
		case "SigCgt":
			set(&st.SigCaught)
		case "NoNewPrivs":
			st.NoNewPrivs = val == "1"
		case "Seccomp":
			num(&st.Seccomp)
		case "Seccomp_filters":
			num(&st.SeccompFilters)
		}
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", key, val, ErrFormat)
		}
	}
	if st.State == 0 || st.TGID == 0 {
		return nil, fmt.Errorf("no State or Tgid: %w", ErrFormat)
	}
	return st, nil
}

// Stat is what we use of /proc/PID/stat.
type Stat struct {
	Comm  string
	State byte
	PPID  int
	// Threads is how many threads the process has, a first one that has ended before others included; 0 for a moment when it is waited for.
	Threads int
	// Start is when the process started, in clock ticks since boot; with the id it identifies a process.
	Start uint64
}

// ReadStat reads /proc/PID/stat; id may be a thread's.
func ReadStat(id int) (*Stat, error) {
	b, err := read(id, "stat")
	if err != nil {
		return nil, err
	}
	st, err := ParseStat(b)
	if err != nil {
		return nil, fmt.Errorf("process %d: stat: %w", id, err)
	}
	return st, nil
}

// ParseStat parses the contents of /proc/PID/stat. The command's name stands in parentheses and may hold any byte.
func ParseStat(b []byte) (*Stat, error) {
	i, j := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if i < 0 || j < i {
		return nil, fmt.Errorf("no command: %w", ErrFormat)
	}
	f := strings.Fields(string(b[j+1:]))
	if len(f) < 20 || len(f[0]) != 1 || f[0][0] <= ' ' {
		return nil, fmt.Errorf("%d fields: %w", len(f), ErrFormat)
	}
	ppid, err1 := strconv.Atoi(f[1])
	threads, err2 := strconv.Atoi(f[17])
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, fmt.Errorf("parent %q, threads %q, start %q: %w", f[1], f[17], f[19], ErrFormat)
	}
	return &Stat{Comm: string(b[i+1 : j]), State: f[0][0], PPID: ppid, Threads: threads, Start: start}, nil
}

// Ended reports whether a process has ended, waited for or not. A first thread that has ended does not say so: others may
// go on, and while one of them executes a program the first one is a zombie until that takes its place.
func (s *Stat) Ended() bool { return (s.State == 'Z' || s.State == 'X') && s.Threads == 1 }

// Comm returns a thread's name.
func Comm(tid int) (string, error) {
	b, err := read(tid, "comm")
	return strings.TrimSuffix(string(b), "\n"), err
}

// Exe returns the file that a process executes, as the kernel resolved it. A file that was replaced or removed since keeps
// its name; deleted says so.
func Exe(pid int) (path string, deleted bool, err error) {
	path, err = os.Readlink(file(pid, "exe"))
	if err != nil {
		return "", false, wrap(pid, "exe", err)
	}
	path, deleted = strings.CutSuffix(path, " (deleted)")
	return path, deleted, nil
}

// Auxv is the auxiliary vector, by type (getauxval(3)).
type Auxv map[uint64]uint64

// Types of the auxiliary vector that we use (include/uapi/linux/auxvec.h).
const (
	AuxPhdr      = 3 // address of the program's headers
	AuxPhnum     = 5 // how many there are
	AuxEntry     = 9
	AuxRandom    = 25 // address of 16 random bytes
	AuxSysinfo   = 33 // address of the vDSO
	AuxExecFn    = 31 // address of the name given to execve
	auxvMaxBytes = 4096
)

// ReadAuxv reads /proc/PID/auxv.
func ReadAuxv(pid int) (Auxv, error) {
	b, err := read(pid, "auxv")
	if err != nil {
		return nil, err
	}
	a := make(Auxv)
	for b = b[:min(len(b), auxvMaxBytes)]; len(b) >= 16; b = b[16:] {
		k := binary.LittleEndian.Uint64(b)
		if k == 0 {
			break
		}
		a[k] = binary.LittleEndian.Uint64(b[8:])
	}
	return a, nil
}

// ExecFile returns the name that was given to execve, made absolute by the working directory: for a script, the script,
// while Exe is its interpreter. To be asked while the process is stopped behind its exec.
func ExecFile(pid int) (string, error) {
	aux, err := ReadAuxv(pid)
	if err != nil {
		return "", err
	}
	buf := make([]byte, unix.PathMax)
	n, err := Memory(pid).ReadAt(buf, int64(aux[AuxExecFn]))
	name, _, ok := strings.Cut(string(buf[:n]), "\x00")
	if !ok || name == "" {
		if err == nil {
			err = ErrFormat
		}
		return "", fmt.Errorf("process %d: name executed: %w", pid, err)
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	cwd, err := os.Readlink(file(pid, "cwd"))
	if err != nil {
		return "", wrap(pid, "cwd", err)
	}
	return filepath.Join(cwd, name), nil
}
