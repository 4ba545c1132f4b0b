package image

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"syspart/internal/testbin"
)

// dynFile makes a library whose PT_DYNAMIC has the given tags and values. It has 0x4000 bytes, all of them in one
// segment at 0; tables are placed at the given addresses (from 0x1000 on), the dynamic section at 0x400.
func dynFile(tags map[uint64]uint64, tables map[int][]byte) []byte {
	data := make([]byte, 0x4000)
	copy(data, "\x7fELF\x02\x01\x01")
	le.PutUint16(data[16:], etDyn)
	le.PutUint16(data[18:], 62)
	le.PutUint32(data[20:], 1)
	le.PutUint64(data[32:], ehdrSize)
	le.PutUint16(data[54:], phdrSize)
	le.PutUint16(data[56:], 2)
	phdr := func(i int, typ uint32, start, length uint64) {
		p := data[ehdrSize+i*phdrSize:]
		le.PutUint32(p, typ)
		le.PutUint32(p[4:], 4|pfX|pfW)
		for j, v := range []uint64{start, start, start, length, length, 4096} {
			le.PutUint64(p[8+8*j:], v)
		}
	}
	phdr(0, ptLoad, 0, 0x4000)
	phdr(1, ptDynamic, 0x400, 0x400)
	at := 0x400
	for tag, v := range tags {
		le.PutUint64(data[at:], tag)
		le.PutUint64(data[at+8:], v)
		at += dynSize
	}
	for va, b := range tables {
		copy(data[va:], b)
	}
	return data
}

func words32(v ...uint32) []byte {
	var b []byte
	for _, w := range v {
		b = le.AppendUint32(b, w)
	}
	return b
}

func words64(v ...uint64) []byte {
	var b []byte
	for _, w := range v {
		b = le.AppendUint64(b, w)
	}
	return b
}

type tagsAnd map[uint64]uint64

// with adds tags to a dynamic section that has a string table ("", "lib", "V") and two symbols, hashed by DT_HASH.
func with(more tagsAnd) tagsAnd {
	all := tagsAnd{dtStrtab: 0x1000, dtStrSz: 7, dtSymtab: 0x1100, dtHash: 0x1200}
	for k, v := range more {
		all[k] = v
	}
	return all
}

func tables(more map[int][]byte) map[int][]byte {
	all := map[int][]byte{
		0x1000: []byte("\x00lib\x00V\x00"),
		0x1118: append(words32(1), 0x12, 0, 5, 0), // "lib", a global function
		0x1200: words32(1, 2, 0, 0, 0),
	}
	for k, v := range more {
		all[k] = v
	}
	return all
}

