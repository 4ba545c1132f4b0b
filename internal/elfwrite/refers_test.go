package elfwrite

import (
	"bytes"
	"errors"
	"testing"
)

// fixed is a small program at a fixed address, to be damaged, with the offset of one of its program headers.
func fixed(t *testing.T, typ uint32) (data []byte, at uint64) {
	t.Helper()
	data = small(t)[1]
	for i := range uint64(le.Uint16(data[offPhnum:])) {
		at := le.Uint64(data[offPhoff:]) + i*phdrSize
		if le.Uint32(data[at:]) == typ {
			return data, at
		}
	}
	t.Fatalf("no program header of type %#x", typ)
	return nil, 0
}

// written has a function and its frame added to a file.
func written(t *testing.T, data []byte) (*Writer, []byte, error) {
	t.Helper()
	w, err := New("file", data)
	if err != nil {
		t.Fatal(err)
	}
	w.SetCode([]byte{0xf3, 0x0f, 0x1e, 0xfa, 0xc3})
	w.AddFrame(Frame{Start: w.Base(), Size: 5})
	out, err := w.Bytes()
	return w, out, err
}

// TestTwice: readers take the last of two such headers, if not the first.
func TestTwice(t *testing.T) {
	for _, typ := range []uint32{ptDynamic, ptGNUEhFrame} {
		const gnuStack = 0x6474e551
		data, at := fixed(t, gnuStack)
		le.PutUint32(data[at:], typ)
		if _, err := New("file", data); !errors.Is(err, ErrRefused) {
			t.Errorf("two of type %#x: %v", typ, err)
		}
	}
}

// TestTableWithout: a table that lists nothing, or does not say where .eh_frame is, stays as it is.
func TestTableWithout(t *testing.T) {
	for _, field := range []uint64{4, 8} {
		data, at := fixed(t, ptGNUEhFrame)
		header := data[at : at+phdrSize]
		le.PutUint32(data[le.Uint64(header[8:])+field:], 0)
		if _, out, err := written(t, data); err != nil || !bytes.Contains(out, header) {
			t.Errorf("field at %d: %v", field, err)
		}
	}
}

// TestUnwindsNew: an entry for addresses at which the file has nothing would be one for new code.
func TestUnwindsNew(t *testing.T) {
	data, at := fixed(t, ptGNUEhFrame)
	w, _, err := written(t, data)
	if err != nil {
		t.Fatal(err)
	}
	table := le.Uint64(data[at+8:])
	va := le.Uint64(data[at+16:])
	fde := table + uint64(le.Uint32(data[table+16:])) // of the first entry
	le.PutUint32(data[fde+8:], uint32(w.Base()-(va+fde-table+8)))
	if _, _, err := written(t, data); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// TestRefersToHeaders: relocations in the ELF header are a reason to refuse a file; an output whose headers name another
// dynamic section is a defect of it.
func TestRefersToHeaders(t *testing.T) {
	data, at := fixed(t, ptDynamic)
	w, out, err := written(t, data)
	if err != nil {
		t.Fatal(err)
	}
	header := bytes.Index(out, data[at:at+phdrSize])
	le.PutUint64(out[header+16:], le.Uint64(out[header+16:])+dynSize)
	if err := w.checkMeaning(out); !errors.Is(err, ErrVerify) || errors.Is(err, ErrRefused) {
		t.Errorf("another dynamic section: %v", err)
	}
	const dtRela, dtRelaSz, relaSize = 7, 8, 24
	for e := data[le.Uint64(data[at+8:]):]; le.Uint64(e) != dtNull; e = e[dynSize:] {
		switch le.Uint64(e) {
		case dtRela:
			le.PutUint64(e[8:], w.Image().Segments[0].Start)
		case dtRelaSz:
			le.PutUint64(e[8:], 2*relaSize)
		}
	}
	if _, _, err := written(t, data); !errors.Is(err, ErrRefused) {
		t.Errorf("relocations in the header: %v", err)
	}
}

// TestPatchedTable: a patch of what nothing should change is a defect of ours too.
func TestPatchedTable(t *testing.T) {
	data, _ := fixed(t, ptGNUEhFrame)
	w, _, err := written(t, data)
	if err != nil {
		t.Fatal(err)
	}
	frames := w.frameTable().frames
	old, _ := w.Image().Bytes(frames, 4)
	if err := w.Patch(Patch{frames, old, []byte{0xff, 0xff, 0xff, 0x0f}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Bytes(); !errors.Is(err, ErrVerify) || errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// TestStringsDamaged: a wrong copy of the dynamic strings is a defect, not a reason to refuse the file.
func TestStringsDamaged(t *testing.T) {
	w, err := New("file", small(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	w.SetCode([]byte{0xc3})
	if err := w.AddNeeded("libother.so"); err != nil {
		t.Fatal(err)
	}
	out, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	out[w.segOff+2] ^= 1
	if err := w.check(out); !errors.Is(err, ErrVerify) || errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// TestStringsUndescribed: strings that no section describes are no other section's.
func TestStringsUndescribed(t *testing.T) {
	data, _ := fixed(t, ptDynamic)
	w, err := New("file", data)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddNeeded("libother.so"); err != nil {
		t.Fatal(err)
	}
	at := le.Uint64(data[offShoff:]) + uint64(w.stringsSection())*shdrSize
	le.PutUint64(data[at+32:], 0) // its size
	if w, err = New("file", data); err != nil {
		t.Fatal(err)
	}
	w.SetCode([]byte{0xc3})
	if err := w.AddNeeded("libother.so"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Bytes(); err != nil {
		t.Error(err)
	}
}

// TestOtherNote: a PT_NOTE with the extent of PT_GNU_PROPERTY may say something else, and has to stay then.
func TestOtherNote(t *testing.T) {
	const ntBuildID = 3
	data, at := fixed(t, ptGNUProperty)
	if w, _, err := written(t, data); err != nil || w.where != placeNote {
		t.Fatalf("place %d, %v", w.where, err)
	}
	data[le.Uint64(data[at+8:])+8] = ntBuildID
	if w, _, err := written(t, data); err != nil || w.where == placeNote {
		t.Errorf("place %d, %v", w.where, err)
	}
}

// TestInterpInHeader: a file whose PT_INTERP names bytes of a header that changes.
func TestInterpInHeader(t *testing.T) {
	data, at := fixed(t, ptInterp)
	le.PutUint64(data[at+8:], offShoff)
	if _, _, err := written(t, data); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}
