package image

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

const (
	nginx     = "/usr/sbin/nginx"
	redis     = "/usr/bin/redis-server"
	libc      = "/lib/x86_64-linux-gnu/libc.so.6"
	libcrypto = "/lib/x86_64-linux-gnu/libcrypto.so.3"
)

func open(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sample returns ELF files of the system: the servers, and every step-th of the programs and libraries.
func sample(t testing.TB, step int) []string {
	t.Helper()
	paths := []string{nginx, redis, libc, "/lib64/ld-linux-x86-64.so.2"}
	n := 0
	for _, pattern := range []string{"/usr/sbin/*", "/usr/bin/*", "/usr/lib/x86_64-linux-gnu/*.so.*"} {
		list, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			info, err := os.Stat(p)
			if err != nil || !info.Mode().IsRegular() || info.Size() > 8<<20 {
				continue
			}
			if n++; n%step == 0 {
				paths = append(paths, p)
			}
		}
	}
	return slices.DeleteFunc(paths, func(p string) bool {
		fd, err := os.Open(p)
		if err != nil {
			return true
		}
		defer fd.Close()
		var b [20]byte
		_, err = fd.ReadAt(b[:], 0)
		return err != nil || string(b[:5]) != "\x7fELF\x02" || b[18] != 62
	})
}

// Everything that debug/elf knows about real files must be what we say.
func TestAgainstDebugELF(t *testing.T) {
	testbin.NeedFile(t, nginx, "nginx")
	testbin.NeedFile(t, redis, "redis-server")
	files := sample(t, 12)
	if len(files) < 50 {
		t.Fatalf("only %d files to compare", len(files))
	}
	for _, path := range files {
		compareWithDebugELF(t, path)
	}
	t.Logf("%d files agree", len(files))
}

func compareWithDebugELF(t *testing.T, path string) {
	t.Helper()
	f := open(t, path)
	want, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	bad := func(what string, got, want any) {
		t.Helper()
		t.Errorf("%s: %s: got %v, want %v", path, what, got, want)
	}
	data := read(t, path)
	if sum := sha256.Sum256(data); f.SHA256 != sum || f.Size != int64(len(data)) {
		bad("hash or size", f.Size, len(data))
	}
	if f.Entry != want.Entry {
		bad("entry", f.Entry, want.Entry)
	}
	if (f.Kind == KindExec) != (want.Type == elf.ET_EXEC) {
		bad("kind", f.Kind, want.Type)
	}
	var segs []Segment
	var tls, relro Range
	interp := ""
	for _, p := range want.Progs {
		r := Range{p.Vaddr, p.Vaddr + p.Memsz}
		switch p.Type {
		case elf.PT_LOAD:
			segs = append(segs, Segment{r, p.Off, p.Filesz, p.Flags&elf.PF_X != 0, p.Flags&elf.PF_W != 0})
		case elf.PT_TLS:
			tls = r
		case elf.PT_GNU_RELRO:
			relro = r
		case elf.PT_INTERP:
			b := make([]byte, p.Filesz)
			p.ReadAt(b, 0)
			interp = strings.TrimRight(string(b), "\x00")
		}
	}
	if !slices.Equal(f.Segments, segs) || f.TLS != tls || f.Relro != relro || f.Interp != interp {
		bad("program headers", fmt.Sprint(f.Segments, f.TLS, f.Relro, f.Interp), fmt.Sprint(segs, tls, relro, interp))
	}
	needed, _ := want.DynString(elf.DT_NEEDED)
	soname, _ := want.DynString(elf.DT_SONAME)
	runpath, _ := want.DynString(elf.DT_RUNPATH)
	if !slices.Equal(f.Dyn.Needed, needed) || f.Dyn.Soname != strings.Join(soname, "") || f.Dyn.Runpath != strings.Join(runpath, "") {
		bad("dynamic strings", f.Dyn.Needed, needed)
	}
	var defined []string
	versions, _ := want.DynamicVersions()
	for _, v := range versions {
		if v.Flags&elf.VER_FLG_BASE == 0 {
			defined = append(defined, v.Name)
		}
	}
	if !slices.Equal(f.Dyn.VersionsDefined, defined) {
		bad("versions defined", f.Dyn.VersionsDefined, defined)
	}
	dynsyms, err := want.DynamicSymbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		t.Fatal(err)
	}
	compareSymbols(t, path+": .dynsym", f.Dyn.Symbols, dynsyms)
	symtab, _ := want.Symbols()
	for i := range symtab { // linkers write versions into these names
		symtab[i].Name, _, _ = strings.Cut(symtab[i].Name, "@")
	}
	compareSymbols(t, path+": .symtab", f.Symtab, symtab)

	relocs, relr := 0, 0
	for i, s := range want.Sections {
		if got := f.Sections[i]; got.Name != s.Name || got.Type != uint32(s.Type) || got.Flags != uint64(s.Flags) ||
			s.Flags&elf.SHF_ALLOC != 0 && got.Range != (Range{s.Addr, s.Addr + s.Size}) {
			bad("section", got, s.SectionHeader)
		}
		if s.Type == elf.SHT_RELA && s.Flags&elf.SHF_ALLOC != 0 {
			relocs += int(s.Size / 24)
		}
		if s.Type == elf.SHT_NOTE && s.Name == ".note.gnu.build-id" {
			note, _ := s.Data()
			if id := hex.EncodeToString(note[16:]); f.BuildID != id {
				bad("build-id", f.BuildID, id)
			}
		}
		if s.Name == ".relr.dyn" {
			relr++
		}
	}
	for _, r := range f.Dyn.Relocs {
		if r.Sym >= uint32(max(1, len(f.Dyn.Symbols))) {
			bad("relocation", r, len(f.Dyn.Symbols))
		}
	}
	if n := len(f.Dyn.Relocs); relr == 0 && n != relocs || relr != 0 && n <= relocs {
		bad("relocations", n, relocs)
	}
	if !slices.IsSortedFunc(f.Dyn.Relocs, func(a, b Reloc) int { return int(int64(a.Off - b.Off)) }) {
		bad("relocations", "unsorted", "sorted")
	}
}

