package testbin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
)

// Compiler is a C compiler that fixtures can be built with.
type Compiler struct {
	Name string // program: "gcc", "clang", "musl-gcc"
	Pkg  string // Debian package
}

var compilers = []Compiler{{"gcc", "gcc"}, {"clang", "clang"}, {"musl-gcc", "musl-tools"}}

// Compilers returns the names of the C compilers that are installed, of gcc, clang and musl-gcc in this order.
func Compilers() []string {
	var have []string
	for _, c := range compilers {
		if _, ok := lookup(c.Name); ok {
			have = append(have, c.Name)
		}
	}
	return have
}

// Build compiles and links src with gcc (g++ for .cc and .cpp) and returns the path of the program, which carries the
// source's name without suffix. The file is shared through a cache: copy it before changing it (Copy, Strip, NoSections).
// Flags come behind the source, so libraries and further sources may stand among them.
func Build(t testing.TB, src string, flags ...string) string {
	t.Helper()
	switch filepath.Ext(src) {
	case ".cc", ".cpp", ".cxx":
		return BuildWith(t, "g++", src, flags...)
	}
	return BuildWith(t, "gcc", src, flags...)
}

// BuildWith is Build with a compiler of the caller's choice.
func BuildWith(t testing.TB, compiler, src string, flags ...string) string {
	t.Helper()
	cc := Need(t, compiler, packageOf(compiler))
	key, err := buildKey(cc, src, flags)
	if err != nil {
		t.Fatalf("fixture %s: %v", src, err)
	}
	dir, err := cacheDir()
	if err != nil {
		t.Fatalf("fixture %s: %v", src, err)
	}
	base := filepath.Base(src)
	out := filepath.Join(dir, key, strings.TrimSuffix(base, filepath.Ext(base)))
	if _, err := os.Stat(out); err == nil {
		return out
	}
	if err := compile(cc, src, out, flags); err != nil {
		t.Fatalf("fixture %s: %v", src, err)
	}
	return out
}

// BuildText is Build for a source given as text. The name, with suffix, decides the language and the program's name.
func BuildText(t testing.TB, name, text string, flags ...string) string {
	t.Helper()
	src := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(src, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Build(t, src, flags...)
}

// Server builds a fixture of testdata/servers, the sources shared by several packages, and returns its path and that of
// the source.
func Server(t testing.TB, name string, flags ...string) (bin, src string) {
	t.Helper()
	src = filepath.Join(Root(t), "testdata", "servers", name+".c")
	return Build(t, src, append([]string{"-pthread"}, flags...)...), src
}

// Root returns the module's directory, found upwards from the working directory.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = up
	}
}

// compile writes out whole or not at all, so that several test processes can share the cache.
func compile(cc, src, out string, flags []string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(out), "build")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	part := filepath.Join(tmp, "out")
	args := append([]string{"-o", part, src}, flags...)
	if text, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", cc, strings.Join(args, " "), err, text)
	}
	return os.Rename(part, out)
}

// buildKey hashes all that decides what the compiler writes: its version, the flags, the source, the headers beside it,
// and files named among the flags.
func buildKey(cc, src string, flags []string) (string, error) {
	version, err := compilerVersion(cc)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	add := func(label string, data []byte) {
		fmt.Fprintf(h, "%s\x00%d\x00", label, len(data))
		h.Write(data)
	}
	addFile := func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		add(filepath.Base(path), sum.Sum(nil))
		return nil
	}
	add("compiler", []byte(cc+"\x00"+version))
	if err := addFile(src); err != nil {
		return "", err
	}
	headers, err := filepath.Glob(filepath.Join(filepath.Dir(src), "*.h"))
	if err != nil {
		return "", err
	}
	sort.Strings(headers)
	for _, path := range headers {
		if err := addFile(path); err != nil {
			return "", err
		}
	}
	for _, flag := range flags {
		add("flag", []byte(flag))
		if st, err := os.Stat(flag); err == nil && st.Mode().IsRegular() {
			if err := addFile(flag); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

var versions sync.Map // compiler path to its version text

func compilerVersion(cc string) (string, error) {
	if v, ok := versions.Load(cc); ok {
		return v.(string), nil
	}
	text, err := exec.Command(cc, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", cc, err)
	}
	versions.Store(cc, string(text))
	return string(text), nil
}

// cacheDir is where fixtures are kept: in the user's cache directory, or if there is none in a directory for temporary
// files that belongs to the user alone.
func cacheDir() (string, error) {
	if dir, err := os.UserCacheDir(); err == nil {
		dir = filepath.Join(dir, "syspart-testbin")
		if os.MkdirAll(dir, 0o755) == nil {
			return dir, nil
		}
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("syspart-testbin-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, ownedByUs(dir)
}

func packageOf(compiler string) string {
	for _, c := range compilers {
		if c.Name == compiler {
			return c.Pkg
		}
	}
	if compiler == "clang++" {
		return "clang"
	}
	return compiler
}
