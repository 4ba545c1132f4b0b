package unwind

import (
	"errors"
	"fmt"
)

// Sentinels: why a walk ended before the bottom.
var (
	// ErrFormat: call-frame information breaks the rules or our caps.
	ErrFormat = errors.New("malformed call-frame information")
	// ErrNoFrame: code without call-frame information.
	ErrNoFrame = errors.New("no call-frame information")
	// ErrMemory: a word of the stack could not be read.
	ErrMemory = errors.New("stack not readable")
	// ErrDepth: more frames than the caller wanted.
	ErrDepth = errors.New("too many frames")
	// ErrStack: a caller's frame would lie below its callee's.
	ErrStack = errors.New("stack does not grow upwards")
)

// UnknownError is the register whose unknown value was needed.
type UnknownError int

var regNames = [numRegs]string{"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "return address"}

func (e UnknownError) Error() string { return fmt.Sprintf("%s is not known", regNames[e]) }

func malformed(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrFormat)...)
}
