package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s *Store, key string, data []byte) {
	t.Helper()
	if err := s.Put(key, data); err != nil {
		t.Fatal(err)
	}
}

// names lists the files in the store's directory.
func names(t testing.TB, s *Store) []string {
	t.Helper()
	list, err := os.ReadDir(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	s := open(t)
	keys := []string{"", "a", "12345678", "../../etc/passwd", "nul\x00byte", strings.Repeat("k", 5000), Key("x", "1")}
	for i, key := range keys {
		for _, size := range []int{0, 1, 7, 8, 9, 4096, 100_001} {
			want := bytes.Repeat([]byte{byte(i + 1)}, size)
			put(t, s, key, want)
			got, ok := s.Get(key)
			if !ok || !bytes.Equal(got, want) {
				t.Fatalf("key %.20q, %d bytes: got %d bytes, %v", key, size, len(got), ok)
			}
			if size > 0 && reflect.ValueOf(got).Pointer()%8 != 0 {
				t.Fatalf("key %.20q, %d bytes: value at %p", key, size, &got[0])
			}
		}
	}
	if got := names(t, s); len(got) != len(keys) {
		t.Errorf("%d keys, files %q", len(keys), got)
	}
	if _, ok := s.Get("absent"); ok {
		t.Error("a key that was never stored hits")
	}
	for _, name := range names(t, s) {
		info, err := os.Stat(filepath.Join(s.Dir(), name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(s.Dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: mode %v, %v", info.Mode(), err)
	}
}

func TestReopen(t *testing.T) {
	s := open(t)
	put(t, s, "k", []byte("value"))
	again, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got, ok := again.Get("k"); !ok || string(got) != "value" {
		t.Errorf("got %q, %v", got, ok)
	}
}

func TestDefaultDirectory(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", base)
	s, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if want := filepath.Join(base, "syspart"); s.Dir() != want {
		t.Errorf("directory %s, want %s", s.Dir(), want)
	}
}

func TestKey(t *testing.T) {
	lists := [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {"a", "b", ""}, {"a\x00b"}}
	seen := map[string][]string{}
	for _, parts := range lists {
		k := Key(parts...)
		if k != Key(parts...) || !isEntryName(k) {
			t.Errorf("Key(%q) = %q", parts, k)
		}
		if other, ok := seen[k]; ok {
			t.Errorf("Key(%q) = Key(%q)", parts, other)
		}
		seen[k] = parts
	}
}

// Whatever single byte is changed, and wherever the file is cut, the entry must be absent and gone.
func TestCorruption(t *testing.T) {
	s := open(t)
	const key = "the key"
	value := []byte("some value of odd length.")
	put(t, s, key, value)
	path := filepath.Join(s.Dir(), fileName(key))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, bad []byte) {
		t.Helper()
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := s.Get(key); ok {
			t.Errorf("%s: hit with %q", what, got)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: file left: %v", what, err)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x20
		try(fmt.Sprintf("byte %d changed", i), bad)
		try(fmt.Sprintf("cut to %d", i), good[:i])
	}
	try("one byte more", append(bytes.Clone(good), 0))
	try("another key's entry", append(header("another", value), value...))
	// Lengths that lie, under a checksum that is right.
	for _, off := range []int{16, 24} {
		for _, n := range []uint64{0, uint64(len(value) - 1), 1 << 31, 1 << 63, 1<<64 - 1} {
			bad := bytes.Clone(good)
			binary.LittleEndian.PutUint64(bad[off:], n)
			binary.LittleEndian.PutUint32(bad[12:], crc32.Checksum(bad[crcEnd:], castagnoli))
			try(fmt.Sprintf("length at %d is %#x", off, n), bad)
		}
	}
	put(t, s, key, value)
	if got, ok := s.Get(key); !ok || !bytes.Equal(got, value) {
		t.Errorf("after replacing: %q, %v", got, ok)
	}
}

func TestForeignFiles(t *testing.T) {
	s := open(t)
	target := filepath.Join(t.TempDir(), "target")
	value := []byte("planted")
	if err := os.WriteFile(target, append(header("k", value), value...), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Dir(), fileName("k"))
	inside := filepath.Join(s.Dir(), "inside")
	if err := os.Link(target, inside); err != nil {
		t.Fatal(err)
	}
	plant := map[string]func() error{
		"link out":    func() error { return os.Symlink(target, path) },
		"link inside": func() error { return os.Symlink("inside", path) },
		"directory":   func() error { return os.Mkdir(path, 0o700) },
	}
	for what, make := range plant {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if got, ok := s.Get("k"); ok {
			t.Errorf("%s: hit with %q", what, got)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: left there: %v", what, err)
		}
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", []byte("ours"))
	if got, _ := os.ReadFile(target); !bytes.HasSuffix(got, value) {
		t.Error("Put wrote through a symbolic link")
	}
	if got, ok := s.Get("k"); !ok || string(got) != "ours" {
		t.Errorf("got %q, %v", got, ok)
	}
}

func TestUnusable(t *testing.T) {
	foreign := "/usr" // somebody else's for everyone but root
	if os.Geteuid() == 0 {
		foreign = filepath.Join(t.TempDir(), "foreign")
		if err := os.Mkdir(foreign, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(foreign, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	shared := filepath.Join(t.TempDir(), "shared")
	if err := os.Mkdir(shared, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ dir, want string }{
		"owner":        {foreign, "belongs to user"},
		"mode":         {shared, "writable by others"},
		"link":         {link, "symbolic link"},
		"file":         {file, "not a directory"},
		"below a file": {filepath.Join(file, "x"), "not a directory"},
		"unwritable":   {"/proc/self/cache", "/proc/self/cache"},
		"NUL":          {"a\x00b", "invalid argument"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := Open(tt.dir)
			if s == nil || !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, %v; want %q", s, err, tt.want)
			}
			if s.Err() == nil || s.Err().Error() != err.Error() {
				t.Errorf("Err: %v", s.Err())
			}
			if err := s.Put("k", []byte("v")); !errors.Is(err, ErrUnusable) {
				t.Errorf("Put: %v", err)
			}
			if _, ok := s.Get("k"); ok {
				t.Error("Get hits")
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	t.Run("no home", func(t *testing.T) {
		t.Setenv("HOME", "")
		t.Setenv("XDG_CACHE_HOME", "")
		if s, err := Open(""); s == nil || !errors.Is(err, ErrUnusable) {
			t.Errorf("got %v, %v", s, err)
		}
	})
}

// A directory that goes away, or that cannot be written, fails Put and nothing else.
func TestPutFails(t *testing.T) {
	s := open(t)
	put(t, s, "k", []byte("v"))
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("k", []byte("v")); err == nil {
		t.Error("Put into a directory that is gone succeeds")
	}
	if _, ok := s.Get("k"); ok {
		t.Error("Get from a directory that is gone hits")
	}
	if s.Err() != nil {
		t.Errorf("Err: %v", s.Err())
	}
}

func TestConcurrentPuts(t *testing.T) {
	s := open(t)
	other, err := Open(s.Dir()) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	value := func(g int) []byte { return bytes.Repeat([]byte{byte('a' + g)}, 10_000+g) }
	const writers, rounds = 8, 25
	var wg sync.WaitGroup
	for g := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			st := []*Store{s, other}[g%2]
			for range rounds {
				if err := st.Put("k", value(g)); err != nil {
					t.Error(err)
					return
				}
				got, ok := st.Get("k")
				if !ok || len(got) < 10_000 || !bytes.Equal(got, value(len(got)-10_000)) {
					t.Errorf("got %d bytes, %v", len(got), ok)
					return
				}
			}
		}()
	}
	wg.Wait()
	if got := names(t, s); len(got) != 1 {
		t.Errorf("files left: %q", got)
	}
}

func TestPrune(t *testing.T) {
	s := open(t)
	s.limit = 100_000
	bystander := filepath.Join(s.Dir(), "README")
	stale, fresh := filepath.Join(s.Dir(), tmpPrefix+"stale"), filepath.Join(s.Dir(), tmpPrefix+"fresh")
	old := time.Now().Add(-48 * time.Hour)
	for _, p := range []string{bystander, stale, fresh} {
		if err := os.WriteFile(p, make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		if p != fresh {
			if err := os.Chtimes(p, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	value := make([]byte, 9_900) // ten fit
	key := func(i int) string { return fmt.Sprint("key ", i) }
	for i := range 10 {
		put(t, s, key(i), value)
		at := old.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(filepath.Join(s.Dir(), fileName(key(i))), at, at); err != nil {
			t.Fatal(err)
		}
	}
	// Use makes the oldest the youngest.
	if _, ok := s.Get(key(0)); !ok {
		t.Fatal("pruned before the limit was reached")
	}
	put(t, s, key(10), value)
	for i := range 11 {
		_, ok := s.Get(key(i))
		if want := i == 0 || i > 2; ok != want {
			t.Errorf("entry %d: present %v, want %v", i, ok, want)
		}
	}
	for path, want := range map[string]bool{bystander: true, fresh: true, stale: false} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want present %v", filepath.Base(path), err, want)
		}
	}
	if err := s.Put("big", make([]byte, s.limit/4)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a quarter of the limit: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(append(header("k", []byte("value")), "value"...), "k")
	f.Add([]byte(magic), "")
	f.Fuzz(func(t *testing.T, b []byte, key string) {
		got, ok := decode(b, key)
		if ok && !bytes.Equal(append(header(key, got), got...), b) {
			t.Errorf("accepted %q for %q", b, key)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s := open(b)
	data := make([]byte, 8<<20)
	put(b, s, "k", data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Get("k"); !ok {
			b.Fatal("miss")
		}
	}
}

func BenchmarkPut(b *testing.B) {
	s := open(b)
	data := make([]byte, 8<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		put(b, s, "k", data)
	}
}
