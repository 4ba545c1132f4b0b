// Package value computes what registers and stack slots of a function hold: a forward abstract interpretation over its
// control-flow graph whose values are small sets of symbolic expressions (constants, addresses, parameters, results of
// calls, loads) and whose unknown is Top. Reading a set backwards over the call sites of a function is the value-flow
// analysis of the paper (SysPart, section 5); the callgraph package does that.
//
// Over-approximated: a set holds every value that a register can have at that point, or Top. The expressions of a set may
// be more than the values that occur. It assumes the System V psABI of x86-64: a callee keeps rbx, rbp, r12 to r15 and
// the stack pointer, does not write into its caller's frame except through an address that the caller made, and does not
// read what a call leaves in the caller-saved registers. Memory below the stack pointer is lost at calls; a place that the
// caller passes an argument in is not read again after the call, since it is the callee's to change. Copies and additions
// of 32 bits keep a symbolic value although they cut it; a user of the value that is narrower (a system call's number)
// masks it.
//
// Values of less than 32 bits, values of vector registers and memory other than the private stack are not followed; the
// value of a load is a Load expression, which says from where.
package value
