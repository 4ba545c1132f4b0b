// Package callgraph joins the summaries of a linked program into its function-call graph and answers what is reachable
// from given points: functions, and the numbers of the system calls that they make, each with the edges that say why.
//
// Sound under the assumptions of packages value and link: every call that can happen is an edge, or the place is recorded
// as unresolved and widens (an unknown function calls every address-taken function, an unknown number opens every system
// call). Over-approximated: an indirect call whose target is not a constant reaches all address-taken functions of its
// level:
//
//	level a   every function whose address exists anywhere: relocations, lea, immediates, GOT loads, names looked up
//	level b   those of them whose address is made by live code, or lies in a data object that live code refers to, to a
//	          fixed point; live is what the program's entry, its loader, constructors and destructors reach
//	level c   those of them whose pointers are not all followed to their ends; the others are called where their pointers
//	          come to
//
// Names that are looked up are the strings that a file refers to, if it looks names up. One put together at run time
// opens all exports of modules loaded later, and of the program itself if it is looked up through the program's own
// handle; except those of libc and the loader, of which that is assumed never to happen.
//
// A system call's number is followed backwards through arguments, fields of structs in callers' frames, and variables
// that are set directly. Assumed: a field of a struct passed by address is not written through a pointer that is not seen
// to come from that argument, and a variable accessed only directly is no part of an object accessed through pointers.
//
// Data objects are bounded by sized symbols and sections only: where a file is stripped of them, a reference to one
// place of a section makes all of the section's unbounded part live. A reference to an address up to 128 bytes outside an
// object counts for that object too (a pointer that is moved before use). Code that reads or writes a number of bytes at
// a fixed address refers to these bytes only.
//
// The graph is not stored: edges come from the summaries' flat tables when a walk passes. A walk keeps for each function
// the edge by which it was first reached; walks are breadth-first, so that the edges form shortest paths.
package callgraph
