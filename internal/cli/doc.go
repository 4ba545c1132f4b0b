// Package cli is the command line: verbs, flags, help, exit codes, progress.
//
// What goes where: results on stdout, everything else on stderr; errors are one line, "syspart: thing: what; remedy".
// Progress is shown only if stderr is a terminal, colour only if stdout is one and NO_COLOR is not set, or as --color says; logs (-v) go to
// stderr. A file that is written appears whole or not at all.
//
// profile and run are transparent: standard streams are the server's, signals reach it, its exit status becomes ours.
//
//	0        all is well
//	1        error
//	2        a gate failed: check, diff --fail-on, verify, doctor
//	3        incomplete, under --strict: analyze, profile, attach
//	125      profile, run: syspart failed before it could start the server
//	126      profile, run: the server's file cannot be executed
//	127      profile, run: the server's file was not found
//	other    profile, run: what the server ended with, 128+N for signal N
//
// Nothing is analysed here; the layers below are called through the variables of backend.go, so that tests can put others
// in their place.
package cli
