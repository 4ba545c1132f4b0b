// Package testbin gives tests real programs to work on: fixtures compiled from source when the test runs, variants of
// them (stripped, without section headers), and real servers started on loopback in a directory of the test's own.
//
// A fixture is built once per content: the result is cached in the user's cache directory by the source's bytes, the
// headers beside it, the flags and the compiler's version, so that neither an edit nor an upgrade is ever missed.
//
// What is not there makes a test skip with the Debian package's name, and nothing else does. Where everything can be
// installed (root on Debian) and SYSPART_NO_SKIP=1 is set, as "make test" does, the same lack fails the test: a skip must
// not hide what ought to have run.
//
// Servers are started in a process group of their own and ended by its id. Only loopback is used.
package testbin
