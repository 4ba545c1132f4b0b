package link

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// cacheLib is an entry for makeCache.
type cacheLib struct {
	name, file string
	flags      uint32
	hwcap      uint64
}

// makeCache writes a cache in the new format with names of glibc-hwcaps subdirectories.
func makeCache(libs []cacheLib, hwcaps ...string) []byte {
	le := binary.LittleEndian
	strs := []byte{}
	base := newHeader + newEntry*len(libs)
	str := func(s string) uint32 {
		off := base + len(strs)
		strs = append(append(strs, s...), 0)
		return uint32(off)
	}
	var entries, section []byte
	for _, l := range libs {
		entries = le.AppendUint32(entries, l.flags)
		entries = le.AppendUint32(entries, str(l.name))
		entries = le.AppendUint32(entries, str(l.file))
		entries = le.AppendUint32(entries, 0)
		entries = le.AppendUint64(entries, l.hwcap)
	}
	for _, h := range hwcaps {
		section = le.AppendUint32(section, str(h))
	}
	for (base+len(strs))%4 != 0 {
		strs = append(strs, 0)
	}
	ext := base + len(strs)
	out := append([]byte(newMagic), make([]byte, newHeader-len(newMagic))...)
	le.PutUint32(out[20:], uint32(len(libs)))
	le.PutUint32(out[24:], uint32(len(strs)))
	out[28] = 2
	le.PutUint32(out[32:], uint32(ext))
	out = append(append(out, entries...), strs...)
	out = le.AppendUint32(out, extMagic)
	out = le.AppendUint32(out, 1)
	out = le.AppendUint32(out, extHwcaps)
	out = le.AppendUint32(out, 0)
	out = le.AppendUint32(out, uint32(ext+8+16))
	out = le.AppendUint32(out, uint32(len(section)))
	return append(out, section...)
}

// makeOldCache writes the same in the old format, which has no capabilities.
func makeOldCache(libs []cacheLib) []byte {
	le := binary.LittleEndian
	out := append([]byte(oldMagic), 0)
	out = le.AppendUint32(out, uint32(len(libs)))
	var strs []byte
	for _, l := range libs {
		out = le.AppendUint32(out, l.flags)
		out = le.AppendUint32(out, uint32(len(strs)))
		strs = append(append(strs, l.name...), 0)
		out = le.AppendUint32(out, uint32(len(strs)))
		strs = append(append(strs, l.file...), 0)
	}
	return append(out, strs...)
}

var cacheLibs = []cacheLib{
	{"libb.so", "/lib32/libb.so", 0x803, 0}, // x32
	{"libb.so", "/old/haswell/libb.so", flagLibc6X8664, 1 << 50},
	{"libb.so", "/v2/libb.so", flagLibc6X8664, hwcapExtBit | 0},
	{"libb.so", "/v3/libb.so", flagLibc6X8664, hwcapExtBit | 1<<32 | 1},
	{"libb.so", "/libb.so", flagLibc6X8664, 0},
	{"libb.so", "/second/libb.so", flagLibc6X8664, 0},
	{"libplain.so", "/libplain.so", flagELF, 0},
	{"libarm.so", "/libarm.so", 0xa03, 0},
	{"librel.so", "lib/librel.so", flagLibc6X8664, 0},
}

func TestCacheLookup(t *testing.T) {
	for _, test := range []struct {
		name  string
		data  []byte
		lib   string
		level int
		want  string
	}{
		{"new, level 1", makeCache(cacheLibs, "x86-64-v2", "x86-64-v3"), "libb.so", 1, "/libb.so"},
		{"new, level 2", makeCache(cacheLibs, "x86-64-v2", "x86-64-v3"), "libb.so", 2, "/v2/libb.so"},
		{"new, level 3", makeCache(cacheLibs, "x86-64-v2", "x86-64-v3"), "libb.so", 3, "/v3/libb.so"},
		{"new, level 4", makeCache(cacheLibs, "x86-64-v2", "x86-64-v3"), "libb.so", 4, "/v3/libb.so"},
		{"names swapped", makeCache(cacheLibs, "x86-64-v3", "x86-64-v2"), "libb.so", 4, "/v2/libb.so"},
		{"no names", makeCache(cacheLibs), "libb.so", 4, "/libb.so"},
		{"plain ELF", makeCache(cacheLibs), "libplain.so", 1, "/libplain.so"},
		{"foreign", makeCache(cacheLibs), "libarm.so", 1, ""},
		{"relative", makeCache(cacheLibs), "librel.so", 1, ""},
		{"unknown", makeCache(cacheLibs), "libnone.so", 1, ""},
		{"old", makeOldCache(cacheLibs[4:]), "libb.so", 3, "/libb.so"},
		{"old before new", pad(makeOldCache(nil), makeCache(cacheLibs, "x86-64-v2")), "libb.so", 2, "/v2/libb.so"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := parseCache(test.data)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := c.lookup(test.lib, hwcapDirs(test.level)); got != test.want || ok != (test.want != "") {
				t.Errorf("got %q, %v, want %q", got, ok, test.want)
			}
		})
	}
}

