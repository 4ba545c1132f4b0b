// Package view is the file system as an analysis sees it: each question is put to the system, and the answer is noted, so
// that it can be told later whether an analysis would be told the same, without doing it.
//
//	New() *View                      asks and takes notes
//	(*View).Stat ReadFile ...        as package os has them; a View that is nil only asks
//	(*View).Notes() ([]Note, bool)   what was asked and answered
//	Hold(notes []Note) bool          whether all of it would be answered so again
//
// A note of a file that was read is a hash of the contents, never a time or a size: whoever compares notes need not trust
// clocks. What was not there is noted too. Notes say nothing of what an analysis learns otherwise: its arguments, the
// processor, the kernel's vDSO, its own code.
package view
