package stub

import (
	"encoding/binary"
	"errors"
	"fmt"

	"syspart/internal/decode"
)

// ErrPoint: no jump fits here; the text says why.
var ErrPoint = errors.New("no room for a jump")

// jumpLen is the length of a jump to anywhere within 2 GiB.
const jumpLen = 5

// Point is a place where a jump to a stub goes. Addresses are ELF virtual addresses.
type Point struct {
	Module string
	Addr   uint64 // of the first byte that is replaced
	Old    []byte // what is there: whole instructions, at least jumpLen bytes
	Loop   uint64 // where control goes on into the loop
	Also   uint64 // where else: both ways of a conditional jump may lead into a loop that has several entries; 0 if not
}

// Range reports whether an address lies inside what is replaced, behind its first byte: nothing may go on there.
func (p *Point) Range(va uint64) bool { return va > p.Addr && va < p.Addr+uint64(len(p.Old)) }

// Find finds the place for a jump at the end of the block [start, end), which goes on to the loop's header. code are the
// block's bytes.
func Find(code []byte, start, end, header uint64) (Point, error) {
	insts, err := read(code, start, end)
	if err != nil {
		return Point{}, err
	}
	last := len(insts) - 1
	if _, err := how(&insts[last], header); err != nil {
		return Point{}, err
	}
	first := last
	for n := int(insts[last].Len); n < jumpLen; n += int(insts[first].Len) {
		if first--; first < 0 {
			return Point{}, fmt.Errorf("block at %#x: %w: it is shorter than %d bytes", start, ErrPoint, jumpLen)
		}
	}
	for i := first; i <= last; i++ {
		in := &insts[i]
		if i == last && (in.Op == decode.OpJmp || in.Op == decode.OpJcc) {
			continue
		}
		if err := movable(in, code[in.Addr-start:][:in.Len]); err != nil {
			return Point{}, err
		}
	}
	at := insts[first].Addr
	return Point{Addr: at, Old: append([]byte(nil), code[at-start:end-start]...), Loop: header}, nil
}

func read(code []byte, start, end uint64) ([]decode.Inst, error) {
	var insts []decode.Inst
	for va := start; va < end; {
		var in decode.Inst
		if int(va-start) >= len(code) || !decode.Decode(code[va-start:], va, &in) || in.Next() > end {
			return nil, fmt.Errorf("%#x: %w: not decoded", va, ErrPoint)
		}
		insts = append(insts, in)
		va = in.Next()
	}
	if len(insts) == 0 {
		return nil, fmt.Errorf("%#x: %w: empty block", start, ErrPoint)
	}
	return insts, nil
}

// way is how a block goes on into the loop.
type way uint8

const (
	falls   way = iota // behind its last instruction
	jumps              // by a jump
	taken              // by a conditional jump that is taken
	through            // by one that is not
)

// Merge makes one point of two at the same place that lead to different places in the loop; false if they are not such.
func (p *Point) Merge(q *Point) bool {
	if p.Addr != q.Addr || len(p.Old) != len(q.Old) || p.Also != 0 || q.Also != 0 || p.Loop == q.Loop {
		return false
	}
	p.Also = q.Loop
	return true
}

func how(last *decode.Inst, header uint64) (way, error) {
	direct := last.Flags&(decode.Indirect|decode.Far) == 0
	switch {
	case last.Op == decode.OpJmp && direct && uint64(last.Imm) == header:
		return jumps, nil
	case last.Op == decode.OpJcc && last.Cond < 16 && last.Next() == header:
		return through, nil
	case last.Op == decode.OpJcc && last.Cond < 16 && uint64(last.Imm) == header:
		return taken, nil
	case last.Op != decode.OpJmp && last.Op != decode.OpJcc && last.Next() == header:
		return falls, nil
	}
	return 0, fmt.Errorf("%#x: %w: it does not lead to %#x by a jump that can be moved", last.Addr, ErrPoint, header)
}

// movable reports whether an instruction does the same at another address, or can be made to.
func movable(in *decode.Inst, code []byte) error {
	switch in.Op {
	case decode.OpCall, decode.OpJmp, decode.OpJcc, decode.OpRet, decode.OpSyscall, decode.OpInt80, decode.OpSysenter, decode.OpTrap, decode.OpBad:
		return fmt.Errorf("%#x: %w: a call, a jump or a trap would have to be moved", in.Addr, ErrPoint)
	}
	if in.Writes.Has(decode.RSP) {
		return fmt.Errorf("%#x: %w: an instruction that moves the stack pointer would have to be moved", in.Addr, ErrPoint)
	}
	if in.Flags&decode.HasMem != 0 && in.Base == decode.RIP {
		if _, ok := displacement(in, code); !ok {
			return fmt.Errorf("%#x: %w: where its address is encoded is not clear", in.Addr, ErrPoint)
		}
	}
	return nil
}

// displacement returns where in an instruction with an address relative to it these four bytes lie.
func displacement(in *decode.Inst, code []byte) (int, bool) {
	at := -1
	for i := 1; i+4 <= len(code); i++ {
		if in.Next()+uint64(int64(int32(binary.LittleEndian.Uint32(code[i:])))) == uint64(in.Disp) {
			if at >= 0 {
				return 0, false
			}
			at = i
		}
	}
	return at, at >= 0
}

// Patch is what goes to Addr: a jump to the stub at address at. bias is the difference between addresses at run time and
// in the file.
func (p *Point) Patch(bias, at uint64) ([]byte, error) {
	rel := int64(at) - int64(p.Addr+bias+jumpLen)
	if rel != int64(int32(rel)) {
		return nil, fmt.Errorf("%s %#x: %w: the stub at %#x is out of reach", p.Module, p.Addr, ErrPoint, at)
	}
	b := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(rel))
	for len(b) < len(p.Old) {
		b = append(b, 0x90)
	}
	return b, nil
}