// pad puts b behind a at the next multiple of 8.
func pad(a, b []byte) []byte {
	for len(a)%8 != 0 {
		a = append(a, 0)
	}
	return append(a, b...)
}

func TestCacheDamaged(t *testing.T) {
	good := makeCache(cacheLibs, "x86-64-v2")
	big := append([]byte{}, good...)
	binary.LittleEndian.PutUint32(big[20:], 1<<31)
	foreign := append([]byte{}, good...)
	foreign[28] = 3
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "header": good[:30], "entries": good[:newHeader+10], "count": big, "endian": foreign,
		"old header": []byte(oldMagic), "old entries": makeOldCache(cacheLibs)[:40],
	} {
		if _, err := parseCache(data); !errors.Is(err, ErrCache) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCacheOfSystem compares with ldconfig -p.
func TestCacheOfSystem(t *testing.T) {
	data, err := os.ReadFile(testbin.NeedFile(t, "/etc/ld.so.cache", "libc-bin"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseCache(data)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(testbin.NeedFile(t, "/sbin/ldconfig", "libc-bin"), "-p").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		name, file, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if !ok || !strings.Contains(name, "(libc6,x86-64") && !strings.Contains(name, "(ELF") {
			continue
		}
		name, _, _ = strings.Cut(name, " ")
		n++
		found := false
		for _, e := range c.libs[name] {
			found = found || e.path == file
		}
		if !found {
			t.Errorf("%s: %s is not in %v", name, file, c.libs[name])
		}
	}
	got := 0
	for _, list := range c.libs {
		got += len(list)
	}
	if n < 10 || got != n {
		t.Errorf("%d entries, ldconfig has %d", got, n)
	}
}

func FuzzCache(f *testing.F) {
	f.Add(makeCache(cacheLibs, "x86-64-v2", "x86-64-v3"))
	f.Add(makeOldCache(cacheLibs))
	f.Add(pad(makeOldCache(cacheLibs), makeCache(cacheLibs)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCache(data)
		if err != nil {
			if !errors.Is(err, ErrCache) {
				t.Errorf("%v does not wrap ErrCache", err)
			}
			return
		}
		for name, list := range c.libs {
			for _, e := range list {
				if name == "" || !strings.HasPrefix(e.path, "/") || strings.Contains(e.path, "\x00") {
					t.Errorf("entry %q: %q", name, e.path)
				}
			}
			c.lookup(name, hwcapDirs(4))
		}
	})
}

func TestCPU(t *testing.T) {
	const v2 = "fpu sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
	const v3 = v2 + " avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
	const v4 = v3 + " avx512f avx512bw avx512cd avx512dq avx512vl"
	for _, test := range []struct {
		vendor, flags string
		want          cpuInfo
	}{
		{"GenuineIntel", "fpu sse2", cpuInfo{1, "x86_64"}},
		{"GenuineIntel", v2, cpuInfo{2, "x86_64"}},
		{"GenuineIntel", v3, cpuInfo{3, "haswell"}},
		{"AuthenticAMD", v3, cpuInfo{3, "x86_64"}},
		{"AuthenticAMD", v4, cpuInfo{4, "x86_64"}},
		{"GenuineIntel", v4 + " avx512er avx512pf", cpuInfo{4, "xeon_phi"}},
		{"AuthenticAMD", strings.Replace(v4, "movbe", "", 1), cpuInfo{2, "x86_64"}},
	} {
		flags := map[string]bool{}
		for f := range strings.FieldsSeq(test.flags) {
			flags[f] = true
		}
		if got := cpuOf(test.vendor, flags); got != test.want {
			t.Errorf("%s %s: %+v, want %+v", test.vendor, test.flags, got, test.want)
		}
	}
	text := "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu\n\nprocessor\t: 1\nvendor_id\t: none\n"
	if got := vendor(text); got != "GenuineIntel" || vendor("") != "" {
		t.Errorf("vendor: %q", got)
	}
}
