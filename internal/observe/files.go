package observe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"syspart/internal/image"
	"syspart/internal/proc"
	"syspart/internal/unwind"
)

// vdsoPath is what the kernel and we call the vDSO.
const vdsoPath = "[vdso]"

// maxVDSO bounds the image of the vDSO in bytes; it has two pages.
const maxVDSO = 1 << 20

// Files holds the unwind tables of files, for all processes that map them. It may be used by several goroutines at once.
type Files struct {
	mu     sync.Mutex
	opened map[fileKey]*code
	late   bool // see NewTables
}

// NewFiles returns an empty set.
func NewFiles() *Files { return &Files{opened: make(map[fileKey]*code)} }

// NewTables returns an empty set that reads of a file what says where it is mapped, and the rest when a stack leads there. It
// does not hold the contents of modules.
func NewTables() *Files { return &Files{opened: make(map[fileKey]*code), late: true} }

// fileKey identifies a file by what /proc/PID/maps says of it.
type fileKey struct {
	path, dev string
	inode     uint64
}

// code is a file with executable mappings.
type code struct {
	module   *unwind.Module // nil: no ELF file that we can read
	segments []image.Segment
	file     *image.File // nil if only tables are wanted
	buildID  string
	err      error // why module is nil
}

// as returns the module that a file is, mapped by the name of path.
func (c *code) as(path string) Module {
	m := Module{Path: path, BuildID: c.buildID}
	if c.file != nil {
		m.Data = c.file.Data()
	}
	return m
}

// count returns how many files have been opened.
func (fs *Files) count() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.opened)
}

// open returns the file behind an executable mapping of a process.
func (fs *Files) open(pid int, m *proc.Mapping) *code {
	key := fileKey{m.Path, m.Dev, m.Inode}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if c := fs.opened[key]; c != nil {
		return c
	}
	c := &code{}
	if m.Path == vdsoPath {
		c.all(m.Path, func() (*image.File, error) { return readVDSO(pid, m) })
	} else if fd, err := openMapped(pid, m); err != nil {
		c.err = err
	} else if !fs.late || c.later(m.Path, fd) != nil {
		c.all(m.Path, func() (*image.File, error) { return image.Read(fd) })
		fd.Close()
	}
	if c.err == nil || !errors.Is(c.err, os.ErrNotExist) && !errors.Is(c.err, proc.ErrGone) { // else: next time
		fs.opened[key] = c
	}
	return c
}

// all reads a file.
func (c *code) all(path string, read func() (*image.File, error)) {
	if c.file, c.err = read(); c.err != nil {
		return
	}
	c.segments = c.file.Segments
	var t *unwind.Table
	if t, c.err = unwind.NewTable(c.file); c.err == nil {
		c.module, c.buildID = &unwind.Module{Path: path, Table: t}, c.file.BuildID
	}
}

// later reads where a file's segments lie, and has the rest read when it is wanted. The file stays open until then.
func (c *code) later(path string, fd *os.File) (err error) {
	if c.segments, err = image.Segments(fd); err != nil {
		return err // as of one whose headers lie far behind
	}
	c.module = &unwind.Module{Path: path, Load: sync.OnceValues(func() (*unwind.Table, error) {
		defer fd.Close()
		f, err := image.Read(fd)
		if err != nil {
			return nil, err
		}
		return unwind.NewTable(f)
	})}
	return nil
}

// Segments returns the segments of the file behind a mapping of a process.
func (fs *Files) Segments(pid int, m *proc.Mapping) ([]image.Segment, error) {
	c := fs.open(pid, m)
	if c.segments == nil {
		if _, gone := proc.ReadStat(pid); gone != nil {
			return nil, gone
		}
		return nil, fmt.Errorf("process %d: %s: %w", pid, m.Path, c.err)
	}
	return c.segments, nil
}

// Prepare reads the tables of the file behind a mapping of a process now, not when a stack leads there.
func (fs *Files) Prepare(pid int, m *proc.Mapping) {
	if c := fs.open(pid, m); c.module != nil && c.module.Load != nil {
		_, _ = c.module.Load() // whoever needs them is told
	}
}

func readVDSO(pid int, m *proc.Mapping) (*image.File, error) {
	data := make([]byte, min(m.End-m.Start, maxVDSO))
	if n, err := proc.Memory(pid).ReadAt(data, int64(m.Start)); n < len(data) {
		// The process has ended. The kernel gives all 64-bit processes the same vDSO, so ours is as good.
		maps, ourErr := proc.ReadMaps(os.Getpid())
		i := slices.IndexFunc(maps, func(x proc.Mapping) bool { return x.Path == vdsoPath && x.End-x.Start == m.End-m.Start })
		if ourErr != nil || i < 0 {
			return nil, fmt.Errorf("vDSO: %w", err)
		}
		if n, err := proc.Memory(os.Getpid()).ReadAt(data, int64(maps[i].Start)); n < len(data) {
			return nil, fmt.Errorf("vDSO: %w", err)
		}
	}
	return image.Parse(vdsoPath, data)
}

// openMapped opens the very file that is mapped: by its name, as the process sees it or, if that has ended, as we do, if
// that still is the same file; else through the mapping.
func openMapped(pid int, m *proc.Mapping) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK // not to wait for a writer, should it be a FIFO
	named := proc.RootFile(pid, m.Path)
	if !m.Deleted {
		for _, path := range []string{named, m.Path} {
			if st, err := os.Stat(path); err == nil {
				if s, ok := st.Sys().(*syscall.Stat_t); ok && s.Ino == m.Inode {
					return os.OpenFile(path, flags, 0)
				}
			}
		}
	}
	f, err := os.OpenFile(proc.MapFile(pid, m), flags, 0)
	if err != nil && !m.Deleted { // not permitted; file systems such as overlayfs show other inode numbers
		return os.OpenFile(named, flags, 0)
	}
	return f, err
}

// readMapped is openMapped, and reads the file.
func readMapped(pid int, m *proc.Mapping) (*image.File, error) {
	fd, err := openMapped(pid, m)
	if err != nil {
		return nil, err
	}
	defer fd.Close()
	return image.Read(fd)
}
