package link

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"syspart/internal/view"
)

const (
	maxLinks = 40      // symbolic links followed in one path, as the kernel's MAXSYMLINKS
	maxText  = 1 << 20 // bytes read of a configuration file
)

// rootFS is a file system seen from its root directory on this machine. Nothing leads out of it: neither "..", nor
// symbolic links, absolute or not.
type rootFS struct {
	dir  string     // "" for the running system
	view *view.View // what is asked, may be nil
}

// newRoot returns the file system below dir.
func newRoot(dir string, v *view.View) (rootFS, error) {
	if dir == "" || filepath.Clean(dir) == "/" {
		return rootFS{view: v}, nil
	}
	abs := filepath.Clean(dir)
	if !filepath.IsAbs(abs) {
		wd, err := v.Getwd()
		if err != nil {
			return rootFS{}, err
		}
		abs = filepath.Join(wd, abs)
	}
	if st, err := v.Stat(abs); err != nil {
		return rootFS{}, fmt.Errorf("root: %w", err)
	} else if !st.IsDir() {
		return rootFS{}, fmt.Errorf("root: %s: %w", dir, syscall.ENOTDIR)
	}
	return rootFS{abs, v}, nil
}

// abs makes a path absolute: relative ones start at our own working directory, or at the root of another system.
func (r rootFS) abs(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	if r.dir == "" {
		if wd, err := r.view.Getwd(); err == nil {
			return wd + "/" + name
		}
	}
	return "/" + name
}

// resolve follows name, all symbolic links included, and returns the file's path inside the root and on this machine.
// The last component may be missing only if the error says so (fs.ErrNotExist).
func (r rootFS) resolve(name string) (inside, host string, err error) {
	if r.dir == "" {
		inside, err = r.view.EvalSymlinks(name)
		return inside, inside, err
	}
	rest, links := strings.Split(name, "/"), 0
	slices.Reverse(rest) // a stack, next component last
	cur := ""            // without trailing slash; "" is the root
	for len(rest) > 0 {
		c := rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		switch c {
		case "", ".":
			continue
		case "..":
			cur = cur[:max(strings.LastIndexByte(cur, '/'), 0)]
			continue
		}
		next := cur + "/" + c
		st, err := r.view.Lstat(r.dir + next)
		if err != nil {
			return "", "", err
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			if len(rest) > 0 && !st.IsDir() {
				return "", "", &fs.PathError{Op: "resolve", Path: next, Err: syscall.ENOTDIR}
			}
			cur = next
			continue
		}
		if links++; links > maxLinks {
			return "", "", &fs.PathError{Op: "resolve", Path: name, Err: syscall.ELOOP}
		}
		target, err := r.view.Readlink(r.dir + next)
		if err != nil {
			return "", "", err
		}
		if strings.HasPrefix(target, "/") {
			cur = ""
		}
		parts := strings.Split(target, "/")
		slices.Reverse(parts)
		rest = append(rest, parts...)
	}
	if cur == "" {
		return "/", r.dir, nil
	}
	return cur, r.dir + cur, nil
}

// fileID identifies a file on this machine, as it was when it was looked at.
type fileID struct {
	dev, ino uint64
	size     int64
}

// stat resolves name and returns where it is. Only regular files are files; everything else does not exist.
func (r rootFS) stat(name string) (inside, host string, id fileID, err error) {
	inside, host = name, name
	if r.dir != "" {
		if inside, host, err = r.resolve(name); err != nil {
			return "", "", fileID{}, err
		}
	}
	st, err := r.view.Stat(host)
	if err != nil {
		return "", "", fileID{}, err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.Mode().IsRegular() {
		return "", "", fileID{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return inside, host, fileID{uint64(sys.Dev), sys.Ino, st.Size()}, nil
}

// isDir reports whether name is a directory.
func (r rootFS) isDir(name string) bool {
	host := name
	if r.dir != "" {
		var err error
		if _, host, err = r.resolve(name); err != nil {
			return false
		}
	}
	st, err := r.view.Stat(host)
	return err == nil && st.IsDir()
}

// readFile returns the contents of a regular file of at most limit bytes.
func (r rootFS) readFile(name string, limit int64) ([]byte, error) {
	_, host, _, err := r.stat(name)
	if err != nil {
		return nil, err
	}
	if st, err := r.view.Stat(host); err != nil {
		return nil, err
	} else if st.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes: %w", name, st.Size(), ErrLimit)
	}
	return r.view.ReadFile(host)
}

// readText returns the contents of a configuration file, "" if it cannot be read.
func (r rootFS) readText(name string) (string, error) {
	data, err := r.readFile(name, maxText)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return string(data), err
}

// glob returns the files that an absolute pattern matches, sorted (glob(3) without GLOB_BRACE).
func (r rootFS) glob(pattern string) []string {
	names := []string{""}
	for _, part := range strings.Split(strings.TrimPrefix(path.Clean(pattern), "/"), "/") {
		var next []string
		for _, dir := range names {
			if !strings.ContainsAny(part, "*?[\\") {
				next = append(next, dir+"/"+part)
				continue
			}
			_, host, err := r.resolve(dir + "/")
			if err != nil {
				continue
			}
			entries, err := r.view.ReadDir(host)
			if err != nil {
				continue
			}
			for _, name := range entries { // sorted
				if strings.HasPrefix(name, ".") && !strings.HasPrefix(part, ".") {
					continue
				}
				if ok, err := path.Match(part, name); ok && err == nil {
					next = append(next, dir+"/"+name)
				}
			}
		}
		names = next
	}
	return names
}
