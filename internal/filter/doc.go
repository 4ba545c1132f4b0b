// Package filter compiles an allow-list of system calls to a seccomp filter, and simulates, prints and reads such filters.
//
// A filter is classic BPF over struct seccomp_data. What Compile makes checks the architecture first (the i386 table that
// int 0x80 and sysenter use has another one), then searches the number in a balanced tree over merged ranges. Numbers
// with the x32 bit lie above every range that can be allowed, so x32 is denied by the same search. Only architecture and
// number are read: the kernel then finds out at installation which calls are always allowed and answers those from a
// bitmap, without running the filter (kernel/seccomp.c, seccomp_cache_prepare).
//
// Direction of error: none. The verdict is "allow" for exactly the members of the allow-list and of syscalls.Always, on
// the architecture x86-64, and the action for everything else; the tests compare this for every number. Arguments and
// the instruction pointer are not looked at.
//
// Simulate executes every instruction that the kernel accepts in a filter, so filters of other makers can be read, too.
package filter
