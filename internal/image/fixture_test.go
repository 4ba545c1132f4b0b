package image

import (
	"bufio"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// TestVariants reads one program built in the ways that differ for a reader.
func TestVariants(t *testing.T) {
	const (
		relative, jumpSlot, copyReloc = 8, 7, 5
	)
	tests := []struct {
		name     string
		compiler string
		flags    []string
		kind     Kind
		static   bool
		interp   string
		has      []uint32 // relocation types that must occur
		hasNot   []uint32
	}{
		{"pie", "gcc", nil, KindPIE, false, "/lib64/ld-linux-x86-64.so.2", []uint32{relative}, []uint32{rIRelative}},
		{"lazy", "gcc", []string{"-Wl,-z,lazy"}, KindPIE, false, "/lib64/ld-linux-x86-64.so.2", []uint32{relative, jumpSlot}, nil},
		{"fixed", "gcc", []string{"-no-pie"}, KindExec, false, "/lib64/ld-linux-x86-64.so.2", []uint32{copyReloc}, []uint32{relative}},
		{"sysv hash", "gcc", []string{"-Wl,--hash-style=sysv"}, KindPIE, false, "/lib64/ld-linux-x86-64.so.2", []uint32{relative}, nil},
		{"relr", "gcc", []string{"-Wl,-z,pack-relative-relocs"}, KindPIE, false, "/lib64/ld-linux-x86-64.so.2", []uint32{relative}, nil},
		{"static", "gcc", []string{"-static"}, KindExec, true, "", []uint32{rIRelative}, []uint32{relative}},
		{"static pie", "gcc", []string{"-static-pie"}, KindPIE, true, "", []uint32{relative, rIRelative}, nil},
		{"one segment", "gcc", []string{"-Wl,-z,noseparate-code"}, KindPIE, false, "/lib64/ld-linux-x86-64.so.2", []uint32{relative}, nil},
		{"clang", "clang", []string{"-O2"}, KindPIE, false, "/lib64/ld-linux-x86-64.so.2", []uint32{relative}, nil},
		{"gold", "gcc", []string{"-fuse-ld=gold"}, KindPIE, false, "/lib64/ld-linux-x86-64.so.2", []uint32{relative}, nil},
		{"musl", "musl-gcc", nil, KindPIE, false, "/lib/ld-musl-x86_64.so.1", []uint32{relative}, nil},
		{"musl static", "musl-gcc", []string{"-static"}, KindExec, true, "", nil, []uint32{relative, rIRelative}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := testbin.BuildWith(t, tt.compiler, "testdata/small.c", tt.flags...)
			compareWithDebugELF(t, path)
			compareRelocs(t, path)
			for _, path := range []string{path, testbin.Strip(t, path), testbin.NoSections(t, path)} {
				f := open(t, path)
				if f.Kind != tt.kind || f.Static != tt.static || f.Interp != tt.interp {
					t.Errorf("kind %d, static %v, interpreter %q", f.Kind, f.Static, f.Interp)
				}
				types := map[uint32]int{}
				for _, r := range f.Dyn.Relocs {
					types[r.Type]++
				}
				for _, typ := range tt.has {
					if types[typ] == 0 {
						t.Errorf("no relocation of type %d in %v", typ, types)
					}
				}
				for _, typ := range tt.hasNot {
					if types[typ] != 0 {
						t.Errorf("%d relocations of type %d", types[typ], typ)
					}
				}
				if len(f.Dyn.InitArray.words(f)) == 0 && !(tt.static && tt.kind == KindExec) {
					t.Errorf("no constructor: %+v", f.Dyn.InitArray)
				}
			}
		})
	}
}

// words returns the words of r as the file has them.
func (r Range) words(f *File) []uint64 {
	var out []uint64
	for va := r.Start; va+8 <= r.End; va += 8 {
		v, ok := f.Uint64(va)
		if !ok {
			return nil
		}
		out = append(out, v)
	}
	return out
}

// compareRelocs compares with readelf, which unlike debug/elf reads DT_RELR.
func compareRelocs(t *testing.T, path string) {
	t.Helper()
	var got []string
	for _, r := range open(t, path).Dyn.Relocs {
		got = append(got, fmt.Sprintf("%x", r.Off))
	}
	want := readelfRelocs(t, path)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d relocations, readelf has %d", path, len(got), len(want))
	}
}

// RELR is another notation: the same program linked both ways must have the same relocations.
func TestRELRMeansTheSame(t *testing.T) {
	count := func(flags ...string) map[string]int {
		f := open(t, testbin.Build(t, "testdata/small.c", flags...))
		out := map[string]int{}
		for _, r := range f.Dyn.Relocs {
			if r.Type != rRelative {
				continue
			}
			for _, s := range f.Symtab {
				if s.Value == uint64(r.Addend) && s.Name != "" && s.Type == 2 {
					out[s.Name]++
				}
			}
		}
		return out
	}
	packed, plain := count("-Wl,-z,pack-relative-relocs"), count()
	diff(t, "pointers to functions", packed, plain)
	if packed["first"] != 3 || packed["third"] != 2 {
		t.Errorf("table of pointers not found: %v", packed)
	}
}

