// Package summary states all that one ELF file says by itself, for later linking: functions and their blocks, call sites
// with the values of their arguments, system-call instructions with the values of their numbers, where code makes
// pointers to code and to data, which pointers lie in data, and how many arguments functions consume and call sites prepare.
//
// A summary is a pure function of the file's bytes and holds nothing of this machine, so it is cached by content and
// shared between programs. Everything in it is over-approximated; what the file does not determine (which definition a
// symbol binds to, what a caller passes) stays symbolic and is resolved by the packages link and callgraph.
//
//	Build(f *image.File) (*Module, error)   analyse a file, in parallel over its functions
//	(*Module).Encode() []byte               the cache's form: the tables as they lie in memory
//	Decode(b []byte) (*Module, error)       the inverse; the Module shares b's memory
package summary
