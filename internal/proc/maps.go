package proc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Mapping is one line of /proc/PID/maps.
type Mapping struct {
	Start, End  uint64
	Off         uint64 // offset in the file
	Inode       uint64
	Dev         string // major:minor, hex
	Path        string // file, "[heap]", "[vdso]"..., "" if anonymous; without the mark of deleted files
	Deleted     bool   // the file has been removed or replaced
	Read, Write bool
	Exec        bool
	Shared      bool
}

// ReadMaps reads the mappings of a process, sorted by address.
func ReadMaps(pid int) ([]Mapping, error) {
	b, err := read(pid, "maps")
	if err != nil {
		return nil, err
	}
	if len(b) == 0 { // no memory any more: a zombie
		return nil, fmt.Errorf("process %d: maps: %w", pid, ErrGone)
	}
	m, err := ParseMaps(b)
	if err != nil {
		return nil, fmt.Errorf("process %d: maps: %w", pid, err)
	}
	return m, nil
}

// ParseMaps parses the contents of /proc/PID/maps. Newlines in file names stand there as \012.
func ParseMaps(b []byte) ([]Mapping, error) {
	maps := make([]Mapping, 0, bytes.Count(b, []byte{'\n'}))
	for line := range bytes.Lines(b) {
		s := strings.TrimSuffix(string(line), "\n")
		var f [5]string
		rest := s
		for i := range f {
			var ok bool
			if f[i], rest, ok = strings.Cut(rest, " "); !ok && i < 4 {
				return nil, fmt.Errorf("line %q: %w", s, ErrFormat)
			}
		}
		lo, hi, _ := strings.Cut(f[0], "-")
		m := Mapping{Dev: f[3]}
		var err [4]error
		m.Start, err[0] = strconv.ParseUint(lo, 16, 64)
		m.End, err[1] = strconv.ParseUint(hi, 16, 64)
		m.Off, err[2] = strconv.ParseUint(f[2], 16, 64)
		m.Inode, err[3] = strconv.ParseUint(f[4], 10, 64)
		if len(f[1]) != 4 || m.End < m.Start || err != [4]error{} {
			return nil, fmt.Errorf("line %q: %w", s, ErrFormat)
		}
		m.Read, m.Write, m.Exec, m.Shared = f[1][0] == 'r', f[1][1] == 'w', f[1][2] == 'x', f[1][3] == 's'
		m.Path = strings.ReplaceAll(strings.TrimLeft(rest, " "), `\012`, "\n")
		if m.Inode != 0 {
			m.Path, m.Deleted = strings.CutSuffix(m.Path, " (deleted)")
		}
		maps = append(maps, m)
	}
	return maps, nil
}

// MapFile names the link to the very file behind a mapping, which works after the file was removed or replaced, and across
// mount namespaces. It needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in the initial user namespace.
func MapFile(pid int, m *Mapping) string {
	return fmt.Sprintf("/proc/%d/map_files/%x-%x", pid, m.Start, m.End)
}

// RootFile names a file as the process sees it, in its own mount namespace and root directory.
func RootFile(pid int, path string) string { return fmt.Sprintf("/proc/%d/root%s", pid, path) }