func TestHostileDynamic(t *testing.T) {
	verdef := append([]byte{1, 0, 0, 0, 2, 0, 1, 0}, words32(0, 20, 0, 5, 0)...) // version 2, aux at 20: "V"
	loop := append([]byte{1, 0, 0, 0, 2, 0, 1, 0}, words32(0, 20, 20, 5, 0)...)  // leads to its own aux, and on
	verneed := append([]byte{1, 0, 1, 0}, append(words32(1, 16, 0, 0), 0, 0, 3, 0, 5, 0, 0, 0, 0, 0, 0, 0)...)
	tests := map[string]struct {
		tags   tagsAnd
		tables map[int][]byte
		is     error
		text   string
	}{
		"fine":                 {with(nil), nil, nil, ""},
		"empty":                {nil, nil, nil, ""},
		"strings outside":      {with(tagsAnd{dtStrSz: 0x10000}), nil, ErrTruncated, "DT_STRTAB"},
		"strings nowhere":      {with(tagsAnd{dtStrtab: 1 << 50}), nil, ErrTruncated, "DT_STRTAB"},
		"string outside":       {with(tagsAnd{dtNeeded: 99}), nil, ErrFormat, "tag 1"},
		"string above 4G":      {with(tagsAnd{dtSoname: 1 << 32}), nil, ErrFormat, "tag 14"},
		"string without end":   {with(tagsAnd{dtStrSz: 6, dtNeeded: 5}), nil, ErrFormat, "tag 1"},
		"symbol size":          {with(tagsAnd{dtSymEnt: 16}), nil, ErrFormat, "DT_SYMENT"},
		"symbols outside":      {with(nil), map[int][]byte{0x1200: words32(1, 1<<30)}, ErrTruncated, "1073741824 symbols"},
		"symbols nowhere":      {with(tagsAnd{dtSymtab: 1 << 50}), nil, ErrTruncated, "DT_SYMTAB"},
		"symbol's name":        {with(nil), map[int][]byte{0x1118: words32(500)}, ErrFormat, "symbol 1: name"},
		"hash outside":         {with(tagsAnd{dtHash: 0x3ffe}), nil, ErrTruncated, "DT_HASH"},
		"gnu hash outside":     {with(tagsAnd{dtHash: 0, dtGNUHash: 0x3ff8}), nil, ErrTruncated, "DT_GNU_HASH"},
		"gnu hash buckets":     {with(tagsAnd{dtHash: 0, dtGNUHash: 0x1300}), map[int][]byte{0x1300: words32(1<<31, 1, 1<<31, 0)}, ErrTruncated, "DT_GNU_HASH"},
		"gnu hash bucket":      {with(tagsAnd{dtHash: 0, dtGNUHash: 0x1300}), map[int][]byte{0x1300: words32(1, 9, 0, 0, 5)}, ErrFormat, "bucket of symbol 5"},
		"gnu hash chain":       {with(tagsAnd{dtHash: 0, dtGNUHash: 0x3fe8}), map[int][]byte{0x3fe8: words32(1, 1, 0, 0, 1, 2)}, ErrTruncated, "chain"},
		"gnu hash":             {with(tagsAnd{dtHash: 0, dtGNUHash: 0x1300}), map[int][]byte{0x1300: words32(1, 1, 0, 0, 1, 3)}, nil, ""},
		"rela outside":         {with(tagsAnd{dtRela: 0x3ff0, dtRelaSz: 24}), nil, ErrTruncated, "DT_RELA"},
		"rela size":            {with(tagsAnd{dtRela: 0x1300, dtRelaSz: 25}), nil, ErrFormat, "whole number"},
		"rela overflow":        {with(tagsAnd{dtRela: 0x1300, dtRelaSz: 24 << 58}), nil, ErrTruncated, "DT_RELA"},
		"rela entry":           {with(tagsAnd{dtRelaEnt: 12}), nil, ErrFormat, "DT_RELAENT"},
		"rela symbol":          {with(tagsAnd{dtRela: 0x1300, dtRelaSz: 24}), map[int][]byte{0x1300: words64(0x1400, 1<<62|1, 0)}, ErrTruncated, "symbols"},
		"rela without symbols": {tagsAnd{dtRela: 0x1300, dtRelaSz: 24}, map[int][]byte{0x1300: words64(0x1400, 5<<32|1, 0)}, ErrFormat, "symbol 5"},
		"plt kind":             {with(tagsAnd{dtJmpRel: 0x1300, dtPLTRelSz: 24, dtPLTRel: 17}), nil, ErrFormat, "DT_PLTREL"},
		"relr outside":         {with(tagsAnd{dtRelr: 0x3ff8, dtRelrSz: 16}), nil, ErrTruncated, "DT_RELR"},
		"relr entry":           {with(tagsAnd{dtRelrEnt: 4}), nil, ErrFormat, "DT_RELRENT"},
		"relr target":          {with(tagsAnd{dtRelr: 0x1300, dtRelrSz: 8}), map[int][]byte{0x1300: words64(0x3ffc)}, ErrFormat, "0x3ffc"},
		"relr bitmap alone":    {with(tagsAnd{dtRelr: 0x1300, dtRelrSz: 16}), map[int][]byte{0x1300: words64(^uint64(0), ^uint64(0))}, nil, ""},
		"relr far":             {with(tagsAnd{dtRelr: 0x1300, dtRelrSz: 16}), map[int][]byte{0x1300: words64(0x3f00, ^uint64(0))}, ErrFormat, "0x4000"},
		"relr backwards":       {with(tagsAnd{dtRelr: 0x1300, dtRelrSz: 16}), map[int][]byte{0x1300: words64(0x1500, 0x1500)}, ErrFormat, "0x1500 after 0x1500"},
		"init array outside":   {with(tagsAnd{dtInitArray: 0x3ff0, dtInitArraySz: 0x18}), nil, ErrTruncated, "DT_INIT_ARRAY"},
		"fini array overflow":  {with(tagsAnd{dtFiniArray: 0x3ff0, dtFiniArraySz: ^uint64(0)}), nil, ErrTruncated, "DT_FINI_ARRAY"},
		"verdef":               {with(tagsAnd{dtVerdef: 0x1300, dtVerdefNum: 1}), map[int][]byte{0x1300: verdef}, nil, ""},
		"verdef outside":       {with(tagsAnd{dtVerdef: 0x3ff0, dtVerdefNum: 1}), nil, ErrTruncated, "DT_VERDEF"},
		"verdef nowhere":       {with(tagsAnd{dtVerdef: 1 << 50, dtVerdefNum: 1 << 60}), nil, ErrTruncated, "DT_VERDEF"},
		"verdef number alone":  {with(tagsAnd{dtVerdefNum: 1 << 60, dtVerneedNum: 9}), nil, nil, ""},
		"verdef next":          {with(tagsAnd{dtVerdef: 0x1300, dtVerdefNum: 1 << 60}), map[int][]byte{0x1300: append(verdef[:16:16], 0, 0, 0, 0x70, 5)}, ErrTruncated, "next entry"},
		"verdef chain":         {with(tagsAnd{dtVerdef: 0x1300, dtVerdefNum: 1 << 60}), map[int][]byte{0x1300: loop}, nil, ""},
		"verneed":              {with(tagsAnd{dtVerneed: 0x1300, dtVerneedNum: 1}), map[int][]byte{0x1300: verneed}, nil, ""},
		"verneed outside":      {with(tagsAnd{dtVerneed: 0x3ffa, dtVerneedNum: 1}), nil, ErrTruncated, "DT_VERNEED"},
		"versym outside":       {with(tagsAnd{dtVersym: 0x3ffe}), nil, ErrTruncated, "DT_VERSYM"},
		"versym":               {with(tagsAnd{dtVersym: 0x1400, dtVerdef: 0x1300, dtVerdefNum: 1}), map[int][]byte{0x1300: verdef, 0x1400: {0, 0, 2, 0}}, nil, ""},
		"versym undeclared":    {with(tagsAnd{dtVersym: 0x1400, dtVerdef: 0x1300, dtVerdefNum: 1}), map[int][]byte{0x1300: verdef, 0x1400: {0, 0, 7, 0x80}}, ErrFormat, "undeclared version 7"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := Parse("x", dynFile(tt.tags, tables(tt.tables)))
			if !errors.Is(err, tt.is) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, want %v: ...%s...", err, tt.is, tt.text)
			}
			if err == nil && tt.tags != nil && (len(f.Dyn.Symbols) != 2 || f.Dyn.Symbols[1].Name != "lib") {
				t.Errorf("symbols %+v", f.Dyn.Symbols)
			}
		})
	}
}

