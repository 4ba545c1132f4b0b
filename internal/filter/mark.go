package filter

import (
	"crypto/sha256"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"syspart/internal/syscalls"
)

// A marked filter answers one question beside the verdicts of its set: whether it is there. prctl(MarkOption, mark) fails
// with MarkErrno in a thread that carries the filter with that mark, in whichever place of its chain. Without any filter,
// and behind filters of other makers that let prctl pass, it fails with EINVAL like every option that the kernel does not
// know; marked filters let the questions for other marks through to it. So code in the process can find out which filter a
// thread carries at the price of one system call and without memory of its own, which fork, thread ends and reused thread
// ids would have to be kept away from.
const (
	// MarkOption is the option of prctl (its low 32 bits, all that the kernel looks at), far from those that Linux assigns.
	MarkOption uint32 = 0x70737953
	// MarkErrno is an error number that the kernel itself never returns.
	MarkErrno = 4001
)

// argument words in struct seccomp_data, low halves
const (
	offArg0 = 16
	offArg1 = 24
)

// CompileMarked is Compile with a mark: the filter and its mark, which depends on nothing but what the filter does. The kernel
// still answers every allowed call but prctl from its bitmap: arguments are read for prctl alone.
func CompileMarked(allow syscalls.Set, a Action) (Program, uint32, error) {
	p, err := Compile(allow, a)
	if err != nil {
		return nil, 0, err
	}
	sum := sha256.Sum256(p.Encode())
	mark := binary.LittleEndian.Uint32(sum[:])
	const head = 4 // architecture and number loaded
	question := Program{
		{opJeq, 0, 6, unix.SYS_PRCTL},
		{opLoad, 0, 0, offArg0},
		{opJeq, 0, 3, MarkOption},
		{opLoad, 0, 0, offArg1},
		{opJeq, 3, 0, mark},
		{opRet, 0, 0, RetAllow},
		{opLoad, 0, 0, offNr}, // an ordinary prctl
		{opJa, 0, 0, 1},
		{opRet, 0, 0, RetErrno | MarkErrno},
	}
	// Numbers other than prctl's go straight to the search.
	question[0].Jf = uint8(len(question) - 1)
	marked := append(append(append(Program{}, p[:head]...), question...), p[head:]...)
	if err := marked.Validate(); err != nil {
		return nil, 0, err
	}
	return marked, mark, nil
}
