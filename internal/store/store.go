package store

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// MaxSize is how many bytes the entries of a store may occupy together. One entry may have a quarter of it.
const MaxSize = 2 << 30

var (
	// ErrUnusable says that the directory cannot be used or must not be trusted; the text says why.
	ErrUnusable = errors.New("cache is unusable")
	// ErrTooLarge says that a value does not fit the store.
	ErrTooLarge = errors.New("value is too large for the cache")
)

// Header of an entry, little-endian, followed by the key, zeros up to a multiple of 8, and the value:
//
//	0   magic
//	8   version, uint32
//	12  CRC-32C of everything behind it, uint32
//	16  length of the value, uint64
//	24  length of the key, uint64
const (
	magic      = "SYSPART\x00"
	version    = 1
	headerSize = 32
	crcEnd     = 16 // where what the checksum covers begins
)

const (
	tmpPrefix = "tmp-"
	tmpLife   = time.Hour // older temporary files are left over
	useGrain  = time.Hour // how exactly the time of last use is kept
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Store is a cache directory. It may be used by several goroutines, and the directory by several processes.
type Store struct {
	dir   string
	root  *os.Root
	err   error
	limit int64

	mu     sync.Mutex
	listed bool
	size   int64 // bytes of all entries as far as known, once listed
}

// Open opens the cache in dir, or in the directory "syspart" of os.UserCacheDir if dir is empty; it is created if missing.
// The store is never nil: if the directory is unusable, it is one that never hits, and the error is the same as Err's, so
// that a caller may report it and go on.
func Open(dir string) (*Store, error) {
	s := &Store{limit: MaxSize}
	s.dir, s.root, s.err = openDir(dir)
	if s.err != nil {
		s.err = fmt.Errorf("%w: %w", ErrUnusable, s.err)
	}
	return s, s.err
}

func openDir(dir string) (string, *os.Root, error) {
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", nil, err
		}
		dir = filepath.Join(base, "syspart")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dir, nil, err
	}
	link, err := os.Lstat(dir)
	if err != nil {
		return dir, nil, err
	}
	if link.Mode().Type() == fs.ModeSymlink {
		return dir, nil, fmt.Errorf("%s is a symbolic link", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return dir, nil, err
	}
	// What was opened is judged, not what the path names meanwhile.
	info, err := root.Stat(".")
	if err == nil {
		err = checkOwner(dir, info, os.Geteuid())
	}
	if err == nil && !os.SameFile(info, link) {
		err = fmt.Errorf("%s was replaced", dir)
	}
	if err != nil {
		root.Close()
		return dir, nil, err
	}
	return dir, root, nil
}

// checkOwner demands that the directory belongs to uid and that nobody else may write it.
func checkOwner(dir string, info fs.FileInfo, uid int) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: owner unknown", dir)
	}
	if int(st.Uid) != uid {
		return fmt.Errorf("%s belongs to user %d, not to %d", dir, st.Uid, uid)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s is writable by others (mode %04o)", dir, mode)
	}
	return nil
}

// Err tells why the store is unusable; nil if it works.
func (s *Store) Err() error { return s.err }

// Dir returns the store's directory, "" if the user has no cache directory.
func (s *Store) Dir() string { return s.dir }

// Close gives the directory back. The store must not be used afterwards; slices from Get stay valid.
func (s *Store) Close() error {
	if s.root == nil {
		return nil
	}
	return s.root.Close()
}