func TestVersionedLibrary(t *testing.T) {
	flags := []string{"-shared", "-fPIC", "-Wl,--version-script=testdata/versions.map", "-Wl,-soname,libv.so.3"}
	for _, style := range []string{"gnu", "sysv", "both"} {
		lib := testbin.Build(t, "testdata/versions.c", append(flags, "-Wl,--hash-style="+style)...)
		f := open(t, testbin.NoSections(t, lib))
		if f.Kind != KindShared || f.Static || f.Dyn.Soname != "libv.so.3" {
			t.Errorf("%s: kind %d, static %v, soname %q", style, f.Kind, f.Static, f.Dyn.Soname)
		}
		diff(t, "versions defined", f.Dyn.VersionsDefined, []string{"V_1", "V_2"})
		type sym struct {
			version     string
			hidden, tls bool
		}
		got := map[string][]sym{}
		for _, s := range f.Dyn.Symbols {
			if !s.Undefined && !s.Abs {
				got[s.Name] = append(got[s.Name], sym{s.Version, s.Hidden, s.TLS})
			}
		}
		for _, list := range got {
			slices.SortFunc(list, func(a, b sym) int { return strings.Compare(a.version, b.version) })
		}
		want := map[string][]sym{
			"answer":    {{"V_1", true, false}, {"V_2", false, false}},
			"plain_v1":  {{"V_1", false, false}},
			"tls_value": {{"V_2", false, true}},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", style, got, want)
		}
		if f.TLS.End-f.TLS.Start != 4 {
			t.Errorf("%s: TLS %#x", style, f.TLS)
		}
	}
	// .symtab says the same in its names.
	f := open(t, testbin.Build(t, "testdata/versions.c", flags...))
	for _, s := range f.Symtab {
		if s.Name == "answer" && (s.Version == "V_1") != s.Hidden {
			t.Errorf(".symtab: %+v", s)
		}
		if strings.Contains(s.Name, "@") {
			t.Errorf(".symtab: version left in %q", s.Name)
		}
	}
}

// A symbol that a copy relocation defines keeps its library's version.
func TestCopyRelocation(t *testing.T) {
	f := open(t, testbin.Build(t, "testdata/small.c", "-no-pie"))
	for _, s := range f.Dyn.Symbols {
		if s.Name == "stdout" {
			if s.Undefined || s.Version != "GLIBC_2.2.5" || s.VersionFile != "libc.so.6" {
				t.Errorf("%+v", s)
			}
			return
		}
	}
	t.Error("no symbol stdout")
}

// The landing pads that a run enters must be among those found, in the function and for the calls that they belong to.
func TestLandingPads(t *testing.T) {
	base := []string{"-no-pie", "-fno-pie", "-rdynamic", "-lstdc++", "-ldl"}
	for _, tt := range []struct{ compiler, level string }{{"g++", "-O0"}, {"g++", "-O2"}, {"g++", "-Os"}, {"clang", "-O2"}} {
		t.Run(tt.compiler+" "+tt.level, func(t *testing.T) {
			path := testbin.BuildWith(t, tt.compiler, "testdata/exceptions.cc", append(base, tt.level)...)
			f := open(t, path)
			found := map[uint64]bool{}
			for _, fde := range frames(t, f).FDEs {
				pads, err := f.LandingPads(&fde)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range pads {
					found[p.Pad] = true
					if !fde.Contains(p.Start) || p.End > fde.End {
						t.Errorf("pad %#x for %#x-%#x of %#x", p.Pad, p.Start, p.End, fde.Range)
					}
				}
			}
			out, err := exec.Command(path).Output()
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(string(out), "1 2 0 3 2\n") {
				t.Fatalf("the fixture printed %q", out)
			}
			entered := map[string]int{}
			lines := bufio.NewScanner(strings.NewReader(string(out)))
			for lines.Scan() {
				text, ok := strings.CutPrefix(lines.Text(), "pad ")
				if !ok {
					continue
				}
				ip, err := strconv.ParseUint(text, 16, 64)
				if err != nil {
					t.Fatal(err)
				}
				if !found[ip] {
					t.Errorf("the unwinder went to %#x, which is no pad we know", ip)
				}
				entered[functionAt(f, ip)]++
			}
			for _, name := range []string{"catcher", "cleaner", "rethrower"} {
				if entered[name] == 0 {
					t.Errorf("no pad entered in %s: %v", name, entered)
				}
			}
			for pad := range found {
				if functionAt(f, pad) == "plain" {
					t.Errorf("pad %#x in a function without any", pad)
				}
			}
		})
	}
}

// functionAt names the function whose symbol covers va, without the suffix of a part split off.
func functionAt(f *File, va uint64) string {
	for _, s := range f.Symtab {
		if s.Type == 2 && va >= s.Value && va < s.Value+s.Size {
			name, _, _ := strings.Cut(s.Name, ".")
			return name
		}
	}
	return "?"
}

func frames(t testing.TB, f *File) *Frames {
	t.Helper()
	fr, err := f.Frames()
	if err != nil {
		t.Fatal(err)
	}
	if fr == nil {
		t.Fatalf("%s: no frames", f.Name)
	}
	return fr
}
