// Package unwind walks the stack of a thread by call-frame information (.eh_frame; System V ABI, AMD64 supplement,
// section 3.7; DWARF 5, sections 2.5 and 6.4; Linux Standard Base, "Exception Frames"). It needs neither frame pointers nor
// symbols, only registers, memory and the tables of the mapped files, so stripped programs are as good as others.
//
//	NewTable(f *image.File) (*Table, error)              the unwind table of one file, rows cached as they are computed
//	Space.Unwind(regs Regs, mem io.ReaderAt, max int) Result
//
// A register may be unknown, as all but two are of a thread that was not stopped (/proc/PID/task/TID/syscall gives the stack
// and instruction pointers). Unknown spreads by the rules of the frames; where the next frame cannot be found without an
// unknown register, unwinding ends and Result.Need says which it was.
//
// A result is right or marked: Complete means that the walk reached the bottom of the thread, where the return address is
// undefined (_start, clone) or zero. Anything else leaves Complete false and says in Err why it ended; the frames up to
// there are right. The one guess is made for an innermost frame in code without call-frame information (some PLTs,
// hand-written leaves): the word at the stack pointer is taken for the return address if it lies behind a call
// instruction.
//
// Limits: x86-64. Tables of .debug_frame are not read. DW_CFA_set_loc, which no x86-64 compiler emits in .eh_frame, ends
// the walk. Hostile tables cost bounded time and memory: rows, expressions and frames are all capped.
package unwind
