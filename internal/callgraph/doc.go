// Package callgraph joins the summaries of a linked program into its function-call graph and answers what is reachable
// from given points: functions, and the numbers of the system calls that they make, each with the edges that say why.
//
// Sound under the assumptions of packages value and link: every call that can happen is an edge, or the place is recorded
// as unresolved and widens (an unknown function calls every address-taken function, an unknown number opens every system
// call). Over-approximated: an indirect call whose target is not a constant reaches what its level says:
//
//	level a   every function whose address exists anywhere: relocations, lea, immediates, GOT loads, names looked up
//	level b   those of them whose address is made by live code, or lies in a data object that live code refers to, to a
//	          fixed point; live is what the program's entry, its loader, constructors and destructors reach
//	level c   those of them one of whose pointers live code loses sight of; the others are called where their pointers
//	          come to. What is live, and what escapes, is one least fixed point
//	level d   a call nothing but followed pointers come to goes to these alone: through arguments, results, constant
//	          tables, and variables whose address has not escaped
//	level e   a call that is left goes to functions that certainly need no more arguments than it can have prepared, and
//	          that may return something if it uses a result (TypeArmor, S&P 2016)
//
// From level c on some address-taken functions are targets of certain sites only (class): constructors and destructors of
// the loader's and of libc's start and exit code, the vDSO's functions of libc, functions of the name service of libc's
// look-ups in it, by name, and what a name-service module alone has of its own sites. Start routines are called by
// pthread_create's callers, handlers of signals by the kernel, if it is seen which ones are installed.
//
// Names are looked up by strings that dlsym is given. One that is not known finds what a module loaded later exports, and
// what else is among the strings of the module that looks it up: in libraries whose file names it has too, and, if it opens
// the program itself, in other modules than libc and the loader.
//
// A system call's number is followed backwards through arguments, fields of structs in callers' frames, and variables
// that are set directly. Assumed: a field of a struct passed by address is not written through a pointer that is not seen
// to come from that argument, and a variable accessed only directly is no part of an object accessed through pointers.
//
// Data objects are bounded by sized symbols and sections; in data that are constant once the loader is done also, from level
// d on, by the addresses that code makes and data point to (see areas). Elsewhere, where a file is stripped of symbols, a
// reference to one place of a section makes all of the section's unbounded part live. A reference to an address up to 128 bytes outside an
// object counts for that object too (a pointer that is moved before use). Code that reads or writes a number of bytes at
// a fixed address refers to these bytes only.
//
// The graph is not stored: edges come from the summaries' flat tables when a walk passes. A walk keeps for each function
// the edge by which it was first reached; walks are breadth-first, so that the edges form shortest paths.
package callgraph