// compareSymbols compares with what debug/elf has, which leaves out the null symbol.
func compareSymbols(t *testing.T, what string, got []Symbol, want []elf.Symbol) {
	t.Helper()
	if len(got) > 0 {
		if got[0] != (Symbol{Undefined: true}) {
			t.Errorf("%s: symbol 0 is %v", what, got[0])
		}
		got = got[1:]
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d symbols, want %d", what, len(got), len(want))
		return
	}
	for i, w := range want {
		s := Symbol{
			Name: w.Name, Value: w.Value, Size: w.Size, Type: w.Info & 15, Bind: w.Info >> 4, Vis: w.Other & 3,
			Undefined: w.Section == elf.SHN_UNDEF, Abs: w.Section == elf.SHN_ABS, TLS: elf.ST_TYPE(w.Info) == elf.STT_TLS,
		}
		if w.HasVersion {
			s.Version, s.VersionFile = w.Version, w.Library
			s.Hidden = w.VersionIndex.IsHidden()
		} else if strings.HasSuffix(what, ".symtab") {
			s.Version, s.Hidden = got[i].Version, got[i].Hidden
		}
		if got[i] != s {
			t.Errorf("%s: symbol %d: got %+v, want %+v", what, i+1, got[i], s)
			return
		}
	}
}

// readelf agrees on names with versions, down to the last character, and on relocations one by one.
func TestAgainstReadelf(t *testing.T) {
	testbin.Need(t, "readelf", "binutils")
	for _, path := range []string{testbin.NeedFile(t, nginx, "nginx"), testbin.NeedFile(t, redis, "redis-server"), libc} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f := open(t, path)
			var syms []string
			for _, s := range f.Dyn.Symbols {
				at := "@@"
				if s.Hidden || s.Undefined || s.VersionFile != "" {
					at = "@"
				}
				name := s.Name
				if s.Version != "" && s.Version != s.Name { // a version's own symbol is printed without it
					name += at + s.Version
				}
				syms = append(syms, name)
			}
			compareLines(t, "symbols", syms, readelfSymbols(t, path))
			var relocs []string
			for _, r := range f.Dyn.Relocs {
				relocs = append(relocs, fmt.Sprintf("%x", r.Off))
			}
			want := readelfRelocs(t, path)
			slices.Sort(relocs)
			slices.Sort(want)
			compareLines(t, "relocations", relocs, want)
			t.Logf("%d symbols, %d relocations agree", len(syms), len(relocs))
		})
	}
}

func compareLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(want) == 0 {
		t.Fatalf("%s: nothing to compare with", what)
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d, want %d", what, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: entry %d: got %q, want %q", what, i, got[i], want[i])
		}
	}
}

func readelfSymbols(t *testing.T, path string) []string {
	var out []string
	for line := range strings.Lines(output(t, "readelf", "-W", "--dyn-syms", path)) {
		w := strings.Fields(line)
		if len(w) < 7 || !strings.HasSuffix(w[0], ":") || w[0] == "Num:" {
			continue
		}
		name := ""
		if len(w) > 7 {
			name = w[7]
		}
		if base, v, ok := strings.Cut(name, "@@"); ok && base == v {
			name = base
		}
		out = append(out, name)
	}
	return out
}

