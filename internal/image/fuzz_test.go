package image

import (
	"bytes"
	"testing"

	"syspart/internal/testbin"
)

// use calls everything that works on a parsed file. What it returns must lie in the file.
func use(t *testing.T, f *File) {
	size := uint64(f.Size)
	text := f.Text()
	for i, r := range text {
		if r.Start >= r.End || r.End-r.Start > size || !f.Exec(r.Start) || !f.Exec(r.End-1) {
			t.Errorf("text %#x", r)
		}
		if i > 0 && r.Start < text[i-1].End {
			t.Errorf("text %#x behind %#x", r, text[i-1])
		}
	}
	for i, s := range f.Segments {
		if b := f.Tail(s.Start); uint64(len(b)) != s.FileSize || s.Start >= s.End {
			t.Errorf("segment %d: %d bytes: %+v", i, len(b), s)
		}
	}
	if n := uint64(len(f.Dyn.Relocs)); n > size {
		t.Errorf("%d relocations in %d bytes", n, size)
	}
	if n := uint64(len(f.Dyn.Symbols) + len(f.Symtab)); n > size {
		t.Errorf("%d symbols in %d bytes", n, size)
	}
	f.Uint32(f.Entry)
	f.Uint64(f.Entry)
	f.CString(f.Entry)
	frames, err := f.Frames()
	if err != nil || frames == nil {
		return
	}
	for i := range frames.FDEs {
		d := &frames.FDEs[i]
		if d.Start >= d.End || !f.Exec(d.Start) || !f.Exec(d.End-1) || int(d.CIE) >= len(frames.CIEs) {
			t.Errorf("FDE %+v", d)
		}
		pads, _ := f.LandingPads(d)
		for _, p := range pads {
			if !f.Exec(p.Pad) || p.End < p.Start {
				t.Errorf("pad %+v of %+v", p, d)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, path := range []string{
		testbin.Build(f, "testdata/small.c", "-s"),
		testbin.Build(f, "testdata/small.c", "-Wl,-z,pack-relative-relocs", "-s", "-Wl,-z,noseparate-code"),
		testbin.Build(f, "testdata/versions.c", "-shared", "-fPIC", "-Wl,--version-script=testdata/versions.map", "-Wl,-z,noseparate-code"),
		testbin.Build(f, "testdata/exceptions.cc", "-ldl", "-Wl,-z,noseparate-code"),
	} {
		f.Add(read(f, path))
	}
	f.Add(dynFile(with(nil), tables(nil)))
	f.Add(ehFile(noTable, nil))
	f.Add([]byte("#! /bin/sh -e\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		heads, headsErr := Heads("x", bytes.NewReader(data), int64(len(data)), true)
		file, err := Parse("x", data)
		if err != nil {
			return
		}
		use(t, file)
		if headsErr == nil && !sameHeads(heads, file) {
			t.Errorf("the heads alone say needed %q, the file %q", heads.Dyn.Needed, file.Dyn.Needed)
		}
	})
}

// FuzzFrames spares the fuzzer the ELF around .eh_frame_hdr, .eh_frame and an LSDA.
func FuzzFrames(f *testing.F) {
	plain := entry(uint32(0), 1, "zPLR", 1, 0x78, 16, 7, peU4, uint32(0x4000), peU4, peU4)
	fde := entry(uint32(len(plain)+4), uint32(0x4100), uint32(0x100), 4, uint32(0x2800), 0x41)
	f.Add(noTable, append(append(plain, fde...), 0, 0, 0, 0), []byte{0xff, 0xff, 1, 4, 2, 3, 0x20, 0})
	listed := append([]byte{1, peU4, peU4, peDataRel | peS4, 0, 0x20, 0, 0, 1, 0, 0, 0, 1, 2, 3, 0}, 0, 0x10, 0, 0)
	f.Add(listed, append(entry(uint32(0), 1, "", 1, 0x78, 16), entry(uint32(17), uint64(0x4100), uint64(16))...), []byte{})
	f.Fuzz(func(t *testing.T, hdr, frame, lsda []byte) {
		data := ehFile(append([]byte{}, hdr...), frame)
		copy(data[0x2800:0x4000], lsda)
		file, err := Parse("x", data)
		if err != nil {
			t.Fatal(err)
		}
		use(t, file)
		// The same LSDA for a function that surely exists.
		if _, err := file.LandingPads(&FDE{Range: Range{0x4100, 0x4200}, LSDA: 0x2800}); err != nil {
			return
		}
	})
}
