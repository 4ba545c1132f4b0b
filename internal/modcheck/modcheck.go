// Package modcheck makes the code by which a hardened program sees whether the modules that are loaded are the ones that it was
// made for. It compares the build-ids in their notes, as mapped, with a list: of the modules that the program starts with, when
// the loader jumps to the program's entry; of all that are loaded by then, when it is called later.
//
//	Make(at uint64, p Params) (*Code, error)
//
// What it does not see: modules that are loaded later still, and others of the same build-id. A list of modules that another
// thread is changing at that moment is left alone.
package modcheck

import (
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

//go:generate as --64 -o check.o check.asm
//go:generate objcopy -O binary -j .text check.o check.bin
//go:generate rm check.o

//go:embed check.bin
var blob []byte

// late is where in the code the function begins, as check.asm says.
const late = 32

// MaxID is the longest build-id in bytes.
const MaxID = 32

// Params say what the code compares.
type Params struct {
	Dynamic uint64   // address of the program's PT_DYNAMIC
	Entry   uint64   // address where the program goes on
	IDs     []string // build-ids in hex
	Refuse  bool     // end the process with status 125 at a mismatch, behind the line on standard error; else go on
	// Anonymous lets modules without build-id pass.
	Anonymous bool
}

// Code is the code for one address. It keeps all registers and flags.
type Code struct {
	Bytes []byte
	Entry uint64 // address of the program's new entry
	Late  uint64 // address of a function that does the same
}

// Make returns the code for address at, a multiple of 8. All addresses are ELF virtual addresses of the program.
func Make(at uint64, p Params) (*Code, error) {
	c := &Code{Entry: at, Late: at + late}
	params := at + uint64(len(blob))
	var flags uint64
	if p.Refuse {
		flags |= 1
	}
	if p.Anonymous {
		flags |= 2
	}
	b := append([]byte(nil), blob...)
	for _, v := range []uint64{p.Dynamic - params, p.Entry - params, flags, uint64(len(p.IDs))} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	for _, id := range p.IDs {
		raw, err := hex.DecodeString(id)
		if err != nil || len(raw) == 0 || len(raw) > MaxID {
			return nil, fmt.Errorf("build-id %q: not hex digits for 1 to %d bytes", id, MaxID)
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(len(raw)))
		b = append(b, raw...)
		b = append(b, make([]byte, MaxID-len(raw))...)
	}
	c.Bytes = b
	return c, nil
}