func readelfRelocs(t *testing.T, path string) []string {
	var out []string
	for line := range strings.Lines(output(t, "readelf", "-W", "-r", path)) {
		w := strings.Fields(line)
		if len(w) == 0 || len(w[0]) != 16 {
			continue // neither a relocation nor a DT_RELR address
		}
		out = append(out, strings.TrimLeft(w[0], "0"))
	}
	return out
}

// Without section headers all that programs and libraries need at run time must be there still.
func TestNoSections(t *testing.T) {
	for _, path := range []string{testbin.NeedFile(t, nginx, "nginx"), libc, "/bin/true", "/lib64/ld-linux-x86-64.so.2"} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want := open(t, path)
			got := open(t, testbin.NoSections(t, path))
			if got.Sections != nil {
				t.Errorf("%d sections", len(got.Sections))
			}
			diff(t, "dynamic section", got.Dyn, want.Dyn)
			diff(t, "segments", got.Segments, want.Segments)
			diff(t, "build-id", got.BuildID, want.BuildID)
			gotFrames, err := got.Frames()
			if err != nil {
				t.Fatal(err)
			}
			wantFrames, err := want.Frames()
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "frames", gotFrames, wantFrames)
			text := got.Text()
			for _, r := range want.Text() {
				if !slices.ContainsFunc(text, func(s Range) bool { return s.Start <= r.Start && r.End <= s.End }) {
					t.Errorf("text %#x lies outside the segments %#x", r, text)
				}
			}
		})
	}
}

// A file cut anywhere is truncated, and says so with its name.
func TestTruncated(t *testing.T) {
	for _, path := range []string{testbin.NeedFile(t, nginx, "nginx"), libc} {
		data := read(t, path)
		for i := range 64 {
			n := len(data) * i / 64
			_, err := Parse("the-file", data[:n])
			want := ErrTruncated
			if n == 0 {
				want = ErrNotELF
			}
			if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "the-file: ") {
				t.Errorf("%s cut to %d bytes: %v", path, n, err)
			}
		}
	}
}

// packedFile is the beginning of what UPX 4 makes: two segments, and its l_info behind their headers.
func packedFile() []byte {
	d := make([]byte, 4096)
	copy(d, "\x7fELF\x02\x01\x01\x03")
	le.PutUint16(d[16:], 2)  // ET_EXEC
	le.PutUint16(d[18:], 62) // EM_X86_64
	le.PutUint32(d[20:], 1)
	le.PutUint64(d[24:], 0x400100)
	le.PutUint64(d[32:], 64)
	le.PutUint16(d[52:], 64)
	le.PutUint16(d[54:], 56)
	le.PutUint16(d[56:], 2)
	for k, va := range []uint64{0x400000, 0x500000} {
		p := d[64+56*k:]
		le.PutUint32(p, 1) // PT_LOAD
		le.PutUint32(p[4:], uint32(5+k))
		le.PutUint64(p[16:], va)
		le.PutUint64(p[32:], uint64(4096*(1-k)))
		le.PutUint64(p[40:], 4096)
		le.PutUint64(p[48:], 4096)
	}
	copy(d[64+2*56+4:], "UPX!")
	return d
}

