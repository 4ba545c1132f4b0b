package link

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// ldCache is a parsed ld.so.cache (glibc sysdeps/generic/dl-cache.h).
type ldCache struct {
	libs map[string][]cacheEntry // by library name, in the file's order
}

// cacheEntry is one file of a library.
type cacheEntry struct {
	path  string
	hwcap string // glibc-hwcaps subdirectory, "" if the file is for every processor
}

const (
	maxCache    = 64 << 20
	oldMagic    = "ld.so-1.7.0"
	newMagic    = "glibc-ld.so.cache1.1"
	oldHeader   = 16 // magic, padding, nlibs
	oldEntry    = 12 // flags, key, value
	newHeader   = 48
	newEntry    = 24         // flags, key, value, osversion, hwcap
	extMagic    = 0xeaa42174 // cache_extension_magic
	extHwcaps   = 1          // cache_extension_tag_glibc_hwcaps
	hwcapExtBit = 1 << 62    // DL_CACHE_HWCAP_EXTENSION
	isaMask     = 1<<10 - 1  // DL_CACHE_HWCAP_ISA_LEVEL_MASK, at bit 32
	// flagLibc6X8664 is FLAG_ELF_LIBC6 | FLAG_X8664_LIB64, flagELF the plain FLAG_ELF that the loader takes, too.
	flagLibc6X8664 = 0x303
	flagELF        = 1
)

// parseCache reads an ld.so.cache in the new format, the old one, or the old one with the new one behind it. Entries for
// other architectures, and those that do not fit into the file, are left out; an error wraps ErrCache.
func parseCache(data []byte) (*ldCache, error) {
	c := &ldCache{libs: map[string][]cacheEntry{}}
	text := string(data)
	if !strings.HasPrefix(text, oldMagic) {
		return c, c.parseNew(text)
	}
	if len(text) < oldHeader {
		return nil, fmt.Errorf("%w: old format: truncated header", ErrCache)
	}
	n := uint64(binary.LittleEndian.Uint32(data[12:]))
	end := oldHeader + n*oldEntry
	if end > uint64(len(text)) {
		return nil, fmt.Errorf("%w: old format: %d entries in %d bytes", ErrCache, n, len(text))
	}
	if at := (end + 7) &^ 7; at < uint64(len(text)) && strings.HasPrefix(text[at:], newMagic) {
		return c, c.parseNew(text[at:])
	}
	for e := data[oldHeader:end]; len(e) > 0; e = e[oldEntry:] {
		c.add(text[end:], binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[4:]), binary.LittleEndian.Uint32(e[8:]), "")
	}
	return c, nil
}

// parseNew reads the new format; all offsets count from its magic.
func (c *ldCache) parseNew(text string) error {
	if !strings.HasPrefix(text, newMagic) {
		return fmt.Errorf("%w: unknown magic", ErrCache)
	}
	if len(text) < newHeader {
		return fmt.Errorf("%w: truncated header", ErrCache)
	}
	n := uint64(u32(text, 20))
	if end := newHeader + n*newEntry; end > uint64(len(text)) {
		return fmt.Errorf("%w: %d entries in %d bytes", ErrCache, n, len(text))
	}
	if endian := text[28] & 3; endian != 0 && endian != 2 { // cache_file_new_flags_endian_*: unset or little
		return fmt.Errorf("%w: not little-endian", ErrCache)
	}
	hwcaps := cacheHwcaps(text, uint64(u32(text, 32)))
	for i := range n {
		e := text[newHeader+i*newEntry:]
		hwcap, sub := uint64(u32(e, 16))|uint64(u32(e, 20))<<32, ""
		if hwcap != 0 {
			// Entries of the hardware capabilities of old are for subdirectories that no current loader looks into.
			if (hwcap>>32)&^isaMask != hwcapExtBit>>32 || uint64(uint32(hwcap)) >= uint64(len(hwcaps)) {
				continue
			}
			sub = hwcaps[uint32(hwcap)]
			if sub == "" {
				continue
			}
		}
		c.add(text, u32(e, 0), u32(e, 4), u32(e, 8), sub)
	}
	return nil
}

// cacheHwcaps returns the names of the glibc-hwcaps subdirectories of the extension section.
func cacheHwcaps(text string, off uint64) []string {
	size := uint64(len(text))
	if off == 0 || off%4 != 0 || off+8 > size || u32(text, off) != extMagic {
		return nil
	}
	n := uint64(u32(text, off+4))
	for i := range min(n, (size-off-8)/16) {
		at := off + 8 + i*16
		if u32(text, at) != extHwcaps {
			continue
		}
		start, length := uint64(u32(text, at+8)), uint64(u32(text, at+12))
		if start+length > size {
			return nil
		}
		names := make([]string, length/4)
		for j := range names {
			names[j], _ = cacheString(text, u32(text, start+uint64(j)*4))
		}
		return names
	}
	return nil
}

// add notes one entry of an architecture that is ours.
func (c *ldCache) add(text string, flags, key, value uint32, hwcap string) {
	if flags != flagLibc6X8664 && flags != flagELF {
		return
	}
	name, ok1 := cacheString(text, key)
	file, ok2 := cacheString(text, value)
	if ok1 && ok2 && name != "" && strings.HasPrefix(file, "/") {
		c.libs[name] = append(c.libs[name], cacheEntry{file, hwcap})
	}
}

// lookup returns the file for a library on a processor that uses the given glibc-hwcaps subdirectories, best first.
func (c *ldCache) lookup(name string, hwcaps []string) (string, bool) {
	best, rank := "", len(hwcaps)+1
	for _, e := range c.libs[name] {
		r := len(hwcaps)
		if e.hwcap != "" {
			for r = 0; r < len(hwcaps) && hwcaps[r] != e.hwcap; {
				r++
			}
			if r == len(hwcaps) {
				continue
			}
		}
		if r < rank {
			best, rank = e.path, r
		}
	}
	return best, best != ""
}

// cacheString returns the NUL-terminated string at an offset.
func cacheString(text string, off uint32) (string, bool) {
	if uint64(off) >= uint64(len(text)) {
		return "", false
	}
	s := text[off:]
	n := strings.IndexByte(s[:min(len(s), 4096)], 0)
	if n < 0 {
		return "", false
	}
	return s[:n], true
}

// u32 reads a little-endian word of a string; the caller has checked the bounds.
func u32(s string, off uint64) uint32 {
	_ = s[off+3]
	return uint32(s[off]) | uint32(s[off+1])<<8 | uint32(s[off+2])<<16 | uint32(s[off+3])<<24
}
