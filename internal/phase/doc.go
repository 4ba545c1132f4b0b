// Package phase joins the call graph with observed stacks: it finds the thread kinds of a server, the main loop of each,
// and from there the partition, the code that can still run once a thread is inside its main loop.
//
// A thread's top-level loop is the outermost loop on its stack; the one in which it was seen most is its main loop. Threads
// with the same main loop and the same stack below it are one kind. Observation decides nothing else: the partition is
// computed from the loop's header and the stack below it by the call graph alone, and the installer puts a kind's filter
// only into threads whose real stack below the loop is that of the kind.
//
// The partition (SysPart, algorithm 3) has the blocks that the loop's header reaches in its function and all they call,
// then for each caller on the stack below what runs after the call returns, down to the bottom of the thread: libc's code
// around start routines, exit handlers, destructors. A function that never returns ends the walk, unless an older frame
// can be reached past it: by a landing pad or by a return of setjmp. Landing pads and returns of setjmp in the functions
// of the walk count as reachable. Code reached from there includes, through the call graph, threads and children created
// later; handlers of signals installed earlier are address-taken functions and count too.
//
// Frames that a forked child inherited from its parent hold its stack's lower part, and it returns through them; but a
// loop that encloses the fork is the parent's loop, not the child's.
package phase