func TestRejected(t *testing.T) {
	data := read(t, "/bin/true")
	edit := func(off int, b ...byte) []byte {
		d := bytes.Clone(data)
		copy(d[off:], b)
		return d
	}
	word := func(off int, v uint64) []byte { return edit(off, le.AppendUint64(nil, v)...) }
	tests := map[string]struct {
		data []byte
		is   error
		text string
	}{
		"empty":            {nil, ErrNotELF, "not an ELF"},
		"text":             {[]byte("hello, world"), ErrNotELF, "not an ELF"},
		"magic only":       {[]byte("\x7fELF"), ErrTruncated, "4 bytes"},
		"half a header":    {data[:40], ErrTruncated, "40 bytes"},
		"script":           {[]byte("#!/bin/sh\nexit\n"), ErrScript, "script with interpreter /bin/sh"},
		"script, blanks":   {[]byte("#! \t/usr/bin/env  perl -w \n"), ErrScript, "script with interpreter /usr/bin/env"},
		"script for none":  {[]byte("#!\n"), ErrNotELF, "without an interpreter"},
		"i386":             {edit(4, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 3, 0), ErrArch, "i386, 32-bit"},
		"x32":              {edit(4, 1), ErrArch, "x86-64, 32-bit (x32)"},
		"arm":              {edit(4, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 40, 0), ErrArch, "arm, 32-bit"},
		"aarch64":          {edit(18, 183), ErrArch, "aarch64, 64-bit"},
		"s390x":            {edit(5, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 22), ErrArch, "s390, 64-bit, big-endian"},
		"unknown machine":  {edit(18, 0xff, 0xff), ErrArch, "machine 65535"},
		"packed by UPX":    {packedFile(), ErrPacked, "packed by UPX"},
		"class":            {edit(4, 7), ErrFormat, "class 7"},
		"version":          {edit(20, 9), ErrFormat, "version 1/9"},
		"relocatable":      {edit(16, 1), ErrFormat, "relocatable object"},
		"core":             {edit(16, 4), ErrFormat, "core dump"},
		"other type":       {edit(16, 9), ErrFormat, "type 9"},
		"phentsize":        {edit(54, 1), ErrFormat, "program headers of 1 bytes"},
		"no phdrs":         {edit(56, 0, 0), ErrFormat, "no program headers"},
		"many phdrs":       {edit(56, 0xff, 0xff), ErrFormat, "65535 program headers"},
		"phoff":            {word(32, 1<<40), ErrTruncated, "program headers"},
		"phoff overflow":   {word(32, ^uint64(0)-8), ErrTruncated, "program headers"},
		"shoff":            {word(40, 1<<40), ErrTruncated, "section headers"},
		"shoff overflow":   {word(40, ^uint64(0)-8), ErrTruncated, "section headers"},
		"shentsize":        {edit(58, 1, 0), ErrFormat, "section headers of 1 bytes"},
		"shstrndx":         {edit(62, 0xfe, 0xfe), ErrFormat, "string table is section 65278"},
		"count by section": {edit(60, 0, 0, 0xff, 0xff), nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x", tt.data)
			if !errors.Is(err, tt.is) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v: ...%s...", err, tt.is, tt.text)
			}
		})
	}
	t.Run("script error", func(t *testing.T) {
		_, err := Parse("x", []byte("#! /usr/bin/env  perl -w \nfoo"))
		var s *ScriptError
		if !errors.As(err, &s) || s.Interp != "/usr/bin/env" || s.Arg != "perl -w" || s.Name != "x" {
			t.Errorf("got %+v", s)
		}
	})
}

// What the kernel or the loader would not map is refused.
func TestSegments(t *testing.T) {
	type seg struct{ off, va, filesz, memsz uint64 }
	file := func(segs ...seg) []byte {
		data := ehFile(nil, nil)
		le.PutUint16(data[56:], uint16(len(segs)))
		for i, s := range segs {
			p := data[ehdrSize+i*phdrSize:]
			le.PutUint32(p, ptLoad)
			le.PutUint32(p[4:], 4)
			for j, v := range []uint64{s.off, s.va, s.va, s.filesz, s.memsz, 4096} {
				le.PutUint64(p[8+8*j:], v)
			}
		}
		return data
	}
	tests := map[string]struct {
		segs []seg
		is   error
		text string
	}{
		"fine":         {[]seg{{0, 0, 0x1000, 0x1000}, {0x1000, 0x3000, 0x800, 0x9000}}, nil, ""},
		"any order":    {[]seg{{0x1000, 0x3000, 0x800, 0x9000}, {0, 0, 0x1000, 0x1000}}, nil, ""},
		"bss only":     {[]seg{{0, 0, 0x1000, 0x1000}, {5, 0x3000, 0, 0x9000}}, nil, ""},
		"empty":        {[]seg{{0, 0, 0, 0}}, ErrFormat, "no loadable segment"},
		"overlap":      {[]seg{{0, 0, 0x1000, 0x1001}, {0x1000, 0x1000, 0x800, 0x800}}, ErrFormat, "segments at 0x0 and 0x1000 overlap"},
		"more in file": {[]seg{{0, 0, 0x1000, 0xfff}}, ErrFormat, "program header 0"},
		"misaligned":   {[]seg{{0, 0x10, 0x1000, 0x1000}}, ErrFormat, "offset 0x0 does not fit address 0x10"},
		"wraps":        {[]seg{{0, ^uint64(0xfff), 0x1000, 0x2000}}, ErrFormat, "program header 0"},
		"behind end":   {[]seg{{0, 0, 0x1000, 0x1000}, {0x8000, 0x8000, 1, 1}}, ErrTruncated, "program header 1"},
		"again":        {[]seg{{0, 0, 0x8000, 0x8000}, {0, 0x8000, 0x8000, 0x8000}, {0, 0x10000, 1, 1}}, ErrFormat, "0x10001 bytes in a file of 0x8000"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := Parse("x", file(tt.segs...))
			if !errors.Is(err, tt.is) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, want %v: ...%s...", err, tt.is, tt.text)
			}
			if err == nil && (len(f.Segments) != 2 || f.Segments[0].Start != 0 || f.Segments[1].Start != 0x3000) {
				t.Errorf("segments %+v", f.Segments)
			}
		})
	}
}

