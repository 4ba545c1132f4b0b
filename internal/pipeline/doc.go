// Package pipeline runs the whole way from a binary to results: load, summarise in parallel through the cache, link, build
// the call graph, find phases. Its results are values that report prints and cli returns; it holds the context and stops
// between files and between walks when that is cancelled.
//
//	Analyze    the system calls reachable from given starting points of a binary
//	Loops      loops that contain blocking event calls, ranked: where a server may serve when no run is possible
//	Callgraph  the targets of every indirect call site
//	Profile    from an observation: thread kinds, their main loops, and what each can call before and after
//	Plan       what enforcement needs of a profile, after checking that it still fits the binaries
//	Explain    why a call is allowed, as the shortest path from a transition point, or why not
//
// Results are deterministic: the same files and the same observation give the same bytes. Errors of bad input come from
// image, link and phase as typed errors and are passed through with %w.
package pipeline
