// Package report writes results for people and for programs: tables, JSON and plain lists of names.
//
// Its functions are pure: the same value gives the same bytes, whatever the machine, the time or the terminal. There are
// no timestamps; what a map or a scheduler would order by chance is sorted. Colour is asked for by the caller (Style) and
// changes nothing but escape sequences, so a table without it is the table with them removed.
//
// Direction of error: none is added. What the analysis could not resolve is never left out of a table, however long; the
// tables say "unresolved" in a section of its own, and the JSON forms carry the entries unchanged.
//
//	Analysis, AnalysisJSON        reachable calls of a binary from its starting points
//	Loops, LoopsJSON              loops of a binary in the order of the static ranking
//	Site                          one line of JSON an indirect call site
//	Profile, ProfileJSON          what a profile allows where, and what that closes
//	Explanation, ExplanationJSON  why a call is allowed, or why not
//	Check                         does a profile still fit the files
//	Attached                      what became of each thread of a running server
//	Names                         one name a line
package report