func TestKind(t *testing.T) {
	for path, want := range map[string]Kind{
		"/bin/true": KindPIE, libc: KindShared, "/lib64/ld-linux-x86-64.so.2": KindShared,
	} {
		if f := open(t, path); f.Kind != want || f.Static || (path == libc) != (f.Interp != "" && want == KindShared) {
			t.Errorf("%s: kind %d, static %v, interpreter %q", path, f.Kind, f.Static, f.Interp)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	for _, path := range []string{dir, "/dev/null"} {
		if _, err := Open(path); !errors.Is(err, ErrNotELF) || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/dash -e\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(script); !errors.Is(err, ErrScript) || !strings.HasPrefix(err.Error(), script+": ") {
		t.Errorf("script: %v", err)
	}
	// A sparse giant costs nothing but its header.
	giant := filepath.Join(dir, "giant")
	if err := os.WriteFile(giant, read(t, "/bin/true")[:256], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(giant, MaxSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(giant); !errors.Is(err, ErrTooLarge) {
		t.Errorf("giant: %v", err)
	}
}

func TestParseCopies(t *testing.T) {
	data := read(t, "/bin/true")
	before := bytes.Clone(data)
	f, err := Parse("x", data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, before) {
		t.Fatal("Parse modified the data")
	}
	want := open(t, "/bin/true")
	clear(data)
	got, ok := f.Bytes(f.Entry, 16)
	if orig, _ := want.Bytes(f.Entry, 16); !ok || !bytes.Equal(got, orig) {
		t.Error("the file changed with the caller's data")
	}
	gotFrames, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	wantFrames, _ := want.Frames()
	diff(t, "frames", gotFrames, wantFrames)
}

func TestMemory(t *testing.T) {
	f := open(t, testbin.NeedFile(t, nginx, "nginx"))
	last := &f.Segments[len(f.Segments)-1]
	if !last.Write || last.FileSize >= last.End-last.Start {
		t.Fatalf("last segment %+v has no bss", last)
	}
	bss := last.Start + last.FileSize
	if b, ok := f.Bytes(bss-8, 8); !ok || len(b) != 8 || cap(b) != 8 {
		t.Errorf("last 8 bytes of data: %v, %v", b, ok)
	}
	if _, ok := f.Bytes(bss-8, 9); ok {
		t.Error("bytes reach into the bss")
	}
	if _, ok := f.Bytes(bss-8, ^uint64(0)); ok {
		t.Error("length overflows")
	}
	if _, ok := f.Uint64(bss - 7); ok {
		t.Error("word reaches into the bss")
	}
	if _, ok := f.Uint32(bss); ok {
		t.Error("bss has a word")
	}
	if b := f.Tail(bss); b != nil {
		t.Errorf("bss has %d bytes", len(b))
	}
	if !f.Mapped(bss) || !f.Write(bss) || f.Exec(bss) {
		t.Error("bss is not mapped writable, or executable")
	}
	if !f.Exec(f.Entry) || f.Write(f.Entry) {
		t.Error("entry is not executable, or writable")
	}
	for _, va := range []uint64{last.End, 1 << 46, ^uint64(0)} {
		if f.Mapped(va) || f.Exec(va) || f.Write(va) {
			t.Errorf("%#x is mapped", va)
		}
		if _, ok := f.CString(va); ok {
			t.Errorf("string at %#x", va)
		}
	}
	head := f.Segments[0].Start
	if v, ok := f.Uint32(head); !ok || v != 0x464c457f {
		t.Errorf("first word %#x, %v", v, ok)
	}
	if v, ok := f.Uint64(head + 24); !ok || v != f.Entry {
		t.Errorf("word at 24 is %#x, entry %#x", v, f.Entry)
	}
	for _, s := range f.Sections {
		if s.Name == ".interp" {
			if got, ok := f.CString(s.Start); !ok || got != f.Interp {
				t.Errorf("string at .interp: %q", got)
			}
			if got, ok := f.ShortString(s.Start, len(f.Interp)); !ok || got != f.Interp {
				t.Errorf("short string at .interp: %q", got)
			}
			if got, ok := f.ShortString(s.Start, len(f.Interp)-1); ok {
				t.Errorf("string at .interp, too short: %q", got)
			}
		}
	}
}
