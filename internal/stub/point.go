package stub

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

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
	Old    []byte // what is there: whole instructions, and padding behind the last one; at least jumpLen bytes
	// Header: the filter goes in before the first instruction, each time that it is reached. Else it goes in where control
	// leaves the instructions for one of To.
	Header bool
	To     []uint64 // places inside the loop, ascending
}

// Range reports whether an address lies inside what is replaced, behind its first byte: nothing may go on there.
func (p *Point) Range(va uint64) bool { return va > p.Addr && va < p.Addr+uint64(len(p.Old)) }

// Overlaps reports whether two points replace the same bytes and are not one and the same point.
func (p *Point) Overlaps(q *Point) bool {
	return p.Module == q.Module && p.Addr < q.Addr+uint64(len(q.Old)) && q.Addr < p.Addr+uint64(len(p.Old)) &&
		(p.Addr != q.Addr || len(p.Old) != len(q.Old) || p.Header != q.Header || !slices.Equal(p.To, q.To))
}

// Merge makes one point of two on edges from the same place; false if they are not such.
func (p *Point) Merge(q *Point) bool {
	if p.Module != q.Module || p.Addr != q.Addr || len(p.Old) != len(q.Old) || p.Header || q.Header {
		return false
	}
	p.To = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(p.To), q.To...))))
	return true
}

// Room is code that a jump may replace a part of: instructions in a row, to the first of which alone anything may jump.
type Room struct {
	Start uint64
	Code  []byte // of the instructions
	Pad   []byte // what lies behind the last one and belongs to no code
}

// Edge finds the place for a jump at the end of a room, where control goes on to address to. It replaces as few
// instructions as it can.
func (r *Room) Edge(to uint64) (Point, error) {
	insts, err := read(r.Code, r.Start)
	if err != nil {
		return Point{}, err
	}
	first := len(insts) - 1
	n, pad := int(insts[first].Len), []byte(nil)
	if ends(&insts[first]) && n < jumpLen && n+len(r.Pad) >= jumpLen {
		pad = r.Pad[:jumpLen-n]
	}
	for n+len(pad) < jumpLen {
		if first--; first < 0 {
			return Point{}, fmt.Errorf("%w: the code before %#x is shorter than %d bytes", ErrPoint, insts[len(insts)-1].Next(), jumpLen)
		}
		n += int(insts[first].Len)
	}
	at := insts[first].Addr
	return r.point(Point{Addr: at, To: []uint64{to}}, at+uint64(n), pad)
}

// Head finds the place for a jump at the start of a room, which is reached whenever the loop is entered.
func (r *Room) Head() (Point, error) {
	insts, err := read(r.Code, r.Start)
	if err != nil {
		return Point{}, err
	}
	n, pad := 0, []byte(nil)
	for i := range insts {
		if n += int(insts[i].Len); n >= jumpLen {
			break
		}
	}
	if n < jumpLen {
		if n+len(r.Pad) < jumpLen || !ends(&insts[len(insts)-1]) {
			return Point{}, fmt.Errorf("%w: the code at %#x is shorter than %d bytes", ErrPoint, r.Start, jumpLen)
		}
		pad = r.Pad[:jumpLen-n]
	}
	return r.point(Point{Addr: r.Start, Header: true}, r.Start+uint64(n), pad)
}

// point fills in what is replaced, up to end and of the padding, and checks that it can be moved.
func (r *Room) point(p Point, end uint64, pad []byte) (Point, error) {
	p.Old = append(slices.Clone(r.Code[p.Addr-r.Start:end-r.Start]), pad...)
	insts, err := p.insts()
	if err != nil {
		return Point{}, err
	}
	last := &insts[len(insts)-1]
	reached := p.Header || !ends(last) && last.Next() == p.To[0]
	for i := range insts {
		in := &insts[i]
		if err := movable(p.bytes(in), in); err != nil {
			return Point{}, err
		}
		if jumps(in) && p.Range(uint64(in.Imm)) {
			return Point{}, fmt.Errorf("%w: the instruction at %#x jumps into what would be replaced", ErrPoint, in.Addr)
		}
		reached = reached || jumps(in) && uint64(in.Imm) == p.To[0]
	}
	if !reached {
		return Point{}, fmt.Errorf("%w: %#x does not lead to %#x by a jump that can be moved", ErrPoint, last.Addr, p.To[0])
	}
	return p, nil
}

// jumps reports whether an instruction is a jump to an address that it states, conditional or not.
func jumps(in *decode.Inst) bool {
	return in.Op == decode.OpJcc || in.Op == decode.OpJmp && in.Flags&(decode.Indirect|decode.Far) == 0
}

// insts decodes what is replaced, without the padding.
func (p *Point) insts() ([]decode.Inst, error) {
	insts, err := read(p.Old, p.Addr)
	if err != nil {
		return nil, err
	}
	for i := range insts {
		if ends(&insts[i]) {
			return insts[:i+1], nil
		}
	}
	return insts, nil
}

// bytes returns those of one instruction.
func (p *Point) bytes(in *decode.Inst) []byte { return p.Old[in.Addr-p.Addr:][:in.Len] }

// read decodes code up to its end, or to an instruction behind which nothing goes on.
func read(code []byte, start uint64) ([]decode.Inst, error) {
	var insts []decode.Inst
	for at := 0; at < len(code); {
		var in decode.Inst
		if !decode.Decode(code[at:], start+uint64(at), &in) {
			return nil, fmt.Errorf("%w: %#x is not decoded", ErrPoint, start+uint64(at))
		}
		insts = append(insts, in)
		if at += int(in.Len); ends(&in) {
			break
		}
	}
	if len(insts) == 0 {
		return nil, fmt.Errorf("%w: no code at %#x", ErrPoint, start)
	}
	return insts, nil
}

// Patch is what goes to Addr: a jump to the stub at address at, and traps. bias is the difference between addresses at run
// time and in the file.
func (p *Point) Patch(bias, at uint64) ([]byte, error) {
	rel, ok := distance(p.Addr+bias+jumpLen, at)
	if !ok {
		return nil, fmt.Errorf("%s %#x: %w: the stub at %#x is out of reach", p.Module, p.Addr, ErrPoint, at)
	}
	b := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(rel))
	for len(b) < len(p.Old) {
		b = append(b, 0xcc)
	}
	return b, nil
}
