package image

import "bytes"

// cursor reads bytes at a virtual address. The first read behind the end sets bad, and everything read from then on is 0.
type cursor struct {
	b   []byte
	va  uint64 // address of b[0]
	pos int
	bad bool
}

func (c *cursor) addr() uint64 { return c.va + uint64(c.pos) }

func (c *cursor) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)-c.pos) {
		c.bad = true
		return nil
	}
	b := c.b[c.pos : c.pos+int(n)]
	c.pos += int(n)
	return b
}

func (c *cursor) u8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return le.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

// uleb reads an unsigned LEB128 number (DWARF 5, 7.6). One that does not fit 64 bits is bad.
func (c *cursor) uleb() uint64 {
	var v uint64
	for shift := 0; ; shift += 7 {
		b := c.u8()
		if shift > 63 || shift == 63 && b > 1 {
			c.bad = true
		}
		if c.bad {
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return v
		}
	}
}

// sleb reads a signed LEB128 number. One that does not fit 64 bits is bad.
func (c *cursor) sleb() int64 {
	var v int64
	for shift := 0; ; shift += 7 {
		b := c.u8()
		if shift > 63 || shift == 63 && b != 0 && b != 0x7f {
			c.bad = true
		}
		if c.bad {
			return 0
		}
		v |= int64(b&0x7f) << shift
		if b&0x80 == 0 {
			if b&0x40 != 0 && shift+7 < 64 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

// cstring reads a NUL-terminated string of at most 64 bytes, enough for every augmentation.
func (c *cursor) cstring() string {
	if c.bad {
		return ""
	}
	rest := c.b[c.pos:]
	n := bytes.IndexByte(rest[:min(len(rest), 65)], 0)
	if n < 0 {
		c.bad = true
		return ""
	}
	c.pos += n + 1
	return string(rest[:n])
}

// Pointer encodings of .eh_frame and LSDAs (LSB core, "DWARF Extensions"): a format, what the value is relative to, and
// whether it is the address of the pointer.
const (
	peAbs, peULEB, peU2, peU4, peU8          = 0x00, 0x01, 0x02, 0x03, 0x04
	peSigned, peSLEB, peS2, peS4, peS8       = 0x08, 0x09, 0x0a, 0x0b, 0x0c
	pePCRel, peTextRel, peDataRel            = 0x10, 0x20, 0x30
	peFuncRel, peAligned                     = 0x40, 0x50
	peIndirect                         uint8 = 0x80
	peOmit                             uint8 = 0xff
)

// bases are the addresses that encoded pointers may be relative to.
type bases struct {
	data uint64 // DT_PLTGOT, in .eh_frame_hdr the table itself
	fn   uint64 // start of the function
}

// raw reads a value in the format of enc, whatever it is relative to.
func (c *cursor) raw(enc uint8) uint64 {
	switch enc & 0x0f {
	case peAbs, peU8, peSigned, peS8:
		return c.u64()
	case peULEB:
		return c.uleb()
	case peU2:
		return uint64(c.u16())
	case peU4:
		return uint64(c.u32())
	case peSLEB:
		return uint64(c.sleb())
	case peS2:
		return uint64(int16(c.u16()))
	case peS4:
		return uint64(int32(c.u32()))
	}
	c.bad = true
	return 0
}

// pointer reads a pointer encoded as enc says; if enc has peIndirect, the result is the address of the pointer. As in
// libgcc (unwind-pe.h), a value of 0 is a null pointer whatever it is relative to.
func (c *cursor) pointer(enc uint8, base bases) uint64 {
	if enc == peOmit {
		return 0
	}
	if enc&0x70 == peAligned {
		c.take(-c.addr() & 7)
		return c.u64()
	}
	at := c.addr()
	v := c.raw(enc)
	if v == 0 {
		return 0
	}
	switch enc & 0x70 {
	case 0, peTextRel: // x86-64 has no text base
	case pePCRel:
		v += at
	case peDataRel:
		v += base.data
	case peFuncRel:
		v += base.fn
	default:
		c.bad = true
	}
	return v
}