// Key returns a key for a value that depends on parts, in this order. Different lists have different keys.
func Key(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		io.WriteString(h, p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fileName returns the name of the entry of key. Keys made by Key name their files; others are hashed first.
func fileName(key string) string {
	if isEntryName(key) {
		return key
	}
	return Key(key)
}

// isEntryName reports whether name is one that entries have: 64 lower-case hexadecimal digits.
func isEntryName(name string) bool {
	return len(name) == 2*sha256.Size && strings.Trim(name, "0123456789abcdef") == ""
}

// Get returns the value stored for key, or false if there is none. The slice is the caller's and starts at a multiple of
// 8. An entry that is damaged, or of another key, is removed.
func (s *Store) Get(key string) ([]byte, bool) {
	if s.err != nil {
		return nil, false
	}
	name := fileName(key)
	info, err := s.root.Lstat(name)
	if err != nil {
		return nil, false
	}
	if !info.Mode().IsRegular() {
		s.root.Remove(name) // such as a symbolic link, which Put never makes
		return nil, false
	}
	file, err := s.root.Open(name)
	if err != nil {
		return nil, false
	}
	defer file.Close()
	data, ok := s.read(file, key)
	if !ok {
		s.root.Remove(name)
		return nil, false
	}
	if now := time.Now(); now.Sub(info.ModTime()) > useGrain {
		// Best effort: it only decides what is pruned first.
		_ = s.root.Chtimes(name, now, now)
	}
	return data, true
}

// read returns the value in file if it is an intact entry of key.
func (s *Store) read(file *os.File, key string) ([]byte, bool) {
	// Not the size seen before: the entry may have been replaced.
	info, err := file.Stat()
	if err != nil || info.Size() < headerSize || info.Size() > s.limit {
		return nil, false
	}
	b := aligned(int(info.Size()))
	if _, err := io.ReadFull(file, b); err != nil {
		return nil, false
	}
	return decode(b, key)
}

// decode returns the value in the entry b, or false if b is no intact entry of key.
func decode(b []byte, key string) ([]byte, bool) {
	if len(b) < headerSize || string(b[:8]) != magic || binary.LittleEndian.Uint32(b[8:]) != version {
		return nil, false
	}
	start := valueStart(key)
	if binary.LittleEndian.Uint64(b[24:]) != uint64(len(key)) || len(b) < start {
		return nil, false
	}
	if string(b[headerSize:headerSize+len(key)]) != key || binary.LittleEndian.Uint64(b[16:]) != uint64(len(b)-start) {
		return nil, false
	}
	if crc32.Checksum(b[crcEnd:], castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
		return nil, false
	}
	return b[start:len(b):len(b)], true
}

// valueStart is the offset of the value in the entry of key.
func valueStart(key string) int { return (headerSize + len(key) + 7) &^ 7 }

// header returns what precedes data in the entry of key.
func header(key string, data []byte) []byte {
	b := make([]byte, valueStart(key))
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint64(b[16:], uint64(len(data)))
	binary.LittleEndian.PutUint64(b[24:], uint64(len(key)))
	copy(b[headerSize:], key)
	crc := crc32.Update(crc32.Checksum(b[crcEnd:], castagnoli), castagnoli, data)
	binary.LittleEndian.PutUint32(b[12:], crc)
	return b
}

// Put stores data for key, replacing what is there. Readers see the old entry or the new one, never a part. Errors are
// Err's, ErrTooLarge and those of the file system; the store stays usable after them.
func (s *Store) Put(key string, data []byte) error {
	if s.err != nil {
		return s.err
	}
	head := header(key, data)
	total := int64(len(head)) + int64(len(data))
	if total > s.limit/4 {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, total)
	}
	// At least 128 random bits: nobody else uses this name, and O_EXCL would notice.
	tmp := tmpPrefix + rand.Text()
	if err := s.write(tmp, head, data); err != nil {
		s.root.Remove(tmp)
		return fmt.Errorf("cache entry: %w", err)
	}
	name := fileName(key)
	if err := s.root.Rename(tmp, name); err != nil {
		s.root.Remove(tmp)
		return fmt.Errorf("cache entry: %w", err)
	}
	return s.grow(total)
}

func (s *Store) write(name string, parts ...[]byte) error {
	file, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := file.Write(p); err != nil {
			file.Close()
			return err
		}
	}
	return file.Close()
}

// grow notes that n bytes were stored, and prunes when there are too many. The directory is listed the first time and
// whenever the limit seems to be reached; replaced entries and those of other processes make the count inexact between.
func (s *Store) grow(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size += n
	if s.listed && s.size <= s.limit {
		return nil
	}
	if err := s.prune(); err != nil {
		return fmt.Errorf("pruning the cache: %w", err)
	}
	s.listed = true
	return nil
}

// prune counts the entries and, if they exceed the limit, removes those used longest ago until a tenth of it is free. It
// touches only files named as entries and temporary files left over by processes that died.
func (s *Store) prune() error {
	list, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	type entry struct {
		name string
		size int64
		used time.Time
	}
	var entries []entry
	s.size = 0
	now := time.Now()
	for _, e := range list {
		isTmp := strings.HasPrefix(e.Name(), tmpPrefix)
		if !isTmp && !isEntryName(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone meanwhile, or not ours
		}
		if isTmp {
			if now.Sub(info.ModTime()) > tmpLife {
				s.root.Remove(e.Name())
			}
			continue
		}
		entries = append(entries, entry{e.Name(), info.Size(), info.ModTime()})
		s.size += info.Size()
	}
	if s.size <= s.limit {
		return nil
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.name, b.name))
	})
	for _, e := range entries {
		if s.size <= s.limit/10*9 {
			break
		}
		if err := s.root.Remove(e.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.size -= e.size
	}
	return nil
}
