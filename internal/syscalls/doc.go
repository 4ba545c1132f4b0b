// Package syscalls knows the system calls of Linux on x86-64: their numbers, their names, the ones that no filter may
// deny, and the ones that an attacker wants. Set is the dense set over numbers that the analyses and the filters share.
//
// The table (zsyscalls.go) is generated from golang.org/x/sys/unix by `go generate`; its header names the version and the
// kernel of origin. A number that the table lacks is no error: a newer kernel may have it. It is written "syscall_N", can
// be a member of a Set, and Number reads that form back.
//
// Only the 64-bit table is here. The calls of int 0x80 and sysenter (i386) and of x32 (numbers with bit 30 set) belong to
// other tables: package filter denies them as a whole.
package syscalls

//go:generate go run gen/main.go -o zsyscalls.go
