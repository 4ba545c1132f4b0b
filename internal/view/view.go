package view

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// View answers questions about the file system and notes the answers. It may be used by several goroutines.
type View struct {
	mu      sync.Mutex
	answers map[question]string
	torn    bool // a question was answered in two ways
}

type question struct {
	op   op
	path string
}

// op is a kind of question.
type op uint8

const (
	opStat op = iota + 1
	opLstat
	opReadlink
	opEvalSymlinks
	opReadFile
	opReadDir
	opGlob
	opHead
	opHasXattr
	opGetwd
)

// New returns a View without notes.
func New() *View { return &View{answers: map[question]string{}} }

// note keeps an answer, which is made only if somebody wants it.
func (v *View) note(o op, path string, answer func() string) {
	if v == nil {
		return
	}
	text := answer()
	v.mu.Lock()
	defer v.mu.Unlock()
	q := question{o, path}
	if old, ok := v.answers[q]; ok && old != text {
		v.torn = true
	}
	v.answers[q] = text
}

// Stat is os.Stat. Times are not noted, nor are sizes but of regular files.
func (v *View) Stat(path string) (fs.FileInfo, error) {
	fi, err := os.Stat(path)
	v.note(opStat, path, func() string { return status(fi, err) })
	return fi, err
}

// Lstat is os.Lstat, noted as Stat is.
func (v *View) Lstat(path string) (fs.FileInfo, error) {
	fi, err := os.Lstat(path)
	v.note(opLstat, path, func() string { return status(fi, err) })
	return fi, err
}

// Readlink is os.Readlink.
func (v *View) Readlink(path string) (string, error) {
	to, err := os.Readlink(path)
	v.note(opReadlink, path, func() string { return text(to, err) })
	return to, err
}

// EvalSymlinks is filepath.EvalSymlinks.
func (v *View) EvalSymlinks(path string) (string, error) {
	to, err := filepath.EvalSymlinks(path)
	v.note(opEvalSymlinks, path, func() string { return text(to, err) })
	return to, err
}

// ReadFile is os.ReadFile.
func (v *View) ReadFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	v.note(opReadFile, path, func() string {
		sum := sha256.Sum256(data)
		return text(hex.EncodeToString(sum[:]), err)
	})
	return data, err
}

// ReadFileSum is ReadFile with the SHA-256 of the contents.
func (v *View) ReadFileSum(path string) (data []byte, sum [32]byte, err error) {
	if data, err = os.ReadFile(path); err == nil {
		sum = sha256.Sum256(data)
	}
	v.note(opReadFile, path, func() string { return text(hex.EncodeToString(sum[:]), err) })
	return data, sum, err
}

// ReadDir returns the names of a directory's entries, sorted.
func (v *View) ReadDir(path string) ([]string, error) {
	names, err := readDir(path)
	v.note(opReadDir, path, func() string { return text(list(names), err) })
	return names, err
}

func readDir(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Glob is filepath.Glob of a pattern that is well formed.
func (v *View) Glob(pattern string) []string {
	names, _ := filepath.Glob(pattern)
	v.note(opGlob, pattern, func() string { return list(names) })
	return names
}

// headSize is how much of a file Head returns.
const headSize = 256

// Head returns the first 256 bytes of a file, or what there is of them. Only what cannot be opened is an error.
func (v *View) Head(path string) ([]byte, error) {
	data, err := head(path)
	v.note(opHead, path, func() string { return text(hex.EncodeToString(data), err) })
	return data, err
}

func head(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, headSize)
	n, _ := io.ReadFull(f, b)
	return b[:n], nil
}

// HasXattr reports whether a file has an extended attribute that is not empty. The error is the system's, ENODATA where the
// file has none.
func (v *View) HasXattr(path, name string) (bool, error) {
	n, err := unix.Getxattr(path, name, nil)
	v.note(opHasXattr, path+"\x00"+name, func() string {
		if n > 0 {
			return text("yes", err)
		}
		return text("no", err)
	})
	return err == nil && n > 0, err
}

// Getwd is os.Getwd.
func (v *View) Getwd() (string, error) {
	dir, err := os.Getwd()
	v.note(opGetwd, "", func() string { return text(dir, err) })
	return dir, err
}

// list makes one text of names, which have no zero bytes.
func list(names []string) string {
	sum := sha256.Sum256([]byte(strings.Join(names, "\x00")))
	return hex.EncodeToString(sum[:])
}

// Note is a question and its answer.
type Note struct {
	Op           uint8
	Path, Answer string
}

// Notes returns what was asked and answered, sorted; false if a question was answered in two ways meanwhile.
func (v *View) Notes() ([]Note, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]Note, 0, len(v.answers))
	for q, a := range v.answers {
		out = append(out, Note{uint8(q.op), q.path, a})
	}
	slices.SortFunc(out, func(a, b Note) int { return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.Path, b.Path)) })
	return out, !v.torn
}