func TestDynamicWithoutEnd(t *testing.T) {
	data := dynFile(nil, nil)
	le.PutUint64(data[ehdrSize+phdrSize+16:], 0x3ff0)
	le.PutUint64(data[0x3ff0:], dtFlags)
	if _, err := Parse("x", data); !errors.Is(err, ErrTruncated) || !strings.Contains(err.Error(), "PT_DYNAMIC") {
		t.Errorf("got %v", err)
	}
}

// Relocations are read as often as the loader applies them, wherever they are listed.
func TestRelocationTables(t *testing.T) {
	rela := words64(0x2010, 8, 1, 0x2008, 1<<32|7, 0, 0x2000, 1<<32|7, 0)
	tests := map[string]struct {
		tags tagsAnd
		want string
	}{
		"apart":     {tagsAnd{dtRela: 0x1300, dtRelaSz: 24, dtJmpRel: 0x1318, dtPLTRelSz: 48}, "2000 plt,2008 plt,2010"},
		"included":  {tagsAnd{dtRela: 0x1300, dtRelaSz: 72, dtJmpRel: 0x1318, dtPLTRelSz: 48}, "2000 plt,2008 plt,2010"},
		"in middle": {tagsAnd{dtRela: 0x1300, dtRelaSz: 72, dtJmpRel: 0x1318, dtPLTRelSz: 24}, "2000,2008 plt,2010"},
		"no plt":    {tagsAnd{dtRela: 0x1300, dtRelaSz: 72}, "2000,2008,2010"},
		"relr":      {tagsAnd{dtRela: 0x1300, dtRelaSz: 24, dtRelr: 0x1400, dtRelrSz: 16}, "2010,2020=77,2028=0,2030=0,2218=0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.tags[dtPLTRel] = dtRela
			data := dynFile(with(tt.tags), tables(map[int][]byte{
				0x1300: rela, 0x1400: words64(0x2020, 1|1<<1|1<<2|1<<63), 0x2020: words64(77),
			}))
			f, err := Parse("x", data)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range f.Dyn.Relocs {
				s := fmt.Sprintf("%x", r.Off)
				if r.PLT {
					s += " plt"
				}
				if r.Off >= 0x2020 {
					s += fmt.Sprintf("=%d", r.Addend)
				}
				got = append(got, s)
			}
			if s := strings.Join(got, ","); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}

func TestDynamicFields(t *testing.T) {
	names := []byte("\x00lib\x00V\x00$ORIGIN\x00")
	all := tagsAnd{
		dtStrtab: 0x1000, dtStrSz: uint64(len(names)), dtNeeded: 1, dtSoname: 5, dtRpath: 7, dtRunpath: 8, dtAuxiliary: 1,
		dtAudit: 5, dtFlags: 8, dtSymbolic: 0, dtFlags1: 3, dtInit: 0x3000, dtFini: 0x3008,
		dtPreinitArray: 0x1800, dtPreinitSz: 8, dtInitArray: 0x1808, dtInitArraySz: 16, dtFiniArray: 0x1818, dtFiniArraySz: 24,
	}
	f, err := Parse("x", dynFile(all, map[int][]byte{0x1000: names}))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "dynamic section", f.Dyn, Dynamic{
		Needed: []string{"lib"}, Soname: "V", Rpath: "$ORIGIN", Runpath: "ORIGIN", Filters: []string{"lib"}, Audit: []string{"V"},
		Flags: 8 | dfSymbolic, Flags1: 3, Symbolic: true, Init: 0x3000, Fini: 0x3008, Relocs: []Reloc{},
		PreinitArray: Range{0x1800, 0x1808}, InitArray: Range{0x1808, 0x1818}, FiniArray: Range{0x1818, 0x1830},
	})
	f, err = Parse("x", dynFile(tagsAnd{dtFlags: dfSymbolic}, nil))
	if err != nil || !f.Dyn.Symbolic {
		t.Errorf("DF_SYMBOLIC: %v, %v", f.Dyn.Symbolic, err)
	}
}

// Undefined symbols that neither a hash table nor a relocation counts are found by where the table must end.
func TestUncountedSymbols(t *testing.T) {
	undefined := append(words32(1), append(words32(0x20), make([]byte, 16)...)...) // "lib", weak
	plausible := slices.Concat(make([]byte, symSize), undefined, undefined)
	defined := slices.Concat(plausible, words32(1, 5<<16), make([]byte, 16))
	nameless := slices.Concat(plausible, words32(0, 0x20), make([]byte, 16), undefined)
	foreign := slices.Concat(plausible, words32(500, 0x20), make([]byte, 16), undefined)
	emptyHash := words32(1, 1, 1, 0, 0, 0, 0)
	tests := map[string]struct {
		tags  tagsAnd
		table []byte
		want  int
	}{
		"until the strings":   {tagsAnd{dtStrtab: 0x1000 + 3*symSize, dtStrSz: 7}, plausible, 3},
		"until a definition":  {tagsAnd{dtStrtab: 0x1800, dtStrSz: 7}, defined, 3},
		"until a null symbol": {tagsAnd{dtStrtab: 0x1800, dtStrSz: 7}, nameless, 3},
		"until a bad name":    {tagsAnd{dtStrtab: 0x1800, dtStrSz: 7}, foreign, 3},
		"empty hash table":    {tagsAnd{dtStrtab: 0x1000 + 3*symSize, dtStrSz: 7, dtGNUHash: 0x2000}, plausible, 3},
		"counted":             {tagsAnd{dtStrtab: 0x1800, dtStrSz: 7, dtHash: 0x2100}, plausible, 2},
		"used":                {tagsAnd{dtStrtab: 0x1800, dtStrSz: 7, dtRela: 0x2200, dtRelaSz: relaSize}, defined, 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.tags[dtSymtab] = 0x1000
			data := dynFile(tt.tags, map[int][]byte{
				0x1000: tt.table, 0x2000: emptyHash, 0x2100: words32(1, 2), 0x2200: words64(0x3000, 3<<32|1, 0),
			})
			copy(data[tt.tags[dtStrtab]:], "\x00lib\x00V\x00")
			f, err := Parse("x", data)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(f.Dyn.Symbols); n != tt.want {
				t.Errorf("%d symbols, want %d", n, tt.want)
			}
		})
	}
}

