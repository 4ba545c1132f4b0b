package view

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Hold reports whether all questions would be answered so again. Cheap ones are asked first.
func Hold(notes []Note) bool {
	buf := make([]byte, 128<<10)
	for _, files := range [...]bool{false, true} {
		for i := range notes {
			n := &notes[i]
			if read := op(n.Op) == opReadFile; read != files {
				continue
			}
			if a := ask(n, buf); a == "" || a != n.Answer {
				return false
			}
		}
	}
	return true
}

// ask returns the answer to a note's question as it would be noted now, with buf to read into; "" if the question is none.
func ask(n *Note, buf []byte) string {
	v := New()
	switch op(n.Op) {
	case opStat:
		v.Stat(n.Path)
	case opLstat:
		v.Lstat(n.Path)
	case opReadlink:
		v.Readlink(n.Path)
	case opEvalSymlinks:
		v.EvalSymlinks(n.Path)
	case opReadFile:
		return hashFile(n.Path, buf)
	case opReadDir:
		v.ReadDir(n.Path)
	case opGlob:
		v.Glob(n.Path)
	case opHead:
		v.Head(n.Path)
	case opHasXattr:
		path, name, _ := strings.Cut(n.Path, "\x00")
		v.HasXattr(path, name)
	case opGetwd:
		v.Getwd()
	}
	return v.answers[question{op(n.Op), n.Path}]
}

// hashFile is the answer that ReadFile notes, without holding the file.
func hashFile(path string, buf []byte) string {
	f, err := os.Open(path)
	if err != nil {
		return text("", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, buf); err != nil {
		return text("", err)
	}
	return text(hex.EncodeToString(h.Sum(nil)), nil)
}

// text is an answer in one string, or that there was none and why.
func text(answer string, err error) string {
	if err == nil {
		return "=" + answer
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		return fmt.Sprintf("!%d", int(no))
	}
	return "!" + err.Error()
}

// status is what is noted of a file's state: which file it is, its type and permissions, whose it is, and how long.
func status(fi fs.FileInfo, err error) string {
	if err != nil {
		return text("", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "!unknown"
	}
	size := int64(0)
	if fi.Mode().IsRegular() {
		size = st.Size
	}
	return fmt.Sprintf("=%o %d %d %d %d %d", st.Mode, st.Dev, st.Ino, st.Uid, st.Gid, size)
}
