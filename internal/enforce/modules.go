package enforce

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"syspart/internal/image"
	"syspart/internal/proc"
)

// ModuleError says that a process runs code that the plan's filters were not computed from.
type ModuleError struct {
	PID  int
	Path string
	Why  string // what differs
}

func (e *ModuleError) Error() string {
	return fmt.Sprintf("process %d: module %s: %s; profile the server again", e.PID, e.Path, e.Why)
}

// Is makes a ModuleError match ErrModule.
func (e *ModuleError) Is(target error) bool { return target == ErrModule }

// Verifier checks that processes run the code that a plan was made for. It remembers the files that it has read, so that
// asking again is cheap. It may be used by several goroutines.
type Verifier struct {
	// Anonymous accepts executable memory that no ELF file is behind, which no analysis has seen: code of just-in-time compilers,
	// in files of their own or in none, and a Lisp's.
	Anonymous bool
	// Own, if set, says which of such memory is the installer's own.
	Own func(pid int, m *proc.Mapping) bool

	// Admit, if set, judges a file that is not in the plan; nil lets it pass. It is asked once for each contents.
	Admit func(path string, data []byte) error

	want map[string]string // path to SHA-256
	have map[string]bool   // the SHA-256s
	mu   sync.Mutex
	sums map[fileID]string
	// judged are the SHA-256s that Admit was asked about.
	judged map[string]error
}

// fileID identifies the contents of a file: a file written to in place gets another change time.
type fileID struct {
	dev, ino     uint64
	size         int64
	ctime, cnsec int64
}

// NewVerifier returns a verifier for the plan.
func NewVerifier(p *Plan) *Verifier {
	v := &Verifier{want: make(map[string]string, len(p.Modules)), have: make(map[string]bool), sums: make(map[fileID]string),
		judged: make(map[string]error)}
	for _, m := range p.Modules {
		if !m.Removed { // else there may be anything
			v.want[m.Path] = m.SHA256
		}
		v.have[m.SHA256] = true
	}
	return v
}

// Verify checks every file that the process has mapped executable: it must be in the plan, with the contents stated, or be
// admitted. An executable mapping without a file, or of a file that is neither ELF nor in the plan, is refused, too, unless
// Anonymous is set: code made at run time was not analysed. The vDSO and the kernel's vsyscall page are the running kernel's and
// pass. Errors: *ModuleError, or proc's.
func (v *Verifier) Verify(pid int) error {
	maps, err := proc.ReadMaps(pid)
	if err != nil {
		return err
	}
	for i := range maps {
		m := &maps[i]
		if !m.Exec || m.Path == "[vdso]" || m.Path == "[vsyscall]" || m.Path == "[uprobes]" {
			continue
		}
		if m.Inode == 0 {
			if v.Anonymous || v.Own != nil && v.Own(pid, m) {
				continue
			}
			name := m.Path
			if name == "" {
				name = fmt.Sprintf("at %#x", m.Start)
			}
			return &ModuleError{pid, name, "executable memory without a file"}
		}
		want, known := v.want[m.Path]
		if v.Anonymous && !known {
			// Its contents may change all the time: they are not asked for.
			if elf, err := v.elf(pid, maps, m); err != nil {
				return err
			} else if !elf {
				continue
			}
		}
		got, err := v.sum(pid, m)
		if err != nil {
			return err
		}
		switch {
		case !known && !v.have[got]: // by another name it is the same code
			if err := v.judge(pid, m, got); err != nil {
				return err
			}
		case known && got != want:
			return &ModuleError{pid, m.Path, fmt.Sprintf("SHA-256 is %s, the plan says %s", got, want)}
		}
	}
	return nil
}

// VerifyChanged is Verify, quickly: nothing is done if the process's mappings are those of last time, which it keeps in last.
func (v *Verifier) VerifyChanged(pid int, last map[int]string) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err == nil && string(text) == last[pid] {
		return nil
	}
	if err := v.Verify(pid); err != nil {
		return err
	}
	last[pid] = string(text)
	return nil
}

// Know reads the file behind a mapping, so that Verify need not; what cannot be read is left to Verify.
func (v *Verifier) Know(pid int, m *proc.Mapping) { _, _ = v.sum(pid, m) }

// judge says what Admit says, or has said, about a file that is not in the plan.
func (v *Verifier) judge(pid int, m *proc.Mapping, sum string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	why, known := v.judged[sum]
	if v.Admit == nil {
		return &ModuleError{pid, m.Path, "not in the plan: loaded after it was made"}
	}
	if !known {
		f, err := v.open(pid, m)
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, image.MaxSize))
		if err != nil {
			return fmt.Errorf("process %d: module %s: %w", pid, m.Path, err)
		}
		if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
			return &ModuleError{pid, m.Path, "written to while it was read"}
		}
		why = v.Admit(m.Path, data)
		v.judged[sum] = why
	}
	if why != nil {
		return &ModuleError{pid, m.Path, fmt.Sprintf("not in the plan, and does not fit it: %v", why)}
	}
	return nil
}

// open opens the file behind a mapping.
func (v *Verifier) open(pid int, m *proc.Mapping) (*os.File, error) {
	f, err := os.Open(proc.MapFile(pid, m))
	if err == nil {
		return f, nil
	}
	// Without privilege: by name, which must still be the file that was mapped.
	if m.Deleted {
		return nil, &ModuleError{pid, m.Path, "replaced on disk since the process started: restart the server"}
	}
	if f, err = os.Open(proc.RootFile(pid, m.Path)); err != nil {
		if _, gone := proc.ReadMaps(pid); errors.Is(gone, proc.ErrGone) {
			return nil, gone
		}
		return nil, fmt.Errorf("process %d: module %s: %w", pid, m.Path, err)
	}
	return f, nil
}

// elf reports whether the file behind one of a process's mappings begins like an ELF file. One of which that cannot be read is
// taken for one. A file that is gone can be opened only with privilege; what of it is mapped can be read without.
func (v *Verifier) elf(pid int, maps []proc.Mapping, m *proc.Mapping) (bool, error) {
	head := make([]byte, len(elfMagic))
	f, err := v.open(pid, m)
	if err == nil {
		defer f.Close()
		n, err := f.ReadAt(head, 0)
		return err != nil && !errors.Is(err, io.EOF) || string(head[:n]) == elfMagic, nil
	}
	begin := slices.IndexFunc(maps, func(x proc.Mapping) bool { return x.Dev == m.Dev && x.Inode == m.Inode && x.Off == 0 })
	if begin < 0 {
		return false, err
	}
	if _, unread := proc.Memory(pid).ReadAt(head, int64(maps[begin].Start)); unread != nil {
		return false, err
	}
	return string(head) == elfMagic, nil
}

const elfMagic = "\x7fELF"

// sum hashes the file behind a mapping.
func (v *Verifier) sum(pid int, m *proc.Mapping) (string, error) {
	f, err := v.open(pid, m)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("process %d: module %s: %w", pid, m.Path, err)
	}
	if st.Ino != m.Inode {
		return "", &ModuleError{pid, m.Path, "replaced on disk since the process started: restart the server"}
	}
	id := fileID{st.Dev, st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec}
	v.mu.Lock()
	sum, ok := v.sums[id]
	v.mu.Unlock()
	if ok {
		return sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("process %d: module %s: %w", pid, m.Path, err)
	}
	sum = hex.EncodeToString(h.Sum(nil))
	v.mu.Lock()
	v.sums[id] = sum
	v.mu.Unlock()
	return sum, nil
}
