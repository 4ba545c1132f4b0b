package summary

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"runtime"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"syspart/internal/image"
	"syspart/internal/testbin"
)

// realFiles are programs and libraries of the system.
func realFiles(t testing.TB) []string {
	files := []string{testbin.NeedFile(t, "/lib/x86_64-linux-gnu/libc.so.6", "libc6"), testbin.NeedFile(t, "/lib64/ld-linux-x86-64.so.2", "libc6")}
	return append(files, testbin.Need(t, "nginx", "nginx"))
}

// aligned is a copy of b at an address that Decode takes.
func aligned(b []byte) []byte {
	words := make([]uint64, (len(b)+7)/8)
	return append(bytesOf(words)[:0], b...)
}

// TestRoundTrip builds summaries of real files, twice, with one processor and with all: they are sane and the same, and
// come back from their encoding as they were.
func TestRoundTrip(t *testing.T) {
	for _, path := range realFiles(t) {
		m := build(t, path)
		sanity(t, m)
		enc := m.Encode()
		old := runtime.GOMAXPROCS(1)
		again := build(t, path).Encode()
		runtime.GOMAXPROCS(old)
		if !bytes.Equal(enc, again) {
			t.Errorf("%s: built again with one processor it is not the same", path)
		}
		got, err := Decode(aligned(enc))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		// Field by field, for a diff of whole tables takes long. Strings outside tables are added to the text.
		want, have := reflect.ValueOf(*m), reflect.ValueOf(*got)
		for i := range want.NumField() {
			name, x, y := want.Type().Field(i).Name, want.Field(i), have.Field(i)
			switch {
			case name == "Text", x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0:
			case name == "Dyn":
				if d := gocmp.Diff(m.Dyn, got.Dyn, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%s: Dyn (-built +decoded):\n%.3000s", path, d)
				}
			case !reflect.DeepEqual(x.Interface(), y.Interface()):
				t.Errorf("%s: %s differs", path, name)
			}
		}
		if !bytes.HasPrefix(got.Text, m.Text) {
			t.Errorf("%s: the text has changed", path)
		}
		if !bytes.Equal(got.Encode()[:headSize], enc[:headSize]) {
			t.Errorf("%s: encoded again its head differs", path)
		}
		t.Logf("%s: %d functions, %d calls, %d expressions, %d bytes of %d of the file", path, len(m.Funcs), len(m.Calls), len(m.Exprs), len(enc), m.Size)
	}
}

// TestEncodeEveryField fails when a field of the dynamic section is left out of the encoding.
func TestEncodeEveryField(t *testing.T) {
	m := build(t, testbin.Build(t, "testdata/facts.c", "-O1"))
	m.Dyn.Soname, m.Dyn.Rpath, m.Dyn.Runpath, m.Dyn.Symbolic = "so", "rp", "runp", true
	m.Dyn.Flags, m.Dyn.Flags1, m.Dyn.Init, m.Dyn.Fini = 1, 2, 3, 4
	m.Dyn.PreinitArray, m.Dyn.InitArray, m.Dyn.FiniArray = image.Range{Start: 1, End: 2}, image.Range{Start: 3, End: 4}, image.Range{Start: 5, End: 6}
	m.Dyn.Needed, m.Dyn.VersionsDefined, m.Dyn.Filters, m.Dyn.Audit = []string{"a", "b"}, []string{"c"}, []string{"d", "a"}, []string{"e"}
	m.Dyn.Symbols = append(m.Dyn.Symbols, image.Symbol{Name: "n", Version: "v", VersionFile: "f", Value: 1, Size: 2, Type: 3, Bind: 4, Vis: 5,
		Hidden: true, Undefined: true, TLS: true, Abs: true})
	got, err := Decode(aligned(m.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(m.Dyn, got.Dyn, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("(-built +decoded):\n%s", d)
	}
}

// TestDecodeErrors cuts an encoding off at every table and damages its head: errors, and no panic.
func TestDecodeErrors(t *testing.T) {
	enc := build(t, testbin.Build(t, "testdata/facts.c", "-O1")).Encode()
	for n := 0; n < len(enc)-7; n += 1 + n/50 {
		if _, err := Decode(aligned(enc[:n])); !errors.Is(err, ErrEncoding) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(enc), err)
		}
	}
	for i := range headSize {
		b := aligned(enc)
		b[i] ^= 1
		if _, err := Decode(b); !errors.Is(err, ErrEncoding) {
			t.Errorf("byte %d of the head changed: %v", i, err)
		}
	}
	for at := headSize; at+8 <= len(enc); { // lengths of tables
		b := aligned(enc)
		n := binary.LittleEndian.Uint64(b[at:])
		for _, x := range []uint64{n + 1, n + 1<<40, ^uint64(0), ^uint64(0) - 7} {
			binary.LittleEndian.PutUint64(b[at:], x)
			if m, err := Decode(b); err == nil && x != n+1 {
				t.Errorf("table at %d with length %#x: decoded, %d functions", at, x, len(m.Funcs))
			}
		}
		at += 8 + int(n+7)&^7
	}
}

// FuzzDecode: nothing that is read makes Decode panic.
func FuzzDecode(f *testing.F) {
	path := testbin.Build(f, "testdata/facts.c", "-O1")
	enc := build(f, path).Encode()
	f.Add(enc)
	f.Add(enc[:headSize])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := Decode(aligned(b)); err == nil && len(m.Exprs) == 0 {
			t.Error("decoded without expressions")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	file, err := os.Open(testbin.NeedFile(b, "/lib/x86_64-linux-gnu/libc.so.6", "libc6"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	enc := aligned(build(b, file.Name()).Encode())
	b.SetBytes(int64(len(enc)))
	for b.Loop() {
		if _, err := Decode(enc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	f, err := image.Open(testbin.NeedFile(b, "/lib/x86_64-linux-gnu/libc.so.6", "libc6"))
	if err != nil {
		b.Fatal(err)
	}
	var m *Module
	for b.Loop() {
		if m, err = Build(f); err != nil {
			b.Fatal(err)
		}
	}
	unknown := 0
	for i := range m.Sys {
		if m.Sys[i].Number == 0 {
			unknown++
		}
	}
	b.ReportMetric(float64(len(m.Funcs)), "funcs")
	b.ReportMetric(float64(len(m.Calls)), "calls")
	b.ReportMetric(float64(unknown), "unknown-numbers")
}