// Many long names that share one string would cost time in proportion to the square of the file's size.
func TestLongNames(t *testing.T) {
	const n = 3 << 20
	data := make([]byte, n)
	for i := range data[:n-1] {
		data[i] = 'x'
	}
	names := newStrtab(data)
	var err error
	for i := 0; err == nil; i++ {
		if i > 20 {
			t.Fatal("no limit")
		}
		_, err = names.at(uint32(i))
	}
	if !errors.Is(err, ErrFormat) {
		t.Errorf("got %v", err)
	}
}

// The vDSO is parsed from memory, has no file, and says what it defines.
func TestVDSO(t *testing.T) {
	data := vdso(t)
	f, err := Parse("[vdso]", data)
	if err != nil {
		t.Fatal(err)
	}
	if f.Kind != KindShared || f.Dyn.Soname != "linux-vdso.so.1" || f.BuildID == "" {
		t.Errorf("kind %d, soname %q, build-id %q", f.Kind, f.Dyn.Soname, f.BuildID)
	}
	for _, s := range f.Dyn.Symbols {
		if s.Name != "__vdso_clock_gettime" {
			continue
		}
		for _, fde := range frames(t, f).FDEs {
			if fde.Contains(s.Value) && s.Version == "LINUX_2.6" && f.Exec(s.Value) {
				return
			}
		}
		t.Errorf("no frame or version for %+v", s)
	}
	t.Error("no __vdso_clock_gettime")
}

// vdso returns a copy of the vDSO of this process.
func vdso(t *testing.T) []byte {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(line, "[vdso]\n") {
			continue
		}
		var start, end int64
		if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil {
			t.Fatal(err)
		}
		mem, err := os.Open("/proc/self/mem")
		if err != nil {
			t.Fatal(err)
		}
		defer mem.Close()
		data := make([]byte, end-start)
		if _, err := mem.ReadAt(data, start); err != nil {
			t.Fatal(err)
		}
		return data
	}
	testbin.Skip(t, "this kernel gives processes no vDSO")
	return nil
}
